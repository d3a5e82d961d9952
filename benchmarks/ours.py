"""Our own row: the whole method on one photo."""

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))
import pack  # noqa: E402, F401  (makes `mild` importable)
from mild.mild_core.exemplar import denoise  # noqa: E402

STEPS, SIGMA_MAX, SIGMA_MIN, RHO = 20, 6.0, 0.03, 7.0
SEED = 1


def erase(photo: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """photo [H, W, 3], 0..1, without the people of masks [N, H, W]: the bare model in a plain Euler loop."""
    hole = np.any([grown(mask) for mask in masks], axis=0)
    clean = torch.from_numpy(photo).permute(2, 0, 1)[None] * 2 - 1
    area = torch.from_numpy(hole.astype(np.float32))[None, None]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(SEED))
    ramp = torch.linspace(0, 1, STEPS)
    sigmas = (SIGMA_MAX ** (1 / RHO) + ramp * (SIGMA_MIN ** (1 / RHO) - SIGMA_MAX ** (1 / RHO))) ** RHO
    sigmas = torch.cat([sigmas, torch.zeros(1)])
    x = noise * sigmas[0]
    with torch.inference_mode():
        for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
            # as ComfyUI's KSamplerX0Inpaint: known pixels are put back, noise and all, before and after each step
            x = x * area + (clean + noise * sigma) * (1 - area)
            x0 = denoise(x, sigma.reshape(1), clean, area) * area + clean * (1 - area)
            x = x + (x - x0) / sigma * (following - sigma)
    picture = ((x[0].permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy()
    return np.where(hole[..., None], picture, photo)


def grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """mask [H, W] grown by 3 px or 2 % of the person's height, whichever is more."""
    rows = np.nonzero(mask.any(1))[0]
    if len(rows) == 0:
        return mask
    reach = max(3, round(0.02 * (rows[-1] - rows[0] + 1)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0
