"""Turn a mask that is a filled rectangle into the mask of the person in it, where the photo makes that certain.

Mixtures of Gaussians of colour and place, one for the surroundings of the box and one for the person, take turns with
the labels of the pixels between them, as in GrabCut (Rother, Kolmogorov and Blake 2004), but without a graph cut: only
what is connected to the outside of the box is cut away, and only where it is far likelier surroundings than person.
What is left is peeled and snapped back to the photo's edges.
A part of a person left in the photo is worse than ground painted anew, so whatever is in doubt stays in the hole.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image import boxes
from ..image.blobs import blobs
from ..image.growth import grow
from ..scene import Box
from .snapping import shrunk_mask, shrunk_photo, snapped

FILLED = 0.97
"""Share of its box from which on a mask counts as a rectangle."""

LEAST_SIDE = 12
"""Smaller rectangles (pixels) hold too little to learn from."""

SURROUNDINGS = 0.35
"""Width of the surroundings that are used, as a share of the box's size (the square root of its area)."""

WORK_PIXELS = 24_000
"""Pixels of a crop: larger ones are worked on in a coarser grid, since this part costs most for each pixel."""

COMPONENTS = 8
ROUNDS = 2
SAMPLES = 3000
PLACE = 0.25
"""What a move by half the box's size counts for, in units of colour (0..1)."""

DOUBT = -3.0
"""Log odds of person against surroundings below which a pixel is cut away."""

SURE = 1.0
"""Log odds from which on a pixel is not peeled."""

PEEL = 0.06
"""Depth by which the outline is eroded before it is snapped back, as a share of the box's size."""

PEELINGS = 2

LEAST_MARGIN = 0.5
"""Mean log odds by colour alone: the person's pixels must have so much for the person, the ground's so much against."""

RIM = 0.015
"""Dilation of the mask of the person that is found, as a share of the box's size: parts that look like the ground lie
beside parts that do not.
"""

CENTRE_PART = (0.3, -0.7, 0.3)
"""The part of a box that is always person: half its width, its top and its bottom, where the box goes from -1 to 1."""

CENTRE_LOST = 0.08
"""Share of that part: if more of it would be cut away, the colours do not separate the person from the ground."""


def is_box(mask: Tensor) -> bool:
    """Whether mask [h, w] (bool), cropped to its tight box, is a filled rectangle."""
    return min(mask.shape) >= LEAST_SIDE and float(mask.float().mean()) > FILLED


def surroundings_of(box: Box) -> int:
    """Pixels of photo that `person_in_box` has to see around a box."""
    return int(SURROUNDINGS * math.sqrt(boxes.area(box))) + 4


def person_in_box(pixels: Tensor, inner: Box, others: Tensor) -> Tensor | None:
    """The person [h, w] (bool), with a generous rim, in the box `inner` of a crop pixels [h, w, 3], 0..1; None where
    that is uncertain.

    others [h, w] (bool): where further people are seen, whose colours are nobody's surroundings. Nothing outside the
    box is marked.
    """
    step = max(1, math.ceil(math.sqrt(pixels.shape[0] * pixels.shape[1] / WORK_PIXELS)))
    photo = shrunk_photo(pixels, step)
    height, width = photo.shape[1:]
    rows = (torch.arange(height, device=photo.device) + 0.5) * step
    columns = (torch.arange(width, device=photo.device) + 0.5) * step
    x0, y0, x1, y1 = inner
    down = ((rows - y0) / (y1 - y0) * 2 - 1)[:, None].expand(height, width)
    across = ((columns - x0) / (x1 - x0) * 2 - 1)[None].expand(height, width)
    inside = (down.abs() <= 1) & (across.abs() <= 1)
    taken = shrunk_mask(others, step)
    ground = ~inside & ~taken
    if int(ground.sum()) < 0.1 * int(inside.sum()):
        return None
    odds = _odds(photo, inside, ground, down, across, (x1 - x0) / (y1 - y0))
    outside = _reachable((odds < DOUBT) & inside, ~inside)
    person = inside & ~outside
    half, top, bottom = CENTRE_PART
    central = (across.abs() < half) & (down > top) & (down < bottom)
    if not central.any() or float(outside[central].float().mean()) > CENTRE_LOST:
        return None
    if not _separable(photo, person, ground):
        return None
    peel = max(2.0, PEEL * math.sqrt(float(inside.sum())))
    for _ in range(PEELINGS):
        core = person & (~grow(~person, peel) | (odds > SURE))
        if not core.any():
            break
        person = person & snapped(photo.permute(1, 2, 0), core, peel, taken)
    person = grow(person, max(1.0, RIM * math.sqrt(float(inside.sum()))))
    large = F.interpolate(person[None, None].float(), scale_factor=step, mode="bilinear", align_corners=False)
    result = torch.zeros(pixels.shape[:2], dtype=torch.bool, device=pixels.device)
    boxes.cut(result, inner).copy_(boxes.cut(large[0, 0], inner) > 0.25)
    return result


