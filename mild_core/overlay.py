"""Preview drawings: who is who, what will be painted, what is protected, who stands in front."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from . import boxes
from .fill import area_resize
from .growth import VISIBLE
from .order import back_to_front
from .people import fitted, photo_size
from .scene import PERSON, Person, Scene

LONGEST = 1280
"""Longest side of a preview in pixels: enough to read numbers, cheap to send to the browser."""

ERASED = (235, 60, 60)
KEPT = (40, 170, 255)
GUESSED = (255, 190, 40)

STRIPE = 7
"""Pixels from one stripe to the next. Erased, guessed and kept differ by pattern, not by colour alone."""


def preview_people(people: Sequence[Person], photos: Sequence[Tensor], count: int) -> Tensor:
    """Everyone outlined and numbered, [count, h, w, 3]: erased people striped, kept ones in outline.

    photos: [H, W, C] each, where there are any; a grey ground takes the place of the others.
    """
    pictures = []
    for index in range(count):
        if index < len(photos):
            canvas = _canvas(photos[index])
        else:
            height, width = _preview_size(photo_size(people, index) or (512, 512))
            canvas = np.full((height, width, 3), 96, dtype=np.uint8)
        pictures.append(_with_people(canvas, [person for person in people if person.photo == index], order=False))
    return _batch(pictures)


def preview_layers(scenes: Sequence[Scene], people: Sequence[Person], protect: Tensor | None = None) -> Tensor:
    """What is going to happen, [B, h, w, 3], before anything is sampled.

    Striped red: the background's holes. Striped yellow, the other way: where a kept person may go on behind an erased
    one. Blue outline: what stays untouched (kept people; protect [B or 1, H, W]). Numbers: people, with their depth.
    """
    pictures = []
    for index, scene in enumerate(scenes):
        canvas = _canvas(scene.photo)
        size = (int(scene.photo.shape[0]), int(scene.photo.shape[1]))
        for layer in scene.layers:
            guessed = layer.domain == PERSON
            colour, slope = (GUESSED, -1) if guessed else (ERASED, 1)
            opacity = layer.hole if layer.reveal is None else layer.reveal
            _stripe(canvas, opacity > 0, layer.box, size, colour, slope)
        if protect is not None:
            own = protect[min(index, protect.shape[0] - 1)] > VISIBLE
            small = _shrunk(own, (canvas.shape[0], canvas.shape[1]))
            canvas[_edge(small)] = KEPT
        here = [person for person in people if person.photo == index]
        pictures.append(_with_people(canvas, here, order=True))
    return _batch(pictures)


def _preview_size(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, LONGEST / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _canvas(photo: Tensor) -> np.ndarray:
    """photo [H, W, C] as 8-bit RGB [h, w, 3] of preview size."""
    picture = photo[..., :3].permute(2, 0, 1)[None].float()
    small = area_resize(picture, _preview_size((int(photo.shape[0]), int(photo.shape[1]))))[0].permute(1, 2, 0)
    small = small.expand(-1, -1, 3) if small.shape[-1] == 1 else small
    return (small.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy().copy()


def _batch(pictures: Sequence[np.ndarray]) -> Tensor:
    """One IMAGE; pictures of another size than the first are brought to its size."""
    first = pictures[0].shape[:2]
    same = [
        picture
        if picture.shape[:2] == first
        else np.asarray(Image.fromarray(picture).resize((first[1], first[0]), Image.Resampling.BILINEAR))
        for picture in pictures
    ]
    return torch.from_numpy(np.stack(same)).float() / 255


def _with_people(canvas: np.ndarray, people: Sequence[Person], order: bool) -> np.ndarray:
    """The canvas with every person's outline and number. order: write depth too, and leave the stripes to the holes."""
    size = (canvas.shape[0], canvas.shape[1])
    depth = {person.number: place for place, person in enumerate(back_to_front(people), 1)}
    small = [fitted(person, size) for person in people]
    for person in small:
        seen = (person.mask > VISIBLE).cpu().numpy()
        under = canvas[person.box[1] : person.box[3], person.box[0] : person.box[2]]
        if person.erased and not order:
            _blend(under, seen & _stripes(seen.shape, person.box, 1), ERASED)
        under[_edge(seen)] = ERASED if person.erased else KEPT
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    for person in sorted(small, key=lambda person: -boxes.area(person.box)):
        note = f"depth {depth[person.number]}" if order and len(people) > 1 else ""
        _label(draw, str(person.number), note, person, size)
    return np.asarray(picture).copy()


