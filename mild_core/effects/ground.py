"""The ground around a person as it would be without shadow, and how much darker every pixel is."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from .window import Map, Marks, blurred

DARK = 0.02
"""Added to brightness (0..1) before its logarithm is taken: below that a photo shows noise."""

SAME_HUE = 0.045
"""Difference of a colour's shares (red, green, blue in their sum) from the ground's, up to which it is that ground."""

SAME_LIGHT = 0.5
"""The same for the logarithm of brightness."""

LEVEL_REACH = 0.2
"""Over how much of the unit the level follows the ground's slow changes."""

OUTLIER = 2.5
"""Standard deviations beyond which a pixel has no say in the level."""

ROUNDS = 5


class Ground(NamedTuple):
    """What was found out about it. Maps are [h, w] of the window."""

    darkness: Map  # logarithm of brightness, minus that of the ground without shadow: below 0 is darker
    hue_off: Map  # largest difference of the colour's shares from the ground's
    noise: float  # standard deviation of `darkness` where there is no shadow
    share: float  # of the pixels that were to be ground: how many look like one
    like: Marks  # those pixels


def log_light(colours: Map) -> Map:
    """Logarithm of brightness; of each channel where colours has channels as its last axis and they are to stay."""
    return np.log(colours + DARK)


def level(values: Map, known: Marks, unit: float) -> tuple[Map, float]:
    """values [h, w], continued smoothly from the known pixels to all: a plane, and what is left in their neighbourhood.

    Robust: pixels far from the plane have no say. Also returns the standard deviation of what is left of the known.
    """
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]].astype(np.float32) / unit
    terms = np.stack([np.ones_like(rows), columns, rows], -1)
    keep = known
    rest = values
    plane = np.zeros_like(values)
    for _ in range(ROUNDS):
        factors = np.linalg.lstsq(terms[keep], values[keep], rcond=None)[0]
        plane = (terms @ factors).astype(np.float32)
        rest = values - plane
        spread = 1.4826 * float(np.median(np.abs(rest[keep]))) + 1e-3
        closer = known & (np.abs(rest) < OUTLIER * spread)
        if not closer.any():
            break
        keep = closer
    local = _with_doubt(rest, keep, LEVEL_REACH * unit)
    rest = rest - local
    return plane + local, 1.4826 * float(np.median(np.abs(rest[known])))


def _with_doubt(values: Map, known: Marks, sigma: float) -> Map:
    """values, averaged over the known pixels; towards 0 where few of them are near."""
    near, total = (gaussian_filter(one, sigma, truncate=2.5) for one in (known.astype(np.float32), values * known))
    return total / (near + 0.05)


def ground_of(colours: Map, seen: Marks, beside: Marks, far: Marks, sigma: float, unit: float) -> Ground | None:
    """The ground of a window.

    colours [h, w, 3], 0..1; seen: where people hide it; beside: what is most likely this ground, shadow or not; far:
    what is most likely out of the shadow; sigma: pixels over which texture is averaged. None where too little of it
    is seen.
    """
    open_ = ~seen
    smooth = blurred(colours, open_, sigma)
    hue = smooth / (smooth.sum(-1, keepdims=True) + DARK)
    light = blurred(log_light(colours.mean(-1)), open_, sigma)
    hue_off = np.abs(hue - np.median(hue[beside], 0)).max(-1)
    like = far & (hue_off < SAME_HUE) & (np.abs(light - np.median(light[beside])) < SAME_LIGHT)
    if like.sum() < max(60, 0.01 * unit * unit):
        return None
    expected, noise = level(light, like, unit)
    return Ground((light - expected).astype(np.float32), hue_off, noise, float(like.sum() / max(far.sum(), 1)), like)