def _odds(photo: Tensor, inside: Tensor, ground: Tensor, down: Tensor, across: Tensor, shape: float) -> Tensor:
    """Log odds [h, w] of person against surroundings."""
    height, width = inside.shape
    smooth = F.avg_pool2d(photo[None], 3, 1, 1, count_include_pad=False)[0]
    place = PLACE * torch.stack([down * shape**-0.5, across * shape**0.5])
    features = torch.cat([smooth, place]).flatten(1).T
    # People stand in the middle of their boxes: a column, rounded off at the corners.
    prior = (1.5 - 3.5 * ((across / 0.9) ** 2 + 0.6 * (down / 1.05) ** 4)).clamp(-1.5, 1.5)
    odds = prior
    around, within = _some(ground), _some(inside)
    for number in range(ROUNDS):
        likely = odds.flatten()[within].sigmoid()
        known = torch.cat([features[around], features[within]])
        # At first only what is outside counts as surroundings; then also what looks like them inside.
        weights = torch.cat([likely.new_ones(len(around)), (1 - likely) * (0.5 if number else 0.0) + 1e-6])
        surroundings = _Mixture(known, weights)
        person = _Mixture(features[within], likely**2 + 1e-6)
        ratio = person.log_density(features) - surroundings.log_density(features)
        odds = ratio.view(height, width).clamp(-6, 6) + prior / 2
        odds = F.avg_pool2d(odds[None, None], 5, 1, 2, count_include_pad=False)[0, 0]
    return odds


def _separable(photo: Tensor, person: Tensor, ground: Tensor) -> bool:
    """Whether colours differ: on ground of the same colours, only place would separate the person from it."""
    colours = photo.flatten(1).T
    within, around = colours[_some(person)], colours[_some(ground)]
    likely, unlikely = _Mixture(within, torch.ones_like(within[:, 0])), _Mixture(around, torch.ones_like(around[:, 0]))
    margins = [
        float((own.log_density(points) - other.log_density(points)).mean())
        for own, other, points in ((likely, unlikely, within), (unlikely, likely, around))
    ]
    return min(margins) > LEAST_MARGIN


def _some(mask: Tensor) -> Tensor:
    """Places of at most SAMPLES marked pixels, evenly spread."""
    places = mask.flatten().nonzero()[:, 0]
    return places[:: -(-len(places) // SAMPLES)]


class _Mixture:
    """Gaussians fitted to weighted points [n, d]: k-means from far apart seeds, then a covariance for each cluster."""

    def __init__(self, points: Tensor, weights: Tensor) -> None:
        centres = [(points * weights[:, None]).sum(0) / weights.sum()]
        gap = (points - centres[0]).square().sum(1)
        for _ in range(COMPONENTS - 1):
            centres.append(points[(gap * weights).argmax()])
            gap = torch.minimum(gap, (points - centres[-1]).square().sum(1))
        centre = torch.stack(centres)
        for _ in range(6):
            member = F.one_hot(torch.cdist(points, centre).argmin(1), COMPONENTS) * weights[:, None]
            mass = member.sum(0)
            centre = torch.where(mass[:, None] > 0, member.T @ points / mass[:, None].clamp(min=1e-9), centre)
        offset = points[None] - centre[:, None]
        spread = (offset * member.T[..., None]).mT @ offset / (mass[:, None, None] + 1e-6)
        factor = torch.linalg.cholesky(spread + 1e-3 * torch.eye(points.shape[1], device=points.device))
        identity = torch.eye(points.shape[1], device=points.device).expand_as(factor)
        self.whiten = torch.linalg.solve_triangular(factor, identity, upper=False)
        self.centre = centre
        self.level = (mass + 1).log() - (mass.sum() + COMPONENTS).log() - factor.diagonal(dim1=1, dim2=2).log().sum(1)

    def log_density(self, points: Tensor) -> Tensor:
        """Log density [n] at points [n, d], up to a constant that all mixtures share."""
        white = (points[None] - self.centre[:, None]) @ self.whiten.mT
        return torch.logsumexp(self.level[:, None] - white.square().sum(2) / 2, 0)


def _reachable(free: Tensor, outside: Tensor) -> Tensor:
    """What of `free` [h, w] (bool) can be reached from `outside` through gaps at least three pixels wide."""
    open_ = ~grow(~(free | outside), 1)
    reached = torch.zeros_like(free)
    for (x0, y0, x1, y1), shape in blobs(open_ | outside, 8)[0]:
        if (shape & outside[y0:y1, x0:x1]).any():
            reached[y0:y1, x0:x1] |= shape
    return grow(reached, 1) & free
