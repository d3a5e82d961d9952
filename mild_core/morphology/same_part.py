"""Which segments of a body may be copied into which: sleeve from sleeve, as a table of the attention engine's kind."""

import torch
from torch import Tensor

from .parts import SEGMENTS

NEIGHBOURS = (("torso", "upper arm"), ("upper arm", "lower arm"), ("upper leg", "lower leg"))
"""Mostly one garment covers both."""

NEAR = 0.25
"""What a neighbour costs, as a share of what others cost."""


def same_part(strength: float) -> Tensor:
    """[len(SEGMENTS), len(SEGMENTS)], >= 0, symmetric: what copying from a segment (column) into another (row) costs.

    0 within a segment, `strength` between two that are no neighbours; "unknown" costs nobody anything. In the units
    of whoever asks: the logits of attention.rule.Bias, or squared colour distance (exemplar.denoise).
    """
    table = torch.full((len(SEGMENTS), len(SEGMENTS)), float(strength))
    for one, other in NEIGHBOURS:
        first, second = SEGMENTS.index(one), SEGMENTS.index(other)
        table[first, second] = table[second, first] = NEAR * strength
    table.fill_diagonal_(0)
    unknown = SEGMENTS.index("unknown")
    table[unknown] = 0
    table[:, unknown] = 0
    return table
