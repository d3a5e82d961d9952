"""Infers joints that could not be seen, because somebody who goes stands in front of them.

Where a joint probably is follows from the joints that were seen and from statistics of people's poses: the conditional
mean and variance of a Gaussian over all joints (Bishop, "Pattern Recognition and Machine Learning" 2006, section
2.3.1), in which place and size are free. Its covariance holds how long limbs are, that one arm resembles the other
mirrored about the body's axis, that a limb goes on as it began. Then the masks decide: a joint that was not seen is
behind somebody who goes, or outside the photo, or the detector missed it on the person's own body; on bare ground it
is not.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ..image import boxes
from ..image.growth import VISIBLE
from ..scene import Box
from .body_shape import LIMBS, body_height
from .poses import (
    JOINTS,
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
    SEEN,
    seen,
)
from .standing_poses import poses

DOUBTFUL = 0.35
"""A joint on top of somebody erased that a detector gave with less confidence was guessed, or is the erased one's."""

LEAST_SEEN = 4
"""Fewer joints than this say nothing about a pose."""

MOST_CONFIDENCE = 0.5
"""An inferred joint was not seen: its confidence is never more."""

SPREAD = 0.07
"""Heights of the body: a joint whose place is uncertain by this much (standard deviation) loses 40 % of its
confidence.
"""

SEEN_NOISE = 0.02
"""Heights of the body by which detectors err (standard deviation) where they are sure."""

HEIGHT_NOISE = 0.2
"""Share by which the height read from the limbs may be off (standard deviation)."""

PLACE_VARIANCE = 1.0
"""Variance of the body's place, in squares of its height: large, because nothing is known of it."""

MISSED_ON_BODY = 0.3
MISSED_ON_GROUND = 0.05
"""How likely a joint goes unseen on the person's own visible body, and beside it; where somebody hides it, 1."""

STRETCH = 1.25
"""No limb is longer than this times its share of the height."""

UPRIGHT = 0.5
"""Cosine of the angle between trunk and vertical below which a body is rotated upright before it is compared."""

REACH, POINTS = 2.5, 17
"""The places that are tried: so many standard deviations to each side, in so many steps."""

ORDER = (
    *(NECK, R_SHOULDER, L_SHOULDER, R_HIP, L_HIP, NOSE, R_EYE, L_EYE, R_EAR, L_EAR),
    *(R_ELBOW, L_ELBOW, R_KNEE, L_KNEE, R_WRIST, L_WRIST, R_ANKLE, L_ANKLE),
)
"""From the trunk outwards: what was inferred helps to place the next joint."""

BETWEEN = {
    R_ELBOW: (R_SHOULDER, R_WRIST),
    L_ELBOW: (L_SHOULDER, L_WRIST),
    R_KNEE: (R_HIP, R_ANKLE),
    L_KNEE: (L_HIP, L_ANKLE),
}
"""Joints in the middle of a limb, and those at its ends."""

_BEFORE = {end: (start, share) for start, end, share, _, _ in LIMBS}
Area = tuple[Box, Tensor]


