"""Effects of people, as masks: cropped to their boxes, corrected by masks that the artist painted."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..image import boxes
from ..image.blobs import clusters
from ..image.fill import area_resize, shrunk
from ..image.growth import VISIBLE, distance
from ..scene import Box, Effect, Person
from .from_masks import fitted, fitted_effect, photo_size, resize_mask

MOSTLY = 0.5
"""Share of an effect from which it goes as a whole when a mask takes that much of it."""

LOOKED_AT = 384
"""Longest side in pixels at which it is found out who is nearest."""


def effect_from_mask(kind: str, box: Box, mask: Tensor) -> Effect | None:
    """An effect from a mask [h, w], 0..1, that lies at `box` of the photo; None if it is empty."""
    tight = boxes.tight_box(mask > VISIBLE)
    if tight is None:
        return None
    return Effect(kind, boxes.outside(tight, box), boxes.cut(mask, tight).to(torch.float32, copy=True).clamp_(0, 1))


def with_added(people: Sequence[Person], mask: Tensor, photo: int, kind: str) -> tuple[list[Person], list[int]]:
    """The same people; each blob of mask [h, w], 0..1, of any size is an effect of whoever is nearest to it in that
    photo (from 0). Returns them and, for each blob, the number of that person: none where the photo has nobody.
    """
    result = list(people)
    here = [place for place, person in enumerate(people) if person.photo == photo]
    size = photo_size(people, photo)
    if size is None or not here:
        return result, []
    full = resize_mask(mask[None].float(), size)[0]
    small = shrunk(size, LOOKED_AT)
    reach = max(small)
    away = []
    for place in here:
        person = fitted(result[place], size)
        seen = boxes.placed((person.mask > VISIBLE).float(), person.box, boxes.whole(size)).to(full)
        away.append(distance(area_resize(seen[None, None], small)[0, 0] > 0, reach))
    owners = []
    for box, shape in clusters(full > VISIBLE):
        blob = boxes.placed(shape.float(), box, boxes.whole(size))
        near = area_resize(blob[None, None], small)[0, 0] > 0
        place = here[min(range(len(here)), key=lambda index: float(away[index][near].min()))]
        person = result[place]
        own = boxes.cut(full, box) * shape
        effect = effect_from_mask(kind, box, own)
        if effect is not None:
            result[place] = person._replace(effects=(*person.effects, fitted_effect(effect, size, person.size)))
            owners.append(person.number)
    return result, owners


def without_area(person: Person, mask: Tensor) -> Person:
    """The person; from the effects the area of mask [h, w], 0..1, of any size is taken. Those of which it takes most go
    altogether.
    """
    if not person.effects:
        return person
    full = resize_mask(mask[None].float(), person.size)[0]
    kept = []
    for effect in person.effects:
        free = boxes.cut(full, effect.box).to(effect.mask) <= VISIBLE
        if free.all():
            kept.append(effect)
            continue
        rest = effect_from_mask(effect.kind, effect.box, effect.mask * free)
        before = int((effect.mask > VISIBLE).sum())
        if rest is not None and int((rest.mask > VISIBLE).sum()) >= (1 - MOSTLY) * before:
            kept.append(rest._replace(taken=effect.taken))
    return person._replace(effects=tuple(kept))
