"""Things that a person carries or rides: they touch that person only, are compact, and stand out from what surrounds
them.

What surrounds them is shown by the edge of the window around the person. A pixel stands out if no pixel of that edge
has its colour (nearer ones count more). How well the edge explains itself, part by part, says how varied the place is:
among bushes, pans or scaffolding nothing stands out, and nothing is proposed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.spatial import cKDTree

from .ground import log_light
from .window import Found, Map, Marks, Window, blurred, certainty, distance

WORK = 112
"""Pixels of a person's longer side in the window."""

MARGINS = (0.7, 0.5, 0.5)
"""What the window shows at either side, above and below, in units of the person's longer side."""

EDGE = 0.4
"""Distance from the person, in units, from which pixels show the surroundings."""

CLOSE_TO_ANYBODY = 0.06
"""Pixels within this distance of anybody, in units, show no surroundings; and two people this near to a thing share
it.
"""

SAMPLES = 1200
"""Pixels of the surroundings that are looked at."""

LEAST_SAMPLES = 200

SPARSE = 3
"""Of so many of these one is asked how it is explained by the rest."""

NEIGHBOURS = 3
"""How many of them have to have the colour."""

FARTHER = 0.1
"""What a distance of one unit counts, beside colours (lightness 0..1)."""

APART = 0.25
"""Distance in units from which the surroundings' own pixels explain one another: nearer ones are the same thing."""

LEAST_DIFFERENCE = 0.09
"""Difference of colours from which a pixel stands out at least."""

OVER_VARIETY = 1.3
"""The same as a multiple of the difference that one in ten of the surroundings' own pixels has."""

MOST_VARIETY = 0.09
"""That difference, above which the place is too varied for anything to stand out."""

TOUCHING = 2.5
"""Pixels of the window between a mask and a thing that touches it: masks miss a rim."""

LEAST_AREA, MOST_SHARE = 0.004, 0.6
"""Area in squared units, at least; share of the person's area, at most: somebody else is larger."""

STICKS_OUT = 0.08
"""Distance from the mask, in units, that a thing reaches at least: less is a rim that the mask missed."""

RIM = 0.03
"""Distance from a mask, in units, up to which it may have missed the person."""

FARTHEST = 0.72
"""Distance from the person, in units, at which a thing must have ended."""

LEAST_CONTRAST, SIZE_COUNTS = 1.55, 0.1
"""Mean difference of a thing's pixels, in multiples of what stands out; and the power of its area (in least areas) by
which that is multiplied: that a hundred pixels differ by chance is less likely than that ten do.
"""

SHADE = 0.15
"""How far the channels' logarithms may differ in what they lose, and vary, if a thing is to be a hard shadow."""


class Thing(NamedTuple):
    """Something that stands out."""

    found: Found
    part: Marks  # [h, w]: all that stands out there, the rim that the person's mask missed included
    shade: bool  # it darkens the ground evenly and leaves its hue: a shadow with a hard edge


def things_of(window: Window, strictness: float = 1.0) -> list[Thing]:
    """What the window's person carries or rides, and shadows with hard edges. strictness: see `shadow_of`."""
    unit = window.unit
    away, from_others = distance(window.own) / unit, distance(window.others) / unit
    edge = (away > EDGE) & (from_others > CLOSE_TO_ANYBODY)
    if edge.sum() < LEAST_SAMPLES:
        return []
    smooth = blurred(opponent(window.colours), ~window.anyone, 0.8)
    rows, columns = np.nonzero(edge)
    # The same pixels every time: evenly over the edge.
    every = np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).round().astype(int)
    samples = _points(smooth, rows[every], columns[every], unit)
    variety = _variety(samples)
    if variety > MOST_VARIETY / max(strictness, 0.8):
        return []
    least = strictness * max(LEAST_DIFFERENCE, OVER_VARIETY * variety)
    rows, columns = np.nonzero(~window.anyone & (away < FARTHEST + 0.05))
    difference = np.zeros(away.shape, np.float32)
    nearest = cKDTree(samples).query(_points(smooth, rows, columns, unit), k=NEIGHBOURS)[0]
    difference[rows, columns] = nearest.mean(1)
    parts, count = label(difference > least, np.ones((3, 3)))
    things = []
    touching = away * unit <= TOUCHING
    for part in np.setdiff1d(np.unique(parts[touching]), [0]):
        whole = parts == part
        mask = _without_rim(whole, away, unit)
        if not mask.any():
            continue
        contrast = float(difference[mask].mean()) / least
        area = float(mask.sum()) / unit**2
        own_share = float(mask.sum() / max(window.own.sum(), 1))
        reach = float(away[mask].max())
        if area < LEAST_AREA or own_share > MOST_SHARE or not STICKS_OUT < reach < FARTHEST:
            continue
        contrast *= (area / LEAST_AREA) ** SIZE_COUNTS
        if contrast < LEAST_CONTRAST or _leaves(mask, window) or float(from_others[mask].min()) < CLOSE_TO_ANYBODY:
            continue
        sure = certainty(contrast / LEAST_CONTRAST, MOST_VARIETY / max(variety, 1e-3), area / LEAST_AREA)
        found = Found((distance(mask) <= 1) & ~window.anyone, sure)
        things.append(Thing(found, whole | found.mask, _is_shade(mask, window)))
    return things


