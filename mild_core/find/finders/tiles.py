"""Detection in overlapping tiles of a photo: models that get the whole photo at a small size miss small people."""

from collections.abc import Callable

from torch import Tensor

from ...image import boxes
from ...image.boxes import RealBox
from ...scene import Box
from ..found import Found, without_duplicates

OVERLAP = 0.25
"""Share of their side by which neighbouring tiles overlap, so that hardly anybody is cut by every tile."""

KNOWN = 0.6
"""Somebody in a tile is known already if their box and another's share this much of the smaller one: a tile often shows
an arm or a head of somebody who was found in the whole photo.
"""

CUT = 0.02
"""Share of a tile's longer side: people nearer than that to a border inside the photo are taken to be cut by it."""


def tile_boxes(size: tuple[int, int], count: int) -> list[Box]:
    """The whole photo of this height and width, then, for count > 1, count x count overlapping tiles of it."""
    height, width = size
    result: list[Box] = [(0, 0, width, height)]
    if count > 1:
        high, wide = (max(round(side / (count - (count - 1) * OVERLAP)), 1) for side in size)
        for row in range(count):
            for column in range(count):
                y = round(row * (height - high) / (count - 1))
                x = round(column * (width - wide) / (count - 1))
                result.append((x, y, x + wide, y + high))
    return result


def find_in_tiles(
    photo: Tensor, count: int, find: Callable[[Tensor], list[Found]], most_overlap: float, step: Callable[[], None]
) -> list[Found]:
    """Everyone whom `find` finds in photo [H, W, C] and, for count > 1, those whom it finds in tiles of it only.

    most_overlap: see found.without_duplicates. step is called after each run of `find`.
    """
    size = (int(photo.shape[0]), int(photo.shape[1]))
    found: list[Found] = []
    for tile in tile_boxes(size, count):
        here = without_duplicates(find(boxes.cut(photo, tile)), most_overlap)
        if tile != boxes.whole(size):
            here = [moved(one, tile) for one in here if not _cut_off(one.box, tile, size)]
            here = [one for one in here if all(boxes.share_of_smaller(one.box, other.box) < KNOWN for other in found)]
        found += here
        step()
    return found


def moved(one: Found, tile: Box) -> Found:
    """A detection in a tile, in the coordinates of the photo."""
    x, y = tile[0], tile[1]
    joints = one.joints
    if joints is not None:
        joints = joints.clone()
        joints[:, 0] += x
        joints[:, 1] += y
    mask_box = None if one.mask_box is None else boxes.outside(one.mask_box, tile)
    box = (one.box[0] + x, one.box[1] + y, one.box[2] + x, one.box[3] + y)
    return one._replace(box=box, joints=joints, mask_box=mask_box)


def _cut_off(box: RealBox, tile: Box, size: tuple[int, int]) -> bool:
    """Whether a border of the tile that is none of the photo's cuts through the box (given in the tile's pixels)."""
    near = CUT * max(boxes.width(tile), boxes.height(tile))
    left, top = tile[0] > 0 and box[0] < near, tile[1] > 0 and box[1] < near
    right = tile[2] < size[1] and box[2] > boxes.width(tile) - near
    below = tile[3] < size[0] and box[3] > boxes.height(tile) - near
    return left or top or right or below
