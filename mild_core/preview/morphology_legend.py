"""What the signs and colours of a preview of bodies mean, in a strip below it: only those that occur."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from ..find.poses import L_ELBOW, L_WRIST, R_ELBOW, R_WRIST
from ..morphology.parts import PART_COLOURS, PARTS
from . import marks
from .marks import ERASED, KEPT, Colour
from .skeleton_marks import FINE, GREY, RAINBOW, draw_skeleton

GROUND: Colour = (250, 250, 248)
INK: Colour = (25, 28, 33)

TEXT = 17
"""Height of the text in pixels."""

SIGN, ROW, GAP, MARGIN = 34, 27, 22, 12
"""Width of a sign, height of a row, between two entries, around everything, in pixels."""


class Signs(NamedTuple):
    """What occurs, and has to be explained."""

    kept: bool = False
    erased: bool = False
    seen: bool = False  # joints
    inferred: bool = False  # joints
    arrows: bool = False
    nobody: bool = False
    parts: tuple[int, ...] = ()  # places in PARTS


Sign = Callable[[Image.Image, int, int], None]
"""Draws itself with its left end at x, its middle at y."""


def legend(width: int, signs: Signs) -> np.ndarray:
    """[h, width, 3] uint8, as many rows as it takes; none if nothing occurs."""
    entries: list[tuple[Sign, str]] = [
        *([(_box(KEPT, False), "stays")] if signs.kept else []),
        *([(_box(ERASED, False), "goes")] if signs.erased else []),
        *([(_limb(set(), RAINBOW, L_ELBOW, L_WRIST), "joints that were seen")] if signs.seen else []),
        *(
            [(_limb({R_ELBOW, R_WRIST}, RAINBOW, R_ELBOW, R_WRIST), "hidden joints, worked out")]
            if signs.inferred
            else []
        ),
        *([(_arrow, "in front, hides")] if signs.arrows else []),
        *([(_limb(set(), GREY, L_ELBOW, L_WRIST), "pose that fits nobody")] if signs.nobody else []),
        *((_box(PART_COLOURS[part], True), PARTS[part]) for part in signs.parts),
    ]
    if not entries:
        return np.zeros((0, width, 3), dtype=np.uint8)
    letters = marks.font(TEXT)
    places, x, y = [], MARGIN, MARGIN + ROW // 2
    for sign, text in entries:
        wide = SIGN + round(letters.getlength(text))
        if x > MARGIN and x + wide + MARGIN > width:
            x, y = MARGIN, y + ROW
        places.append((sign, text, x, y))
        x += wide + GAP
    picture = Image.new("RGB", (width, y + ROW // 2 + MARGIN), GROUND)
    draw = ImageDraw.Draw(picture)
    for sign, text, left, middle in places:
        sign(picture, left, middle)
        draw.text((left + SIGN, middle), text, INK, letters, anchor="lm")
    return np.asarray(picture)


def _box(colour: Colour, filled: bool) -> Sign:
    def sign(picture: Image.Image, x: int, y: int) -> None:
        place = (x + 4, y - 9, x + 26, y + 9)
        ImageDraw.Draw(picture).rectangle(
            place, fill=colour if filled else None, outline=INK if filled else colour, width=1 if filled else 3
        )

    return sign


def _limb(hollow: set[int], colours: tuple[Colour, ...], start: int, end: int) -> Sign:
    def sign(picture: Image.Image, x: int, y: int) -> None:
        layer = Image.new("RGBA", (SIGN * FINE, ROW * FINE))
        points = {start: (5.0, ROW / 2), end: (SIGN - 9.0, ROW / 2)}
        draw_skeleton(ImageDraw.Draw(layer), points, hollow, colours, 3)
        small = layer.convert("RGBa").resize((SIGN, ROW), Image.Resampling.BOX).convert("RGBA")
        picture.paste(small, (x, y - ROW // 2), small)

    return sign


def _arrow(picture: Image.Image, x: int, y: int) -> None:
    marks.arrow(ImageDraw.Draw(picture), (x + 2, y), (x + 28, y), told=True, doubt=False)
