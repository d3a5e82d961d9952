"""How much work the denoiser has at a noise level, said before it begins, and how much of it is done.

The unit is one patch compared with another by reading both from memory. What everything else costs in that unit was
measured on one core of a CPU; only the ratio of one step to another follows from it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from .level import PATCH_RADIUS, Level

MATRIX_PAIR = 0.012
"""A target and a source compared by matrix product, as the exhaustive search does."""

VOTED_PIXEL = 5.0
"""A pixel made of all the patches over it."""

BUILT_TARGET = 3.0
RESIZED_PIXEL = 0.15
"""A level's target, and a pixel of the photo at full size, when the level is built."""

COPIED_PIXEL = 4.0
"""A pixel of the hole that is copied at full size."""

Spent = Callable[[float], None]
"""Called often, with the work done since the last call; may raise to stop."""


def unnoticed(work: float) -> None:
    """The Spent of a caller who does not want to know."""


class Shape(NamedTuple):
    """What the work of a picture depends on beside the noise."""

    size: tuple[int, int]  # height, width
    hole: float  # pixels
    edge: float  # pixels of the hole that have a neighbour outside
    allowed: float  # pixels that may be looked at

    def targets(self, factor: float) -> float:
        """About how many patches touch the hole of the photo shrunk by a factor."""
        return self.hole / factor**2 + self.edge / factor * PATCH_RADIUS + (2 * PATCH_RADIUS + 1) ** 2

    def unknown(self, factor: float) -> float:
        """About how many pixels of that level are not known."""
        return (self.size[0] * self.size[1] - self.allowed) / factor**2 + self.edge / factor

    def sources(self, factor: float) -> float:
        """About how many patches of that level may be copied."""
        return max(1.0, self.allowed / factor**2 - self.edge / factor * PATCH_RADIUS)


def shape_of(hole: Tensor, allowed: Tensor, size: tuple[int, int] | None = None) -> Shape:
    """The Shape of hole (> 0: to be invented) and allowed (> 0.5: may be looked at), both [h, w]; as if they had this
    `size` (height, width), where one is given.
    """
    open_ = hole > 0
    inner = open_.clone()
    inner[1:] &= open_[:-1]
    inner[:-1] &= open_[1:]
    inner[:, 1:] &= open_[:, :-1]
    inner[:, :-1] &= open_[:, 1:]
    area = int(open_.sum())
    height, width = size or (int(hole.shape[0]), int(hole.shape[1]))
    scale = height * width / hole.numel()
    looked_at = int(((allowed > 0.5) & ~open_).sum())
    return Shape((height, width), area * scale, (area - int(inner.sum())) * math.sqrt(scale), looked_at * scale)


def exhaustive_work(targets: float, sources: float) -> float:
    """Of one exhaustive search."""
    return targets * sources * MATRIX_PAIR


def built_work(level: Level, pixels: int) -> float:
    """Of building a level from a photo of so many pixels."""
    return len(level.targets) * BUILT_TARGET + pixels * RESIZED_PIXEL


class Effort:
    """Counts the work of one picture and hands on which share of it is done, 0..1."""

    def __init__(self, total: float, tick: Callable[[float], None]):
        self.total = max(total, 1.0)
        self.done = 0.0
        self.tick = tick

    def spent(self, work: float) -> None:
        self.done += work
        self.tick(min(self.done / self.total, 1.0))
