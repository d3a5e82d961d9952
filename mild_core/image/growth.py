"""From a visible mask to the pixels that must be invented: dilation, inward feather, contact band on kept people.

Distances are Euclidean and exact up to EXACT_REACH pixels: squared distances are separable, first along the columns,
then along the rows, as the lower envelope of parabolas (Felzenszwalb and Huttenlocher, "Distance transforms of sampled
functions", 2012), here cut off at the reach.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..scene import Box
from . import boxes

VISIBLE = 0.1
"""A mask value above which a pixel counts as showing somebody. Mattes have soft rims: a tenth of a person's colour can
already be seen.
"""

EXACT_REACH = 24
"""Up to this many pixels distances are exact; beyond, they are taken on a coarser grid, so that cost does not grow
with reach.
"""

RIM = 250
"""Pixels added to a person's size before the share is taken: the rim that a mask misses is some pixels wide however
small the person is. (On the fixed-camera pairs of 768 x 576, where people are 20 to 60 px wide, the difference to the
empty place falls from 20 grey levels beside the mask to 8 at 6 px, and only slowly after that.)
"""


def growth_pixels(box: Box, size: tuple[int, int], share: float) -> float:
    """How far a mask with this box grows in a photo of this size (height, width), in pixels.

    A share of the person's size (the geometric mean of the box's sides, plus RIM), but at most 1.25 times that share
    of the photo's shorter side: in a thumbnail the rim is thin too.
    """
    own = (boxes.width(box) * boxes.height(box)) ** 0.5
    return min(share * (own + RIM), 1.25 * share * min(size))


def distance(mask: Tensor, reach: float) -> Tensor:
    """Distance in pixels of every pixel of mask [h, w] (bool) to the nearest marked one, 0 on it; cut off just above
    reach."""
    if reach > EXACT_REACH:
        return _coarse_distance(mask, reach)
    return _squares(mask, reach).float().sqrt_()


def _squares(mask: Tensor, reach: float) -> Tensor:
    """Squared distances, whole numbers, up to EXACT_REACH."""
    limit = int(reach) + 1
    # Squares of at most 25 pixels: 16-bit integers hold them, at half the memory traffic of floats.
    square = torch.full(mask.shape, (limit + 1) ** 2, dtype=torch.int16, device=mask.device).masked_fill_(mask, 0)
    for along in (0, 1):
        before = square.clone()
        for step in range(1, min(limit, mask.shape[along] - 1) + 1):
            rest = mask.shape[along] - step
            ahead, behind = square.narrow(along, step, rest), square.narrow(along, 0, rest)
            torch.minimum(ahead, before.narrow(along, 0, rest) + step * step, out=ahead)
            torch.minimum(behind, before.narrow(along, step, rest) + step * step, out=behind)
    return square


def _coarse_distance(mask: Tensor, reach: float) -> Tensor:
    """The distance, measured on a grid that is coarser the larger the reach is."""
    step = -(-int(reach) // EXACT_REACH) + 1
    height, width = mask.shape
    padded = F.pad(mask[None, None].float(), (0, -width % step, 0, -height % step))
    small = F.max_pool2d(padded, step)[0, 0] > 0
    rough = distance(small, reach / step + 1)[None, None] * step
    rough = F.interpolate(rough, scale_factor=step, mode="bilinear", align_corners=False)[0, 0, :height, :width]
    return torch.where(mask, 0.0, rough)


def grow(mask: Tensor, pixels: float) -> Tensor:
    """mask [h, w] (bool) dilated by that many pixels."""
    if pixels < 1 or not mask.any():
        return mask.clone()
    if pixels > EXACT_REACH:
        return _coarse_distance(mask, pixels) <= pixels
    return _squares(mask, pixels) <= int(pixels * pixels)


def feathered(hole: Tensor, core: Tensor, pixels: float) -> Tensor:
    """Opacity [h, w] of a hole (bool), soft only inwards: exactly 0 outside, rising to 1 over that many pixels inside.

    On `core` (bool: what showed an erased person) it is 1 at once, or that person's rim would stay visible; where the
    core is nearer to the edge than that many pixels, the rise ends there. The edges of the canvas are no edges of the
    hole: at the border of a photo nothing is blended.
    """
    if pixels <= 0 or hole.all():
        return hole.float()
    inwards = distance(~hole, pixels)
    ramp = inwards / (inwards + distance(core & hole, pixels)).clamp(min=1, max=pixels + 1)
    return torch.where(core & hole, 1.0, ramp.clamp_(0, 1))


def contact_band(erased: Tensor, kept: Tensor, pixels: int) -> Tensor:
    """The rim of a kept person [h, w] (bool) on which an erased one has left colour: `pixels` wide, along what they
    share.
    """
    if pixels < 1:
        return torch.zeros_like(kept)
    return grow(erased & ~kept, pixels) & kept
