"""Assigns the skeletons of a photo to the people whose masks they lie on, each to one person at most.

The best assignment as a whole is taken (Kuhn 1955, as scipy solves it), so that somebody with one possible pose keeps
it though it fits a neighbour too. Confidences of joints are lowered where masks contradict them.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..image import boxes
from ..image.growth import VISIBLE, distance
from ..scene import Person
from .poses import (
    L_ANKLE,
    L_EAR,
    L_EYE,
    L_SHOULDER,
    NOSE,
    R_ANKLE,
    R_EAR,
    R_EYE,
    R_SHOULDER,
    Pose,
    pose_box,
    pose_distance,
    seen,
)

HEAD = [NOSE, R_EYE, L_EYE, R_EAR, L_EAR]
SHOULDERS = [R_SHOULDER, L_SHOULDER]
FEET = [R_ANKLE, L_ANKLE]

SIDE = 48
"""Cells along the longer side of the grid on which distances from a mask are measured."""

NEAR = 0.04
"""A joint this share of a person's size (square root of the box's area), plus NEAR_PIXELS, away from the mask counts
0.6 of one on it: masks miss rims, and end where somebody stands in front.
"""

NEAR_PIXELS = 1.5

IN_BOX = 0.3
"""What a joint counts that lies in the person's box, but not near the mask: something may be in front of it."""

BOX = 0.5
"""Weight of the intersection over union of both boxes, where all joints on the mask count 1: a mask that is a filled
box may hold the joints of a child as well as those of the adult behind the child.
"""

AROUND = 0.12
"""Share of a pose's longer side by which a body goes on beyond its joints. A mask that goes on farther, above a head
that the pose shows or below its feet, is somebody else's.
"""

LEAST_EXPLAINED = 0.65
"""Least factor for the share of a mask that lies within a pose's extent: masks may hold a shadow, or what somebody
carries.
"""

EXTENT_SIDE = 24
"""Cells along the longer side of the grid on which that share is counted."""

SAME = 0.1
"""Mean distance of joints, as a share of the size, below which a pose is the one that a person already has, the surer
the nearer.
"""

HIDDEN = 0.1
"""Weight of a joint off the person's mask as evidence against the match where somebody else is seen: it may be hidden
there. On bare ground it counts 1.
"""

LEAST = 0.55
"""A smaller share of a pose's joints, weighted as above, means that the pose is somebody else's."""

UNSURE = 0.1
"""A pose that fits its person better than anybody else who needs one by this much is assigned with a certainty of
0.73.
"""

SURE = 0.3
"""Joints from this confidence on are counted when two poses of one person are compared."""

ON_OTHER = 0.6
"""Factor on the confidence of a joint that lies on somebody else: hidden there, and guessed, or a mistake."""

FAR = 0.35
"""Beyond the person's box by this share of its longer side a joint is not theirs."""


class PoseMatch(NamedTuple):
    """The pose of one person."""

    joints: Tensor  # [18, 3]: x, y in pixels of the photo, confidence 0..1, on the CPU
    hands: Tensor | None  # [2, 21, 3]
    face: Tensor | None  # [70, 3]
    sure: float  # 0..1: how sure it is that this pose is the person's; multiplied into the confidences already
    pose: int | None  # its place in the list that was given; None: Person.joints


def valid_points(points: Tensor, size: tuple[int, int]) -> Tensor:
    """points [..., 3] (x, y in pixels of a photo of this height and width, confidence) on the CPU, float32.

    Whatever is not finite or lies outside the photo becomes 0, 0 with a confidence of 0; confidences lie in 0..1.
    """
    points = points.detach().to("cpu", torch.float32)
    x, y, _ = points.unbind(-1)
    good = points.isfinite().all(-1) & (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])
    result = torch.where(good[..., None], points, 0.0)
    result[..., 2].clamp_(0, 1)
    return result


