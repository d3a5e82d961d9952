"""How little of the photo is like what surrounds a hole: where that is so, patches of the photo make a bad fill.

The size of a hole says much less (`benchmarks/quality/hard_holes.py`): a wide hole in grass comes out well, a narrow
one in a shelf of books does not.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.fill import area_resize
from .level import PATCH_RADIUS, eroded

AREA = 14_000
"""Pixels of the smaller copy on which patches are compared."""

RIM = 8
"""Pixels of that copy around the hole in which patches count as its surroundings."""

MOST_PATCHES = 500
"""Patches of the surroundings that are compared, evenly spread over them."""

TOO_UNLIKE = 0.12
"""Above it holes are mostly filled badly (chosen on the composed scenes of that benchmark)."""


def unlikeness(pixels: Tensor, hole: Tensor, allowed: Tensor) -> float | None:
    """Root mean square difference, in colours of -1..1, of patches beside the hole from what is most like each of them
    elsewhere in the photo; None where there are too few patches to tell.

    pixels [h, w, 3], 0..1; hole [h, w], > 0 to be invented; allowed [h, w], > 0.5 may be looked at. A patch never
    meets itself: what overlaps it does not count. So it tells how well this photo would have continued what is known.
    """
    height, width = hole.shape
    factor = max(1.0, math.sqrt(height * width / AREA))
    size = (max(1, round(height / factor)), max(1, round(width / factor)))
    open_ = (hole > 0).float()[None, None]
    known = (allowed > 0.5).float()[None, None] * (1 - open_)
    share = area_resize(known, size)
    small = area_resize((pixels.movedim(-1, 0)[None].float() * 2 - 1) * known, size) / share.clamp_min(1e-6)
    valid = eroded(share[0] > 0.999, PATCH_RADIUS)[0]
    near = F.max_pool2d((area_resize(open_, size) > 0).float(), 2 * RIM + 1, 1, padding=RIM)[0, 0] > 0
    rim, sources = (valid & near).nonzero(), valid.nonzero()
    rim = rim[:: max(1, math.ceil(len(rim) / MOST_PATCHES))]
    patch = 2 * PATCH_RADIUS + 1
    if len(rim) < patch or len(sources) < patch**2:
        return None
    patches = F.unfold(small, patch, padding=PATCH_RADIUS)[0].T.view(*size, -1)
    apart = (rim[:, None] - sources[None]).abs().amax(-1) >= patch
    distance = torch.cdist(patches[rim[:, 0], rim[:, 1]], patches[sources[:, 0], sources[:, 1]])
    nearest = distance.masked_fill(~apart, math.inf).amin(1)
    nearest = nearest[nearest.isfinite()]
    if not len(nearest):
        return None
    return float((nearest.square().mean() / patches.shape[-1]).sqrt())
