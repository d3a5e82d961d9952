"""Fill a large hole at full size: matches found on a smaller level give the place to copy from, pixel by pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .effort import COPIED_PIXEL, Spent, unnoticed
from .level import Level
from .search import as_map
from .vote import level_shift

BAND = 1_000_000
"""Pixels worked on at a time, so that memory stays small beside the photo."""


def copy_full_size(
    level: Level,
    picture: Tensor,
    source: Tensor,
    sources: list[tuple[Tensor, Tensor]],
    hole: Tensor,
    spent: Spent = unnoticed,
) -> Tensor:
    """Fill the hole of a large photo from the matches of a smaller level -> [1, 3, H, W].

    Each pixel is a mean of what the four nearest targets of the level propose for it (their source, moved along to the
    very pixel), weighted bilinearly; neighbours that copy from the same place propose the same, so detail stays sharp.
    A source pixel that may not be looked at has weight 0; where all have, the level's own picture is taken, enlarged.

    picture [3, h, w] and source [N, 3] belong to the level; sources as in `build_level`; hole [1, 1, H, W].
    """
    clean = sources[0][0]
    height, width = clean.shape[2:]
    small_h, small_w = level.size
    scale = torch.tensor([small_h / height, small_w / width], device=clean.device)
    offsets = as_map(level, source)
    shifts = torch.zeros((*level.size, 3), device=clean.device)
    shifts[level.targets[:, 0], level.targets[:, 1]] = level_shift(level, level.target_patches(picture), source)
    colours = torch.cat([pixels[0].permute(1, 2, 0).reshape(-1, 3) for pixels, _ in sources])
    allowed = torch.cat([mask.reshape(-1) for _, mask in sources])
    enlarged = F.interpolate(picture[None], size=(height, width), mode="bilinear", align_corners=False)
    result = clean.clone()
    spent(0)

    for pixels in (hole[0, 0] > 0).nonzero().split(BAND):
        total = torch.zeros((len(pixels), 3), device=clean.device)
        mass = torch.zeros(len(pixels), device=clean.device)
        where = (pixels + 0.5) * scale - 0.5
        corner = where.floor()
        part = where - corner
        for dy in (0, 1):
            for dx in (0, 1):
                y = (corner[:, 0].long() + dy).clamp(0, small_h - 1)
                x = (corner[:, 1].long() + dx).clamp(0, small_w - 1)
                weight = (part[:, 0] if dy else 1 - part[:, 0]) * (part[:, 1] if dx else 1 - part[:, 1])
                found = offsets[y, x]
                move = (found[:, 1:] / scale).round().long()
                from_y = pixels[:, 0] + move[:, 0]
                from_x = pixels[:, 1] + move[:, 1]
                inside = (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
                address = from_y.clamp(0, height - 1) * width + from_x.clamp(0, width - 1)
                address = address + found[:, 0] * (height * width)
                weight = weight * (inside & level.is_target[y, x]) * allowed[address]
                total += weight[:, None] * (F.embedding(address, colours) + shifts[y, x])
                mass += weight
        copied = total / mass.clamp_min(1e-6)[:, None]
        y, x = pixels[:, 0], pixels[:, 1]
        copied = torch.where((mass > 1e-3)[:, None], copied, enlarged[0, :, y, x].T)
        result[0, :, y, x] = copied.clamp(-1, 1).T
        spent(len(pixels) * COPIED_PIXEL)
    return result
