"""Draw stripes, outlines, number plates and arrows of previews, on 8-bit pictures [h, w, 3]."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..image import boxes
from ..scene import Body, Box, Person

Colour = tuple[int, int, int]

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
Line = tuple[str, Font]

ERASED: Colour = (235, 60, 60)
KEPT: Colour = (40, 170, 255)
GUESSED: Colour = (255, 190, 40)
TOLD: Colour = (70, 225, 120)
PLATES: dict[bool, Colour] = {True: (150, 20, 20), False: (20, 20, 20)}

WORDS: Colour = (60, 60, 60)

RISING, FALLING, LEVEL, UPRIGHT = (1, 1), (1, -1), (0, 1), (1, 0)
"""Stripes as (x, y) steps: whatever is marked differs by their direction, not by colour alone."""

STRIPE = 7
"""Pixels from one stripe to the next."""


SHARES = (0.5, 0.35, 0.65, 0.2, 0.8)
"""Places of a person's number, as shares of the box's height from above, in the order in which they are tried."""


class Marked:
    """A mask in the preview's pixels: its box there, and what of it is marked, [h, w] bool."""

    def __init__(self, box: Box, mask: np.ndarray):
        self.box, self.mask = box, mask

    def under(self, canvas: np.ndarray) -> np.ndarray:
        """The view of a picture under the box."""
        return canvas[self.box[1] : self.box[3], self.box[0] : self.box[2]]


