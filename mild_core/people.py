"""Masks become people: cropped to their boxes, named and numbered from left to right in their photo."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from . import boxes
from .blobs import blobs
from .growth import VISIBLE
from .scene import Box, Person

SMALLEST_SHARE = 2e-5
SMALLEST_PIXELS = 4
"""Blobs below this share of the photo, or this many pixels, are specks of a brush or of a compressed mask, not people.
"""

SAME = 0.9
"""Two masks with a larger intersection over union are one mask given twice."""

MOST_LABELS = 255


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


def people_from_blobs(mask: Tensor, photo: int = 0) -> tuple[list[Person], int]:
    """Every connected blob of mask [H, W], 0..1, is a person. Returns the people and how many specks were ignored."""
    # A photo of a few pixels has nothing but specks; there the largest blob counts all the same.
    large, specks = blobs(mask > VISIBLE, max(SMALLEST_PIXELS, SMALLEST_SHARE * mask.numel()))
    size = (int(mask.shape[0]), int(mask.shape[1]))
    people = []
    for box, shape in large:
        own = boxes.cut(mask, box).float().clamp(0, 1) * shape
        people.append(Person("", 0, photo, size, box, own))
    return people, specks


def people_from_labels(image: Tensor, photo: int = 0) -> list[Person]:
    """Every distinct grey value or colour of image [H, W] or [H, W, C], 0..1, but for black, is a person.

    Values are compared as 8-bit levels, as a PNG holds them. Raises ValueError for more than 255 of them.
    """
    channels = image[..., None] if image.ndim == 2 else image[..., :3]
    levels = (channels.clamp(0, 1) * 255).round().to(torch.int64)
    code = levels[..., 0]
    for channel in range(1, levels.shape[-1]):
        code = code * 256 + levels[..., channel]
    values = [int(value) for value in torch.unique(code) if value != 0]
    if len(values) > MOST_LABELS:
        raise ValueError(
            f"masks: the label image has {len(values)} different colours, {MOST_LABELS} at most can be people. "
            "Save it as PNG without smoothing (JPEG and resizing make new colours), or use 'separate blobs'."
        )
    return [person for value in values if (person := person_from_mask((code == value).float(), photo)) is not None]


def numbered(people: Sequence[Person], existing: Sequence[Person] = ()) -> list[Person]:
    """`existing` as they are, then `people`, numbered left to right within each photo, going on after the existing
    numbers.
    """
    result = list(existing)
    for photo in sorted({person.photo for person in people}):
        highest = max((person.number for person in existing if person.photo == photo), default=0)
        new = [person for person in people if person.photo == photo]
        # Box centres are compared in units of the photo's width: masks added later may have been made at another size.
        new.sort(key=lambda p: ((p.box[0] + p.box[2]) / p.size[1], (p.box[1] + p.box[3]) / p.size[0]))
        for number, person in enumerate(new, highest + 1):
            result.append(person._replace(number=number, name=person.name or f"Person {number}"))
    return result


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
    # Masks share no more than their boxes do, which is quickly told: 100 people make 5,000 pairs.
    if boxes.area(place) <= SAME * max(area, other_area):
        return False
    mine, theirs = (boxes.cut(one.mask, boxes.inside(place, one.box)) > VISIBLE for one in (person, other))
    shared = int((mine & theirs.to(mine.device)).sum())
    return shared > SAME * (area + other_area - shared)


def fitted(person: Person, size: tuple[int, int]) -> Person:
    """The person for a photo of this height and width: her masks and joints are brought to it if they were made at
    another size.

    Hard masks stay hard (nearest), soft ones are interpolated. Only her boxes are touched, never a full-size mask. A
    person who would vanish between two pixels keeps one pixel.
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
    return fit


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
    """The person with all her tensors on this device."""
    return person._replace(
        mask=person.mask.to(device),
        joints=None if person.joints is None else person.joints.to(device),
        hidden=None if person.hidden is None else person.hidden.to(device),
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


def photo_size(people: Sequence[Person], photo: int) -> tuple[int, int] | None:
    """Height and width that the masks of this photo's people were made for (the largest, if they differ); None if
    nobody is in it.
    """
    sizes = [person.size for person in people if person.photo == photo]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)