def _label(draw: ImageDraw.ImageDraw, text: str, note: str, person: Person, size: tuple[int, int]) -> None:
    """A plate with the number, and a small note below it, in the middle of the person and inside the picture."""
    height = max(min(boxes.height(person.box) / 8, max(size) / 30, 28), 11)
    lines = [(text, ImageFont.load_default(size=height))]
    if note:
        lines.append((note, ImageFont.load_default(size=max(height * 0.55, 9))))
    areas = [draw.textbbox((0, 0), line, font=font) for line, font in lines]
    wide = max(right - left for left, _, right, _ in areas) + 6
    tall = sum(bottom - top + 3 for _, top, _, bottom in areas) + 3
    x = min(max((person.box[0] + person.box[2] - wide) / 2, 0), max(size[1] - wide, 0))
    y = min(max((person.box[1] + person.box[3] - tall) / 2, 0), max(size[0] - tall, 0))
    plate = (150, 20, 20) if person.erased else (20, 20, 20)
    draw.rectangle((x, y, x + wide, y + tall), fill=plate, outline=ERASED if person.erased else KEPT)
    for (line, font), (left, top, right, bottom) in zip(lines, areas, strict=True):
        draw.text((x + (wide - right + left) / 2 - left, y + 3 - top), line, font=font, fill=(255, 255, 255))
        y += bottom - top + 3


def _stripe(
    canvas: np.ndarray, seen: Tensor, box: boxes.Box, size: tuple[int, int], colour: tuple[int, int, int], slope: int
) -> None:
    """Stripe what is marked in seen [h, w] (bool, at `box` of a photo of this size) on the preview."""
    tight = boxes.tight_box(seen)
    if tight is None:
        return
    place = boxes.outside(tight, box)
    marked = Person("", 0, 0, size, place, boxes.cut(seen, tight).float())
    small = fitted(marked, (canvas.shape[0], canvas.shape[1]))
    mask = (small.mask > 0.5).cpu().numpy()
    under = canvas[small.box[1] : small.box[3], small.box[0] : small.box[2]]
    _blend(under, mask & _stripes(mask.shape, small.box, slope), colour)
    under[_edge(mask)] = colour


def _blend(under: np.ndarray, where: np.ndarray, colour: tuple[int, int, int]) -> None:
    under[where] = (under[where] * 0.25 + np.array(colour) * 0.75).astype(np.uint8)


def _stripes(shape: tuple[int, ...], box: boxes.Box, slope: int) -> np.ndarray:
    """Diagonal stripes, bool, that run on from one box into the next."""
    y, x = np.ogrid[box[1] : box[1] + shape[0], box[0] : box[0] + shape[1]]
    return (x + slope * y) % STRIPE < 2


def _edge(mask: np.ndarray) -> np.ndarray:
    """The outermost two pixels of a mask."""
    inner = np.pad(mask, 2)
    for axis in (0, 1):
        inner = inner & np.roll(inner, 1, axis) & np.roll(inner, -1, axis)
        inner = inner & np.roll(inner, 1, axis) & np.roll(inner, -1, axis)
    return mask & ~inner[2:-2, 2:-2]


def _shrunk(mask: Tensor, size: tuple[int, int]) -> np.ndarray:
    small = area_resize(mask[None, None].float(), size)[0, 0]
    return (small > 0.5).cpu().numpy()
