"""Move a mask that misses a rim outward, to where the photo shows the person's edge.

In a band around the mask every pixel is classified as person or surroundings by a linear discriminant (Fisher 1936) of
the colours in a window around it: the mask's own colours on one side, what lies beyond the band on the other. From the
mask outward, pixel by pixel, those are taken that look like the person. Masks are usually tight by the same few pixels
all around, so where the photo shows that for a good part of the rim, the rest of the rim follows.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.growth import VISIBLE, distance, growth_pixels
from ..scene import Box

BAND = 0.02
"""How far a rim may move, as a share of the person's size (see growth_pixels)."""

WORK_PIXELS = 120_000
"""Pixels of a crop: larger ones are worked on in a coarser grid, for their masks miss more pixels, too."""

NOISE = 0.03
"""Standard deviation (range 0..1) that noise alone may have: added to the colours' spread, so that flat ground makes no
edge.
"""

LEAST_SEPARATION = 1.0
"""Squared distance of the two mean colours, in units of their spread, above which a window can be classified."""

FOLLOWS = 0.3
"""Share of a ring's classified pixels: where so many are the person's, all of the rim moves to this ring."""


def reach_of(box: Box, size: tuple[int, int]) -> float:
    """Pixels by which the rim of somebody with this box may move in a photo of this size (height, width)."""
    return growth_pixels(box, size, BAND)


def margin_of(reach: float) -> int:
    """Pixels of surroundings that `snapped` has to see around a mask."""
    return math.ceil(4 * reach) + 4


def snapped(
    pixels: Tensor, mask: Tensor, reach: float, others: Tensor | None = None, barred: Tensor | None = None
) -> Tensor:
    """The mask, moved outward to the edges that the photo shows, by `reach` pixels at most.

    pixels [h, w, 3], 0..1: a crop with `margin_of(reach)` pixels around the mask, where the photo has them; mask [h,
    w], 0..1 or bool; others [h, w] (bool): where further people are seen, whose colours are nobody's surroundings;
    barred [h, w] (bool): what is never entered, and belongs to the surroundings. Returns a mask of the same kind,
    nowhere less than before; the moved rim of a soft mask is soft.
    """
    hard = mask if mask.dtype == torch.bool else mask > VISIBLE
    if reach < 1 or not hard.any() or hard.all():
        return mask
    step = max(1, math.ceil(math.sqrt(hard.numel() / WORK_PIXELS)))
    added = _added(
        shrunk_photo(pixels, step),
        shrunk_mask(hard, step),
        max(1.0, reach / step),
        None if others is None else shrunk_mask(others, step),
        None if barred is None else shrunk_mask(barred, step),
    )
    added = _enlarged(added, step, hard.shape)
    if barred is not None:
        added &= ~barred
    if mask.dtype == torch.bool:
        return hard | added
    whole = (hard | added).to(mask.dtype)
    if not bool(((mask == 0) | (mask == 1)).all()):
        # As soft as a pixel's width: what is beyond that is left to the growth.
        whole = torch.where(added, F.avg_pool2d(whole[None, None], 3, 1, 1, count_include_pad=False)[0, 0], mask)
    return torch.maximum(mask, torch.where(added, whole.clamp(min=2 * VISIBLE), mask))


def _added(photo: Tensor, mask: Tensor, reach: float, others: Tensor | None, barred: Tensor | None) -> Tensor:
    """What of the band [h, w] (bool) belongs to the person, and the mask's rim beside that; photo [3, h, w]."""
    away = distance(mask, reach)
    band = (away > 0) & (away <= reach)
    ground = away > reach
    if others is not None:
        ground &= ~others
    if barred is not None:
        ground |= barred & ~mask
        band &= ~barred
    rows, columns = band.nonzero(as_tuple=True)
    score, separable = _discriminant(photo, mask, ground, math.ceil(2 * reach) + 1, rows, columns)
    person = torch.zeros_like(mask)
    person[rows, columns] = separable & (score > 0)
    # From the mask outward, with steps that make octagons: only what is connected to the mask belongs to the person.
    grown = mask
    for number in range(math.ceil(1.5 * reach)):
        grown = grown | (dilated(grown, diagonal=number % 2 == 0) & person)
    # Thin lines of the ground that begin at the rim may have the person's colours: what is that thin stays out.
    core = ~dilated(~grown, diagonal=False)
    grown = mask | (dilated(core, diagonal=True) & grown)
    grown = grown | (band & (away <= _common_miss(away, grown, separable, rows, columns, reach)))
    # With the mask's cells beside it: on a coarser grid they may be empty in part.
    return dilated(grown & ~mask, diagonal=True) & grown


