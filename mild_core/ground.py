"""The neutral ground a person stands on while her hidden part is painted, and her alpha by difference from it."""

import torch
from torch import Tensor

from .blobs import blobs

GROUNDS = ((0.5, 0.5, 0.5), (0.1, 0.6, 0.2), (0.7, 0.1, 0.7), (0.1, 0.3, 0.8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
"""Grey first, since it suggests nothing; the others for people whose clothes are grey."""

NEAR = 0.12
"""Colours closer than this (largest difference of a channel) cannot be told from the ground reliably."""

MOSTLY = 0.25
"""With more of a person than this share as near as that to a ground, another ground is better."""

ENOUGH_TO_TELL = 500_000
"""Of larger people not every pixel is looked at when a ground is picked."""

SURE = (0.04, NEAR)
"""Difference from the ground at which a pixel begins to be, and surely is, part of the person."""


def pick_ground(pixels: Tensor, mask: Tensor) -> tuple[float, float, float]:
    """The ground colour for a person with these pixels [h, w, 3] and mask [h, w], 0..1.

    Grey, unless too much of her is grey; then the colour of GROUNDS that fewest of her pixels come near to.
    """
    step = max(1, round((mask.numel() / ENOUGH_TO_TELL) ** 0.5))
    seen = pixels[::step, ::step][mask[::step, ::step] > 0.5].float()
    if not len(seen):
        return GROUNDS[0]
    shares = [float(((seen - seen.new_tensor(ground)).abs().amax(-1) < NEAR).float().mean()) for ground in GROUNDS]
    if shares[0] <= MOSTLY:
        return GROUNDS[0]
    return GROUNDS[shares.index(min(shares))]


def on_ground(pixels: Tensor, mask: Tensor, ground: tuple[float, float, float]) -> Tensor:
    """pixels [h, w, 3] where mask [h, w] shows the person, exactly the ground's colour where it is 0."""
    colour = pixels.new_tensor(ground)
    return torch.lerp(colour, pixels, mask[..., None].to(pixels))


def completed_alpha(sampled: Tensor, hole: Tensor, visible: Tensor, ground: tuple[float, float, float]) -> Tensor:
    """Alpha [h, w] of a person once her hole is painted: her visible mask, and what differs from the ground and hangs
    on to it.

    sampled [h, w, 3], 0..1; hole, visible [h, w], 0..1. Inside the hole, a pixel is hers as far as it differs from the
    ground (largest difference of a channel, from SURE[0] to SURE[1]) and is connected to what is visible of her; blobs
    that float free are dropped. Never simply the hole.
    """
    difference = (sampled.float() - sampled.new_tensor(ground).float()).abs().amax(-1)
    soft = ((difference - SURE[0]) / (SURE[1] - SURE[0])).clamp(0, 1)
    open_ = hole > 0
    own = (visible > 0.5) & ~open_
    # The artist's mask may end a pixel short of the hole: one step of growth joins what a gap of a pixel would part.
    joined = torch.nn.functional.max_pool2d(own[None, None].float(), 3, 1, 1)[0, 0] > 0
    candidate = (open_ & (soft > 0.5)) | joined
    reached = torch.zeros_like(candidate)
    for (x0, y0, x1, y1), shape in blobs(candidate)[0]:
        if (shape & own[y0:y1, x0:x1]).any():
            reached[y0:y1, x0:x1] |= shape
    reached = torch.nn.functional.max_pool2d(reached[None, None].float(), 3, 1, 1)[0, 0] > 0
    return torch.where(open_, soft * reached, visible.to(soft))
