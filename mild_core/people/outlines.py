"""People as outlines: small polygons that a browser draws and hits, in place of masks of the photo's size."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..image import boxes
from ..image.fill import shrunk
from ..image.growth import VISIBLE
from ..scene import Person
from .from_masks import fitted

LONGEST = 1024
"""Outlines follow the masks at this longest side of the photo."""

EXACT = 0.75
"""Pixels (at LONGEST) that an outline may be beside the mask's edge: just enough to turn steps into slants."""

MOST_POINTS = 200
"""Points for one person's outline; with many people, fewer for each."""

ALL_POINTS = 8_000
"""Points for the outlines of all people of a photo together."""

SMALLEST_PART = 0.002
"""Parts and holes below this share of the person's largest part are left out."""


class Outline(NamedTuple):
    """One person, in shares (0..1) of the photo's width and height."""

    rings: list[np.ndarray]  # [n, 2] x, y each, closed without repeating the first point; holes by the even-odd rule
    box: tuple[float, float, float, float]  # x0, y0, x1, y1
    point: tuple[float, float]  # deep inside the person's mask and, where possible, in nobody else's


def outlines(people: Sequence[Person], size: tuple[int, int]) -> list[Outline]:
    """The outline of each of one photo's people. size: the photo's height and width."""
    small = shrunk(size, LONGEST)
    fits = [fitted(person, small) for person in people]
    seen = [(fit.mask > VISIBLE).cpu().numpy() for fit in fits]
    crowd = np.zeros(small, dtype=np.uint16)
    for fit, mask in zip(fits, seen, strict=True):
        _under(crowd, fit.box)[...] += mask
    points = max(24, min(MOST_POINTS, ALL_POINTS // max(1, len(people))))
    extent = np.array([small[1], small[0]], dtype=np.float32)
    result = []
    for fit, mask in zip(fits, seen, strict=True):
        corner = np.array(fit.box[:2], dtype=np.float32)
        rings = [(ring + corner) / extent for ring in _within(_large(traced(mask)), points)]
        alone = mask & (_under(crowd, fit.box) == 1)
        x, y = (inner_point(alone if alone.any() else mask) + corner) / extent
        x0, y0, x1, y1 = fit.box
        box = (x0 / small[1], y0 / small[0], x1 / small[1], y1 / small[0])
        result.append(Outline(rings, box, (float(x), float(y))))
    return result


def _under(picture: np.ndarray, box: boxes.Box) -> np.ndarray:
    return picture[box[1] : box[3], box[0] : box[2]]


def traced(mask: np.ndarray) -> list[np.ndarray]:
    """The borders of mask [H, W] (bool) as rings [n, 2] of x, y: the middles of the pixels' sides between it and the
    rest, one after the other.

    The mask lies on the right hand of each ring's way, so holes run the other way round. Pixels that touch at a corner
    belong to one part.
    """
    padded = np.pad(mask, 1)
    # Sides between a pixel of the mask and one outside it, from corner to corner: east above the pixel of the mask,
    # south to its right, west below, north to its left.
    ways = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
    outside = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    first = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])  # where the side begins, from the pixel's upper left corner
    starts, directions = [], []
    for way in range(4):
        y, x = np.nonzero(mask & ~outside[way])
        starts.append(np.stack([x, y], 1) + first[way])
        directions.append(np.full(len(x), way))
    start, direction = np.concatenate(starts), np.concatenate(directions)
    if not len(start):
        return []
    wide = mask.shape[1] + 1
    end = start + ways[direction]
    key = (start[:, 1] * wide + start[:, 0]) * 4 + direction
    order = np.argsort(key)
    key = key[order]
    # Where two parts touch at a corner, two sides begin there; turning left goes on to the other part and makes them
    # one. Turning back never happens.
    follows = np.full(len(start), -1)
    for turn in (3, 0, 1):
        wanted = (end[:, 1] * wide + end[:, 0]) * 4 + (direction + turn) % 4
        place = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        found = (key[place] == wanted) & (follows < 0)
        follows[found] = order[place[found]]
    # Through the middles of the sides, and not through their corners: slanted edges then have smaller steps.
    middle = ((start + end) / 2).astype(np.float32)
    return [middle[ring] for ring in _cycles(follows.tolist())]


