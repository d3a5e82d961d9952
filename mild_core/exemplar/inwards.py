"""A first picture of the hole while noise still hides everything: grown inwards ring by ring from what is known."""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .level import CONFIDENCE_DECAY, CONFIDENCE_FLOOR, Level, depth_inside
from .search import search_everywhere
from .vote import vote

RING = 2
"""Pixels by which the fill grows each time; less than the patch radius, so that each patch rests on what is there."""

UNSEEN = 1e-6
"""Weight of pixels that are not filled yet. Compared with the smooth fill they would favour smooth patches."""

PULL = 0.6
PULL_REACH = 0.025
PULL_WIDTH = 0.1
"""Share by which the fill, blurred by REACH short sides, moves towards the smooth guess; much less where they differ by
more than WIDTH (range -1..1): there they disagree about what is there, and a mixture would be a ghost."""


def grow_inwards(level: Level) -> Tensor:
    """Fill the unknown of a coarse level from its border inwards -> picture [3, h, w].

    The onion peel of Newson et al., "Video inpainting of complex scenes" (SIAM J. Imaging Sciences 2014), section 3.4:
    matching looks only at pixels that are known or filled already.
    """
    depth = depth_inside(level.unknown, max(level.size))
    picture = level.smooth
    for filled in range(0, int(depth.max()), RING):
        there = depth <= filled
        confidence = (CONFIDENCE_DECAY**-depth).clamp_min(CONFIDENCE_FLOOR)
        confidence = torch.where(there, confidence, UNSEEN)
        ring = replace(level, confidence=confidence, weights=level.weights_of(confidence))
        source = search_everywhere(ring, picture)
        voted = vote(ring, picture, source, ring.distance(ring.target_patches(picture), source))
        picture = torch.where(depth <= filled + RING, voted, picture)
    return _towards(level, picture, level.smooth)


def _towards(level: Level, picture: Tensor, smooth: Tensor) -> Tensor:
    """Move the broad light and colour of a fill [3, h, w] towards the smooth guess, which errs less there."""
    difference = smooth - picture
    difference = difference * torch.exp(-difference.square().sum(0) / (2 * PULL_WIDTH**2))
    spread = PULL_REACH * min(level.size)
    reach = math.ceil(3 * spread)
    window = torch.exp(-torch.arange(-reach, reach + 1, device=difference.device).square() / (2 * spread**2))
    window = window / window.sum()
    blurred = torch.where(level.unknown, difference, 0.0)[:, None]
    blurred = F.conv2d(F.pad(blurred, (reach, reach, 0, 0)), window.view(1, 1, 1, -1))
    blurred = F.conv2d(F.pad(blurred, (0, 0, reach, reach)), window.view(1, 1, -1, 1))[:, 0]
    return torch.where(level.unknown, picture + PULL * blurred, picture).clamp(-1, 1)
