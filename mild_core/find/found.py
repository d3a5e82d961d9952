"""What a detector finds: boxes, joints or masks of one photo; the same person found twice is kept once."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..body.poses import pose_distance, seen
from ..image import boxes
from ..image.boxes import RealBox
from ..scene import Box

SAME_POSE, LIKE_POSE = 0.1, 0.14
"""Joints nearer to each other than the first share of the person's size, on average, are one person's; nearer than the
second, if the boxes overlap enough too.
"""

INSIDE = 0.6
"""A pose belongs to a box that holds this share of its joints..."""

FILLS = 0.12
"""...and of which it fills at least this share: a child in front of an adult has a box of its own, or none."""

MARGIN = 0.08
"""Joints may lie this share of the box's size outside of it."""


class Found(NamedTuple):
    """One detected person of one photo."""

    box: RealBox
    score: float  # 0..1
    joints: Tensor | None = None  # [18, 3]: x, y in pixels of the photo, confidence 0..1
    mask: Tensor | None = None  # [h, w], 0..1, of mask_box: the detector's own mask, where it gives one
    mask_box: Box | None = None


def without_duplicates(found: Sequence[Found], most_overlap: float) -> list[Found]:
    """Everyone once, best score first (non-maximum suppression).

    Two are one person if their boxes have an intersection over union above most_overlap (0..1). Where both have
    joints, these decide: in the same places, they are one person's; in nearly the same, if the boxes agree. The boxes
    of two people who embrace may nearly coincide, their joints do not.
    """
    kept: list[Found] = []
    for one in sorted(found, key=lambda one: -one.score):
        if not any(same_person(one, other, most_overlap) for other in kept):
            kept.append(one)
    return kept


def same_person(one: Found, other: Found, most_overlap: float) -> bool:
    """Whether two detections of one photo are one person: see without_duplicates."""
    if one.joints is not None and other.joints is not None:
        distance = pose_distance(one.joints, other.joints)
        if distance is not None:
            return distance < SAME_POSE or (distance < LIKE_POSE and boxes.iou(one.box, other.box) > most_overlap)
    return boxes.iou(one.box, other.box) > most_overlap


def with_joints(with_boxes: Sequence[Found], with_poses: Sequence[Found]) -> list[Found]:
    """Each box with the pose that belongs to it, then the poses that belong to no box.

    A pose belongs to a box if most of its joints lie inside and it fills enough of it. Best pairs first, one pose for
    each box and one box for each pose.
    """
    pairs = []
    for i, one in enumerate(with_boxes):
        for k, pose in enumerate(with_poses):
            if one.joints is None and pose.joints is not None:
                share = _share_inside(pose.joints, one.box)
                fills = boxes.area(boxes.intersection(pose.box, one.box)) / max(boxes.area(one.box), 1e-6)
                if share >= INSIDE and fills >= FILLS:
                    pairs.append((share + boxes.iou(one.box, pose.box), i, k))
    result, used = list(with_boxes), set()
    for _, i, k in sorted(pairs, reverse=True):
        if k not in used and result[i].joints is None:
            used.add(k)
            pose = with_poses[k]
            own = result[i]
            mask = (own.mask, own.mask_box) if own.mask is not None else (pose.mask, pose.mask_box)
            result[i] = own._replace(joints=pose.joints, mask=mask[0], mask_box=mask[1])
    return result + [pose for k, pose in enumerate(with_poses) if k not in used]


def clipped(box: RealBox, size: tuple[int, int]) -> Box | None:
    """The box in whole pixels inside a photo of this height and width, at least one pixel; None if it lies outside
    or has no size.
    """
    x0, y0 = max(int(box[0] // 1), 0), max(int(box[1] // 1), 0)
    x1, y1 = min(int(-(-box[2] // 1)), size[1]), min(int(-(-box[3] // 1)), size[0])
    if x1 <= 0 or y1 <= 0 or x0 >= size[1] or y0 >= size[0] or box[0] >= box[2] or box[1] >= box[3]:
        return None
    return x0, y0, min(max(x1, x0 + 1), size[1]), min(max(y1, y0 + 1), size[0])


def _share_inside(joints: Tensor, box: RealBox) -> float:
    """How many of the joints that are seen lie in the box, 0..1."""
    points = joints[seen(joints), :2]
    if not len(points):
        return 0.0
    margin = MARGIN * max(box[2] - box[0], box[3] - box[1])
    low = torch.tensor([box[0] - margin, box[1] - margin], device=points.device)
    high = torch.tensor([box[2] + margin, box[3] + margin], device=points.device)
    return float(((points >= low) & (points <= high)).all(-1).float().mean())