def assign_poses(people: Sequence[Person], poses: Sequence[Pose]) -> tuple[list[PoseMatch | None], list[int]]:
    """The pose of each of these people of one photo (fitted to it), and the places of the poses that fit nobody.

    Person.joints count as a pose assigned already; a pose of `poses` that fits the person with more sure joints takes
    their place. Poses may hold any numbers: see valid_points.
    """
    if not people:
        return [], [index for index, pose in enumerate(poses) if seen(pose.joints).any()]
    size = people[0].size
    own = [None if person.joints is None else valid_points(person.joints, size) for person in people]
    given = [valid_points(pose.joints, size) for pose in poses]
    # A pose of which nothing lies in the photo is nobody's, and is not reported as such either.
    visible = [index for index, joints in enumerate(given) if seen(joints).any()]
    distances = _MaskDistances(people, [given[index] for index in visible])
    fits, share = _fits(people, distances, own)
    chosen = _chosen(fits)
    elsewhere = distances.on_others()
    matches: list[PoseMatch | None] = []
    for index, person in enumerate(people):
        place = chosen.get(index)
        match = None
        if place is not None:
            sure = float(share[index, place]) * _certainty(fits, chosen, index, place)
            away = distances.own(index, place)
            joints = _discounted(distances.joints[place], person, away, elsewhere[index, place], sure)
            pose = poses[visible[place]]
            hands, face = (
                None if part is None else _times_confidence(valid_points(part, size), sure)
                for part in (pose.hands, pose.face)
            )
            match = PoseMatch(joints, hands, face, sure, visible[place])
        mine = own[index]
        if mine is not None and seen(mine).any():
            before = _MaskDistances(people, [mine])
            joints = _discounted(mine, person, before.own(index, 0), before.on_others()[index, 0], 1.0)
            if match is None:
                match = PoseMatch(joints, None, None, 1.0, None)
            elif _count(joints) >= _count(match.joints):
                match = match._replace(joints=joints, sure=1.0, pose=None)
        matches.append(match)
    taken = set(chosen.values())
    return matches, [index for place, index in enumerate(visible) if place not in taken]


class _MaskDistances:
    """How far the joints of some poses are from the masks of some people."""

    def __init__(self, people: Sequence[Person], joints: Sequence[Tensor]):
        self.joints = list(joints)
        points = torch.cat([one[:, :2] for one in joints]) if joints else torch.zeros(0, 2)
        shape = (len(people), len(joints), 18)
        self.pixels = torch.stack([_from_mask(person, points) for person in people]).view(shape)
        self.tolerance = torch.tensor([_tolerance(person) for person in people])

    def own(self, person: int, pose: int) -> Tensor:
        """[18] distances of a pose's joints from a person's mask, in units of that person's tolerance."""
        return self.pixels[person, pose] / self.tolerance[person]

    def on_others(self) -> Tensor:
        """[people, poses, 18] bool: on the mask of somebody else."""
        on = self.pixels <= 0
        return on.sum(0, keepdim=True) > on.int()


def _tolerance(person: Person) -> float:
    """Pixels from the mask at which a joint counts 0.6."""
    return NEAR * math.sqrt(boxes.area(person.box)) + NEAR_PIXELS


