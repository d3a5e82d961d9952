"""What two outlines that meet say about depth order: T-junctions, convex hulls and the height of the feet.

The outline of the person in front is whole, and the other outline ends at it. Around the point where both outlines
and what is behind them meet (a T-junction: Guzman 1968; Rubin 2001), the person in front fills about half of the
surroundings, and the other shares the rest with what is behind. And whoever is hidden lacks a part of their convex
hull, and the person in front is seen there.
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
"""Pixels."""

CELLS_PER_RADIUS = 6
"""Grid cells in a junction's radius: outlines are compared on a grid as coarse as that allows."""

RADIUS = 0.2
"""Radius of the surroundings of a junction, as a share of the square root of the smaller mask's pixels."""

SIDE = 96
"""Cells along the longer side of the grid on which a hull is compared with the other's mask."""

BORDER = 0.01
"""Share of the photo's height above its lower border in which feet count as cut off."""

JUNCTIONS_WEIGHT, HULLS_WEIGHT, FEET_WEIGHT = 12.0, 2.5, 3.0
"""Weights of the three cues in the logit that the first is in front: a balance between people on a common ground,
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
    cut: bool  # the photo's lower border cuts the person off


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
    """Whether the mask reaches the photo's lower border; masks drawn by hand end a little above it."""
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
    logit = FEET_WEIGHT * _feet(a, b) + HULLS_WEIGHT * _hulls(a, b)
    if touching:
        logit += JUNCTIONS_WEIGHT * junctions
    return Contact(first, second, logit, touching, place)


def _feet(a: ContactOutline, b: ContactOutline) -> float:
    """How much lower the first stands, in heights of the smaller one, -1..1. Where the photo's lower border cuts both
    off, nobody knows.
    """
    if a.cut and b.cut:
        return 0.0
    tall = min(boxes.height(a.person.box), boxes.height(b.person.box))
    return math.tanh(2 * (a.person.box[3] - b.person.box[3]) / tall)


def _hulls(a: ContactOutline, b: ContactOutline) -> float:
    """-1..1: above 0, the first is seen inside the second's hull more than the other way round."""
    in_hull_b, in_hull_a = _seen_in_hull(a, b), _seen_in_hull(b, a)
    total = in_hull_a + in_hull_b
    if not total:
        return 0.0
    # A few pixels in the other's hull are found between people beside each other too: they count for little.
    weight = min(1.0, total / (0.05 * max(min(a.pixels, b.pixels), 1)))
    return weight * (in_hull_b - in_hull_a) / total


def _seen_in_hull(who: ContactOutline, whose: ContactOutline) -> float:
    """Pixels of the first one's mask inside the second one's hull, but not on the second one's mask."""
    x0, y0, x1, y1 = shared = boxes.intersection(who.person.box, whose.person.box)
    if not boxes.area(shared):
        return 0.0
    step = max(1, max(x1 - x0, y1 - y0) // SIDE)
    first = grid(who, shared, step)
    second = grid(whose, shared, step)
    rows = np.arange(y0, y1, step) - whose.person.box[1]
    columns = np.arange(x0, x1, step)[None, :]
    hull = (columns >= whose.left[rows][:, None]) & (columns < whose.right[rows][:, None])
    return float(np.count_nonzero(first & hull & ~second) * step * step)


def grid(outline: ContactOutline, box: Box, step: int) -> np.ndarray:
    """Every step-th pixel of a mask under a box of the photo; False outside of the mask's own box."""
    x0, y0, x1, y1 = box
    left, top, right, bottom = outline.person.box
    result = np.zeros((-(-(y1 - y0) // step), -(-(x1 - x0) // step)), dtype=bool)
    # First grid lines inside the mask's box.
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
    step = max(1, int(radius / CELLS_PER_RADIUS))
    margin = math.ceil(radius) + math.ceil(gap) + 2 * step
    grown_a = boxes.grown(a.person.box, margin, margin, size)
    grown_b = boxes.grown(b.person.box, margin, margin, size)
    box = boxes.intersection(grown_a, grown_b)
    mask_a, mask_b = grid(a, box, step), grid(b, box, step)
    cells = max(1, math.ceil(gap / step / 2))
    contact = dilated(mask_a, cells) & dilated(mask_b, cells)
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    if not contact.any():
        return False, middle, 0.0
    meeting = np.argwhere(contact)
    where = meeting[np.abs(meeting - meeting.mean(0)).sum(1).argmin()]
    place = (box[0] + (float(where[1]) + 0.5) * step, box[1] + (float(where[0]) + 0.5) * step)
    free = ~(mask_a | mask_b | contact)
    ends = contact & dilated(free, 1)
    reach = max(2, round(radius / step))
    inside = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= reach
    parts = [np.pad(part, reach) for part in (mask_a & ~mask_b, mask_b & ~mask_a)]
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
    """Pixels of the largest connected part: of a wide mask only the nearer side counts, else its two sides together
    would outweigh a narrow mask in front of it.
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
    """mask dilated by a square kernel that reaches that many cells to each side."""
    wide = np.pad(mask, cells)
    tall = np.logical_or.reduce([wide[:, k : k + mask.shape[1]] for k in range(2 * cells + 1)])
    return np.logical_or.reduce([tall[k : k + mask.shape[0]] for k in range(2 * cells + 1)])


def _hull(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First column, and the one behind the last, of the convex hull of mask [h, w] in each row."""
    # Of a tall mask some rows are enough: a hull has few corners.
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
