"""Thin things in front of somebody: a pole, a tripod's leg, a fence's wire, with the person's mask on both sides.

A person is one piece: where a slit parts their mask and does not look like them, something stands in front, and
whatever has its colours in the other gaps of the mask belongs to it. A gap that parts nothing, as between an arm and a
body, shows ground, smeared with the person's colours; it is left to the growth. (Its mixed colours look like neither,
so colour alone would leave outlines of people.) A thing is followed a little beyond the person, where growth would
nibble at it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image import boxes
from ..image.blobs import blobs
from ..image.growth import distance, grow
from .snapping import dilated, shrunk_mask, shrunk_photo, window_sums

COLUMNS = 9
"""Cells that a thing may be wide on either side of its middle: if that means more pixels, cells are larger."""

NOISE = 0.04
"""Standard deviation (range 0..1) that noise and a pixel's mixed edges may have."""

UNLIKE = 1.0
"""Squared distance of a slit's mean colour from the person's on its sides, in units of their spread, above which it is
a thing."""

ALIKE = 6.0
"""Squared distance of a colour from the thing's, in units of its spread, below which it is the thing's."""

BESIDE, PALETTE = 1.2, 6
"""Windows, in units of the reach, in which the person's colours are taken, and the thing's."""

NEARER = 0.2
"""Squared distance of a colour from the thing's, in units of that from the person's and from the ground's, below which
the thing goes on beside the person."""

PIECE = 9
"""Cells: smaller pieces of a mask are specks."""

MOST_PIECES = 64


def thin_things(pixels: Tensor, mask: Tensor, reach: float, others: Tensor | None = None) -> Tensor | None:
    """Where a thin thing stands in front of the person, bool [h, w], nowhere in the mask; None if nothing does.

    pixels [h, w, 3], 0..1: a crop with `margin_of(reach)` pixels around the mask, where the photo has them; mask [h, w]
    (bool); reach: half of a thing's width, at most, in pixels; others [h, w] (bool): where further people are seen, who
    are no things, and whose colours are nobody's ground.
    """
    step = max(1, math.ceil(reach / COLUMNS))
    radius = max(2, round(reach / step))
    mine = _whole_cells(mask, step)
    parted = _between(mine, radius)
    if parted is None:
        return None
    closed = _closed(mine, radius)
    gap = closed & ~mine
    taken = torch.zeros_like(mine) if others is None else shrunk_mask(others & ~mask, step)
    gap &= ~taken
    slit = gap & parted
    tight = boxes.tight_box(slit)
    if tight is None:
        return None
    # Colours are compared near the slits only: the rest of a large crop costs nothing.
    near = boxes.grown(tight, PALETTE * radius, PALETTE * radius, (mine.shape[0], mine.shape[1]))
    x0, y0, x1, y1 = (edge * step for edge in near)
    mine, closed, gap, taken, slit = (boxes.cut(map_, near) for map_ in (mine, closed, gap, taken, slit))
    photo = _unmasked_photo(pixels[y0:y1, x0:x1], mask[y0:y1, x0:x1], step, gap)
    thing = _things(photo, mine, closed, gap, slit, taken, radius)
    if not thing.any():
        return None
    found = torch.zeros_like(mask)
    place = found[y0:y1, x0:x1]
    large = thing if step == 1 else thing.repeat_interleave(step, 0).repeat_interleave(step, 1)
    place.copy_(large[: place.shape[0], : place.shape[1]])
    return found & ~mask