def _cycles(follows: list[int]) -> list[list[int]]:
    """The rings that the sides make."""
    seen = bytearray(len(follows))
    rings = []
    for begin in range(len(follows)):
        ring, side = [], begin
        while not seen[side]:
            seen[side] = 1
            ring.append(side)
            side = follows[side]
        if ring:
            rings.append(ring)
    return rings


def _area(ring: np.ndarray) -> float:
    x, y = (ring - ring[0]).T
    return abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2


def _large(rings: list[np.ndarray]) -> list[np.ndarray]:
    """The rings without specks, largest first."""
    areas = [_area(ring) for ring in rings]
    most = max(areas, default=0)
    order = sorted(range(len(rings)), key=lambda index: -areas[index])
    return [rings[index] for index in order if areas[index] >= SMALLEST_PART * most]


def _within(rings: list[np.ndarray], points: int) -> list[np.ndarray]:
    """The rings with about this many points together at most, as near to the mask's edge as that allows."""
    exact = EXACT
    while True:
        simple = [simplified(ring, exact) for ring in rings]
        if sum(map(len, simple)) <= points:
            return simple
        if all(len(ring) <= 4 for ring in simple):
            return simple[: max(1, points // 4)]
        exact *= 1.5


def simplified(ring: np.ndarray, exact: float) -> np.ndarray:
    """The ring [n, 2] with fewer points, nowhere more than `exact` away from the one given (Douglas and Peucker 1973).

    A ring keeps four points at least, if it has them.
    """
    if len(ring) <= 4:
        return ring
    path = np.concatenate([ring, ring[:1]])
    # Two points far from each other cut the ring into two lines, their middles into four.
    far = int(((path - path[0]) ** 2).sum(1).argmax())
    cuts = np.unique([0, *_farthest(path, np.array([0, far, len(path) - 1]))[0], far, len(path) - 1])
    while True:
        where, away = _farthest(path, cuts)
        new = where[away > exact]
        if not len(new):
            return path[cuts[:-1]]
        cuts = np.union1d(cuts, new)


def _farthest(path: np.ndarray, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each line between neighbouring cuts (indices into path [n, 2]): the point farthest from it, and how far."""
    line = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))
    begin, end = path[cuts[:-1]][line], path[cuts[1:]][line]
    along, to = end - begin, path[:-1] - begin
    share = np.clip((along * to).sum(1) / np.maximum((along**2).sum(1), 1e-9), 0, 1)
    away = np.sqrt(((to - share[:, None] * along) ** 2).sum(1))
    most = np.maximum.reduceat(away, cuts[:-1])
    places = np.nonzero(away == most[line])[0]
    where = places[np.searchsorted(line[places], np.arange(len(cuts) - 1))]
    return where, most


def inner_point(mask: np.ndarray) -> np.ndarray:
    """x, y in the middle of that pixel of mask [H, W] (bool, not empty) that lies deepest in it."""
    step = max(1, -(-max(mask.shape) // 96))  # on every step-th pixel: a hundred erosions at most
    left = mask[step // 2 :: step, step // 2 :: step]
    if not left.any():
        step, left = 1, mask
    while left.any():
        last = left
        inner = np.pad(left, 1)
        left = inner[1:-1, 1:-1] & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    y, x = np.nonzero(last)
    middle = ((y - y.mean()) ** 2 + (x - x.mean()) ** 2).argmin()
    offset = step // 2 if step > 1 else 0
    return np.array([x[middle] * step + offset + 0.5, y[middle] * step + offset + 0.5], dtype=np.float32)
