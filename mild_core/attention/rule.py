"""Rules: which region must not look at which, how much, and when. Several published methods, each a small table.

Equations: the logit of query i and key j falls by s(t) r_i^T L r_j, with membership r and table L >= 0, and a query of
region a is scaled by lambda_a. SMA is this project's own reading of the MILD strategy (arXiv 2508.06543).
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .regions import HOLE, PADDING, REST, SHOWN, TEXT

FORBIDDEN = 1e3
"""Bias, in logits, that leaves exactly no weight, yet is finite: infinity times 0 would be NaN."""


class Schedule(NamedTuple):
    """When something holds, in progress through the sampling, 0..1."""

    start: float = 0.0
    end: float = 1.0
    fade: float = 0.0  # from `end` on it falls evenly to nothing over this much progress

    def at(self, progress: float) -> float:
        """Its share, 0..1, at this progress."""
        if progress < self.start:
            return 0.0
        if progress <= self.end:
            return 1.0
        return max(0.0, 1 - (progress - self.end) / self.fade) if self.fade > 0 else 0.0


ALWAYS = Schedule()


def steps(start: float, end: float) -> Schedule | None:
    """The steps that begin in this share of the sampling, as artists set it; None: there are none. (A Schedule holds
    at its end, too.) ValueError where they end before they begin.
    """
    if end < start:
        raise ValueError("end_percent: it lies before start_percent. Make it larger, or start_percent smaller.")
    return None if end == start else Schedule(start, end if end >= 1 else math.nextafter(end, 0.0))


class Bias(NamedTuple):
    """A soft part of a rule."""

    table: Tensor  # [R, R], >= 0, on the CPU: by how much the logit of (region of query, region of key) falls
    schedule: Schedule = ALWAYS


class Rule(NamedTuple):
    """What holds between the regions of one pathway. Regions that it does not name are left alone."""

    regions: tuple[str, ...]
    biases: tuple[Bias, ...] = ()
    forbidden: Tensor | None = None  # [R, R], bool, on the CPU: queries touching a region never see keys touching one
    forbidden_when: Schedule = ALWAYS
    query_scale: tuple[float, ...] = ()  # per region: factor of the logits of queries touching it. (): none
    scale_when: Schedule = ALWAYS

    def table(self, progress: float = 0.0) -> Tensor:
        """[R, R]: the soft parts together, at this progress; at most FORBIDDEN."""
        total = torch.zeros(len(self.regions), len(self.regions))
        for bias in self.biases:
            total += bias.schedule.at(progress) * bias.table
        return total.clamp(max=FORBIDDEN)


def off(regions: Sequence[str] = (REST,)) -> Rule:
    """Nothing changes."""
    return Rule(tuple(regions))


def sma(
    regions: Sequence[str],
    own: str = REST,
    strong: float = 8.0,
    medium: float = 2.0,
    mild: float = 1.0,
    early: Schedule = Schedule(0.0, 0.2, 0.2),  # noqa: B008
    ignored: Collection[str] = (TEXT, PADDING),
) -> Rule:
    """Spatially-modulated attention of the pathway that paints `own`: its hole must not look at foreign regions.

    The background's pathway (own = REST): hole to others strong, rest to hole and others medium. A person's (own = that
    person's region): hole to everything but the person strong. In both the hole looks at itself a little less in the
    beginning, while nothing of it is known. Foreign is whatever is neither own, HOLE nor `ignored`.
    strong, medium, mild: logits, 0 to FORBIDDEN.
    """
    regions = tuple(regions)
    if own not in regions:
        raise ValueError(f"regions: there is no {own!r} among {', '.join(regions)}")
    table, first = torch.zeros(len(regions), len(regions)), torch.zeros(len(regions), len(regions))
    foreign = [n for n, name in enumerate(regions) if name not in (own, HOLE, *ignored)]
    if HOLE in regions:
        hole = regions.index(HOLE)
        table[hole, foreign] = strong
        first[hole, hole] = mild
    if own == REST:
        avoided = [n for n, name in enumerate(regions) if name not in (own, *ignored)]
        table[regions.index(own), avoided] = medium
    return Rule(regions, (Bias(table), Bias(first, early)))


def attentive_eraser(
    regions: Sequence[str],
    scale: float = 0.3,
    scale_when: Schedule = Schedule(0.0, 0.25),  # noqa: B008
    when: Schedule = ALWAYS,
    erased: Collection[str] = (HOLE, SHOWN),
) -> Rule:
    """Attention activation and suppression (Attentive Eraser, AAAI 2025, arXiv 2412.12974): nobody looks at the hole,
    and what the hole sees is evened out by `scale` in the first steps (10 of the 40 that are run).

    erased: the regions that nobody may look at.
    """
    regions = tuple(regions)
    gone = torch.tensor([name in erased for name in regions])
    scales = tuple(scale if name == HOLE else 1.0 for name in regions)
    return Rule(
        regions,
        forbidden=gone.expand(len(regions), -1).clone(),
        forbidden_when=when,
        query_scale=scales if scale != 1 else (),
        scale_when=scale_when,
    )


def sra(regions: Sequence[str], when: Schedule = ALWAYS) -> Rule:
    """Self-rectifying attention (EraDiff, CVPR 2025, arXiv 2503.07026): the hole does not look at the hole, nor at
    its place in a reference picture. Read as an additive mask; as printed it multiplies logits by minus infinity.
    """
    regions = tuple(regions)
    hole, gone = (torch.tensor([name in those for name in regions]) for those in ((HOLE,), (HOLE, SHOWN)))
    return Rule(regions, forbidden=hole[:, None] & gone, forbidden_when=when)
