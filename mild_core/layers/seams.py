"""Match a painted layer to its photo: its colour level to the ring around each hole, and its grain.

Level. Models that paint in a latent space come back with a step in colour or brightness. It is measured in cells of
CELL pixels along the border of the hole, and taken out of the painted pixels: one offset for each hole ("mean"), or a
membrane spanned between the steps along the border ("gradient"), which is what gradient-domain cloning adds to a
picture (Farbman et al., "Coordinates for Instant Image Cloning", SIGGRAPH 2009), here by push-pull.

Grain. Noise is separated from the picture by the kernel [1 -2 1] x [1 -2 1], which planes and straight edges leave at 0
(Immerkaer, "Fast Noise Variance Estimation", 1996), in the smoothest parts of the ring and of what was painted.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image import boxes
from ..image.blobs import blobs
from ..image.fill import push_pull
from ..scene import PERSON, Box, Layer
from ..seeds import seed_of

NONE, MEAN, GRADIENT = "none", "mean", "gradient"
SEAMS = (NONE, MEAN, GRADIENT)

CELL = 8
"""Side of the squares in which steps are measured, in pixels, from the corner of the layer's crop."""

TILE = 128
"""Side of the squares that are worked on at a time: a large photo needs no further copy. A multiple of CELL."""

SOLID = 0.9
"""Opacity above which a pixel shows the layer alone."""

RING = 4
"""Pixels on either side of a hole's border that are compared."""

LEAST_PIXELS = 12
"""Pixels on either side of the border, around a cell: with fewer, its step is not measured."""

LEAST_ERRORS = 2.0
"""An offset below this many standard errors is chance, and left alone."""

OUTLIER = 2.5
"""Steps farther from the median than this many standard deviations are edges of the picture, and pulled in."""

HALF_TRUST = 4 / 255
"""Standard deviation of the pixels beside the border (range 0..1) at which a step is trusted half."""

OWN_WEIGHT = 0.5
"""Weight, 0..1, of a cell of full trust; the rest comes from its neighbourhood. 1 would carry every chance difference
of texture into the hole.
"""

CALMEST_SHARE = 0.1
"""Share of the cells, those with the least noise, in which grain is measured."""

CALMEST_NOISE = 0.87
"""Share of an even noise that the cells with the least of it show: by chance they have less (white noise, tried)."""

LEAST_CELLS = 16
"""Cells of the ring, and of the painted area: with fewer, grain is not measured."""

SMOOTHER = 0.85
"""Share of the ring's noise below which the painted area counts as smoother than the ring."""

MOST_PERSON_OFFSET = 12 / 255
"""Largest offset (range 0..1) of a completed person: a larger step at the border is a difference of clothes, or a
mask's wide rim, and no fault of level.
"""

LEAST_GRAIN, MOST_GRAIN = 0.4 / 255, 6 / 255
"""Standard deviation (range 0..1) of the noise that is added: less is not seen, more would be texture."""

BORDER_TILES = 40
"""Tiles, evenly over the layer, that are enough to measure grain."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""


class SeamMatch(NamedTuple):
    """What is to be done to a layer's painted pixels."""

    offset: Tensor | None = None  # [gh, gw, 3] on the layer's cells: to be taken away
    grain: tuple[float, float, float] | None = None  # standard deviations of luma, red - luma, blue - luma, to be added


def match(layer: Layer, part: Box, seam: str, grain: bool) -> SeamMatch:
    """Compare the painted layer with what it knew around its hole, which lies in `part` of its crop.

    Raises ValueError for a `seam` that is none of SEAMS.
    """
    if seam not in SEAMS:
        raise ValueError(f"seam: {seam!r} is none of {', '.join(SEAMS)}.")
    offset = _offset(layer, part, seam) if seam != NONE else None
    if offset is not None and layer.domain == PERSON:
        offset = torch.where(offset.abs().amax(-1, keepdim=True) > MOST_PERSON_OFFSET, 0.0, offset)
    return SeamMatch(offset, _grain(layer, part) if grain else None)


def matched(colour: Tensor, tile: Box, layer: Layer, to: SeamMatch) -> Tensor:
    """Painted pixels [h, w, 3] of a tile of the layer's crop with the match made; not clamped to 0..1."""
    if to.offset is not None:
        colour = colour - _spread(to.offset, tile).to(colour)
    if to.grain is not None:
        colour = colour + _noise(tile, layer, to.grain, colour.device)
    return colour


