"""The surroundings of one person at a small scale: what the proposals of effects look at."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from ..image import boxes
from ..image.fill import area_resize
from ..image.growth import VISIBLE
from ..scene import Box, Person

Map = NDArray[np.float32]
Marks = NDArray[np.bool_]

FEET = 0.15
"""Share of a person's height, from below: what of the lower part of a mask may stand on the ground. Seen from above, or
while walking, one foot is higher than the other.
"""

CUT_OFF = 0.01
"""A mask that ends within this share of the photo's height above its lower border goes on below it: no feet are
seen.
"""

TOUCHED = 0.02
"""Share of a small pixel that somebody covers, from which its colour is no longer the surroundings'."""


class Window(NamedTuple):
    """A part of the photo around one person, made smaller. All maps are [h, w]."""

    box: Box  # in pixels of the photo
    size: tuple[int, int]  # height and width of the photo
    colours: Map  # [h, w, 3], 0..1
    own: Marks  # where the person is seen
    others: Marks  # where somebody else is seen
    feet: Marks  # where the person may touch the ground; empty where the photo's border cuts the person off
    other_feet: Marks  # the same of everybody else
    unit: float  # the longer side of the person's box, in pixels of this window

    @property
    def anyone(self) -> Marks:
        return self.own | self.others


class Found(NamedTuple):
    """An effect in a window's pixels."""

    mask: Marks  # [h, w]
    sure: float  # 0..1; 0.5: it has just passed the tests


def certainty(*margins: float) -> float:
    """0..1, of the least of several margins: how many times as much as is asked for was found; 1 gives 0.5."""
    return min(max(margin, 0.0) / (1 + max(margin, 0.0)) for margin in margins)


def feet_of(person: Person) -> tuple[Box, Tensor] | None:
    """The lower part of a mask, bool, with its box; None for somebody whom the lower border of the photo cuts off."""
    x0, _, x1, y1 = person.box
    if y1 >= person.size[0] - max(2.0, CUT_OFF * person.size[0]):
        return None
    rows = max(2, round(FEET * boxes.height(person.box)))
    place = (x0, max(person.box[1], y1 - rows), x1, y1)
    return place, boxes.cut(person.mask > VISIBLE, boxes.inside(place, person.box))


def window_of(
    photo: Tensor, people: Sequence[Person], number: int, work: int, margins: tuple[float, float, float]
) -> Window:
    """The window around people[number] (fitted to photo [H, W, 3], on the CPU).

    work: pixels of the longer side of the person's box; nothing is enlarged. margins: what is shown at either side,
    above and below, in units of that side.
    """
    size = (int(photo.shape[0]), int(photo.shape[1]))
    person = people[number]
    x0, y0, x1, y1 = person.box
    longer = max(x1 - x0, y1 - y0)
    across, above, below = (round(share * longer) for share in margins)
    box = boxes.intersection((x0 - across, y0 - above, x1 + across, y1 + below), boxes.whole(size))
    scale = min(1.0, work / longer)
    small = (max(1, round(boxes.height(box) * scale)), max(1, round(boxes.width(box) * scale)))
    colours = area_resize(boxes.cut(photo, box).movedim(-1, 0)[None].float(), small)[0].movedim(0, -1)
    everyone = {index for index, other in enumerate(people) if boxes.overlap(other.box, box)}
    feet = {index: feet_of(people[index]) for index in everyone}

    def drawn(which: set[int], only_feet: bool = False) -> Marks:
        canvas = torch.zeros((boxes.height(box), boxes.width(box)))
        for index in which:
            part = feet[index] if only_feet else (people[index].box, people[index].mask > VISIBLE)
            shared = (0, 0, 0, 0) if part is None else boxes.intersection(part[0], box)
            if part is not None and boxes.area(shared):
                under = boxes.cut(canvas, boxes.inside(shared, box))
                torch.maximum(under, boxes.cut(part[1], boxes.inside(shared, part[0])).float(), out=under)
        return area_resize(canvas[None, None], small)[0, 0].numpy() > TOUCHED

    rest = everyone - {number}
    return Window(
        box=box,
        size=size,
        colours=np.ascontiguousarray(colours.numpy().clip(0, 1)),
        own=drawn({number}),
        others=drawn(rest),
        feet=drawn({number}, only_feet=True),
        other_feet=drawn(rest, only_feet=True),
        unit=longer * scale,
    )


def distance(marks: Marks) -> Map:
    """Distance in pixels to the nearest marked one; very far where nothing is marked."""
    if not marks.any():
        return np.full(marks.shape, 1e6, np.float32)
    return np.asarray(distance_transform_edt(~marks), dtype=np.float32)


def blurred(values: Map, known: Marks, sigma: float) -> Map:
    """values [h, w] or [h, w, C], averaged with Gaussian weights over the known pixels alone."""
    weight = np.maximum(gaussian_filter(known.astype(np.float32), sigma), 1e-3)
    if values.ndim == 2:
        return gaussian_filter(values * known, sigma) / weight
    return np.stack([blurred(values[..., channel], known, sigma) for channel in range(values.shape[-1])], -1)
