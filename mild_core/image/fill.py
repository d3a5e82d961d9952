"""Smooth first guess for unknown pixels: push-pull (Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def push_pull(pixels: Tensor, known: Tensor) -> Tensor:
    """Fill unknown pixels smoothly from the known ones; known pixels stay exactly.

    pixels [B, C, H, W], any range; known [B, 1, H, W], 0..1 (fractions count as partly known). Returns [B, C, H, W].
    Rows without any known pixel come back as zeros.
    """
    known = known.to(pixels.dtype)
    return _fill(pixels * known, known)


def _fill(weighted: Tensor, weight: Tensor) -> Tensor:
    """weighted [B, C, H, W] = pixels times weight; weight [B, 1, H, W] in 0..1."""
    height, width = weight.shape[-2:]
    own = weighted / weight.clamp_min(1e-6)
    if height == 1 and width == 1 or bool((weight >= 1).all()):
        return own * (weight > 0)
    size = (-(-height // 2), -(-width // 2))
    pad = (0, size[1] * 2 - width, 0, size[0] * 2 - height)
    small_weight = F.avg_pool2d(F.pad(weight, pad), 2) * 4
    small_pixels = F.avg_pool2d(F.pad(weighted, pad), 2) * 4
    del weighted  # of a large picture, two copies would not fit into memory
    scale = small_weight.clamp_min(1)  # Lumigraph's saturation: a cell with enough known pixels counts as fully known
    coarse = _fill(small_pixels / scale, small_weight / scale)
    coarse = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return torch.lerp(coarse, own, weight)  # exact at both ends


def shrunk(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Height and width, smaller if need be: the longer side is at most `longest`, the shorter at least 1."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def area_resize(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize [B, C, H, W] to size (height, width) by exact area averaging downwards and bilinearly upwards."""
    if picture.shape[-2:] == torch.Size(size):
        return picture
    if size[0] <= picture.shape[-2] and size[1] <= picture.shape[-1]:
        return F.interpolate(picture, size=size, mode="area")
    return F.interpolate(picture, size=size, mode="bilinear", align_corners=False, antialias=True)