def tiles(marked: Tensor, part: Box, around: int = 0) -> Iterator[Box]:
    """The squares of a crop in which something is marked in marked [h, w] (not 0), or within `around` pixels of them.

    They lie on a grid of TILE pixels from the crop's corner and are cut off at its border; only those that meet `part`
    are looked at.
    """
    height, width = int(marked.shape[0]), int(marked.shape[1])
    for top in range(part[1] // TILE * TILE, part[3], TILE):
        columns = marked[max(0, top - around) : top + TILE + around].any(0).nonzero()[:, 0]
        reached = torch.cat([(columns - around).clamp_min(0), (columns + around).clamp_max(width - 1)]) // TILE
        for number in reached.unique().tolist():
            left = number * TILE
            if left < part[2] and left + TILE > part[0]:
                yield left, top, min(left + TILE, width), min(top + TILE, height)


def cells(values: Tensor) -> Tensor:
    """Sums of values [h, w, c] over cells: [ceil(h / CELL), ceil(w / CELL), c]. What lies outside counts as 0."""
    height, width, channels = values.shape
    padded = F.pad(values, (0, 0, 0, -width % CELL, 0, -height % CELL))
    columns = padded.shape[1] // CELL
    rows = padded.reshape(-1, CELL, columns * CELL * channels).sum(1)
    return rows.view(-1, columns, CELL, channels).sum(2)


def _cells_of(tile: Box) -> tuple[slice, slice]:
    """Rows and columns of the tile's cells in a map of all cells of the crop."""
    return slice(tile[1] // CELL, -(-tile[3] // CELL)), slice(tile[0] // CELL, -(-tile[2] // CELL))


# ------------------------------------------------------------------------------------------------------------- level


def _offset(layer: Layer, part: Box, seam: str) -> Tensor | None:
    """[gh, gw, 3]: what to take from the painted pixels; None if nothing could be measured."""
    step, trust, inside = _steps(layer, part)
    known = trust > 0
    if not known.any():
        return None
    field = torch.zeros_like(step)
    weight = known.clone()
    for (x0, y0, x1, y1), shape in blobs(inside | known)[0]:
        place = (slice(y0, y1), slice(x0, x1))
        mine = known[place] & shape
        own = step[place][mine]
        if not len(own):
            continue
        middle = own.median(0).values
        deviation = 1.4826 * (own - middle).abs().median(0).values
        if seam == MEAN:
            # Cells overlap by their surroundings of 3 x 3: along a border, three of them count as one observation.
            error = deviation * math.sqrt(3 / len(own)) + 1e-6
            field[place][shape] = torch.where(middle.abs() > LEAST_ERRORS * error, middle, 0.0)
            weight[place] |= shape
        else:
            field[place][mine] = own.clamp(middle - OUTLIER * deviation, middle + OUTLIER * deviation)
    weight = weight.float() if seam == MEAN else OWN_WEIGHT * trust
    return push_pull(field.movedim(-1, 0)[None], weight[None, None])[0].movedim(0, -1)


def _steps(layer: Layer, part: Box) -> tuple[Tensor, Tensor, Tensor]:
    """Steps [gh, gw, 3] from known to painted pixels, on the layer's cells, how far to trust them [gh, gw], 0..1, and
    which cells have a share in the hole, bool [gh, gw].

    Trust is 0 where nothing is known, and low where the picture varies on either side of the border.
    """
    size = (int(layer.hole.shape[0]), int(layer.hole.shape[1]))
    sums = torch.zeros(-(-size[0] // CELL), -(-size[1] // CELL), 10, device=layer.pixels.device)
    inside = torch.zeros(sums.shape[:2], dtype=torch.bool, device=sums.device)
    for tile in tiles(layer.hole, boxes.grown(part, CELL, CELL, size), CELL):
        around = boxes.grown(tile, CELL, CELL, size)
        hole = boxes.cut(layer.hole, around) > 0
        if hole.all():
            inside[_cells_of(tile)] = True
            continue
        own = boxes.inside(tile, around)
        inside[_cells_of(tile)] = cells(boxes.cut(hole, own)[..., None].float())[..., 0] > 0
        # In a person's layer, what is not the person is neutral ground on one side and nothing on the other.
        solid = boxes.cut(layer.alpha, around) > SOLID
        known, painted = ~hole & solid & (boxes.cut(layer.allowed, around) > 0.5), hole & solid
        if not known.any() or not painted.any():
            continue
        pixels = boxes.cut(layer.pixels, tile).float()
        inner, outer = (boxes.cut(side, own) for side in (painted & _near(known), known & _near(painted)))
        if not pixels.sum().isfinite():
            usable = pixels.isfinite().all(-1)
            inner, outer, pixels = inner & usable, outer & usable, pixels.nan_to_num(0.0, 0.0, 0.0)
        for side, found in ((inner, sums[..., :5]), (outer, sums[..., 5:])):
            weight = side[..., None].float()
            here = found[_cells_of(tile)]
            here[..., :3] = cells(pixels * weight)
            here[..., 3:4] = cells(pixels[..., 1:2] ** 2 * weight)
            here[..., 4:] = cells(weight)
    here = sums[..., 4] > 0
    sums = F.avg_pool2d(sums.movedim(-1, 0)[None], 3, 1, 1, divisor_override=1)[0].movedim(0, -1)
    inner, outer = sums[..., :5] / sums[..., 4:5].clamp_min(1), sums[..., 5:] / sums[..., 9:].clamp_min(1)
    variance = sum((side[..., 3] - side[..., 1] ** 2).clamp_min(0) for side in (inner, outer))
    enough = here & (sums[..., 4] >= LEAST_PIXELS) & (sums[..., 9] >= LEAST_PIXELS)
    return inner[..., :3] - outer[..., :3], enough / (1 + variance / HALF_TRUST**2), inside


def _near(mask: Tensor) -> Tensor:
    """mask [h, w] (bool) and the square of RING pixels around each marked pixel."""
    near = mask.clone()
    for axis in (0, 1):
        reach = 0
        while reach < RING:  # each round carries twice as far
            step = min(max(reach, 1), RING - reach, near.shape[axis] - 1)
            if step < 1:
                break
            before, rest = near.clone(), near.shape[axis] - step
            near.narrow(axis, step, rest).logical_or_(before.narrow(axis, 0, rest))
            near.narrow(axis, 0, rest).logical_or_(before.narrow(axis, step, rest))
            reach += step
    return near


def _spread(offset: Tensor, tile: Box) -> Tensor:
    """The offsets of cells [gh, gw, 3] for every pixel of a tile, smoothly: [h, w, 3], or [1, 1, 3] if equal."""
    rows, columns = _cells_of(tile)
    height, width = offset.shape[:2]
    index_y = torch.arange(rows.start - 1, rows.stop + 1, device=offset.device).clamp(0, height - 1)
    index_x = torch.arange(columns.start - 1, columns.stop + 1, device=offset.device).clamp(0, width - 1)
    near = offset[index_y[:, None], index_x]
    if bool((near == near[:1, :1]).all()):
        return near[:1, :1]
    near = near.movedim(-1, 0)[None]
    fine = F.interpolate(near, scale_factor=CELL, mode="bilinear", align_corners=False)[0].movedim(0, -1)
    return fine[CELL : CELL + boxes.height(tile), CELL : CELL + boxes.width(tile)]


# ------------------------------------------------------------------------------------------------------------- grain


def _grain(layer: Layer, part: Box) -> tuple[float, float, float] | None:
    """Standard deviations of the noise that the painted pixels lack; None where they lack none."""
    every = list(tiles(layer.hole, part))
    ring: list[Tensor] = []
    painted: list[Tensor] = []
    for tile in every[:: max(1, -(-len(every) // BORDER_TILES))]:
        hole = boxes.cut(layer.hole, tile) > 0
        if min(hole.shape) < CELL:
            continue
        known = ~hole & (boxes.cut(layer.allowed, tile) > 0.5)
        noise, light = _noise_of_cells(boxes.cut(layer.pixels, tile))
        solid = boxes.cut(layer.alpha, tile) > SOLID  # the neutral ground around a person has no grain
        for found, area in ((ring, known & solid), (painted, hole & solid)):
            whole = -F.max_pool2d(-area[None, None].float(), CELL + 2, CELL, 1)[0, 0]
            whole = whole[: noise.shape[0], : noise.shape[1]]
            found.append(noise[(whole > 0) & (light > 0.03) & (light < 0.97)])
    levels = []
    for found in (ring, painted):
        values = torch.cat(found) if found else torch.zeros(0, 3)
        if len(values) < LEAST_CELLS:
            return None
        levels.append(values.quantile(CALMEST_SHARE, dim=0) / CALMEST_NOISE)
    there, own = levels
    lacking = (there**2 - own**2).clamp_min(0).sqrt().clamp_max(MOST_GRAIN)
    luma, red, blue = torch.where(own < SMOOTHER * there, lacking, 0.0).tolist()
    return (luma, red, blue) if max(luma, red, blue) >= LEAST_GRAIN else None


def _noise_of_cells(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Noise [gh, gw, 3] (luma, red - luma, blue - luma) in every whole cell of pixels [h, w, 3], and its light."""
    colour = pixels.float().nan_to_num(0.0)
    luma = (colour * colour.new_tensor(LUMA)).sum(-1, keepdim=True)
    split = torch.cat([luma, colour[..., :1] - luma, colour[..., 2:] - luma], -1)
    split = F.pad(split.movedim(-1, 0)[None], (1, 1, 1, 1), mode="replicate")[0].movedim(0, -1)
    down = split[:-2] - 2 * split[1:-1] + split[2:]
    both = (down[:, :-2] - 2 * down[:, 1:-1] + down[:, 2:]).abs()
    full = (pixels.shape[0] // CELL, pixels.shape[1] // CELL)
    noise = cells(both)[: full[0], : full[1]] / CELL**2 * (math.sqrt(math.pi / 2) / 6)
    return noise, cells(luma)[: full[0], : full[1], 0] / CELL**2


def _noise(tile: Box, layer: Layer, grain: tuple[float, float, float], device: torch.device) -> Tensor:
    """Grain [h, w, 3] for a tile, drawn from the layer's name and the tile's place: always the same."""
    generator = torch.Generator(device=device).manual_seed(seed_of(layer.id, tile[0], tile[1]))
    drawn = torch.randn(boxes.height(tile), boxes.width(tile), 3, generator=generator, device=device)
    luma, red, blue = grain
    green = (-LUMA[0] / LUMA[1] * red, -LUMA[2] / LUMA[1] * blue)  # so that luma is not changed by them
    return drawn @ drawn.new_tensor([[luma, luma, luma], [red, green[0], 0.0], [0.0, green[1], blue]])