def marked(seen: Tensor, box: Box, size: tuple[int, int], small: tuple[int, int]) -> Marked | None:
    """seen [h, w] (bool, at `box` of a photo of this size) for a preview whose size is `small`; None if it is empty.

    Nothing vanishes: what lies between two pixels marks one.
    """
    tight = boxes.tight_box(seen)
    if tight is None:
        return None
    scale_y, scale_x = small[0] / size[0], small[1] / size[1]
    x0, y0, x1, y1 = boxes.outside(tight, box)
    left, top = min(int(x0 * scale_x), small[1] - 1), min(int(y0 * scale_y), small[0] - 1)
    right = min(max(math.ceil(x1 * scale_x), left + 1), small[1])
    bottom = min(max(math.ceil(y1 * scale_y), top + 1), small[0])
    rows = ((torch.arange(top, bottom, device=seen.device) + 0.5) / scale_y).long().clamp(y0, y1 - 1) - box[1]
    columns = ((torch.arange(left, right, device=seen.device) + 0.5) / scale_x).long().clamp(x0, x1 - 1) - box[0]
    mask = seen[rows][:, columns].cpu().numpy()
    if not mask.any():
        mask[mask.shape[0] // 2, mask.shape[1] // 2] = True
    return Marked((left, top, right, bottom), mask)


def stripe(canvas: np.ndarray, area: Marked, colour: Colour, direction: tuple[int, int]) -> None:
    """Stripe an area; stripes run on from one area into the next."""
    x0, y0, x1, y1 = area.box
    y, x = np.ogrid[y0:y1, x0:x1]
    where = area.mask & ((direction[0] * x + direction[1] * y) % STRIPE < 2)
    under = area.under(canvas)
    under[where] = (under[where] * 0.25 + np.array(colour) * 0.75).astype(np.uint8)


def outline(canvas: np.ndarray, area: Marked, colour: Colour, width: int = 2) -> None:
    """Colour the outermost pixels of an area."""
    area.under(canvas)[edge(area.mask, width)] = colour


def edge(mask: np.ndarray, width: int = 2) -> np.ndarray:
    """The outermost pixels of a mask."""
    inner = np.pad(mask, width)
    for axis in (0, 1):
        for _ in range(width):
            inner = inner & np.roll(inner, 1, axis) & np.roll(inner, -1, axis)
    return mask & ~inner[width:-width, width:-width]


@lru_cache(maxsize=64)
def font(height: int) -> Font:
    return ImageFont.load_default(size=height)


class Plates:
    """Number plates that keep out of one another's way, on a picture of this size (height, width)."""

    def __init__(self, draw: ImageDraw.ImageDraw, size: tuple[int, int]):
        self.draw, self.size = draw, size
        self.taken: list[Box] = []

    def add(self, person: Person | Body, box: Box, note: str, head: Sequence[float] | None = None) -> None:
        """The person's number inside the box, in the middle if nothing is there yet; below it a small note, if the box
        has space for it. head: x, y of the person's upper end; with it, the number stands above, if nothing is there.
        """
        height = max(min(boxes.height(box) / 8, max(self.size) / 30, 28), 11)
        number = (str(person.number), font(round(height)))
        texts = [[number]]
        if note and 2 * height + 12 <= boxes.height(box):
            texts.insert(0, [number, (note, font(round(max(height * 0.55, 9))))])
        places = [(lines, self._place(lines, box, share)) for lines in texts for share in SHARES]
        if head is not None:
            x, y = round(head[0]), round(head[1] - height)
            places.insert(0, ([number], self._place([number], (x, y, x, y), 0.5)))
        # Where nothing is free, the number stands in the middle, without the note.
        free = (one for one in places if not any(boxes.overlap(one[1], other) for other in self.taken))
        lines, place = next(free, places[-len(SHARES)])
        self.taken.append(place)
        self._draw(lines, place, person.erased)

    def keep_free(self, tail: Sequence[float], head: Sequence[float]) -> None:
        """Numbers keep off an arrow where they can."""
        (x0, x1), (y0, y1) = (sorted(int(end[axis]) for end in (tail, head)) for axis in (0, 1))
        self.taken.append((x0 - 2, y0 - 2, x1 + 3, y1 + 3))

    def write(self, text: str, place: Sequence[float]) -> None:
        """Small words beside a place, or nowhere if there is no space near it."""
        letters = font(max(11, min(16, max(self.size) // 60)))
        left, top, right, bottom = self.draw.textbbox((0, 0), text, font=letters)
        wide, tall = round(right - left) + 6, round(bottom - top) + 6
        for away in (1.0, 1.6, 2.4):
            for x, y in ((0, away), (0, -away), (0.5 * away, away), (-0.5 * away, away), (away, 0), (-away, 0)):
                corner = round(place[0] + x * (wide + 12) / 2 - wide / 2), round(place[1] + y * (tall + 8) - tall / 2)
                area = (*corner, corner[0] + wide, corner[1] + tall)
                if boxes.intersection(area, boxes.whole(self.size)) == area and not any(
                    boxes.overlap(area, other) for other in self.taken
                ):
                    self.taken.append(area)
                    self.draw.rectangle(area, fill=WORDS)
                    self.draw.text((corner[0] + 3 - left, corner[1] + 3 - top), text, (255, 255, 255), letters)
                    return

    def _place(self, lines: list[Line], box: Box, share: float) -> Box:
        """Where a plate with these lines stands at this share of the way down a box."""
        areas = [self.draw.textbbox((0, 0), line, font=font) for line, font in lines]
        wide = round(max(right - left for left, _, right, _ in areas) + 6)
        tall = round(sum(bottom - top + 3 for _, top, _, bottom in areas) + 3)
        x = (box[0] + box[2] - wide) // 2
        y = round(box[1] + share * boxes.height(box) - tall / 2)
        x, y = min(max(x, 0), max(self.size[1] - wide, 0)), min(max(y, 0), max(self.size[0] - tall, 0))
        return x, y, x + wide, y + tall

    def _draw(self, lines: list[Line], place: Box, erased: bool) -> None:
        x0, y, x1, _ = place
        self.draw.rectangle(place, fill=PLATES[erased], outline=ERASED if erased else KEPT)
        for line, font in lines:
            left, top, right, bottom = self.draw.textbbox((0, 0), line, font=font)
            self.draw.text(((x0 + x1 - right - left) / 2, y + 3 - top), line, font=font, fill=(255, 255, 255))
            y += round(bottom - top + 3)


def arrow(draw: ImageDraw.ImageDraw, tail: Sequence[float], head: Sequence[float], told: bool, doubt: bool) -> None:
    """An arrow: solid with a filled head if the artist said so (told); dashed with an open head if it is a guess, with
    a question mark if it is a doubtful one.
    """
    dx, dy = head[0] - tail[0], head[1] - tail[1]
    length = math.hypot(dx, dy)
    if length < 1:
        return
    ux, uy = dx / length, dy / length
    point = min(9.0, length / 2)
    wings = [(head[0] - point * (ux - s * 0.6 * uy), head[1] - point * (uy + s * 0.6 * ux)) for s in (1, -1)]
    neck = length - point if told else length
    dash, gap = (neck, 1.0) if told else (4.0, 4.0)
    strokes = []
    start = 0.0
    while start < neck:
        end = min(start + dash, neck)
        strokes.append(tuple((tail[0] + ux * t, tail[1] + uy * t) for t in (start, end)))
        start = end + gap
    for colour, more in (((0, 0, 0), 3), ((255, 255, 255), 0)):
        for one in strokes:
            draw.line(one, fill=colour, width=2 + more)
        if told:
            draw.polygon([tuple(head), *wings], fill=colour, outline=colour, width=1 + more // 2)
        else:
            draw.line([wings[0], tuple(head), wings[1]], fill=colour, width=2 + more)
    if doubt:
        where = (tail[0] - uy * 9, tail[1] + ux * 9)
        draw.text(where, "?", font=font(13), fill=(255, 255, 255), stroke_width=2, stroke_fill=(0, 0, 0), anchor="mm")


def picture_of(canvas: np.ndarray) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """The canvas as something to draw lines and text on."""
    picture = Image.fromarray(canvas)
    return picture, ImageDraw.Draw(picture)
