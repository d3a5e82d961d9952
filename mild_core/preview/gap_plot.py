"""Draw the attention gap: how well each block kept regions apart at each step, and where the hole looked."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..attention.record import EARLY, LATE, MIDDLE, LayerRecord
from ..image.fill import area_resize
from . import gap_words as words
from .marks import Colour, Font, edge, font

WIDTH, HEIGHT = 1280, 1060
GROUND: Colour = (250, 250, 248)
INK: Colour = (25, 28, 33)
PALE: Colour = (105, 110, 118)
LEAKS: Colour = (196, 62, 28)
NEUTRAL: Colour = (238, 236, 230)
APART: Colour = (24, 92, 172)
MISSING: Colour = (205, 205, 205)
"""Red and blue differ for nearly everybody, and in brightness from what lies between them."""

SIDES: dict[str, Colour] = {words.OWN: APART, words.FOREIGN: LEAKS, words.NEITHER: (150, 152, 156)}

LEFT, TOP, MAP = 150, 150, (640, 368)
TALLEST_ROW = 56
PANEL = 850
PHOTO = 396
"""Pixels of the widest photo; its height is what is left below."""
MARGIN = 28
EVEN = 4.0
"""Attention, in multiples of an even one, that is drawn at full brightness unless some place gets more."""

CAPTIONS = {EARLY: "at the first step", MIDDLE: "halfway", LATE: "at the last step"}


def gap_plot(name: str, record: LayerRecord, photo: Tensor | None, hole: Tensor) -> Tensor:
    """[h, WIDTH, 3], 0..1, h at most HEIGHT: one layer's record.

    name: the layer's; photo [h, w, 3], 0..1: its crop, None: not known; hole: [h', w'], 0..1, in the same frame.
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, 18), f"{name}: what its hole looks at", INK, font(30))
    summary = (
        f"Attention gap {words.number(record.gap())} on average, over all blocks, heads and steps. +1: it looks at "
        "nothing but its own; -1: at nothing but what is foreign."
    )
    draw.text((MARGIN, 60), summary, PALE, font(17))
    reached = max(_heat_map(draw, record), _shares(draw, record))
    reached = _where(picture, reached + 20, record, photo, hole)
    return torch.from_numpy(np.asarray(picture)[: math.ceil(reached) + MARGIN].astype(np.float32) / 255)


def together(plots: Sequence[Tensor]) -> Tensor:
    """[layers, h, WIDTH, 3]: one IMAGE of plots, each with empty ground below it as far as others reach further."""
    height = max(len(plot) for plot in plots)
    batch = (torch.tensor(GROUND, dtype=torch.float32) / 255).repeat(len(plots), height, WIDTH, 1)
    for own, plot in zip(batch, plots, strict=True):
        own[: len(plot)] = plot
    return batch


def colour_of(gap: float) -> Colour:
    """LEAKS at -1 or below, APART at 1 or above, NEUTRAL in the middle."""
    if math.isnan(gap):
        return MISSING
    end, share = (APART if gap > 0 else LEAKS), min(abs(gap), 1.0)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(NEUTRAL, end, strict=True))
    return red, green, blue


# -- blocks and steps -------------------------------------------------------------------------------------------------


def _heat_map(draw: ImageDraw.ImageDraw, record: LayerRecord) -> float:
    """Returns where it ends."""
    names, gaps = words.rows(record)
    count, steps = gaps.shape
    row, column = min(MAP[1] / count, TALLEST_ROW), MAP[0] / steps
    bottom = TOP + row * count
    draw.text((LEFT, TOP - 52), "Block by block, step by step", INK, font(20))
    draw.text((LEFT, TOP - 24), "each row: a block of the model; each column: a step", PALE, font(15))
    every = math.ceil(14 / row)
    line = int(column >= 4)  # between two of them
    numbers = font(14) if row >= 18 and column >= 46 else None
    for y, name in enumerate(names):
        top = TOP + y * row
        if y % every == 0:
            draw.text((LEFT - 10, top + row / 2), name, INK, font(min(16, max(11, round(row)))), anchor="rm")
        for x, gap in enumerate(gaps[y].tolist()):
            box = (LEFT + x * column, top, LEFT + (x + 1) * column - line, top + row - (row >= 4))
            draw.rectangle(box, fill=colour_of(gap))
            if numbers is not None and not math.isnan(gap):
                ink = (255, 255, 255) if abs(gap) > 0.5 else INK
                middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
                draw.text(middle, words.number(gap), ink, numbers, anchor="mm")
    draw.rectangle((LEFT - 1, TOP - 1, LEFT + MAP[0], bottom), outline=PALE)
    levels = record.levels
    draw.text((LEFT, bottom + 6), f"early (noise {levels[0].sigma:.3g})", INK, font(16))
    draw.text((LEFT + MAP[0], bottom + 6), f"late (noise {levels[-1].sigma:.3g})", INK, font(16), anchor="ra")
    _arrow(draw, LEFT + 200, LEFT + MAP[0] - 200, bottom + 17)
    _scale(draw, bottom + 44)
    return bottom + 86


def _arrow(draw: ImageDraw.ImageDraw, start: float, end: float, y: float) -> None:
    draw.line((start, y, end, y), PALE, 2)
    draw.polygon([(end, y - 5), (end + 10, y), (end, y + 5)], fill=PALE)


