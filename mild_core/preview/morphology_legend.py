"""Draw the legend below a preview of bodies: its signs and colours, only those that occur."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from ..body.body_parts import PART_COLOURS, PARTS
from ..body.poses import L_ELBOW, L_WRIST, R_ELBOW, R_WRIST
from . import marks
from .marks import ERASED, KEPT, Colour
from .skeleton_marks import FINE, GREY, RAINBOW, draw_skeleton

GROUND: Colour = (250, 250, 248)
INK: Colour = (25, 28, 33)

TEXT = 19
"""Height of the text in pixels."""

SIGN, ROW, GAP, MARGIN = 36, 30, 24, 14
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
        *([(_outlined(KEPT), "stays")] if signs.kept else []),
        *([(_outlined(ERASED), "goes")] if signs.erased else []),
        *([(_limb(set(), RAINBOW, L_ELBOW, L_WRIST), "joints that were seen")] if signs.seen else []),
        *(
            [(_limb({R_ELBOW, R_WRIST}, RAINBOW, R_ELBOW, R_WRIST), "hidden joints, worked out")]
            if signs.inferred
            else []
        ),
        *([(_arrow, "in front, hides")] if signs.arrows else []),
        *([(_limb(set(), GREY, L_ELBOW, L_WRIST), "pose that fits nobody")] if signs.nobody else []),
        *_parts(signs.parts),
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


def _parts(parts: tuple[int, ...]) -> list[tuple[Sign, str]]:
    """A colour for each part, left and right ones side by side."""
    entries: dict[str, list[Colour]] = {}
    for part in parts:
        side, _, name = PARTS[part].partition(" ")
        opposite = f"{'right' if side == 'left' else 'left'} {name}"
        is_pair = side in ("left", "right") and PARTS.index(opposite) in parts
        entries.setdefault(f"{name}, left and right" if is_pair else PARTS[part], []).append(PART_COLOURS[part])
    return [(_filled(colours), text) for text, colours in entries.items()]


def _outlined(colour: Colour) -> Sign:
    def sign(picture: Image.Image, x: int, y: int) -> None:
        ImageDraw.Draw(picture).rectangle((x + 3, y - 9, x + 26, y + 9), outline=colour, width=3)

    return sign


def _filled(colours: list[Colour]) -> Sign:
    def sign(picture: Image.Image, x: int, y: int) -> None:
        wide = 24 / len(colours)
        for place, colour in enumerate(colours):
            left, right = round(x + 3 + place * wide), round(x + 3 + (place + 1) * wide)
            ImageDraw.Draw(picture).rectangle((left, y - 9, right, y + 9), colour, INK)

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
    ImageDraw.Draw(picture).rounded_rectangle((x - 2, y - 10, x + 30, y + 10), 4, (120, 124, 130))
    marks.arrow(ImageDraw.Draw(picture), (x + 2, y), (x + 28, y), told=True, doubt=False)
