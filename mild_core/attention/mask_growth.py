"""Dilate a mask before an eraser hides what it covers: the pixels around an outline still show the object."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.fill import area_resize
from .regions import TOUCHED

SIDE = 1024
"""Side, in pixels (square root of the area), to which larger masks are shrunk: tokens are far coarser."""

THRESHOLD = 0.1
REACH = 77 / 2 / 11.9
"""Attentive Eraser blurs by a kernel of 77 pixels, which for OpenCV means a deviation of 11.9, and keeps a tenth."""

SHARE_1024, SHARE_512 = 11.9 / 1024, 1.4 / 512
"""The published blurs (kernels of 77 and 7 pixels) as deviations in shares of the picture's side."""


def grown(mask: Tensor, share: float) -> Tensor:
    """mask [B, H, W], 0..1, blurred by a Gaussian whose deviation is `share` of its side (the square root of its
    pixels) and cut at a tenth, as Attentive Eraser does before sampling; on a straight edge that adds 1.28 deviations.

    What the mask itself touches always stays, so that a line one pixel thin does not blur away. Returns [B, h, w], 0 or
    1, no larger than SIDE.
    """
    height, width = mask.shape[-2:]
    side = math.sqrt(height * width)
    shrink = min(1.0, SIDE / side)
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    small = area_resize(mask[:, None].float(), size)
    touched = F.adaptive_max_pool2d(mask[:, None].float(), size) > TOUCHED
    blurred = _blurred(small, share * side * shrink)
    return ((blurred >= THRESHOLD) | touched)[:, 0].float()


def on_cells(mask: Tensor, size: tuple[int, int], cell: int) -> Tensor:
    """mask [B, h, w] of a picture of size (height, width) in pixels, as a mask of whole latent cells, each `cell`
    pixels wide: a cell that the mask touches is filled, as Attentive Eraser's max-pooling has it. Returns
    [B, height, width], 0 or 1.

    Samplers shrink a mask by interpolation, which leaves cells at its rim half painted; they take this one as it is.
    """
    cells = max(1, size[0] // cell), max(1, size[1] // cell)
    filled = (F.adaptive_max_pool2d(mask[:, None].float(), cells) > TOUCHED).float()
    return F.interpolate(filled, size, mode="nearest-exact")[:, 0]


def _blurred(mask: Tensor, deviation: float) -> Tensor:
    """mask [B, 1, H, W] under a Gaussian; beyond the border it goes on as it is there."""
    reach = round(REACH * deviation)
    if reach < 1:
        return mask
    steps = torch.arange(-reach, reach + 1, dtype=torch.float32, device=mask.device)
    kernel = torch.exp(-0.5 * (steps / deviation) ** 2)
    kernel = kernel / kernel.sum()
    mask = F.conv2d(F.pad(mask, (0, 0, reach, reach), mode="replicate"), kernel[None, None, :, None])
    return F.conv2d(F.pad(mask, (reach, reach, 0, 0), mode="replicate"), kernel[None, None, None, :])
