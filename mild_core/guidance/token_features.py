"""Work out the token network's input: the relations and the poses of a photo's people, as numbers near 1."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..body.poses import JOINTS
from ..body.relations import OWN, PAIRS
from ..scene import Body, Morphology

EACH_JOINT = (
    "x in the photo",  # -1..1 along its longer side, 0 in the middle
    "y in the photo",
    "x on her",  # from the middle of the person's box, in halves of its longer side, u / (1 + |u|): bounded far outside
    "y on her",
    "confidence",
    "inferred",  # 1: nobody saw it
)
"""All of them times the joint's confidence, so that a joint fades out with it. Trained files store a version that is a
hash of these names (config.relations_version), so the names stay as they are.
"""

THIS = "this"
"""Whose layer it is: 1 for this person, 0 for the others; 0 for all on the background and for a whole photo."""

OWN_WIDTH = len(OWN) + 1 + JOINTS * len(EACH_JOINT)
PAIR_WIDTH = len(PAIRS)

FADE = 0.25
"""Share of the photo's longer side over which a joint outside the photo fades; farther out it counts for nothing."""


class People(NamedTuple):
    """The people of a photo as seen from one layer, or of several such, filled up to equal numbers with people
    of confidence 0."""

    own: Tensor  # [P, OWN_WIDTH] or [N, P, OWN_WIDTH]
    pairs: Tensor  # [P, P, PAIR_WIDTH] or [N, P, P, PAIR_WIDTH]: row = who, column = towards whom
    confidence: Tensor  # [P] or [N, P], 0..1: who has 0 counts as absent

    def to(self, device: torch.device | str) -> "People":
        """All of it there, in float32."""
        return People(*(part.to(device=device, dtype=torch.float32) for part in self))


def people_of(morphology: Morphology, number: int | None = None) -> People:
    """The people of a photo, [P, ...], as seen from the layer of the person `number` (None: nobody's)."""
    bodies = morphology.bodies
    device = morphology.own.device
    this = torch.tensor([[float(body.number == number)] for body in bodies], device=device).reshape(-1, 1)
    pose = [_pose(body, morphology.size).to(device) for body in bodies]
    joints = torch.stack(pose) if pose else morphology.own.new_zeros(0, JOINTS * len(EACH_JOINT))
    sure = torch.tensor([body.sure for body in bodies], device=device, dtype=torch.float32)
    return People(torch.cat([morphology.own, this, joints], -1), morphology.pairs, sure.clamp(0, 1))


def _pose(body: Body, size: tuple[int, int]) -> Tensor:
    """[JOINTS * len(EACH_JOINT)], float32; zeros where there is no pose."""
    if body.joints is None:
        return torch.zeros(JOINTS * len(EACH_JOINT))
    joints = body.joints.float()
    seen = torch.isfinite(joints).all(-1)
    points, confidence = joints[:, :2].nan_to_num(0, 0, 0), joints[:, 2].nan_to_num(0, 0, 0).clamp(0, 1)
    half = points.new_tensor([size[1] / 2, size[0] / 2])
    longest = max(size)
    from_middle = points - half
    outside = (from_middle.abs() - half).amax(-1).clamp(min=0) / longest
    sure = confidence * seen * (1 - outside / FADE).clamp(0, 1)
    in_photo = (from_middle / (longest / 2)).clamp(-2, 2)
    x0, y0, x1, y1 = body.box
    in_box = (points - points.new_tensor([(x0 + x1) / 2, (y0 + y1) / 2])) / (max(x1 - x0, y1 - y0, 1) / 2)
    in_box = in_box / (1 + in_box.abs())
    inferred = torch.zeros(JOINTS) if body.inferred is None else body.inferred.float()
    each = torch.cat([in_photo, in_box, torch.ones_like(sure)[:, None], inferred.to(points)[:, None]], -1)
    return (each * sure[:, None]).flatten()
