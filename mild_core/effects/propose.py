"""Proposes what goes with each person of a photo, and takes the artist's masks as corrections."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..image import boxes
from ..image.fill import area_resize, shrunk
from ..image.growth import VISIBLE
from ..pairing import check_count, row_of
from ..people.effect_masks import effect_from_mask, with_added, without_area
from ..people.from_masks import fitted, fitted_effect
from ..scene import CARRIED, REFLECTION, SHADOW, Effect, Person, rgb
from . import carried, reflections, shadows
from .window import Found, Marks, Window, window_of

LONGEST = 1600
"""Longest side in pixels at which a photo is looked at: effects are large and soft."""

AGAIN = 0.5
"""Share of the smaller one from which an effect is one that the person has already: the artist may have refused it."""


class Proposal(NamedTuple):
    """One effect, and whose it is."""

    number: int  # the person's
    effect: Effect
    sure: float  # 0..1; 0.5: it has just passed the tests


class Answer(NamedTuple):
    """What became of one photo."""

    proposals: list[Proposal]  # as they are now, after the artist's masks
    drawn: list[int]  # numbers of the people to whom what the artist drew was given
    spoilt: int  # proposals that `never` took away or changed
    nobody: bool  # something was drawn in a photo in which nobody is


def with_effects(
    photos: Sequence[Tensor],
    people: Sequence[Person],
    kinds: Sequence[str],
    sensitivity: float = 0.5,
    add: Tensor | None = None,
    added_are: str = CARRIED,
    never: Tensor | None = None,
) -> tuple[list[Person], list[Answer]]:
    """The people of a batch of photos ([H, W, C] each) with what goes with them, and an answer for each photo.

    add, never [B or 1, h, w], 0..1, of any size: what goes with whoever is nearest, as an effect of the kind
    `added_are`; and what is nobody's effect. Raises ValueError if somebody belongs to a photo that is not there, or if
    the number of masks fits neither one nor all photos.
    """
    count = max([person.photo + 1 for person in people] + [1])
    if count > len(photos):
        raise ValueError(
            f"image: there are people in {count} photos, but image holds {len(photos)}. "
            "Connect the batch of photos in which the people were found."
        )
    for masks, socket in ((add, "add"), (never, "not_effect")):
        if masks is not None:
            check_count(len(masks), len(photos), socket)
    result, answers = list(people), []
    for index, photo in enumerate(photos):
        places = [place for place, person in enumerate(result) if person.photo == index]
        found = propose(photo, [result[place] for place in places], kinds, sensitivity)
        for place, own in zip(places, found, strict=True):
            person = result[place]
            result[place] = person._replace(effects=(*person.effects, *(one.effect for one in own)))
        drawn: list[int] = []
        nobody = False
        if add is not None:
            mask = add[row_of(len(add), index)]
            result, drawn = with_added(result, mask, index, added_are)
            nobody = not places and bool((mask > VISIBLE).any())
        if never is not None:
            mask = never[row_of(len(never), index)]
            result = [without_area(person, mask) if person.photo == index else person for person in result]
        left = {id(effect) for place in places for effect in result[place].effects}
        proposals = [one for own in found for one in own]
        kept = [one for one in proposals if id(one.effect) in left]
        answers.append(Answer(kept, drawn, len(proposals) - len(kept), nobody))
    return result, answers


def propose(
    photo: Tensor, people: Sequence[Person], kinds: Sequence[str], sensitivity: float = 0.5
) -> list[list[Proposal]]:
    """What goes with each of the people of one photo [H, W, C], 0..1, C in 1, 3, 4: a list for each of them.

    kinds: of scene.EFFECTS; sensitivity 0..1: more proposes more, 0.5 is as measured. People may have been found in a
    photo of another size; their effects have theirs. What a person has already, or had and the artist refused, is not
    proposed again.
    """
    size = shrunk((int(photo.shape[0]), int(photo.shape[1])), LONGEST)
    small = area_resize(rgb(photo).movedim(-1, 0)[None].float().cpu(), size)[0].movedim(0, -1)
    here = [fitted(person._replace(effects=(), hidden=None, joints=None), size) for person in people]
    here = [person._replace(mask=person.mask.cpu()) for person in here]
    strictness = 2.0 ** (1 - 2 * sensitivity)
    result = []
    for index, person in enumerate(people):
        found = _of_one(small, here, index, kinds, strictness)
        own: list[Proposal] = []
        for kind, window, one in found:
            effect = _effect(kind, window, one, size)
            if effect is not None:
                own.append(Proposal(person.number, fitted_effect(effect, size, person.size), one.sure))
        own = _one_shadow(own)
        result.append([one for one in own if not any(_same(one.effect, other) for other in person.effects)])
    return result


def _of_one(
    photo: Tensor, people: Sequence[Person], index: int, kinds: Sequence[str], strictness: float
) -> list[tuple[str, Window, Found]]:
    found = []
    window = window_of(photo, people, index, carried.WORK, carried.MARGINS)
    wide = window_of(photo, people, index, shadows.WORK, shadows.MARGINS)
    things = np.zeros(wide.own.shape, dtype=bool)  # they are no ground
    for thing in carried.things_of(window, strictness):
        things |= _moved(thing.part, window, wide)
        kind = SHADOW if thing.shade else CARRIED
        if kind in kinds:
            found.append((kind, window, thing.found))
    if SHADOW in kinds and (shadow := shadows.shadow_of(wide, strictness, things)) is not None:
        found.append((SHADOW, wide, shadow))
    if REFLECTION in kinds:
        low = window_of(photo, people, index, reflections.WORK, reflections.MARGINS)
        mirror = reflections.reflection_of(low, strictness)
        if mirror is not None:
            # Its own dark parts are no shadow.
            found = [one for one in found if one[0] != SHADOW] + [(REFLECTION, low, mirror)]
    return found


def _moved(mask: Marks, window: Window, to: Window) -> Marks:
    """A mask of one window in the pixels of another one."""
    rows = np.arange(to.own.shape[0]) + 0.5
    columns = np.arange(to.own.shape[1]) + 0.5
    rows = rows * boxes.height(to.box) / to.own.shape[0] + to.box[1] - window.box[1]
    columns = columns * boxes.width(to.box) / to.own.shape[1] + to.box[0] - window.box[0]
    rows = np.floor(rows * mask.shape[0] / boxes.height(window.box)).astype(int)
    columns = np.floor(columns * mask.shape[1] / boxes.width(window.box)).astype(int)
    inside = ((rows >= 0) & (rows < mask.shape[0]))[:, None] & ((columns >= 0) & (columns < mask.shape[1]))[None]
    return inside & mask[rows.clip(0, mask.shape[0] - 1)[:, None], columns.clip(0, mask.shape[1] - 1)[None]]


def _effect(kind: str, window: Window, found: Found, size: tuple[int, int]) -> Effect | None:
    """What was found, in the photo's pixels: as soft as a pixel of the window, and nowhere where somebody is seen."""
    shape = (boxes.height(window.box), boxes.width(window.box))
    mask = F.interpolate(torch.from_numpy(found.mask)[None, None].float(), size=shape, mode="bilinear")[0, 0]
    return effect_from_mask(kind, window.box, mask)


def _one_shadow(proposals: list[Proposal]) -> list[Proposal]:
    """The proposals for one person, with all that is shadow in one: its hard part and its soft end go together."""
    dark = [one for one in proposals if one.effect.kind == SHADOW]
    if len(dark) < 2:
        return proposals
    box = dark[0].effect.box
    for one in dark[1:]:
        box = boxes.union(box, one.effect.box)
    mask = torch.stack([boxes.placed(one.effect.mask, one.effect.box, box) for one in dark]).amax(0)
    whole = Proposal(dark[0].number, Effect(SHADOW, box, mask), max(one.sure for one in dark))
    return [one for one in proposals if one.effect.kind != SHADOW] + [whole]


def _same(effect: Effect, other: Effect) -> bool:
    """Whether most of the smaller of two effects of one person is the other one's."""
    shared = boxes.intersection(effect.box, other.box)
    if not boxes.area(shared):
        return False
    both = [boxes.cut(one.mask, boxes.inside(shared, one.box)).cpu() > VISIBLE for one in (effect, other)]
    least = min(int((one.mask > VISIBLE).sum()) for one in (effect, other))
    return int((both[0] & both[1]).sum()) > AGAIN * max(least, 1)
