"""Arithmetic on boxes (x0, y0, x1, y1), in pixels of the photo, x1 and y1 exclusive."""

from typing import TypeVar

import torch
from torch import Tensor

from ..scene import Box

RealBox = tuple[float, float, float, float]
"""The same with fractions: as detectors give it, maybe beyond the border, or in the pixels of a smaller copy."""

_N = TypeVar("_N", int, float)


def width(box: tuple[_N, _N, _N, _N]) -> _N:
    return box[2] - box[0]


def height(box: tuple[_N, _N, _N, _N]) -> _N:
    return box[3] - box[1]


def area(box: tuple[_N, _N, _N, _N]) -> _N:
    """Pixels in the box; 0 if it is empty."""
    return max(0, width(box)) * max(0, height(box))


def whole(size: tuple[int, int]) -> Box:
    """The box of a photo of this height and width."""
    return 0, 0, size[1], size[0]


def union(first: Box, second: Box) -> Box:
    """The smallest box that holds both."""
    return min(first[0], second[0]), min(first[1], second[1]), max(first[2], second[2]), max(first[3], second[3])


def intersection(first: tuple[_N, _N, _N, _N], second: tuple[_N, _N, _N, _N]) -> tuple[_N, _N, _N, _N]:
    """What both share; an area of 0 where they share nothing."""
    return max(first[0], second[0]), max(first[1], second[1]), min(first[2], second[2]), min(first[3], second[3])


def overlap(first: Box, second: Box) -> bool:
    return area(intersection(first, second)) > 0


def scaled(box: Box, size: tuple[int, int], to: tuple[int, int]) -> RealBox:
    """A box of a photo of `size` (height, width), in a copy of that photo of the size `to`."""
    down, across = to[0] / size[0], to[1] / size[1]
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def grown(box: Box, x: float, y: float, size: tuple[int, int]) -> Box:
    """The box grown by x pixels to the left and right and by y above and below, clipped to a photo of this size."""
    dx, dy = int(x + 0.999), int(y + 0.999)
    return intersection((box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy), whole(size))


def inside(box: Box, outer: Box) -> Box:
    """The same box in the coordinates of the crop `outer`."""
    return box[0] - outer[0], box[1] - outer[1], box[2] - outer[0], box[3] - outer[1]


def outside(box: Box, crop: Box) -> Box:
    """A box in the coordinates of `crop`, in those of the photo: what `inside` undoes."""
    return box[0] + crop[0], box[1] + crop[1], box[2] + crop[0], box[3] + crop[1]


def iou(first: RealBox, second: RealBox) -> float:
    """Shared area over united area, 0..1, of two boxes."""
    shared = area(intersection(first, second))
    united = area(first) + area(second) - shared
    return shared / united if united > 0 else 0.0


def share_of_smaller(first: RealBox, second: RealBox) -> float:
    """Shared area over the area of the smaller box, 0..1."""
    smaller = min(area(first), area(second))
    return area(intersection(first, second)) / smaller if smaller > 0 else 0.0


def cut(picture: Tensor, box: Box) -> Tensor:
    """The view of picture [H, W] or [H, W, C] under the box."""
    return picture[box[1] : box[3], box[0] : box[2]]


def placed(piece: Tensor, box: Box, crop: Box) -> Tensor:
    """piece [h, w], which lies at `box`, drawn on an empty canvas of the size of `crop`; what sticks out is cut off."""
    canvas = torch.zeros((height(crop), width(crop)), dtype=piece.dtype, device=piece.device)
    shared = intersection(box, crop)
    if area(shared):
        cut(canvas, inside(shared, crop)).copy_(cut(piece, inside(shared, box)))
    return canvas


def tight_box(mask: Tensor) -> Box | None:
    """The smallest box around what is not 0 in mask [H, W]; None if nothing is."""
    columns, rows = mask.any(0).nonzero(), mask.any(1).nonzero()
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
