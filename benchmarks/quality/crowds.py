"""Crowds of people cut out of photos, each with the pose that a detector saw of the person alone: whose joint is whose
is known, of hidden joints too.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mild.benchmarks.quality.order import LEAST_SEEN, visible
from mild.benchmarks.shared import cutouts, scenes

SIZE = (480, 720)
CROWD = 12
"""People laid over one another; whoever is seen too little of drops out."""


class Photo(NamedTuple):
    name: str
    image: NDArray[np.float32]  # [H, W, 3]
    masks: NDArray[np.bool_]  # [N, H, W]
    poses: list[Tensor] | None  # true joints [18, 3] of each, if known


def crowds_of(corpus: Path, count: int, look: Callable) -> Iterator[Photo]:
    """Crowds of people on a common ground, each with the pose that the detector saw of the person alone."""
    rng = random.Random(2)
    names = cutouts.clean_cutout_names(corpus)
    known: dict[str, Tensor | None] = {}
    for number in range(count):
        placements = []
        for name in rng.sample(names, CROWD):
            feet = rng.uniform(0.5, 1.1)
            height = 0.7 * feet * rng.uniform(0.8, 1.2)
            placements.append(scenes.Placement(name, rng.uniform(0.05, 0.95), feet, height, False))
        placements.sort(key=lambda placement: placement.feet)
        layers, poses = [], []
        image = np.full((*SIZE, 3), 0.5, np.float32)
        for placement in placements:
            cutout = cutouts.load_cutout(corpus / placement.cutout)
            if placement.cutout not in known:
                known[placement.cutout] = alone(cutout, look)
            joints = known[placement.cutout]
            layer = scenes.place(cutout, placement, SIZE)
            if joints is not None and (layer[..., 3] > 0.5).any():
                image = image * (1 - layer[..., 3:]) + layer[..., :3]
                layers.append(layer[..., 3] > 0.5)
                poses.append(moved(joints, cutout, placement))
        shown = seen_enough(layers)
        yield Photo(f"crowd {number + 1}", image, visible(layers), [poses[place] for place in shown])


def alone(cutout: cutouts.Cutout, look: Callable) -> Tensor | None:
    """The joints that the detector sees of a cut-out on grey, in shares of its sides; None if it sees nobody."""
    picture = cutout.rgb * cutout.alpha[..., None] + 0.5 * (1 - cutout.alpha[..., None])
    margin = max(picture.shape[:2]) // 8
    wide = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), constant_values=0.5)
    found = max(look(torch.from_numpy(wide.astype(np.float32))), key=lambda one: one.score, default=None)
    if found is None:
        return None
    joints = found.joints.clone()
    joints[:, 0] = (joints[:, 0] - margin) / picture.shape[1]
    joints[:, 1] = (joints[:, 1] - margin) / picture.shape[0]
    return joints


def moved(joints: Tensor, cutout: cutouts.Cutout, placement: scenes.Placement) -> Tensor:
    """Joints in shares of a cut-out, where scenes.place puts it in the crowd."""
    height, width = SIZE
    tall = max(8, round(placement.height * height))
    wide = max(4, round(tall * cutout.alpha.shape[1] / cutout.alpha.shape[0]))
    left = round(placement.x * width - wide / 2)
    left = max(1, min(left, width - 1 - wide)) if wide + 2 <= width else left
    top = round(placement.feet * height) - tall
    return joints * torch.tensor([wide, tall, 1.0]) + torch.tensor([left, top, 0.0])


def seen_enough(whole: list[NDArray[np.bool_]]) -> list[int]:
    """The places of those whom order.visible keeps, in its order."""
    kept, covered = [], np.zeros(SIZE, bool)
    for place in reversed(range(len(whole))):
        shown = whole[place] & ~covered
        covered |= whole[place]
        if whole[place].any() and shown.sum() >= LEAST_SEEN * whole[place].sum():
            kept.append(place)
    return kept[::-1]
