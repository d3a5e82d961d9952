"""A soft rule between what is painted and what is copied: sleeve from sleeve.

It is the attention engine's table of regions (attention.rule.Bias) on patches: with soft membership r and a table
L >= 0, a source patch j is charged r_i^T L r_j beside the squared colour distance to target i.

References (further photos, and the ground that a person stands on) show no part of her. They are charged what her own
patches are charged in the mean: the rule chooses between her patches, it does not drive her out of her own hole.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..fill import area_resize

MOST_CELLS = 100_000
"""Membership is kept at no more cells than this: where a sleeve begins is not known to the pixel."""


class Charges(NamedTuple):
    """Both sides of the rule as maps of one size; the charge is their product summed over the regions."""

    asked: Tensor  # [1, R, h, w]: r_i^T L of the pixels as targets
    shown: Tensor  # [1, R, h, w]: r_j of the pixels as sources
    mean: Tensor  # [R]: mean r_j of all pixels in regions that cost something


def charges(labels: Tensor, table: Tensor) -> Charges | None:
    """labels [1, 1, H, W]: number of the region that each pixel of a photo belongs to, 0..R-1; table [R, R], >= 0: the
    squared colour distance that a source of the column's region is charged for a target of the row's.

    None if no pair of regions that are there costs anything.
    """
    height, width = labels.shape[2:]
    step = max(1.0, (height * width / MOST_CELLS) ** 0.5)
    size = max(1, round(height / step)), max(1, round(width / step))
    small = F.interpolate(labels.float(), size=size, mode="nearest-exact")
    table = table.to(small)
    regions = torch.arange(len(table), device=labels.device).view(1, -1, 1, 1)
    shown = (small.round() == regions).float()
    asked = torch.einsum("ab,cahw->cbhw", table, shown)
    area = shown.sum((0, 2, 3))
    there = area > 0
    if not bool((table[there][:, there] > 0).any()):
        return None
    area = area * (table.sum(0) + table.sum(1) > 0)  # what costs nobody anything is not known to be of any part
    return Charges(asked, shown, area / area.sum())


class LevelCharges(NamedTuple):
    """The same on one level of the pyramid [h, w]."""

    asked: Tensor  # [h * w, R]
    shown: Tensor  # [h * w, R]
    mean: Tensor  # [R]
    width: int

    def of_targets(self, targets: Tensor) -> Tensor:
        """What each region costs targets [n, 2] (y, x) -> [n, R]."""
        return F.embedding(targets[:, 0] * self.width + targets[:, 1], self.asked)

    def of_sources(self, source: Tensor) -> Tensor:
        """Membership of sources [n, 3] (picture, y, x) -> [n, R]; a reference shows the mean."""
        own = F.embedding(source[:, 1] * self.width + source[:, 2], self.shown)
        return torch.where(source[:, :1] == 0, own, self.mean)


def at_size(rule: Charges | None, size: tuple[int, int]) -> LevelCharges | None:
    """The rule at a level's size."""
    if rule is None:
        return None
    asked, shown = (area_resize(side, size)[0].flatten(1).T.contiguous() for side in (rule.asked, rule.shown))
    return LevelCharges(asked, shown, rule.mean, size[1])
