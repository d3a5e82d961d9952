"""One set of maps for a whole photo: for samplers that know of no layers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..scene import Morphology
from .maps import CHANNELS, maps

LARGEST = 384
"""Cells along the longer side: maps are drawn at a quarter of the size that is painted, so this serves 1,536 pixels."""


def whole_photo_maps(morphology: Sequence[Morphology]) -> Tensor:
    """[photos, len(CHANNELS), h, w] in the first photo's shape, the longer side at most LARGEST.

    Everyone who stays is drawn: each is "this" person, and nobody is merely "kept". Where nobody stays, these are the
    background's maps.
    """
    shrink = max(1, max(morphology[0].size) / LARGEST)
    height, width = (max(round(side / shrink), 1) for side in morphology[0].size)
    return torch.stack([_whole(one, (height, width)) for one in morphology])


def _whole(morphology: Morphology, size: tuple[int, int]) -> Tensor:
    box = (0, 0, morphology.size[1], morphology.size[0])
    stay = [body.number for body in morphology.bodies if not body.erased]
    result = maps(morphology, stay[0] if stay else None, box, size)
    for number in stay[1:]:
        torch.maximum(result, maps(morphology, number, box, size), out=result)
    result[CHANNELS.index("kept")] = 0
    return result
