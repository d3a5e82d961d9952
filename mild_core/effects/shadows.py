"""The shadow that a person casts on the ground around the feet.

A shadow begins where the person touches the ground, multiplies the ground's colours by a factor that changes smoothly,
rises to 1 with the distance from the feet, and leaves the ground's texture and hue. A stone, a kerb or another floor
that is darker does one of these things, not all of them. Where the ground is too uneven to tell, nothing is proposed.
"""

import numpy as np
from scipy.ndimage import binary_fill_holes, binary_propagation, label

from .ground import ground_of
from .window import Found, Map, Marks, Window, certainty, distance

WORK = 160
"""Pixels of a person's longer side in the window."""

MARGINS = (0.8, 0.5, 0.4)
"""What the window shows at either side, above and below, in units of the person's longer side."""

RIM = 0.012
"""Share of the unit beside a mask that still shows the person's colours."""

SMOOTHING = 0.02
"""Share of the unit over which the ground's texture is averaged."""

NEAR = 0.10
"""Distance from the feet, in units, where a shadow begins."""

FAR = 0.22
"""Distance from everybody's feet, in units, from which there is mostly no shadow."""

BEHIND = 0.25
"""Shadows end this far above the lowest foot, in units: seen from above, the ground goes up in the picture."""

DARKER = 0.05
"""By how much (of brightness, as a logarithm) a shadow is darker at least, beside the feet."""

OVER_NOISE = 2.0
"""The same in standard deviations of the ground."""

REACH = 0.20
"""Distance from the feet, in units, at which it must be twice as dark to count: what is far must be plain."""

FADES = 0.4
"""Distance from the feet, in units, over which a shadow's darkness falls to a tenth of what it is beside them: whatever
is darker than that far from the feet is something else that touches the shadow.
"""

DARKEST = 0.12
"""By how much darker than beside the feet a shadow may be anywhere: an object is darker."""

SHADOW_HUE = 0.10
"""Difference of the colour's shares from the ground's: light from the sky is bluer, light from a floor redder."""

HALO, HALO_OVER_NOISE = 0.5, 1.6
"""Share of the darkness that was asked for, down to which a shadow that was found goes on; the same in standard
deviations of the ground.
"""

MOST_DARK = 0.4
"""Mean darkness (a logarithm) of a soft shadow at most: what is darker all over is black, or the shadow of more than
the person. Shadows in the sun, with hard edges, stand out like things (`carried`).
"""

MOST_NOISE = 0.07
"""Standard deviation of the ground's brightness (a logarithm) above which no shadow is told from it."""

LEAST_TOUCH, LEAST_AREA, LEAST_GROUND = 0.2, 0.006, 0.25
"""Share of the ground beside the feet that is darker; area in squared units; share of the surroundings that is this
ground.
"""

LEAST_LIKENESS, TOUCH_COUNTS, EVEN_COUNTS = 0.15, 0.4, 0.2
"""Correlation of brightness with the distance from the feet; what a touch all around, beyond the least one, adds to it;
and what ground without any texture adds.
"""

EVEN = 0.03
"""Standard deviation of the ground's brightness (a logarithm) from which on it is not even."""


def shadow_of(window: Window, strictness: float = 1.0, things: Marks | None = None) -> Found | None:
    """The shadow of the window's person, or None. strictness: 1 as measured; 2 asks for twice as much of everything.
    things [h, w]: what is no ground, for it is carried.
    """
    unit = window.unit
    if not window.feet.any():
        return None
    bottom = int(np.nonzero(window.feet.any(1))[0].max()) + 1
    rows = np.arange(window.own.shape[0])[:, None]
    anyone = window.anyone if things is None else window.anyone | things
    hidden = distance(anyone) <= max(1.0, RIM * unit)
    own, other = distance(window.feet) / unit, distance(window.other_feet) / unit
    away = np.minimum(own, other)
    near = (own <= NEAR) & (rows >= bottom - NEAR * unit) & ~hidden & (own <= other)
    beside = (away > NEAR) & (own < 0.35) & (rows >= bottom - 0.2 * unit) & ~hidden
    ground_rows = rows >= bottom - BEHIND * unit
    far = (away > FAR) & ground_rows & ~hidden
    if near.sum() < 20 or beside.sum() < 60 or far.sum() < 100:
        return None
    ground = ground_of(window.colours, hidden, beside, far, max(1.0, SMOOTHING * unit), unit)
    if ground is None or ground.share < LEAST_GROUND or ground.noise > MOST_NOISE / max(strictness, 0.8):
        return None
    least = strictness * max(DARKER, OVER_NOISE * ground.noise)
    possible = ground_rows & ~hidden & (ground.hue_off < SHADOW_HUE)
    limit = -least * (1 + (away / REACH) ** 2)
    dark = possible & (ground.darkness < limit)
    start = dark & near
    if not start.any():
        return None
    darkest = float(np.percentile(ground.darkness[start], 15))
    possible &= ground.darkness > darkest - DARKEST
    possible &= ground.darkness > 1.25 * darkest * (1 - 0.9 * away / FADES).clip(0.1)
    dark &= possible
    parts = label(dark)[0]
    mask = np.isin(parts, np.setdiff1d(np.unique(parts[dark & near]), [0])) & (own <= other)
    touch = float((mask & near).sum() / near.sum())
    area = float(mask.sum()) / unit**2
    likeness = _rise(ground.darkness, away, mask & (away < NEAR)) + TOUCH_COUNTS * (touch - LEAST_TOUCH)
    likeness += EVEN_COUNTS * max(0.0, 1 - ground.noise / EVEN)
    margins = (touch / LEAST_TOUCH, area / LEAST_AREA, likeness / LEAST_LIKENESS, MOST_NOISE / max(ground.noise, 1e-3))
    if min(margins[:3]) < strictness or -float(ground.darkness[mask].mean()) > MOST_DARK:
        return None
    faint = np.minimum(HALO * limit, -HALO_OVER_NOISE * ground.noise)
    # Where it was found, it goes on as far as it can be told from the ground at all.
    mask = binary_propagation(mask, mask=possible & (ground.darkness < faint) & (own <= other))
    mask = mask | (binary_fill_holes(mask | hidden) & ~hidden & (ground.darkness < 0) & (own <= other))
    return Found(_with_rim(mask, anyone, hidden, unit), certainty(*margins))


def _rise(darkness: Map, away: Map, mask: Marks) -> float:
    """How well the distance from the feet explains the brightness in the mask, -1..1."""
    if mask.sum() < 10:
        return 0.0
    light, far = darkness[mask], away[mask]
    spread = float(light.std() * far.std())
    return float(((light - light.mean()) * (far - far.mean())).mean()) / spread if spread > 1e-6 else 0.0


def _with_rim(mask: Marks, anyone: Marks, hidden: Marks, unit: float) -> Marks:
    """The shadow with its soft end, and up to the person's mask."""
    away = distance(mask)
    return ((away <= 0.02 * unit) | ((away <= 0.05 * unit) & hidden)) & ~anyone
