"""Draw skeletons on previews: full where joints were seen, dashed and hollow where they were worked out."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from ..body.poses import SEEN
from ..guidance.skeleton import COLOURS, LIMBS, placed_joints
from .marks import Colour

HALO: Colour = (20, 20, 20)
HALO_OPACITY = 170

FINE = 2
"""Factor by which skeletons are drawn larger and then averaged, for smooth edges."""

LIMB_SHARE, LIMB_WIDTHS = 0.012, (2.0, 7.0)
"""Width of a limb as a share of the skeleton's longer side, and the narrowest and widest, in pixels."""

PALEST = 0.3
"""Opacity, 0..1, of a joint of confidence 0."""

JOINT = 1.1
"""Radius of a joint in widths of a limb."""

DASH = 2.2
"""Length of a dash, and of the gap after it, in widths of a limb."""

RAINBOW: tuple[Colour, ...] = tuple(
    (round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in COLOURS
)
GREY: tuple[Colour, ...] = ((150, 150, 150),) * len(COLOURS)

Point = tuple[float, float]


class Skeleton(NamedTuple):
    """Joints to be drawn."""

    joints: Tensor  # [18, 3]: x, y in pixels of the photo, confidence 0..1
    inferred: Tensor | None  # [18] bool: those that nobody saw
    colours: tuple[Colour, ...]  # RAINBOW or GREY


def points_of(joints: Tensor, size: tuple[int, int], small: tuple[int, int]) -> dict[int, Point]:
    """x, y in pixels of a preview of height and width `small`, of those joints [18, 3] that were seen or worked out, in
    a photo of height and width `size`; joints far outside the photo are left out.
    """
    known = placed_joints(joints.cpu(), size)
    x, y = small[1] / size[1], small[0] / size[0]
    return {place: (float(joint[0]) * x, float(joint[1]) * y) for place, joint in enumerate(known) if joint[2] > SEEN}


def with_skeletons(canvas: np.ndarray, skeletons: Sequence[Skeleton], size: tuple[int, int]) -> np.ndarray:
    """The canvas [h, w, 3] of a photo of height and width `size`, with skeletons on top, the first ones lowest."""
    small = (canvas.shape[0], canvas.shape[1])
    layer = Image.new("RGBA", (small[1] * FINE, small[0] * FINE))
    draw = ImageDraw.Draw(layer)
    for one in skeletons:
        points = points_of(one.joints, size, small)
        hollow = set() if one.inferred is None else set(one.inferred.nonzero()[:, 0].tolist())
        if points:
            sides = [max(axis) - min(axis) for axis in zip(*points.values(), strict=True)]
            wide = min(max(LIMB_SHARE * max(sides), LIMB_WIDTHS[0]), LIMB_WIDTHS[1])
            sure = {joint: float(one.joints[joint, 2]) for joint in points if joint not in hollow}
            draw_skeleton(draw, points, hollow, one.colours, wide, sure)
    picture = Image.fromarray(canvas).convert("RGBA")
    # Averaged with premultiplied colours, or the edges would darken.
    smooth = layer.convert("RGBa").resize((small[1], small[0]), Image.Resampling.BOX).convert("RGBA")
    picture.alpha_composite(smooth)
    return np.asarray(picture.convert("RGB")).copy()


def draw_skeleton(
    draw: ImageDraw.ImageDraw,
    points: dict[int, Point],
    hollow: set[int],
    colours: Sequence[Colour],
    wide: float,
    sure: dict[int, float] | None = None,
) -> None:
    """Limbs and joints on a picture FINE times as large as `points` and `wide` say. hollow: joints worked out; sure:
    confidences 0..1, for joints that are to be paler the less sure they are.
    """
    wide *= FINE
    fine = {joint: (x * FINE, y * FINE) for joint, (x, y) in points.items()}
    opacity = {joint: round(255 * (PALEST + (1 - PALEST) * min((sure or {}).get(joint, 1.0), 1.0))) for joint in fine}
    limbs = [
        (fine[start], fine[end], start in hollow or end in hollow, (*colour, min(opacity[start], opacity[end])))
        for (start, end), colour in zip(LIMBS, colours, strict=False)
        if start in fine and end in fine
    ]
    for more, halo in ((2 * FINE, True), (0, False)):
        for start, end, is_dashed, colour in limbs:
            paint = (*HALO, round(HALO_OPACITY * colour[3] / 255)) if halo else colour
            for stroke in _dashes(start, end, DASH * wide) if is_dashed else [(start, end)]:
                draw.line(stroke, fill=paint, width=round(wide + more))
    for joint, (x, y) in fine.items():
        radius = JOINT * wide
        place = (x - radius, y - radius, x + radius, y + radius)
        if joint in hollow:
            draw.ellipse(place, fill=(255, 255, 255, 255), outline=(*colours[joint], 255), width=round(0.7 * wide))
        else:
            paint = (*colours[joint], opacity[joint])
            draw.ellipse(place, fill=paint, outline=(*HALO, opacity[joint]), width=FINE)


def _dashes(start: Point, end: Point, dash: float) -> list[tuple[Point, Point]]:
    """The strokes of a dashed line."""
    count = max(1, math.ceil(math.dist(start, end) / (2 * dash)))

    def at(share: float) -> Point:
        return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share

    return [(at(index / count), at((index + 0.5) / count)) for index in range(count)]
