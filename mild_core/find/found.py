"""What a detector finds: boxes, joints or masks of one photo; the same person found twice is kept once."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..body.poses import seen
from ..scene import Box

FloatBox = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the photo, as detectors give it: with fractions, maybe beyond the border."""

SAME_POSE, LIKE_POSE = 0.1, 0.14
"""Joints nearer to each other than the first share of the person's size, on average, are one person's; nearer than the
second, if the boxes say so too.
"""

INSIDE = 0.6
"""A pose belongs to a box that holds this share of its joints..."""

FILLS = 0.12
"""...and of which it fills at least this share: a child before a grown-up has her own box, or none."""

MARGIN = 0.08
"""Joints may lie this share of the box's size outside of it."""


class Found(NamedTuple):
    """Somebody in one photo, as a detector saw her."""

    box: FloatBox
    score: float  # 0..1
    joints: Tensor | None = None  # [18, 3]: x, y in pixels of the photo, confidence 0..1
    mask: Tensor | None = None  # [h, w], 0..1, of mask_box: the detector's own mask, where it gives one
    mask_box: Box | None = None


def iou(first: FloatBox, second: FloatBox) -> float:
    """Shared area over united area, 0..1, of two boxes."""
    shared = _area(_shared(first, second))
    united = _area(first) + _area(second) - shared
    return shared / united if united > 0 else 0.0


def share_of_smaller(first: FloatBox, second: FloatBox) -> float:
    """Shared area over the area of the smaller box, 0..1."""
    smaller = min(_area(first), _area(second))
    return _area(_shared(first, second)) / smaller if smaller > 0 else 0.0


def without_duplicates(found: Sequence[Found], most_overlap: float) -> list[Found]:
    """Everyone once, best score first (non-maximum suppression).

    Two are one person if their boxes have an intersection over union above most_overlap (0..1). Where both have
    joints, these decide: in the same places, they are one person's; nearly so, if the boxes agree; the boxes of two
    who embrace may be nearly one, their joints are not.
    """
    kept: list[Found] = []
    for one in sorted(found, key=lambda one: -one.score):
        if not any(same_person(one, other, most_overlap) for other in kept):
            kept.append(one)
    return kept


def same_person(one: Found, other: Found, most_overlap: float) -> bool:
    """Whether two findings of one photo are one person: see without_duplicates."""
    if one.joints is not None and other.joints is not None:
        distance = pose_distance(one.joints, other.joints)
        if distance is not None:
            return distance < SAME_POSE or (distance < LIKE_POSE and iou(one.box, other.box) > most_overlap)
    return iou(one.box, other.box) > most_overlap


def pose_distance(one: Tensor, other: Tensor) -> float | None:
    """Mean distance of the joints that both [18, 3] have, as a share of the larger one's size; None if fewer than
    three are shared.
    """
    both = seen(one) & seen(other).to(one.device)
    if int(both.sum()) < 3:
        return None
    size = max(_extent(one), _extent(other), 1.0)
    return float((one[both, :2] - other.to(one.device)[both, :2]).norm(dim=-1).mean()) / size


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
                fills = _area(_shared(pose.box, one.box)) / max(_area(one.box), 1e-6)
                if share >= INSIDE and fills >= FILLS:
                    pairs.append((share + iou(one.box, pose.box), i, k))
    result, used = list(with_boxes), set()
    for _, i, k in sorted(pairs, reverse=True):
        if k not in used and result[i].joints is None:
            used.add(k)
            pose = with_poses[k]
            own = result[i]
            mask = (own.mask, own.mask_box) if own.mask is not None else (pose.mask, pose.mask_box)
            result[i] = own._replace(joints=pose.joints, mask=mask[0], mask_box=mask[1])
    return result + [pose for k, pose in enumerate(with_poses) if k not in used]


def clipped(box: FloatBox, size: tuple[int, int]) -> Box | None:
    """The box in whole pixels inside a photo of this height and width, at least one pixel; None if it lies outside
    or has no size.
    """
    x0, y0 = max(int(box[0] // 1), 0), max(int(box[1] // 1), 0)
    x1, y1 = min(int(-(-box[2] // 1)), size[1]), min(int(-(-box[3] // 1)), size[0])
    if x1 <= 0 or y1 <= 0 or x0 >= size[1] or y0 >= size[0] or box[0] >= box[2] or box[1] >= box[3]:
        return None
    return x0, y0, min(max(x1, x0 + 1), size[1]), min(max(y1, y0 + 1), size[0])


def _share_inside(joints: Tensor, box: FloatBox) -> float:
    """How many of the joints that are seen lie in the box, 0..1."""
    points = joints[seen(joints), :2]
    if not len(points):
        return 0.0
    margin = MARGIN * max(box[2] - box[0], box[3] - box[1])
    low = torch.tensor([box[0] - margin, box[1] - margin], device=points.device)
    high = torch.tensor([box[2] + margin, box[3] + margin], device=points.device)
    return float(((points >= low) & (points <= high)).all(-1).float().mean())


def _extent(joints: Tensor) -> float:
    """Longer side of the joints' box in pixels."""
    points = joints[seen(joints), :2]
    return float((points.amax(0) - points.amin(0)).max()) if len(points) else 0.0


def _shared(first: FloatBox, second: FloatBox) -> FloatBox:
    return max(first[0], second[0]), max(first[1], second[1]), min(first[2], second[2]), min(first[3], second[3])


def _area(box: FloatBox) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
