"""People: masks cropped to their boxes, named and numbered, and fitted to photos of other sizes."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image import boxes
from ..image.blobs import without_specks
from ..image.growth import VISIBLE
from ..pairing import Size, number_ranges, stretched
from ..scene import Box, Effect, Person

SAME = 0.9
"""Two masks with a larger intersection over union are one mask given twice."""


def person_from_mask(mask: Tensor, photo: int = 0) -> Person | None:
    """A person (not numbered yet) from a full-size mask [H, W], 0..1, of photo number `photo` (from 0); None if it is
    empty.
    """
    box = boxes.tight_box(mask > VISIBLE)
    if box is None:
        return None
    # A copy: the crop must not keep the whole full-size mask alive.
    own = boxes.cut(mask, box).to(torch.float32, copy=True).clamp_(0, 1)
    return Person("", 0, photo, (int(mask.shape[0]), int(mask.shape[1])), box, own)


def cleaned_person(mask: Tensor, photo: int = 0) -> tuple[Person | None, int]:
    """person_from_mask, without the specks that lie away from the rest of the mask (blobs.without_specks), and how
    many those are: a single pixel in the sky would make the crop the whole photo, and a hole in the sky.
    """
    seen = mask > VISIBLE
    parts, specks = without_specks(seen)
    if not specks:
        return person_from_mask(mask, photo), 0
    stray = seen.clone()
    for box, shape in parts:
        boxes.cut(stray, box).logical_and_(~shape)
    return person_from_mask(mask.masked_fill(stray, 0), photo), specks


def people_from_blobs(mask: Tensor, photo: int = 0) -> tuple[list[Person], int]:
    """Every connected blob of mask [H, W], 0..1, is a person. Returns the people and how many specks were left out
    (blobs.without_specks).
    """
    parts, specks = without_specks(mask > VISIBLE)
    size = (int(mask.shape[0]), int(mask.shape[1]))
    people = []
    for box, shape in parts:
        own = boxes.cut(mask, box).float().clamp(0, 1) * shape
        people.append(Person("", 0, photo, size, box, own))
    return people, specks


def numbered(people: Sequence[Person], existing: Sequence[Person] = ()) -> list[Person]:
    """`existing` as they are, then `people`, going on after the highest number of `existing` in any photo: a number
    that was given in one photo means nobody new in another.

    Numbers go from left to right within each photo; whoever has a label keeps it as the number (counted on from the
    highest in the same way), because a label stands for the same person in every photo.
    """
    highest = max((person.number for person in existing), default=0)
    result = list(existing)
    for photo in sorted({person.photo for person in people}):
        labelled = sorted((p for p in people if p.photo == photo and p.labelled), key=lambda p: p.number)
        result += [_called(person, highest + person.number) for person in labelled]
        placed = [person for person in people if person.photo == photo and not person.labelled]
        # Box centres are compared in units of the photo's width: masks added later may have been made at another size.
        placed.sort(key=lambda p: ((p.box[0] + p.box[2]) / p.size[1], (p.box[1] + p.box[3]) / p.size[0]))
        result += [_called(person, number) for number, person in enumerate(placed, highest + 1)]
    return result


def _called(person: Person, number: int) -> Person:
    return person._replace(number=number, name=person.name or f"Person {number}")


def without_repeats(people: Sequence[Person], existing: Sequence[Person] = ()) -> list[Person]:
    """`people` without those whose mask is nearly another's, of `people` before them or of `existing`, in one photo.

    Nearly: an intersection over union above SAME. Masks that only overlap stay as they are: whoever stands in front
    is found out when the photo is split.
    """
    kept: list[Person] = []
    seen: list[tuple[Person, int]] = [(person, _pixels(person)) for person in existing]
    for person in people:
        area = _pixels(person)
        if not any(_same(person, area, *other) for other in seen):
            kept.append(person)
            seen.append((person, area))
    return kept


def _pixels(person: Person) -> int:
    return int((person.mask > VISIBLE).sum())


def _same(person: Person, area: int, other: Person, other_area: int) -> bool:
    """Whether the masks of two people, with this many visible pixels, are one mask given twice."""
    if person.photo != other.photo:
        return False
    if person.size != other.size:
        other = fitted(other, person.size)
        other_area = _pixels(other)
    place = boxes.intersection(person.box, other.box)
    # Masks share no more than their boxes do, which is quickly computed: 100 people make 5,000 pairs.
    if boxes.area(place) <= SAME * max(area, other_area):
        return False
    mine, theirs = (boxes.cut(one.mask, boxes.inside(place, one.box)) > VISIBLE for one in (person, other))
    shared = int((mine & theirs.to(mine.device)).sum())
    return shared > SAME * (area + other_area - shared)


def fitted(person: Person, size: tuple[int, int]) -> Person:
    """The person for a photo of this height and width: masks, effects and joints are scaled to it if they were made at
    another size.

    Hard masks stay hard (nearest), soft ones are interpolated. Only the masks' boxes are resampled, never a full-size
    mask. A person who would vanish between two pixels keeps one pixel.
    """
    size = (int(size[0]), int(size[1]))
    if person.size == size:
        return person
    box, mask = _resized(person.mask, person.box, person.size, size)
    tight = boxes.tight_box(mask > VISIBLE)
    if tight is None:
        tight, mask = (0, 0, 1, 1), mask.new_ones(mask.shape)
    fit = person._replace(size=size, box=boxes.outside(tight, box), mask=boxes.cut(mask, tight).clone())
    if person.joints is not None:
        scale = person.joints.new_tensor([size[1] / person.size[1], size[0] / person.size[0], 1.0])
        fit = fit._replace(joints=person.joints * scale)
    if person.hidden is not None and person.hidden_box is not None:
        hidden_box, hidden = _resized(person.hidden, person.hidden_box, person.size, size)
        fit = fit._replace(hidden=hidden, hidden_box=hidden_box)
    if person.effects:
        fit = fit._replace(effects=tuple(fitted_effect(effect, person.size, size) for effect in person.effects))
    return fit


def fitted_effect(effect: Effect, old: tuple[int, int], new: tuple[int, int]) -> Effect:
    """An effect of a photo of size `old` (height, width), for one of size `new`."""
    if tuple(old) == tuple(new):
        return effect
    box, mask = _resized(effect.mask, effect.box, old, new)
    return effect._replace(box=box, mask=mask)


def _resized(mask: Tensor, box: Box, old: tuple[int, int], new: tuple[int, int]) -> tuple[Box, Tensor]:
    """A mask [h, w] at `box` of a photo of size `old`, resampled for a photo of size `new`, with its box there."""
    scale_y, scale_x = new[0] / old[0], new[1] / old[1]
    x0, y0, x1, y1 = box
    place: Box = (
        min(math.floor(x0 * scale_x), new[1] - 1),
        min(math.floor(y0 * scale_y), new[0] - 1),
        min(max(math.ceil(x1 * scale_x), math.floor(x0 * scale_x) + 1), new[1]),
        min(max(math.ceil(y1 * scale_y), math.floor(y0 * scale_y) + 1), new[0]),
    )
    hard = bool(((mask == 0) | (mask == 1)).all())
    columns = (torch.arange(place[0], place[2], device=mask.device) + 0.5) / scale_x - x0
    rows = (torch.arange(place[1], place[3], device=mask.device) + 0.5) / scale_y - y0
    grid_x = columns / (x1 - x0) * 2 - 1
    grid_y = rows / (y1 - y0) * 2 - 1
    grid = torch.stack(torch.meshgrid(grid_y, grid_x, indexing="ij")[::-1], -1)[None]
    mode = "nearest" if hard else "bilinear"
    return place, F.grid_sample(mask[None, None].float(), grid.float(), mode=mode, align_corners=False)[0, 0]


def on_device(person: Person, device: torch.device) -> Person:
    """The person with all tensors on this device."""
    return person._replace(
        mask=person.mask.to(device),
        joints=None if person.joints is None else person.joints.to(device),
        hidden=None if person.hidden is None else person.hidden.to(device),
        effects=tuple(effect._replace(mask=effect.mask.to(device)) for effect in person.effects),
    )


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """mask [B, H, W], 0..1, at another height and width: hard ones by nearest pixels, soft ones smoothly."""
    if tuple(mask.shape[-2:]) == tuple(size):
        return mask
    hard = bool(((mask == 0) | (mask == 1)).all())
    if hard:
        return F.interpolate(mask[:, None].float(), size=tuple(size), mode="nearest-exact")[:, 0]
    return F.interpolate(mask[:, None].float(), size=tuple(size), mode="bilinear", antialias=True)[:, 0].clamp(0, 1)


def union_mask(people: Sequence[Person], size: tuple[int, int]) -> Tensor:
    """One mask [H, W], float32, 0..1, of all these people, for a photo of this height and width."""
    result = torch.zeros(tuple(size))
    for person in people:
        fit = fitted(person, size)
        under = boxes.cut(result, fit.box)
        torch.maximum(under, fit.mask.to(under), out=under)
    return result


def stretched_people(people: Sequence[Person], sizes: Sequence[Size], frame: str = "the photo") -> list[str]:
    """Sentences on people whose masks were made for a photo of another shape than theirs: `fitted` stretches them.

    sizes: height and width of each photo of the batch (people of further photos are left out); frame: what it is
    called. Empty where every shape is the same.
    """
    made: dict[tuple[int, Size], list[int]] = {}
    for person in people:
        if person.photo < len(sizes):
            made.setdefault((person.photo, person.size), []).append(person.number)
    lines = []
    for (photo, size), numbers in made.items():
        who = "mask of person" if len(numbers) == 1 else "masks of people"
        who += f" {number_ranges(numbers)}" + (f" in photo {photo + 1}" if len(sizes) > 1 else "")
        lines += stretched(who, [size], [sizes[photo]], frame)
    return lines


def photo_size(people: Sequence[Person], photo: int) -> tuple[int, int] | None:
    """Height and width that the masks of this photo's people were made for (the largest, if they differ); None if
    nobody is in it.
    """
    sizes = [person.size for person in people if person.photo == photo]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)
