"""How far somebody's colour reaches beyond their mask, rim by rim: lenses, motion and JPEG smear it into the ground.

Around the mask run rings, one pixel wide each. In a window that moves along the rim, the mean colour of each ring is
compared with the rings just beyond it: as long as it still leans towards the person's colour, something of them is in
it. Near ground is what counts, so that an edge of the ground farther out is none of the person's.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.growth import distance
from .snapping import shrunk_mask, shrunk_photo

RINGS = 9
"""Rings that may be smeared: if that means more pixels, rings are wider."""

INSIDE = 4
"""Rings inside of the mask: the outer one may be smeared, the rest shows the person's colour."""

BEYOND = 3
"""Rings that are the ground of the ring before them."""

CELL = 6
"""Width, in rings, of the cells in which colours are summed; a window is three cells wide."""

LEANS = 0.04
"""Share of the person's colour, of all between ground and person, above which a ring is not clean."""

NOISE = 0.0025
"""Colour (0..1) by which the mean of a ring may lean towards the person by chance."""

LEAST_CONTRAST = 0.06
"""Distance of the colours (0..1, all three channels) of person and ground below which nothing can be read."""


def smeared(pixels: Tensor, mask: Tensor, reach: float, unread: float, others: Tensor | None = None) -> Tensor:
    """Where something of the person is seen, bool [h, w]: the mask, and what of its surroundings their colour reaches.

    pixels [h, w, 3], 0..1: a crop with `margin_of(reach)` pixels around the mask, where the photo has them; mask [h, w]
    (bool); reach: pixels, at most that far; others [h, w] (bool): where further people are seen, whose colours are
    nobody's ground; unread: pixels that are taken where person and ground look alike, if hardly any rim can be read.
    Else it is what is usual in this photo.
    """
    step = max(1, math.ceil(reach / RINGS))
    rings = max(1, round(reach / step))
    photo, mine = shrunk_photo(pixels, step), shrunk_mask(mask, step)
    taken = None if others is None else shrunk_mask(others, step)
    away = distance(mine, rings + BEYOND + 0.5)
    ring = torch.where(mine, 1 - distance(~mine, INSIDE + 0.5), away).round().long()
    counts = (ring > -INSIDE) & (ring <= rings + BEYOND)
    if taken is not None:
        counts &= mine | ~taken
    sums = _sums(photo, ring + INSIDE - 1, counts, INSIDE + rings + BEYOND)
    width, known = _widths(sums, rings)
    near_rim = sums[INSIDE - 1, 3] + sums[INSIDE, 3] > 0
    known &= near_rim
    usual = unread / step
    if int(known.sum()) >= 0.2 * int(near_rim.sum()) and known.any():
        usual = float(width[known].median())
    width = torch.where(known, width, usual)
    width = F.interpolate(width[None, None], scale_factor=CELL, mode="bilinear", align_corners=False)
    found = away <= width[0, 0, : mine.shape[0], : mine.shape[1]]
    if step == 1:
        return found | mask
    # What is found lies beyond the mask: of a coarser grid only that is taken, on the photo's own pixels.
    return mask | (_enlarged(found.float(), step, mask.shape) >= 0.5)


def _enlarged(map_: Tensor, step: int, shape: torch.Size) -> Tensor:
    large = F.interpolate(map_[None, None], scale_factor=step, mode="bilinear", align_corners=False)
    return large[0, 0, : shape[0], : shape[1]]


def margin_of(reach: float) -> int:
    """Pixels of surroundings that `smeared` has to see around a mask."""
    step = max(1, math.ceil(reach / RINGS))
    return math.ceil(reach) + (BEYOND + 1) * step


def _sums(photo: Tensor, ring: Tensor, counts: Tensor, rings: int) -> Tensor:
    """Sums of the colours and number of the pixels of each ring in windows of three cells: [rings, 4, h', w']."""
    rows, columns = counts.nonzero(as_tuple=True)
    down, across = -(-ring.shape[0] // CELL), -(-ring.shape[1] // CELL)
    place = (ring[rows, columns] * down + rows // CELL) * across + columns // CELL
    colours = photo[:, rows, columns]
    values = torch.cat([colours, torch.ones_like(colours[:1])])
    total = torch.stack([torch.bincount(place, value, minlength=rings * down * across) for value in values])
    total = total.view(4, rings, down, across).transpose(0, 1)
    return F.avg_pool2d(total, 3, 1, 1) * 9


def _widths(sums: Tensor, rings: int) -> tuple[Tensor, Tensor]:
    """For each cell: rings outside of the mask that are not clean, and whether that could be read."""

    def mean(first: int, last: int) -> tuple[Tensor, Tensor]:
        part = sums[first + INSIDE - 1 : last + INSIDE].sum(0)
        return part[:3] / part[3].clamp(min=1), part[3]

    person, enough = mean(1 - INSIDE, -1)
    known = torch.zeros_like(enough, dtype=torch.bool)
    going = enough >= 1
    width = torch.zeros_like(enough)
    for number in range(1, rings + 1):
        colour, many = mean(number, number)
        ground, more = mean(number + 1, number + BEYOND)
        across = person - ground
        contrast = across.square().sum(0).sqrt()
        readable = (contrast > LEAST_CONTRAST) & (many >= 1) & (more >= 1)
        known |= readable & going
        leans = ((colour - ground) * across).sum(0) / contrast.clamp(min=1e-6)
        going &= readable & (leans > LEANS * contrast + NOISE)
        width += going
    return width, known
