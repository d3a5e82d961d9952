"""Thin things in front of somebody: a pole, a tripod's leg, a fence's wire, with the person's mask on both sides.

They are what a closing of the mask fills (dilation, then erosion), where it looks neither like the person around it nor
like the ground beside the person. Ground that is seen between an arm and a body is no such thing: it is smeared with the
person's colours, and closed like any other rim. From there a thing is followed a little beyond the person, where
growth would nibble at it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image import boxes
from ..image.blobs import blobs
from ..image.growth import distance, grow
from ..scene import Box
from .snapping import dilated, shrunk_mask, shrunk_photo, window_sums

COLUMNS = 9
"""Cells that a thing may be wide on either side of its middle: if that means more pixels, cells are larger."""

NOISE = 0.04
"""Standard deviation (range 0..1) that noise and a pixel's mixed edges may have."""

UNLIKE = 1.0
"""Squared distance of a gap's mean colour from the person's, and from the ground's, in units of their spread, above
which it is another thing.
"""

ALIKE = 6.0
PIECE = 9
MOST = 0.5
MOST_PIECES = 64
PERSON_WINDOW = 1.2
NEARER = 0.2


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
    taken = None if others is None else shrunk_mask(others & ~mask, step)
    if taken is not None:
        gap &= ~taken
    if not gap.any():
        return None
    photo = _unmasked_photo(pixels, mask, step, gap)
    ground = ~grow(closed, 2)
    if taken is not None:
        ground &= ~taken
    rows, columns = gap.nonzero(as_tuple=True)
    own = _means(photo, gap, max(1, radius // 3), rows, columns)[0]
    person = _spread(photo, mine, math.ceil(PERSON_WINDOW * radius), rows, columns)
    from_person = _squared(own - person[0], person[1]).masked_fill(~person[2], 1e6)
    parted = parted[rows, columns]
    thing = torch.zeros_like(gap)
    thing[rows, columns] = parted & (from_person > UNLIKE)
    if not thing.any():
        return None
    # What has the thing's colours belongs to it also where the person's clothes have them.
    mean, spread, known = _spread(photo, thing, 6 * radius, rows, columns)
    colours = photo[:, rows, columns].T
    alike = known & (_squared(colours - mean, spread) < ALIKE)
    floor, _, floor_known = _spread(photo, ground, 3 * radius, rows, columns)
    nearer = (colours - mean).square().sum(1) < (colours - floor).square().sum(1)
    thing[rows, columns] |= alike & (parted | nearer | ~floor_known)
    # Single pixels follow what most of the gap around them is.
    votes = window_sums(torch.stack([thing, gap]).to(photo), 2)[:, rows, columns]
    thing[rows, columns] = votes[0] >= MOST * votes[1]
    thing = dilated(thing, diagonal=True) & gap  # its edge is mixed with the person behind it
    thing = _followed(photo, thing, mine, ground, closed, radius, taken)
    if step > 1:
        thing = thing.repeat_interleave(step, 0).repeat_interleave(step, 1)[: mask.shape[0], : mask.shape[1]]
    return thing & ~mask


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
    photo = photo.clone()
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
    photo: Tensor, thing: Tensor, mask: Tensor, ground: Tensor, closed: Tensor, radius: int, others: Tensor | None
) -> Tensor:
    """The thing, and where it goes on beside the person."""
    band = grow(mask, radius + 2) & ~closed
    if others is not None:
        band &= ~others
    band &= grow(thing, 2 * radius)
    rows, columns = band.nonzero(as_tuple=True)
    if not len(rows):
        return thing
    colours = photo[:, rows, columns].T
    own, _ = _means(photo, thing, 2 * radius, rows, columns)
    person, many = _means(photo, mask, 2 * radius, rows, columns)
    floor, more = _means(photo, ground, 2 * radius, rows, columns)
    near = (colours - own).square().sum(1)
    alike = (near < NEARER * (colours - person).square().sum(1)) | (many < 1)
    alike &= (near < NEARER * (colours - floor).square().sum(1)) | (more < 1)
    going = torch.zeros_like(thing)
    going[rows, columns] = alike
    found = thing
    for _ in range(2 * radius):
        found = found | (grow(found, 1.5) & going)
    return found
