"""One set of maps for a whole photo: for samplers that know of no layers."""

import torch
from torch import Tensor

from ..scene import Morphology
from .maps import CHANNELS, maps

LARGEST = 384
"""Cells along the longer side: maps are drawn at a quarter of the size that is painted, so this serves 1,536 pixels."""


def whole_photo_maps(morphology: Morphology) -> Tensor:
    """[len(CHANNELS), h, w], in the photo's shape, the longer side at most LARGEST: everyone who stays is drawn.

    Each of them is "this" person, and nobody is merely "kept"; where nobody stays it is the background's maps.
    """
    height, width = morphology.size
    shrink = max(1, max(height, width) / LARGEST)
    size = max(round(height / shrink), 1), max(round(width / shrink), 1)
    box = (0, 0, width, height)
    stay = [body.number for body in morphology.bodies if not body.erased]
    result = maps(morphology, stay[0] if stay else None, box, size)
    for number in stay[1:]:
        torch.maximum(result, maps(morphology, number, box, size), out=result)
    result[CHANNELS.index("kept")] = 0
    return result