def with_hidden_joints(
    joints: Tensor, visible: Area, hiding: Sequence[Area], photo_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """A person's joints, with those that somebody erased hides, and which these are.

    joints [18, 3]: x, y in pixels of the photo, confidence 0..1, not finite or <= poses.SEEN where not seen; visible:
    box and mask [h, w], 0..1 or bool, of what is seen of the person; hiding: the same for everybody erased who may
    stand in front; photo_size: height and width. Returns joints [18, 3] and bool [18], both on the joints' device.
    Joints that were seen are the same to the bit, and so is everything where nothing can be inferred: fewer than
    LEAST_SEEN joints, or nobody erased where the others may be. Inferred ones lie within the `hiding` masks, outside
    `visible`, with a confidence in (poses.SEEN, MOST_CONFIDENCE] that falls with what had to be guessed; on `visible`
    lie only elbows and knees that lead to such a joint.
    """
    given = joints.detach().float().cpu()
    inferred = torch.zeros(JOINTS, dtype=torch.bool)
    places = _PhotoMasks(visible, hiding, photo_size)
    known = seen(given) & given.isfinite().all(1)
    if places.hiding:
        hidden, _, _ = places.at(torch.where(known[:, None], given[:, :2], -1.0))
        known &= ~(hidden & (given[:, 2] < DOUBTFUL))
    if not places.hiding or known.all() or known.sum() < LEAST_SEEN:
        return joints, inferred.to(joints.device)
    result = given.clone()
    result[~known, 2] = 0
    height = body_height(result)
    # Joints are correlated: half of them hold more than half of the information.
    sure = math.sqrt(float(result[:, 2].clamp(0, 1).mean()))
    noise = torch.full((JOINTS,), SEEN_NOISE)
    for joint in ORDER:
        if known[joint]:
            continue
        mean, deviation = _expected(result, noise, known, height, joint)
        found = places.hidden_place(mean, deviation, _limit(result, known, height, joint))
        if found is None:
            continue
        place, likely, spread = found
        confidence = MOST_CONFIDENCE * likely * sure * math.exp(-0.5 * (spread / height / SPREAD) ** 2)
        if confidence <= SEEN:
            continue
        result[joint] = torch.tensor([*place.tolist(), confidence])
        noise[joint] = max(spread / height, SEEN_NOISE)
        known[joint], inferred[joint] = True, True
    for joint, (start, end) in BETWEEN.items():
        if known[joint] or not (known[start] and inferred[end]):
            continue
        # Nobody hides it: it was missed on the person's own body. Without it nothing would connect the inferred wrist
        # or ankle with the body.
        mean, deviation = _expected(result, noise, known, height, joint)
        confidence = float(result[end, 2]) * math.exp(-0.5 * (float(deviation.mean()) / height / SPREAD) ** 2)
        if confidence > SEEN and bool(places.at(mean[None])[1]):
            result[joint] = torch.tensor([*mean.tolist(), confidence])
            known[joint], inferred[joint] = True, True
    inferred = inferred.to(joints.device)
    return torch.where(inferred[:, None], result.to(joints), joints), inferred


def _expected(joints: Tensor, noise: Tensor, known: Tensor, height: float, joint: int) -> tuple[Tensor, Tensor]:
    """Where a joint is expected (x, y) and the standard deviation there, in pixels, from those known [18]."""
    mean_pose, covariance = _poses_anywhere()
    turn = _turn(joints, known)
    which = known.nonzero()[:, 0]
    origin = joints[which, :2].mean(0)
    seen_at = ((joints[which, :2] - origin) @ turn.T / height).T  # [2, N]
    among = covariance[:, which[:, None], which] + torch.diag(noise[which].square())
    towards = covariance[:, which, joint]
    gain = torch.linalg.solve(among, towards[..., None])[..., 0]  # [2, N]
    mean = mean_pose[:, joint] + (gain * (seen_at - mean_pose[:, which])).sum(1)
    variance = (covariance[:, joint, joint] - (gain * towards).sum(1)).clamp_min(1e-6)
    spread = (turn.T.square() @ variance).sqrt() * height
    return turn.T @ mean * height + origin, spread


@lru_cache(maxsize=1)
def _poses_anywhere() -> tuple[Tensor, Tensor]:
    """Mean [2, 18] and covariance [2, 18, 18] of poses at any place, in units of a body height that is inexact."""
    model = poses()
    # An error of the height moves all joints along the mean pose; the body's place moves all alike.
    free = HEIGHT_NOISE**2 * model.mean[:, :, None] * model.mean[:, None, :] + PLACE_VARIANCE
    return model.mean, model.covariance + free


@lru_cache(maxsize=1)
def _offsets() -> tuple[Tensor, Tensor]:
    """The places that are tried [N, 2], in standard deviations, and the density of a Gaussian there [N]."""
    step = torch.linspace(-REACH, REACH, POINTS)
    offsets = torch.stack(torch.meshgrid(step, step, indexing="xy"), -1).flatten(0, 1)
    return offsets, torch.exp(-0.5 * offsets.square().sum(1))


def _turn(joints: Tensor, known: Tensor) -> Tensor:
    """The rotation [2, 2] that turns somebody who lies upright; none for whoever does not, or shows no trunk."""
    hips = [joint for joint in (R_HIP, L_HIP) if known[joint]]
    upright = torch.eye(2)
    if not known[NECK] or not hips:
        return upright
    up = joints[NECK, :2] - joints[hips, :2].mean(0)
    length = float(up.norm())
    if length < 1e-3 or -float(up[1]) / length > UPRIGHT:
        return upright
    x, y = (float(part) / length for part in up)
    return torch.tensor([[-y, x], [-x, -y]])  # takes (x, y) to (0, -1)


def _limit(joints: Tensor, known: Tensor, height: float, joint: int) -> tuple[Tensor, float] | None:
    """Where the limb that ends in this joint begins, and the pixels that it measures at most."""
    if joint not in _BEFORE or not known[_BEFORE[joint][0]]:
        return None
    start, share = _BEFORE[joint]
    return joints[start, :2], STRETCH * share * height


class _PhotoMasks:
    """What the masks say about places in the photo."""

    def __init__(self, visible: Area, hiding: Sequence[Area], photo_size: tuple[int, int]) -> None:
        self.visible = visible
        self.hiding = [area for area in hiding if boxes.area(area[0])]
        self.size = photo_size

    def at(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For points [N, 2] (x, y): whether somebody erased hides it, whether it lies on the person's visible mask,
        whether in the photo.
        """
        own = _within(self.visible, points)
        hidden = torch.zeros_like(own)
        for area in self.hiding:
            hidden |= _within(area, points)
        x, y = points.unbind(1)
        inside = (x >= 0) & (y >= 0) & (x < self.size[1]) & (y < self.size[0])
        return hidden & ~own & inside, own & inside, inside

    def hidden_place(
        self, mean: Tensor, deviation: Tensor, limit: tuple[Tensor, float] | None
    ) -> tuple[Tensor, float, float] | None:
        """The expected place (x, y) of an unseen joint if it is hidden, how likely it is hidden, 0..1, and how far,
        in pixels, it may be from there; None if it is more likely elsewhere.
        """
        offsets, weight = _offsets()
        points = mean + offsets * deviation
        if limit is not None:
            weight = weight * ((points - limit[0]).norm(dim=1) <= limit[1])
        hidden, own, inside = self.at(points)
        likely = weight * hidden
        mass = float(likely.sum())
        other = float((weight * ~inside).sum() + MISSED_ON_BODY * (weight * own).sum())
        bare = MISSED_ON_GROUND * float((weight * (inside & ~own & ~hidden)).sum())
        if mass <= other + bare:
            return None
        share = likely / mass
        place = (share[:, None] * points).sum(0)
        # The mean of a concave region may lie outside of it.
        if not bool(self.at(place[None])[0]):
            near = (points - place).square().sum(1)
            place = points[near.masked_fill(likely <= 0, torch.inf).argmin()]
        spread = float((share * (points - place).square().sum(1)).sum().div(2).sqrt())
        return place, mass / (mass + other + bare), spread


def _within(area: Area, points: Tensor) -> Tensor:
    """Which of the points [N, 2] (x, y) lie in a mask, bool on the CPU."""
    (x0, y0, x1, y1), mask = area
    if not bool(((points[:, 0] >= x0) & (points[:, 0] < x1)).any()):
        return torch.zeros(len(points), dtype=torch.bool)
    column, row = (points[:, axis].floor().long() - low for axis, low in ((0, x0), (1, y0)))
    inside = (column >= 0) & (row >= 0) & (column < x1 - x0) & (row < y1 - y0)
    result = torch.zeros(len(points), dtype=torch.bool)
    if inside.any():
        result[inside] = (mask[row[inside].to(mask.device), column[inside].to(mask.device)].float() > VISIBLE).cpu()
    return result
