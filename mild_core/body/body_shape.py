"""A body drawn from its skeleton: a mask for a person of whom only the joints are known.

Limbs are capsules that taper from joint to joint, the trunk is the hull of shoulders and hips, the head an ellipse.
Widths are shares of the person's height; the height is read from the lengths of the limbs by the mean proportions of
an adult (Drillis and Contini 1966, segment lengths as shares of the stature): foreshortening only makes limbs shorter,
so the longest reading counts.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..image import boxes
from ..scene import Box
from .poses import (
    L_ANKLE,
    L_EAR,
    L_ELBOW,
    L_EYE,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    NECK,
    NOSE,
    R_ANKLE,
    R_EAR,
    R_ELBOW,
    R_EYE,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    pose_box,
    seen,
)

EARS, NOSE_TO_NECK = 0.088, 0.13
LARGEST_HEAD = 1.7
"""A child's head is up to this much larger, as a share of the height, than an adult's; the distances of the ears, and
of nose and neck, say how much.
"""

# from joint, to joint, its length and the radii at its two ends, all as shares of the body's height
LIMBS = (
    (R_SHOULDER, R_ELBOW, 0.186, 0.048, 0.039),
    (L_SHOULDER, L_ELBOW, 0.186, 0.048, 0.039),
    (R_ELBOW, R_WRIST, 0.146, 0.039, 0.030),
    (L_ELBOW, L_WRIST, 0.146, 0.039, 0.030),
    (R_HIP, R_KNEE, 0.245, 0.076, 0.053),
    (L_HIP, L_KNEE, 0.245, 0.076, 0.053),
    (R_KNEE, R_ANKLE, 0.246, 0.053, 0.037),
    (L_KNEE, L_ANKLE, 0.246, 0.053, 0.037),
)

# other distances of joints from which the height is read
LONG_SPANS = ((R_SHOULDER, L_SHOULDER, 0.24), (R_SHOULDER, R_HIP, 0.30), (L_SHOULDER, L_HIP, 0.30))

# read only where nothing long was seen: the error of a joint is a larger share of them
SHORT_SPANS = ((R_EYE, L_EYE, 0.036), (R_EAR, L_EAR, EARS), (NOSE, NECK, NOSE_TO_NECK))

THINNEST = 0.5
"""Pixels: nothing is drawn thinner than this to each side, or people far away would vanish between two pixels."""

HAND, HAND_RADIUS = 0.075, 0.032
FOOT, FOOT_RADIUS = 0.05, 0.041
TRUNK_RADIUS = 0.063
NECK_RADIUS = 0.052
HEAD_WIDTH, HEAD_HEIGHT = 0.058, 0.078
"""Half axes of the head, hair included. (All widths include clothes: what the mask misses would stay in the photo.)"""

HEAD_SPANS = ((R_EAR, L_EAR, EARS), (NOSE, NECK, NOSE_TO_NECK))
HEAD_JOINTS = (NOSE, R_EYE, L_EYE, R_EAR, L_EAR)


class Capsule(NamedTuple):
    """All points nearer to a line than a radius that changes from `first` to `second` along it."""

    start: Tensor  # [2]: x, y in pixels, as `end`
    end: Tensor
    first: float
    second: float


def body_shape(joints: Tensor, size: tuple[int, int]) -> tuple[Tensor, Box] | None:
    """The body of joints [18, 3] (x, y in pixels, confidence) in a photo of this height and width.

    Returns a mask [h, w], 0..1 with a soft edge of one pixel, and its box; None if nothing of it lies in the photo.
    Joints that were not seen (poses.seen) draw nothing.
    """
    around = pose_box(joints, 0.0)
    if around is None:
        return None
    height = body_height(joints)
    margin = (max(HAND, FOOT, 2 * HEAD_HEIGHT) + TRUNK_RADIUS) * height + 2
    place = boxes.grown(_outwards(around), margin, margin, size)
    if not boxes.area(place):
        return None
    canvas = torch.zeros(boxes.height(place), boxes.width(place), device=joints.device)
    corner = torch.tensor([place[0], place[1]], device=joints.device)
    for part in capsules(joints):
        _draw(canvas, part._replace(start=part.start - corner, end=part.end - corner))
    tight = boxes.tight_box(canvas)
    if tight is None:
        return None
    return boxes.cut(canvas, tight).clone(), boxes.outside(tight, place)


def capsules(joints: Tensor) -> list[Capsule]:
    """The body of joints [18, 3] (x, y in pixels, confidence) as capsules: limbs, hands and feet, trunk, head.

    Joints that were not seen (poses.seen) give none.
    """
    height = body_height(joints)
    points = joints[:, :2].float()
    known = [bool(one) for one in seen(joints)]
    parts = []
    for start, end, _, first, second in LIMBS:
        if known[start] and known[end]:
            parts.append(Capsule(points[start], points[end], first * height, second * height))
    for elbow, wrist, length, radius in (
        (R_ELBOW, R_WRIST, HAND, HAND_RADIUS),
        (L_ELBOW, L_WRIST, HAND, HAND_RADIUS),
        (R_KNEE, R_ANKLE, FOOT, FOOT_RADIUS),
        (L_KNEE, L_ANKLE, FOOT, FOOT_RADIUS),
    ):
        if known[elbow] and known[wrist]:
            along = points[wrist] - points[elbow]
            along = along / along.norm().clamp_min(1e-3)
            tip = points[wrist] + along * length * height
            parts.append(Capsule(points[wrist], tip, radius * height, radius * height))
    return parts + _trunk(points, known, height) + _head(points, known, height)


def body_height(joints: Tensor) -> float:
    """Pixels that the person of joints [18, 3] would measure upright; at least 1."""
    limbs = [(start, end, share) for start, end, share, _, _ in LIMBS]
    readings = _readings(joints, [*limbs, *LONG_SPANS]) or _readings(joints, SHORT_SPANS)
    if not readings:
        around = pose_box(joints, 0.0)
        return 1.0 if around is None else max(around[2] - around[0], around[3] - around[1], 1.0)
    # The longest but one: a single joint in a wrong place must not blow up the whole body.
    readings.sort()
    return max(readings[-2] if len(readings) > 2 else readings[-1], 1.0)


def _readings(joints: Tensor, spans: Sequence[tuple[int, int, float]]) -> list[float]:
    known = seen(joints)
    return [
        float((joints[start, :2] - joints[end, :2]).norm()) / share
        for start, end, share in spans
        if known[start] and known[end]
    ]


def _trunk(points: Tensor, known: list[bool], height: float) -> list[Capsule]:
    """Shoulders and hips, filled: bars between the two flanks, close enough to leave no gap."""
    flanks = [(R_SHOULDER, R_HIP), (L_SHOULDER, L_HIP)]
    whole = [(start, end) for start, end in flanks if known[start] and known[end]]
    radius = TRUNK_RADIUS * height
    if len(whole) == 2:
        length = max(float((points[start] - points[end]).norm()) for start, end in whole)
        count = max(2, math.ceil(length / radius) + 1)
        bars = []
        for index in range(count):
            share = index / (count - 1)
            ends = [points[start] + (points[end] - points[start]) * share for start, end in whole]
            bars.append(Capsule(ends[0], ends[1], radius, radius))
        return bars
    parts = [Capsule(points[start], points[end], 1.6 * radius, 1.6 * radius) for start, end in whole]
    for start, end in ((R_SHOULDER, L_SHOULDER), (R_HIP, L_HIP)):
        if known[start] and known[end]:
            parts.append(Capsule(points[start], points[end], radius, radius))
    return parts


def _head(points: Tensor, known: list[bool], height: float) -> list[Capsule]:
    """An ellipse along the line from neck to face, and the neck."""
    face = [points[joint] for joint in HEAD_JOINTS if known[joint]]
    if not face:
        return []
    # The ears are level with the middle of the head, the nose lies below and in front of it.
    ears = [points[joint] for joint in (R_EAR, L_EAR) if known[joint]]
    middle = torch.stack(ears if len(ears) == 2 else face).mean(0)
    up = middle - points[NECK] if known[NECK] else points.new_tensor([0.0, -1.0])
    distance = float(up.norm())
    up = up / distance if distance > 1e-3 else points.new_tensor([0.0, -1.0])
    parts = []
    if known[NECK]:
        parts.append(Capsule(points[NECK], middle, NECK_RADIUS * height, NECK_RADIUS * height))
    seen_spans = [span for span in HEAD_SPANS if known[span[0]] and known[span[1]]]
    readings = [float((points[one] - points[other]).norm()) / share for one, other, share in seen_spans]
    height = min(max([height, *readings]), LARGEST_HEAD * height)
    middle = middle + up * 0.02 * height
    half = (HEAD_HEIGHT - HEAD_WIDTH) * height
    radius = HEAD_WIDTH * height
    return [*parts, Capsule(middle - up * half, middle + up * half, radius, radius)]


def inside_by(part: Capsule, x: Tensor, y: Tensor) -> Tensor:
    """Pixels by which the points x [w], y [h, 1] lie inside a capsule (negative: outside) -> [h, w]."""
    first, second = max(part.first, THINNEST), max(part.second, THINNEST)
    share, distance = from_line(part.start.tolist(), part.end.tolist(), x, y)
    return first + share * (second - first) - distance


def from_line(start: Sequence[float], end: Sequence[float], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """For points x [w], y [h, 1]: at which share of the line from start to end (x, y) the place nearest to each lies,
    0..1, and how far away it is -> [h, w] both.
    """
    x, y = x - start[0], y - start[1]
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length = along_x**2 + along_y**2
    share = ((x * along_x + y * along_y) / length).clamp(0, 1) if length > 1e-6 else torch.zeros_like(x + y)
    return share, torch.hypot(x - share * along_x, y - share * along_y)


def _draw(canvas: Tensor, part: Capsule) -> None:
    radius = max(part.first, part.second, THINNEST) + 1
    ends = [float(value) for value in (*part.start, *part.end)]
    around = (
        math.floor(min(ends[0], ends[2]) - radius),
        math.floor(min(ends[1], ends[3]) - radius),
        math.ceil(max(ends[0], ends[2]) + radius) + 1,
        math.ceil(max(ends[1], ends[3]) + radius) + 1,
    )
    place = boxes.intersection(around, boxes.whole((int(canvas.shape[0]), int(canvas.shape[1]))))
    if not boxes.area(place):
        return
    x = torch.arange(place[0], place[2], device=canvas.device) + 0.5
    y = torch.arange(place[1], place[3], device=canvas.device)[:, None] + 0.5
    drawn = (0.5 + inside_by(part, x, y)).clamp(0, 1)
    under = boxes.cut(canvas, place)
    torch.maximum(under, drawn, out=under)


def _outwards(box: tuple[float, float, float, float]) -> Box:
    return math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