def _from_mask(person: Person, points: Tensor) -> Tensor:
    """Distance in pixels of points [N, 2] (x, y) from the person's visible mask, 0 on it, infinite where it is many
    times the tolerance.
    """
    x0, y0, x1, y1 = person.box
    step = max(1, max(x1 - x0, y1 - y0) // SIDE)
    mask = (person.mask > VISIBLE).float()[None, None]
    cells = F.max_pool2d(mask, step, step, ceil_mode=True)[0, 0].cpu() > 0
    reach = math.ceil(3 * _tolerance(person) / step) + 1
    around = F.pad(cells, (reach, reach, reach, reach))
    apart = distance(around, reach) * step
    column = ((points[:, 0] - x0) / step).floor().long() + reach
    row = ((points[:, 1] - y0) / step).floor().long() + reach
    inside = (column >= 0) & (row >= 0) & (column < apart.shape[1]) & (row < apart.shape[0])
    result = torch.full((len(points),), torch.inf)
    result[inside] = apart[row[inside], column[inside]]
    return result.masked_fill(result > reach * step, torch.inf)


def _fits(people: Sequence[Person], distances: _MaskDistances, own: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    """How well each pose fits each person, [people, poses], 0 if not at all; and the share of its joints that does."""
    count = len(distances.joints)
    if not count:
        return torch.zeros(len(people), 0), torch.zeros(len(people), 0)
    joints = torch.stack(distances.joints)
    weight = joints[..., 2] * torch.stack([seen(one) for one in distances.joints])
    on = torch.exp(-0.5 * (distances.pixels / distances.tolerance[:, None, None]).square())
    sides = torch.tensor([person.box for person in people], dtype=torch.float32)[:, None, None]
    within = (joints[None, ..., :2] >= sides[..., :2]).all(-1) & (joints[None, ..., :2] < sides[..., 2:]).all(-1)
    on = torch.maximum(on, IN_BOX * within)
    elsewhere = distances.on_others()
    against = (1 - on) * torch.where(elsewhere, HIDDEN, 1.0)
    share = (on * weight).sum(-1) / ((on + against) * weight).sum(-1).clamp_min(1e-6)
    plain = (on * weight).sum(-1) / weight.sum(-1).clamp_min(1e-6)
    extents = torch.tensor([_body_extent(one) for one in distances.joints])
    share = share * torch.stack([_explained(person, extents) for person in people])
    around = [pose_box(one) for one in distances.joints]
    both = [[0.0 if box is None else boxes.iou(person.box, box) for box in around] for person in people]
    fits = plain + BOX * torch.tensor(both)
    for index, mine in enumerate(own):
        if mine is not None:
            for place, pose in enumerate(distances.joints):
                away = pose_distance(mine, pose)
                if away is not None and away < SAME:
                    fits[index, place] += 2 * (1 - away / SAME)
    return torch.where(share >= LEAST, fits, 0.0), share


def _body_extent(joints: Tensor) -> list[float]:
    """x0, y0, x1, y1 of where a body with these joints [18, 3] may be."""
    low_x, low_y, high_x, high_y = pose_box(joints, AROUND) or (-math.inf, -math.inf, math.inf, math.inf)
    known = seen(joints)
    # Where the pose ends because no more was seen, the body goes on.
    head, feet, sides = bool(known[HEAD].any()), bool(known[FEET].any()), bool(known[SHOULDERS].all())
    return [
        low_x if sides else -math.inf,
        low_y if head else -math.inf,
        high_x if sides else math.inf,
        high_y if feet else math.inf,
    ]


def _explained(person: Person, extents: Tensor) -> Tensor:
    """[poses]: the share of the visible mask that lies in each of extents [poses, 4], LEAST_EXPLAINED..1."""
    x0, y0, x1, y1 = person.box
    step = max(1, max(x1 - x0, y1 - y0) // EXTENT_SIDE)
    cells = (person.mask[::step, ::step] > VISIBLE).cpu().float()
    rows, columns = torch.arange(y0, y1, step), torch.arange(x0, x1, step)
    tall = ((rows >= extents[:, 1:2]) & (rows < extents[:, 3:])).float()
    wide = ((columns >= extents[:, :1]) & (columns < extents[:, 2:3])).float()
    inside = ((tall @ cells) * wide).sum(1)
    return (inside / cells.sum().clamp_min(1)).clamp_min(LEAST_EXPLAINED)


def _chosen(fits: Tensor) -> dict[int, int]:
    """The pose of each person who gets one: the assignment with the best sum."""
    from scipy.optimize import linear_sum_assignment

    table = fits.numpy().astype(np.float64)
    pairs = zip(*linear_sum_assignment(table, maximize=True), strict=True)
    return {int(person): int(pose) for person, pose in pairs if table[person, pose] > 0}


def _certainty(fits: Tensor, chosen: dict[int, int], person: int, pose: int) -> float:
    """0..1: how clearly a pose is this person's, and not that of somebody else who has no better one."""
    best = 0.0
    for other in range(len(fits)):
        has = float(fits[other, chosen[other]]) if other in chosen else 0.0
        if other != person and has < float(fits[other, pose]):
            best = max(best, float(fits[other, pose]))
    return 1.0 if not best else 1 / (1 + math.exp(-(float(fits[person, pose]) - best) / UNSURE))


def _discounted(joints: Tensor, person: Person, away: Tensor, elsewhere: Tensor, sure: float) -> Tensor:
    """The joints [18, 3] with confidences lowered by where they lie. away: distance from the person's mask, in
    tolerances; elsewhere: on another's mask.
    """
    x0, y0, x1, y1 = person.box
    x, y = joints[:, 0], joints[:, 1]
    beyond = torch.stack([x0 - x, x - x1, y0 - y, y - y1]).amax(0).clamp_min(0)
    reach = FAR * max(x1 - x0, y1 - y0) + NEAR_PIXELS
    factor = (1 - beyond / reach).clamp(0, 1)
    # On the person's own mask no confidence is lowered, wherever else the joint lies.
    on = away <= 1
    factor = torch.where(on, 1.0, factor)
    factor = torch.where(~on & elsewhere, ON_OTHER * factor, factor)
    result = joints.clone()
    result[:, 2] *= factor * sure
    return result


def _times_confidence(points: Tensor, sure: float) -> Tensor:
    return points * points.new_tensor([1.0, 1.0, sure])


def _count(joints: Tensor) -> int:
    return int((joints[:, 2] >= SURE).sum())
