"""Cross-domain attention gap (CAG): how much more a pathway looks at its own regions than at foreign ones.

The paper names the metric without giving an equation; this is this project's own: for source tokens i weighted by
membership, own regions O and foreign ones X,

    CAG = mean_i ( mass(i -> O) - mass(i -> X) )        in [-1, 1]; 1: nothing leaks
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from .regions import HOLE


def sides(regions: Sequence[str], own: str, ignored: Collection[str] = ()) -> tuple[list[int], list[int]]:
    """Indices of a pathway's own regions and of foreign ones: all but `own`, the hole and what is `ignored` (text,
    padding). Where there is nobody else, the hole itself counts as foreign: it shows whoever is to vanish, or nothing.
    """
    mine = [n for n, name in enumerate(regions) if name == own]
    foreign = [n for n, name in enumerate(regions) if name not in (own, HOLE, *ignored)]
    return mine, foreign or [n for n, name in enumerate(regions) if name == HOLE]


def gap(mass: Tensor, weights: Tensor, own: Sequence[int], foreign: Sequence[int]) -> Tensor:
    """[...]: CAG per head (and row) of mass [..., N, R].

    weights: [N], >= 0, how much each query counts (its membership in the hole, say). own, foreign: columns of mass.
    nan: not measured, because no query counts or because a region that counts was removed.
    """
    means = mean_mass(mass, weights).unbind(-1)
    zero = torch.zeros_like(means[0])
    return sum((means[n] for n in own), zero) - sum((means[n] for n in foreign), zero)


def mean_mass(mass: Tensor, weights: Tensor) -> Tensor:
    """[..., R], float32: the mass that the weighted mean query gives to each region; nan: not measured."""
    weights = weights.to(mass.device, torch.float32)
    # what does not count may be nan
    mass = mass.float().masked_fill((weights == 0)[:, None], 0)
    return torch.einsum("...nr,n->...r", mass, weights) / weights.sum()
