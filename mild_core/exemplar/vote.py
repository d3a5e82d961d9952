"""Make a picture of matched patches: every pixel is a weighted mean of the patches over it."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .level import Level

SHIFT_LIMIT = 0.1
"""A copied patch is moved to the mean colour of what it replaces, at most so far (range -1..1): light falls off along a
wall, and no exemplar has just the right shade."""


DECISIVE_SPREAD = 0.15
DECISIVE_BANDWIDTH = 0.15
"""Standard deviation in patch radii, and bandwidth as a share of the usual one, of the last vote: patch centres and
close matches count nearly alone, because means of many patches would be soft.
"""


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

    A patch weighs the more the closer it matched (bandwidth: the 75th percentile of the distances; Wexler, Shechtman
    and Irani, PAMI 2007, section 3.2), the nearer its centre is to known pixels, and the nearer the pixel is to its
    centre. The centre's window has a standard deviation of one radius, or less in a `decisive` vote.
    Summed offset by offset, always in the same order, so that the result does not depend on the device's scheduling.
    """
    radius, (height, width) = level.radius, level.size
    # padded by the radius, as in `_votes`
    shifts = torch.zeros((height + 2 * radius, width + 2 * radius, 3), device=picture.device)
    shift = level_shift(level, level.target_patches(picture), source)
    shifts[level.targets[:, 0] + radius, level.targets[:, 1] + radius] = shift
    shifts = shifts.reshape(-1, 3)

    pixels = level.unknown.nonzero()
    total = torch.zeros((len(pixels), 3), device=picture.device)
    mass = torch.zeros(len(pixels), device=picture.device)
    for share, address, centre in _votes(level, pixels, source, distance, decisive):
        total += share[:, None] * (F.embedding(address, level.canvas) + shifts[centre])
        mass += share
    voted = mass > 0
    pixels, total = pixels[voted], (total / mass.clamp_min(1e-12)[:, None])[voted]
    result = picture.clone()
    result[:, pixels[:, 0], pixels[:, 1]] = total.clamp(-1, 1).T
    return result


def looked_at(level: Level, hole: Tensor, source: Tensor, distance: Tensor, decisive: bool = False) -> Tensor:
    """Where the hole looks when these votes are cast: [S, h, w], how much of its mean pixel comes from each pixel of
    each source picture; sum 1, or all 0 where nobody votes.

    It is attention over patches: a pixel is the mean of others, weighted by the votes. hole: [h, w], how much each
    pixel counts; the rest as in `vote`.
    """
    pixels = level.unknown.nonzero()
    pixels = pixels[hole[pixels[:, 0], pixels[:, 1]] > 0]
    mass = torch.zeros(len(pixels), device=hole.device)
    for share, _, _ in _votes(level, pixels, source, distance, decisive):
        mass += share
    weight = torch.where(mass > 0, hole[pixels[:, 0], pixels[:, 1]] / mass.clamp_min(1e-12), 0.0)
    seen = torch.zeros(len(level.canvas), device=hole.device)
    for share, address, _ in _votes(level, pixels, source, distance, decisive):
        seen.index_add_(0, address, share * weight)
    (height, width), radius = level.size, level.radius
    seen = seen.view(-1, height + 2 * radius, level.row)[:, radius : radius + height, radius : radius + width]
    return seen / seen.sum().clamp_min(1e-12)


def _votes(
    level: Level, pixels: Tensor, source: Tensor, distance: Tensor, decisive: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each of the pixels [n, 2], patch by patch over it and always in the same order: the weight of the patch [n],
    which pixel of the canvas it proposes [n], and which target it belongs to, as a place in maps padded by the radius.
    """
    every = max(1, len(distance) // 10_000)
    bandwidth = torch.quantile(distance[::every], 0.75).clamp_min(1e-6) * (DECISIVE_BANDWIDTH if decisive else 1)
    weights = torch.exp(-distance / bandwidth).clamp_min(1e-8)
    weights = weights * level.confidence[level.targets[:, 0], level.targets[:, 1]]

    radius, (height, width) = level.radius, level.size
    # maps padded by the radius, so that centres beyond the picture's border read weight 0
    first = torch.zeros((height + 2 * radius, width + 2 * radius), dtype=torch.long, device=distance.device)
    weight = torch.zeros(first.shape, device=distance.device)
    y, x = level.targets[:, 0] + radius, level.targets[:, 1] + radius
    first[y, x], weight[y, x] = level.first(source), weights
    first, weight = first.reshape(-1), weight.reshape(-1)

    place = (pixels[:, 0] + radius) * level.row + pixels[:, 1] + radius
    spread = max(radius, 1) * (DECISIVE_SPREAD if decisive else 1)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            centre = place - dy * level.row - dx
            share = weight[centre] * math.exp(-(dy * dy + dx * dx) / (2 * spread * spread))
            inside = (dy + radius) * level.row + dx + radius
            yield share, first[centre] + inside, centre