def _common_miss(away: Tensor, grown: Tensor, separable: Tensor, rows: Tensor, columns: Tensor, reach: float) -> int:
    """By how many pixels the mask is too tight all around."""
    ring = away[rows, columns].ceil().long()
    length = math.ceil(reach) + 1
    person = torch.bincount(ring, (grown[rows, columns] & separable).float(), minlength=length).tolist()
    known = torch.bincount(ring, separable.float(), minlength=length).tolist()
    every = torch.bincount(ring, minlength=length).tolist()
    miss = 0
    while miss + 1 <= reach:
        place = miss + 1
        if known[place] <= 0.2 * every[place] or person[place] < FOLLOWS * known[place]:
            break
        miss = place
    return miss


def _discriminant(
    photo: Tensor, person: Tensor, ground: Tensor, radius: int, rows: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """For each of n pixels (rows, columns): how much more it looks like the person than like the ground around it (> 0:
    like the person), and whether the two can be separated there.
    """
    # Around the mean colour of the crop, or float32 would lose small spreads in large squares.
    colour = photo - photo.mean((1, 2), keepdim=True)
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    terms = torch.cat([colour, torch.stack([colour[i] * colour[j] for i, j in pairs]), torch.ones_like(colour[:1])])
    means, squares, known = [], [], torch.ones_like(rows, dtype=torch.bool)
    for side in (person, ground):
        sums = window_sums(terms * side, radius)[:, rows, columns]
        known &= sums[9] >= 1
        sums = sums / sums[9].clamp(min=1)
        means.append(sums[:3])
        squares.append(torch.stack([sums[3 + n] - sums[i] * sums[j] for n, (i, j) in enumerate(pairs)]))
    spread = (squares[0] + squares[1]) / 2
    a, b, c = spread[0] + NOISE**2, spread[1], spread[2]
    d, e, f = spread[3] + NOISE**2, spread[4], spread[5] + NOISE**2
    # The inverse of the symmetric 3 x 3 matrix [[a b c] [b d e] [c e f]] by its cofactors.
    cofactors = (d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b)
    whole = (a * cofactors[0] + b * cofactors[1] + c * cofactors[2]).clamp(min=1e-12)
    x, y, z = means[0] - means[1]
    across = (
        cofactors[0] * x + cofactors[1] * y + cofactors[2] * z,
        cofactors[1] * x + cofactors[3] * y + cofactors[4] * z,
        cofactors[2] * x + cofactors[4] * y + cofactors[5] * z,
    )
    axis = torch.stack(across) / whole
    score = ((colour[:, rows, columns] - (means[0] + means[1]) / 2) * axis).sum(0)
    apart = ((means[0] - means[1]) * axis).sum(0)
    return score, known & (apart > LEAST_SEPARATION)


def window_sums(maps: Tensor, radius: int) -> Tensor:
    """Sums of maps [c, h, w] over squares of 2 radius + 1 pixels, cut off at the edges."""
    for along in (1, 2):
        length = maps.shape[along]
        total = F.pad(maps.cumsum(along), (1, 0) if along == 2 else (0, 0, 1, 0))
        place = torch.arange(length, device=maps.device)
        upper = total.index_select(along, (place + radius + 1).clamp(max=length))
        maps = upper - total.index_select(along, (place - radius).clamp(min=0))
    return maps


def dilated(mask: Tensor, diagonal: bool) -> Tensor:
    """mask [h, w] (bool) and its neighbours: four of them, or all eight."""
    wide = mask.clone()
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    source = wide.clone() if diagonal else mask
    wide[1:] |= source[:-1]
    wide[:-1] |= source[1:]
    return wide


def shrunk_photo(pixels: Tensor, step: int) -> Tensor:
    """pixels [h, w, 3] with one value for each cell of `step` pixels: [3, ceil(h / step), ceil(w / step)], float32."""
    if step == 1:
        return pixels.float().permute(2, 0, 1)
    # The mean of four points of each cell: smooth enough for colour models, and most of a large crop is never read.
    near, far = step // 4, step - 1 - step // 4
    points = (_points(pixels, step, down, right) for down in (near, far) for right in (near, far))
    return torch.stack([point.float() for point in points]).mean(0).permute(2, 0, 1)


def shrunk_mask(mask: Tensor, step: int) -> Tensor:
    """mask [h, w] (bool) with the value in the middle of each cell of `step` pixels."""
    return mask if step == 1 else _points(mask, step, step // 2, step // 2)


def _points(picture: Tensor, step: int, down: int, right: int) -> Tensor:
    rows, columns = (
        (torch.arange(0, length, step, device=picture.device) + offset).clamp(max=length - 1)
        for length, offset in ((picture.shape[0], down), (picture.shape[1], right))
    )
    return picture[rows[:, None], columns]


def _enlarged(mask: Tensor, step: int, shape: torch.Size) -> Tensor:
    if step == 1:
        return mask
    large = F.interpolate(mask[None, None].float(), scale_factor=step, mode="bilinear", align_corners=False)
    return large[0, 0, : shape[0], : shape[1]] >= 0.5