def _without_rim(mask: Marks, away: Map, unit: float) -> Marks:
    """A thing without the thin rim of the person that the person's mask missed beside it."""
    out = mask & (away > RIM)
    return mask & ((away > RIM) | (distance(out) <= 2 * RIM * unit)) if out.any() else out


def opponent(colours: Map) -> Map:
    """[h, w, 3]: lightness and two colour differences, of which the eye sees smaller ones."""
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([light, 1.2 * (red - light), 1.2 * (blue - light)], -1).astype(np.float32)


def _points(colours: Map, rows: NDArray[np.intp], columns: NDArray[np.intp], unit: float) -> NDArray[np.float32]:
    """Colour and place of pixels, [n, 5]."""
    place = np.stack([rows, columns], 1) * (FARTHER / unit)
    return np.concatenate([colours[rows, columns], place], 1).astype(np.float32)


def _variety(samples: NDArray[np.float32]) -> float:
    """The difference that one in ten of the samples has to those that lie elsewhere."""
    colours, place = samples[:, :3], samples[:, 3:]
    far = APART * FARTHER
    differences = []
    for start in range(0, len(samples), 200 * SPARSE):
        own = samples[start : start + 200 * SPARSE : SPARSE]
        squared = ((own[:, None, :3] - colours) ** 2).sum(-1)
        between = ((own[:, None, 3:] - place) ** 2).sum(-1)
        squared = np.where(between < far * far, 9.0, squared + between)
        nearest = np.partition(squared, NEIGHBOURS - 1, 1)[:, :NEIGHBOURS]
        differences.append(np.sqrt(nearest).mean(1))
    return float(np.quantile(np.concatenate(differences), 0.9))


def _leaves(mask: Marks, window: Window) -> bool:
    """Whether a thing goes on beyond the window: of that nobody knows the end."""
    x0, y0, x1, y1 = window.box
    height, width = window.size
    sides = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    inner = (y0 > 0, y1 < height, x0 > 0, x1 < width)
    return any(bool(side.any()) for side in sides) and (
        any(bool(side.any()) and inside for side, inside in zip(sides, inner, strict=True))
        or sum(int(side.sum()) for side in sides) > 0.3 * np.sqrt(mask.sum())
    )


def _is_shade(mask: Marks, window: Window) -> bool:
    """Whether the mask is darker than what surrounds it by one factor, in all channels, and begins at the feet."""
    if not window.feet.any() or float(distance(window.feet)[mask].min()) > TOUCHING + 1:
        return False
    around = (distance(mask) <= 0.08 * window.unit) & ~mask & (distance(window.anyone) > 1)
    if around.sum() < 20:
        return False
    light = log_light(blurred(window.colours, ~window.anyone, 1.0))
    lost = np.median(light[mask], 0) - np.median(light[around], 0)
    even = float(np.abs(light[mask].mean(-1) - np.median(light[mask].mean(-1))).mean())
    return bool(lost.max() < -0.1 and np.ptp(lost) < SHADE and even < SHADE)
