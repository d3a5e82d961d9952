"""A photo looked at in parts: models that see a small picture of the whole miss small people."""

from collections.abc import Callable

from torch import Tensor

from ...image import boxes
from ...image.boxes import RealBox
from ...scene import Box
from ..found import Found, without_duplicates

OVERLAP = 0.25
"""Neighbouring parts share this much of their side, so that hardly anybody is cut by every part."""

KNOWN = 0.6
"""Somebody in a part is known already if her box and another's share this much of the smaller one: a part often shows
an arm or a head of somebody whom the look at the whole has found.
"""

CUT = 0.02
"""Nearer than this share of a part's longer side to a border inside the photo, people are taken to be cut by it."""


def parts(size: tuple[int, int], count: int) -> list[Box]:
    """The whole photo of this height and width, then, for count > 1, count x count overlapping parts of it."""
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


def find_in_parts(
    photo: Tensor, count: int, look: Callable[[Tensor], list[Found]], most_overlap: float, step: Callable[[], None]
) -> list[Found]:
    """Everyone whom `look` finds in photo [H, W, C] and, for count > 1, those whom it finds in parts of it only.

    most_overlap: see found.without_duplicates. step is called after each look.
    """
    size = (int(photo.shape[0]), int(photo.shape[1]))
    found: list[Found] = []
    for part in parts(size, count):
        here = without_duplicates(look(boxes.cut(photo, part)), most_overlap)
        if part != boxes.whole(size):
            here = [moved(one, part) for one in here if not _cut_off(one.box, part, size)]
            here = [one for one in here if all(boxes.share_of_smaller(one.box, other.box) < KNOWN for other in found)]
        found += here
        step()
    return found


def moved(one: Found, part: Box) -> Found:
    """Somebody found in a part, in the coordinates of the photo."""
    x, y = part[0], part[1]
    joints = one.joints
    if joints is not None:
        joints = joints.clone()
        joints[:, 0] += x
        joints[:, 1] += y
    mask_box = None if one.mask_box is None else boxes.outside(one.mask_box, part)
    box = (one.box[0] + x, one.box[1] + y, one.box[2] + x, one.box[3] + y)
    return one._replace(box=box, joints=joints, mask_box=mask_box)


def _cut_off(box: RealBox, part: Box, size: tuple[int, int]) -> bool:
    """Whether a border of the part that is none of the photo's cuts through the box (given in the part's pixels)."""
    near = CUT * max(boxes.width(part), boxes.height(part))
    left, top = part[0] > 0 and box[0] < near, part[1] > 0 and box[1] < near
    right = part[2] < size[1] and box[2] > boxes.width(part) - near
    below = part[3] < size[0] and box[3] > boxes.height(part) - near
    return left or top or right or below
