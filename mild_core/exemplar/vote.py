"""From matched patches back to a picture: every pixel is a weighted mean of what the patches over it say."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .level import Level

SHIFT_LIMIT = 0.1
"""A copied patch is moved to the mean colour of what it replaces, at most so far (range -1..1): light falls off along a
wall, and no exemplar has just the right shade."""


DECISIVE_SPREAD = 0.15
DECISIVE_BANDWIDTH = 0.15
"""The last vote listens to patch centres and close matches nearly alone: means of many patches would be soft."""


def level_shift(level: Level, patches: Tensor, source: Tensor) -> Tensor:
    """Colour added to each source patch so that it sits at the level of its target [N, 3]."""
    difference = (patches - level.source_patches(source)).view(len(source), -1, 3)
    difference = torch.bmm(level.weights[:, None], difference)[:, 0]
    shift = difference.clamp(-SHIFT_LIMIT, SHIFT_LIMIT)
    if level.in_place is not None:  # its exposure was matched as a whole
        shift = shift * ~level.placed(source, level.targets)[:, None]
    return shift


def vote(level: Level, picture: Tensor, source: Tensor, distance: Tensor, decisive: bool = False) -> Tensor:
    """Rebuild the unknown pixels of a picture [3, h, w] from the targets' sources [N, 3] and their distances [N].

    A patch speaks the louder the closer it matched (bandwidth: the 75th percentile of the distances; Wexler, Shechtman
    and Irani, PAMI 2007, section 3.2), the nearer its centre is to known pixels, and the nearer to its own centre.
    The centre's window has a standard deviation of one radius, or less in a `decisive` vote.
    Summed offset by offset, always in the same order, so that the result does not depend on the device's scheduling.
    """
    shift = level_shift(level, level.target_patches(picture), source)
    every = max(1, len(distance) // 10_000)
    bandwidth = torch.quantile(distance[::every], 0.75).clamp_min(1e-6) * (DECISIVE_BANDWIDTH if decisive else 1)
    loudness = torch.exp(-distance / bandwidth).clamp_min(1e-8)
    loudness = loudness * level.confidence[level.targets[:, 0], level.targets[:, 1]]

    radius, (height, width) = level.radius, level.size
    # maps padded by the radius, so that centres beyond the picture's border read weight 0
    first = torch.zeros((height + 2 * radius, width + 2 * radius), dtype=torch.long, device=picture.device)
    weight = torch.zeros(first.shape, device=picture.device)
    shifts = torch.zeros((*first.shape, 3), device=picture.device)
    y, x = level.targets[:, 0] + radius, level.targets[:, 1] + radius
    first[y, x], weight[y, x], shifts[y, x] = level.first(source), loudness, shift
    first, weight, shifts = first.reshape(-1), weight.reshape(-1), shifts.reshape(-1, 3)

    pixels = level.unknown.nonzero()
    total = torch.zeros((len(pixels), 3), device=picture.device)
    mass = torch.zeros(len(pixels), device=picture.device)
    place = (pixels[:, 0] + radius) * level.row + pixels[:, 1] + radius
    spread = max(radius, 1) * (DECISIVE_SPREAD if decisive else 1)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            centre = place - dy * level.row - dx
            share = weight[centre] * math.exp(-(dy * dy + dx * dx) / (2 * spread * spread))
            inside = (dy + radius) * level.row + dx + radius
            total += share[:, None] * (F.embedding(first[centre] + inside, level.canvas) + shifts[centre])
            mass += share
    spoken = mass > 0
    pixels, total = pixels[spoken], (total / mass.clamp_min(1e-12)[:, None])[spoken]
    result = picture.clone()
    result[:, pixels[:, 0], pixels[:, 1]] = total.clamp(-1, 1).T
    return result
