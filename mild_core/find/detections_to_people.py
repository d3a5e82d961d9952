"""Detections become people: each person once, with the best mask that is known."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..body.body_shape import body_shape
from ..body.poses import pose_box, pose_score, seen
from ..image import boxes
from ..image.growth import VISIBLE
from ..scene import Box, Person
from .found import Found, clipped, same_person, with_joints, without_duplicates

FEW_JOINTS = 4
"""With fewer joints than this, the filled box is taken in place of a body drawn from them."""

LEAST_SIDE = 0.5
"""Pixels: boxes with a shorter side hold nobody: empty ones, or those around a single joint."""

LEAST_FILLED = 0.2
"""A body shape that fills less than this share of a detected box misses most of the person."""


class Limits(NamedTuple):
    """Which detections count."""

    most_overlap: float  # 0..1: boxes with a larger intersection over union are one person
    smallest: float  # 0..1: longer side of the smallest person, as a share of the photo's shorter side
    most: int  # people in a photo, best score first


def found_by_pose(joints: Tensor) -> Found | None:
    """Somebody of whom the joints [18, 3] are known; None if none was seen."""
    box = pose_box(joints)
    return None if box is None else Found(box, pose_score(joints), joints)


def everyone(
    given: Sequence[Found], poses: Sequence[Found], detected: Sequence[Found], most_overlap: float
) -> list[Found]:
    """Everyone in one photo once: those whose boxes were given, then those whose poses were, then the detector's own.

    A given box takes over the joints (and the mask) of the pose that belongs to it, also of one that was detected.
    most_overlap: see found.without_duplicates.
    """
    known = with_joints(without_duplicates(given, most_overlap), without_duplicates(poses, most_overlap))
    merged = with_joints(known, without_duplicates(detected, most_overlap))
    result = merged[: len(known)]
    more = merged[len(known) :]
    return result + [one for one in more if not any(same_person(one, other, most_overlap) for other in result)]


def inside(found: Sequence[Found], size: tuple[int, int], limits: Limits) -> tuple[list[Found], int]:
    """Those who lie in a photo of this height and width and within the limits, and how many do not."""
    least = limits.smallest * min(size)
    kept = []
    for one in found:
        box = clipped(one.box, size)
        sides = one.box[2] - one.box[0], one.box[3] - one.box[1]
        if box is not None and min(sides) >= LEAST_SIDE and max(boxes.width(box), boxes.height(box)) >= least:
            kept.append(one)
    best = sorted(range(len(kept)), key=lambda index: -kept[index].score)[: limits.most]
    return [kept[index] for index in sorted(best)], len(found) - min(len(kept), limits.most)


def person(
    one: Found, size: tuple[int, int], photo: int, mask: Tensor | None = None, box: Box | None = None
) -> Person | None:
    """The person, not numbered yet; None if no part of the mask lies in a photo of this height and width.

    mask [h, w], 0..1, and its box, where a mask was made; otherwise the best that is known (`best_shape`).
    """
    shape = best_shape(one, size) if mask is None or box is None else (mask, box)
    tight = None if shape is None else boxes.tight_box(shape[0] > VISIBLE)
    if shape is None or tight is None:
        return None
    own = boxes.cut(shape[0], tight).to(torch.float32, copy=True)
    whole = (int(size[0]), int(size[1]))
    return Person("", 0, photo, whole, boxes.outside(tight, shape[1]), own, joints=one.joints)


def best_shape(one: Found, size: tuple[int, int]) -> tuple[Tensor, Box] | None:
    """A mask [h, w], 0..1, and its box: the detector's own, else a body drawn from the joints, else the filled box."""
    if one.mask is not None and one.mask_box is not None:
        return one.mask, one.mask_box
    filled = filled_box(one, size)
    if one.joints is None or filled is None:
        return filled
    body = body_shape(one.joints, size)
    if body is None or int(seen(one.joints).sum()) < FEW_JOINTS:
        return filled
    return filled if float(body[0].sum()) < LEAST_FILLED * filled[0].numel() else body


def filled_box(one: Found, size: tuple[int, int]) -> tuple[Tensor, Box] | None:
    """The box as a mask of ones; None if it lies outside of a photo of this height and width."""
    box = clipped(one.box, size)
    return None if box is None else (torch.ones(boxes.height(box), boxes.width(box)), box)
