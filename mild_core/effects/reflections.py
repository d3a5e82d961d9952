"""The mirror image of a person in a floor or in water: below the feet, upside down, weaker.

What the floor shows below the feet is compared with the person's own pixels mirrored about the line of contact, at
several heights and shifts: where both go up and down together, in all three channels, the floor mirrors the person.
"""

import numpy as np

from .ground import level, log_light
from .window import Found, Map, Marks, Window, blurred, certainty, distance

WORK = 128
"""Pixels of a person's longer side in the window."""

MARGINS = (0.3, 0.05, 0.8)
"""What the window shows at either side, above and below, in units of the person's longer side."""

HEIGHTS = (1.0, 0.85, 0.7, 0.55)
"""Height of a mirror image in units of the person's: a camera that looks down sees it shorter."""

SHIFTS = (-0.04, -0.02, 0.0, 0.02, 0.04)
"""Place of the line of contact beside the lowest foot, in units."""

DEPTHS = (0.8, 0.6, 0.45, 0.3)
"""How far down the mirror image is seen, in units, in the order in which they are tried."""

SMOOTHING = 0.02
"""Share of the unit over which both are averaged: floors are rough."""

LEAST_LIKENESS = 0.85
"""Correlation of the floor with the mirrored person."""

LEAST_STRENGTH = 0.03
"""Standard deviation of the floor's colours (logarithms) in the mirror image: less is noise."""

LEAST_PIXELS = 0.03
"""Area of a mirror image in squared units."""


def reflection_of(window: Window, strictness: float = 1.0) -> Found | None:
    """The mirror image of the window's person below the feet, or None. strictness: see `shadow_of`."""
    unit = window.unit
    if not window.feet.any():
        return None
    bottom = int(np.nonzero(window.feet.any(1))[0].max()) + 1
    open_ = distance(window.anyone) > max(1.0, 0.01 * unit)
    sigma = max(1.0, SMOOTHING * unit)
    floor = blurred(log_light(window.colours), open_, sigma)
    person = blurred(log_light(window.colours), window.own, sigma)
    rows = np.arange(window.own.shape[0])[:, None]
    beside = open_ & (rows > bottom) & ~_columns(window.own)
    if beside.sum() < 60:
        return None
    expected = [level(np.ascontiguousarray(floor[..., channel]), beside, unit)[0] for channel in range(3)]
    floor = floor - np.stack(expected, -1)
    best: Found | None = None
    score = LEAST_LIKENESS * (0.5 + 0.5 * strictness)
    for height in HEIGHTS:
        for shift in SHIFTS:
            image, mask = _mirrored(person, window.own, bottom + shift * unit, height)
            for depth in DEPTHS:
                seen = mask & open_ & (rows > bottom) & (rows <= bottom + depth * unit)
                if (
                    seen.sum() < max(40, LEAST_PIXELS * unit * unit)
                    or seen[rows[:, 0] > bottom].any(1).sum() < 0.15 * unit
                ):
                    continue
                likeness = _likeness(floor[seen], image[seen])
                if likeness > score:
                    score = likeness
                    whole = (distance(seen) <= max(1.0, 0.02 * unit)) & ~window.anyone & (rows >= bottom - 0.02 * unit)
                    best = Found(whole, certainty((1 - LEAST_LIKENESS) / max(1 - likeness, 1e-3)))
    return best


def _columns(mask: Marks) -> Marks:
    """Every pixel of the columns in which something is marked."""
    return np.broadcast_to(mask.any(0), mask.shape)


def _mirrored(person: Map, own: Marks, line: float, height: float) -> tuple[Map, Marks]:
    """The person [h, w, 3] and the mask [h, w], upside down below the line (a row), `height` times as high."""
    rows = np.arange(own.shape[0])
    source = np.round(line - (rows + 0.5 - line) / height - 0.5).astype(int)
    inside = (source >= 0) & (source < own.shape[0]) & (rows + 0.5 > line)
    source = source.clip(0, own.shape[0] - 1)
    return person[source], own[source] & inside[:, None]


def _likeness(floor: Map, image: Map) -> float:
    """Correlation of two sets of colours [n, 3], each about its own mean; 0 where the floor shows hardly anything, or
    where it goes up in one channel and down in another.
    """
    one, other = floor - floor.mean(0), image - image.mean(0)
    spread = one.std() * other.std()
    if one.std() < LEAST_STRENGTH or spread < 1e-6:
        return 0.0
    each = (one * other).mean(0)
    return float((one * other).mean() / spread) if float(each.min()) > 0 else 0.0
