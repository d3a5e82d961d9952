"""What two outlines that meet tell about who stands in front: where they end, whose is bitten, whose feet are lower.

The one in front shows her whole outline, and the other's ends at it. Seen from the point where both outlines and
what is behind them meet (a T-junction: Guzman 1968; Rubin 2001), the one in front fills about half of the
surroundings, and the other shares the rest with what is behind. And whoever is hidden has lost a part that her convex
hull still holds, and there the other is seen.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..image import boxes
from ..image.blobs import blobs
from ..image.growth import VISIBLE, growth_pixels
from ..scene import Box, Person

GAP = 0.01
"""Masks touch when their distance is below this share of a person's size (see growth_pixels), or LEAST_GAP pixels."""

LEAST_GAP = 3

FINE = 6
"""Grid cells in a junction's radius: outlines are compared on a grid as coarse as that allows."""

RADIUS = 0.2
"""Radius of the surroundings of a junction, as a share of the root of the smaller one's pixels."""

SIDE = 96
"""Cells along the longer side of the grid on which a hull is compared with the other's mask."""

BORDER = 0.01
"""Share of the photo's height above its lower border in which feet count as cut off."""

TRUST_JUNCTIONS, TRUST_HULLS, TRUST_FEET = 12.0, 2.5, 3.0
"""Weights of the three clues in the logit that the first is in front: a balance between people on a common ground,
where feet alone would do, and people laid over one another anywhere, where feet mislead (benchmarks/quality/order.py
prints both).
"""


class ContactOutline(NamedTuple):
    """A person's mask made ready for many comparisons."""

    person: Person
    mask: np.ndarray  # [h, w] bool, at person.box
    pixels: int  # marked in mask
    left: np.ndarray  # [h]: first column of the convex hull in each row, in pixels of the photo
    right: np.ndarray  # [h]: column behind its last one
    cut: bool  # the photo's lower border cuts her off


class Contact(NamedTuple):
    """Two people of one photo whose outlines come near each other."""

    first: int  # places in the list that was asked about
    second: int
    logit: float  # above 0: the first is in front; the larger the surer
    touching: bool
    place: tuple[float, float]  # x, y in pixels of the photo: the middle of where they meet


def gap_pixels(box: Box, size: tuple[int, int]) -> float:
    """How far apart, in pixels, a mask with this box and another may lie and still touch."""
    return max(LEAST_GAP, growth_pixels(box, size, GAP))


def outline_of(person: Person) -> ContactOutline:
    mask = (person.mask > VISIBLE).cpu().numpy()
    left, right = _hull(mask)
    x0 = person.box[0]
    return ContactOutline(person, mask, int(mask.sum()), left + x0, right + x0, _is_cut(person))


def _is_cut(person: Person) -> bool:
    """Whether she reaches the photo's lower border; masks by hand end a little above it."""
    return person.box[3] >= person.size[0] - max(1, BORDER * person.size[0])


def contacts(people: Sequence[Person]) -> list[Contact]:
    """Every pair of these people of one photo (of one size) whose boxes come near each other."""
    outlines = [outline_of(person) for person in people]
    reach = [gap_pixels(person.box, person.size) for person in people]
    found = []
    for second, other in enumerate(outlines):
        for first in range(second):
            gap = min(reach[first], reach[second])
            near = boxes.grown(other.person.box, gap, gap, other.person.size)
            if boxes.overlap(near, outlines[first].person.box):
                found.append(_compare(outlines[first], other, first, second, gap))
    return found


def _compare(a: ContactOutline, b: ContactOutline, first: int, second: int, gap: float) -> Contact:
    radius = max(RADIUS * math.sqrt(min(a.pixels, b.pixels)), 2.0)
    touching, place, junctions = _junctions(a, b, gap, radius)
    clue = TRUST_FEET * _feet(a, b) + TRUST_HULLS * _bites(a, b)
    if touching:
        clue += TRUST_JUNCTIONS * junctions
    return Contact(first, second, clue, touching, place)


def _feet(a: ContactOutline, b: ContactOutline) -> float:
    """How much lower the first stands, in heights of the smaller one, -1..1. Where the photo's lower border cuts both
    off, nobody knows.
    """
    if a.cut and b.cut:
        return 0.0
    tall = min(boxes.height(a.person.box), boxes.height(b.person.box))
    return math.tanh(2 * (a.person.box[3] - b.person.box[3]) / tall)


def _bites(a: ContactOutline, b: ContactOutline) -> float:
    """-1..1: above 0, the first is seen inside the second's hull more than the other way round."""
    bitten_b, bitten_a = _seen_in_hull(a, b), _seen_in_hull(b, a)
    total = bitten_a + bitten_b
    if not total:
        return 0.0
    # Little of either in the other's hull is what people beside each other have too: it counts for little.
    weight = min(1.0, total / (0.05 * max(min(a.pixels, b.pixels), 1)))
    return weight * (bitten_b - bitten_a) / total