def _things(
    photo: Tensor, person: Tensor, closed: Tensor, gap: Tensor, slit: Tensor, others: Tensor, radius: int
) -> Tensor:
    """Which cells [h, w] (bool) show a thing; photo [3, h, w], the rest bool [h, w]."""
    ground = ~(grow(closed, 2) | others)
    rows, columns = gap.nonzero(as_tuple=True)
    colours = photo[:, rows, columns].T
    own = _means(photo, gap, max(1, radius // 3), rows, columns)[0]
    mean, spread, known = _spread(photo, person, math.ceil(BESIDE * radius), rows, columns)
    thing = torch.zeros_like(gap)
    thing[rows, columns] = slit[rows, columns] & known & (_squared(own - mean, spread) > UNLIKE)
    if not thing.any():
        return thing
    # What has the thing's colours belongs to it also where the person's clothes have them, and where it parts nothing.
    mean, spread, known = _spread(photo, thing, PALETTE * radius, rows, columns)
    alike = known & (_squared(colours - mean, spread) < ALIKE)
    floor, many = _means(photo, ground, 3 * radius, rows, columns)
    nearer = (colours - mean).square().sum(1) < (colours - floor).square().sum(1)
    thing[rows, columns] |= alike & (slit[rows, columns] | nearer | (many < 1))
    # Single cells follow what most of the gap around them is.
    votes = window_sums(torch.stack([thing, gap]).to(photo), 2)[:, rows, columns]
    thing[rows, columns] = votes[0] >= votes[1] / 2
    thing = dilated(thing, diagonal=True) & gap  # its edge is mixed with the person behind it
    return _followed(photo, thing, person, ground, closed, radius, others)


def margin_of(reach: float) -> int:
    """Pixels of surroundings that `thin_things` has to see around a mask."""
    return math.ceil(4 * reach) + 4


def _closed(mask: Tensor, radius: int) -> Tensor:
    # Ground all around, or the border of the photo would count as a second side.
    wide = F.pad(mask, (radius + 1,) * 4)
    near = distance(wide, radius) <= radius
    closed = distance(~near, radius) > radius
    return closed[radius + 1 : -radius - 1, radius + 1 : -radius - 1]


def _between(mask: Tensor, radius: int) -> Tensor | None:
    """Where two pieces of the mask [h, w] are near, bool [h, w]; None if there is but one."""
    pieces, _ = blobs(mask, PIECE)
    if len(pieces) < 2:
        return None
    sides = torch.zeros_like(mask, dtype=torch.uint8)
    for box, shape in pieces[:MOST_PIECES]:
        around = boxes.grown(box, radius, radius, (mask.shape[0], mask.shape[1]))
        boxes.cut(sides, around).add_(grow(boxes.placed(shape, box, around), radius))
    return sides > 1


def _whole_cells(mask: Tensor, step: int) -> Tensor:
    """Cells of `step` pixels of which all are in the mask: a gap thinner than a cell is not lost."""
    if step == 1:
        return mask
    height, width = mask.shape
    padded = F.pad((~mask)[None, None].to(torch.float16), (0, -width % step, 0, -height % step))
    return F.max_pool2d(padded, step)[0, 0] == 0


def _unmasked_photo(pixels: Tensor, mask: Tensor, step: int, gap: Tensor) -> Tensor:
    """The photo [3, h', w'] on the coarser grid; cells of the gap show their unmasked pixels alone."""
    photo = shrunk_photo(pixels, step)
    if step == 1:
        return photo
    rows, columns = gap.nonzero(as_tuple=True)
    offset = torch.arange(step, device=mask.device)
    down = (rows[:, None, None] * step + offset[:, None]).clamp(max=mask.shape[0] - 1)
    right = (columns[:, None, None] * step + offset).clamp(max=mask.shape[1] - 1)
    free = ~mask[down, right]
    colours = (pixels[down, right].float() * free[..., None]).sum((1, 2)) / free.sum((1, 2)).clamp(min=1)[:, None]
    photo[:, rows, columns] = colours.T
    return photo


def _means(photo: Tensor, side: Tensor, radius: int, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Mean colour [n, 3] of `side` in the window around each of n pixels, and of how many pixels."""
    sums = window_sums(torch.cat([photo * side, side[None].to(photo)]), radius)[:, rows, columns]
    return (sums[:3] / sums[3].clamp(min=1)).T, sums[3]


def _spread(photo: Tensor, side: Tensor, radius: int, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean colour [n, 3] and covariance [n, 3, 3] of `side` around each of n pixels, and whether there is any."""
    around = photo.mean((1, 2), keepdim=True)  # or float32 would lose small spreads
    colour = (photo - around) * side
    products = torch.stack([colour[i] * colour[j] for i in range(3) for j in range(3)])
    sums = window_sums(torch.cat([colour, products, side[None].to(photo)]), radius)[:, rows, columns]
    many = sums[12].clamp(min=1)
    mean = (sums[:3] / many).T
    spread = (sums[3:12] / many).T.view(-1, 3, 3) - mean[:, :, None] * mean[:, None]
    return mean + around.flatten(), spread, sums[12] >= 4


def _squared(apart: Tensor, spread: Tensor) -> Tensor:
    """Squared Mahalanobis distance [n] of differences [n, 3] under spread [n, 3, 3]."""
    noisy = spread + NOISE**2 * torch.eye(3, device=spread.device)
    return (apart * torch.linalg.solve(noisy, apart[..., None])[..., 0]).sum(1)


def _followed(
    photo: Tensor, thing: Tensor, person: Tensor, ground: Tensor, closed: Tensor, radius: int, others: Tensor
) -> Tensor:
    """The thing, and where it goes on beside the person."""
    band = grow(person, radius + 2) & grow(thing, 2 * radius) & ~closed & ~others
    rows, columns = band.nonzero(as_tuple=True)
    colours = photo[:, rows, columns].T
    own = _means(photo, thing, 2 * radius, rows, columns)[0]
    apart = (colours - own).square().sum(1)
    alike = torch.ones_like(rows, dtype=torch.bool)
    for side in (person, ground):
        mean, many = _means(photo, side, 2 * radius, rows, columns)
        alike &= (apart < NEARER * (colours - mean).square().sum(1)) | (many < 1)
    going = torch.zeros_like(thing)
    going[rows, columns] = alike
    for _ in range(2 * radius):
        thing = thing | (dilated(thing, diagonal=True) & going)
    return thing
