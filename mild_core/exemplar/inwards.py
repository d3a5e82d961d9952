"""Make a first picture of the hole while noise still hides everything, ring by ring inwards from what is known."""

from dataclasses import replace

import torch
from torch import Tensor

from .effort import Spent, unnoticed
from .level import CONFIDENCE_DECAY, CONFIDENCE_FLOOR, Level, depth_inside, patch_weights
from .search import search_everywhere
from .vote import vote

RING = 2
"""Pixels by which the fill grows each time; less than the patch radius, so that each patch rests on what is there."""

UNSEEN = 1e-6
"""Weight, 0..1, of pixels that are not filled yet: the smooth fill that they hold would favour smooth patches."""


def grow_inwards(level: Level, spent: Spent = unnoticed) -> Tensor:
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
        ring = replace(level, confidence=confidence, weights=patch_weights(confidence, level.addresses, level.radius))
        source = search_everywhere(ring, picture, spent)
        voted = vote(ring, picture, source, ring.distance(ring.target_patches(picture), source))
        picture = torch.where(depth <= filled + RING, voted, picture)
    return picture