def _seen_in_hull(who: ContactOutline, whose: ContactOutline) -> float:
    """Pixels of the first one's mask inside the second one's hull, but not on her mask."""
    x0, y0, x1, y1 = shared = boxes.intersection(who.person.box, whose.person.box)
    if not boxes.area(shared):
        return 0.0
    step = max(1, max(x1 - x0, y1 - y0) // SIDE)
    mine = grid(who, shared, step)
    hers = grid(whose, shared, step)
    rows = np.arange(y0, y1, step) - whose.person.box[1]
    columns = np.arange(x0, x1, step)[None, :]
    hull = (columns >= whose.left[rows][:, None]) & (columns < whose.right[rows][:, None])
    return float(np.count_nonzero(mine & hull & ~hers) * step * step)


def grid(outline: ContactOutline, box: Box, step: int) -> np.ndarray:
    """Every step-th pixel of a mask under a box of the photo; False outside of her own box."""
    x0, y0, x1, y1 = box
    left, top, right, bottom = outline.person.box
    result = np.zeros((-(-(y1 - y0) // step), -(-(x1 - x0) // step)), dtype=bool)
    # First grid lines inside her box.
    i0, j0 = max(0, -(-(top - y0) // step)), max(0, -(-(left - x0) // step))
    rows = slice(y0 + i0 * step - top, max(0, min(bottom, y1) - top), step)
    columns = slice(x0 + j0 * step - left, max(0, min(right, x1) - left), step)
    part = outline.mask[rows, columns]
    result[i0 : i0 + part.shape[0], j0 : j0 + part.shape[1]] = part
    return result


def _junctions(
    a: ContactOutline, b: ContactOutline, gap: float, radius: float
) -> tuple[bool, tuple[float, float], float]:
    """Whether both touch; where; and -1..1, above 0 if the first one's outline runs through where they part."""
    size = a.person.size
    step = max(1, int(radius / FINE))
    margin = math.ceil(radius) + math.ceil(gap) + 2 * step
    grown_a = boxes.grown(a.person.box, margin, margin, size)
    grown_b = boxes.grown(b.person.box, margin, margin, size)
    box = boxes.intersection(grown_a, grown_b)
    mine, hers = grid(a, box, step), grid(b, box, step)
    cells = max(1, math.ceil(gap / step / 2))
    contact = dilated(mine, cells) & dilated(hers, cells)
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    if not contact.any():
        return False, middle, 0.0
    meeting = np.argwhere(contact)
    where = meeting[np.abs(meeting - meeting.mean(0)).sum(1).argmin()]
    place = (box[0] + (float(where[1]) + 0.5) * step, box[1] + (float(where[0]) + 0.5) * step)
    free = ~(mine | hers | contact)
    ends = contact & dilated(free, 1)
    reach = max(2, round(radius / step))
    inside = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= reach
    parts = [np.pad(part, reach) for part in (mine & ~hers, hers & ~mine)]
    votes = weights = 0.0
    for (x0, y0, _, _), shape in blobs(torch.from_numpy(ends))[0]:
        row, column = shape.nonzero().float().mean(0).round().int().tolist()
        window = np.s_[y0 + row : y0 + row + 2 * reach + 1, x0 + column : x0 + column + 2 * reach + 1]
        one, other = (_largest(part[window] & inside) for part in parts)
        if one + other:
            votes += (one - other) / (one + other)
            weights += 1
    return True, place, votes / weights if weights else 0.0


def _largest(mask: np.ndarray) -> int:
    """Pixels of the largest connected part: of a wide figure only the side that is near counts, or a narrow one in
    front of it would lose to both of its sides.
    """
    step = mask[:, 1:] & ~mask[:, :-1]
    runs = np.count_nonzero(step, 1) + mask[:, 0]
    rows = np.flatnonzero(runs)
    if not len(rows) or (runs.max() == 1 and rows[-1] - rows[0] + 1 == len(rows)):
        # Nothing, or one run in each of some rows that follow one another: the usual case needs no search.
        return int(np.count_nonzero(mask))
    found = blobs(torch.from_numpy(mask))[0]
    return int(found[0][1].sum()) if found else 0


def dilated(mask: np.ndarray, cells: int) -> np.ndarray:
    """mask and everything within that many cells of it, in squares."""
    wide = np.pad(mask, cells)
    tall = np.logical_or.reduce([wide[:, k : k + mask.shape[1]] for k in range(2 * cells + 1)])
    return np.logical_or.reduce([tall[k : k + mask.shape[0]] for k in range(2 * cells + 1)])


def _hull(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First column, and the one behind the last, of the convex hull of mask [h, w] in each row."""
    # Of a tall figure some rows are enough: a hull has few corners.
    rows = np.unique(np.linspace(0, mask.shape[0] - 1, min(mask.shape[0], SIDE)).round().astype(int))
    some = mask[rows]
    seen = some.any(1)
    first = some.argmax(1)[seen]
    last = mask.shape[1] - some[:, ::-1].argmax(1)[seen]
    lines = np.arange(mask.shape[0])
    return -_chain(rows[seen], -first, lines), _chain(rows[seen], last, lines)


def _chain(rows: np.ndarray, columns: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """The convex chain (Andrew 1979) on the side of larger columns of these points, at every line; 0 without points."""
    if not len(rows):
        return np.zeros(len(lines))
    chain: list[tuple[int, int]] = []
    for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
        while len(chain) > 1:
            (y0, x0), (y1, x1) = chain[-2:]
            if (x1 - x0) * (y - y0) > (x - x0) * (y1 - y0):
                break
            chain.pop()
        chain.append((y, x))
    return np.interp(lines, [y for y, _ in chain], [x for _, x in chain])