def _scale(draw: ImageDraw.ImageDraw, top: float) -> None:
    for x in range(MAP[0]):
        draw.line((LEFT + x, top, LEFT + x, top + 14), colour_of(2 * x / (MAP[0] - 1) - 1))
    for value, text, anchor in (
        (-1, "-1  leaks: foreign only", "la"), (0, "0  both alike", "ma"), (1, "keeps apart  +1", "ra"),
    ):  # fmt: skip
        draw.text((LEFT + (value + 1) / 2 * MAP[0], top + 19), text, INK, font(16), anchor=anchor)


# -- what it looks at -------------------------------------------------------------------------------------------------


def _shares(draw: ImageDraw.ImageDraw, record: LayerRecord) -> float:
    """Returns where it ends."""
    draw.text((PANEL, TOP - 52), "What the hole looks at", INK, font(20))
    draw.text((PANEL, TOP - 24), "share of its attention, over all steps", PALE, font(15))
    y, wide = TOP, WIDTH - MARGIN - PANEL
    for region, share in record.shares().items():
        side = words.side(region, record)
        label = words.region_name(region, record.own) + (f" ({side})" if side else "")
        draw.text((PANEL, y), label, INK, font(17))
        draw.text((PANEL + wide, y), f"{share:.1%}", INK, font(17), anchor="ra")
        draw.rectangle((PANEL, y + 24, PANEL + wide, y + 38), fill=(226, 226, 222))
        if share > 0:
            draw.rectangle((PANEL, y + 24, PANEL + max(round(wide * min(share, 1)), 1), y + 38), fill=SIDES[side])
        y += 52
    least = words.worst(record)
    if least is not None:
        draw.text((PANEL, y + 6), "Least kept apart", INK, font(17))
        where = f"{words.number(least[2])} in {least[0]}, step {least[1]} of {len(record.levels)}"
        draw.text((PANEL, y + 30), where, PALE, font(16))
        y += 58
    note = (
        "Gap = its own minus foreign: our own definition. A rule that forbids looking raises it by definition; look at "
        "the picture too."
    )
    return _lines(draw, y + 6, note, font(14), wide)


def _lines(draw: ImageDraw.ImageDraw, y: float, text: str, small: Font, wide: int) -> float:
    """Text in lines; returns where they end."""
    line = ""
    for word in [*text.split(), ""]:
        longer = f"{line} {word}".strip()
        if word and draw.textlength(longer, font=small) <= wide:
            line = longer
            continue
        draw.text((PANEL, y), line, PALE, small)
        line, y = word, y + 19
    return y


# -- where it looks ---------------------------------------------------------------------------------------------------


def _where(picture: Image.Image, top: float, record: LayerRecord, photo: Tensor | None, hole: Tensor) -> float:
    """Returns where it ends."""
    where = {phase: looked / looked.mean().clamp_min(1e-9) for phase, looked in record.where.items()}
    if not where:
        return top
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, top), "Where in the picture the hole looks", INK, font(20))
    draw.text((MARGIN, top + 28), "bright yellow: most; dark: hardly; white line: the hole", PALE, font(15))
    place, tall = round(top + 56), round(HEIGHT - top - 56 - 30 - MARGIN)
    most = max(EVEN, *(float(torch.quantile(looked.flatten(), 0.995)) for looked in where.values()))
    for number, (phase, looked) in enumerate(where.items()):
        x = MARGIN + number * (PHOTO + 18)
        drawn = looked_over(photo, hole, looked / most, (PHOTO, tall))
        picture.paste(drawn, (x, place))
        draw.text((x, place + drawn.height + 6), CAPTIONS[phase], INK, font(16))
    return place + drawn.height + 30


def looked_over(photo: Tensor | None, hole: Tensor, looked: Tensor, most: tuple[int, int]) -> Image.Image:
    """The photo, dark and without colours, lit where the hole looks, and the hole's outline; as large as `most` (width,
    height) allows.

    photo [h, w, 3], 0..1, or None for a grey one; hole [h', w']; looked [h'', w''], 0..1: all of the same frame.
    """
    frame = hole.shape if photo is None else photo.shape[:2]
    scale = min(most[0] / frame[1], most[1] / frame[0])
    size = (max(round(frame[0] * scale), 1), max(round(frame[1] * scale), 1))
    if photo is None:
        grey = np.full((*size, 1), 0.5, np.float32)
    else:
        small = area_resize(photo.float().cpu().movedim(-1, 0)[None], size)[0]
        grey = small.mean(0)[..., None].clamp(0, 1).numpy()
    # a power: what is looked at a quarter as much is still well seen
    lit = area_resize(looked.float()[None, None], size)[0, 0].clamp(0, 1).pow(0.6)[..., None].numpy()
    canvas = 255 * (0.08 + 0.42 * grey) * (1 - lit) + lit * np.array([255, 210, 60]) * (0.55 + 0.45 * grey)
    canvas = canvas.round().clip(0, 255).astype(np.uint8)
    inside = area_resize((hole.float().cpu() > 0).float()[None, None], size)[0, 0].numpy() > 0
    canvas[edge(inside, 3)] = (0, 0, 0)
    canvas[edge(inside, 2)] = (255, 255, 255)
    return Image.fromarray(canvas)
