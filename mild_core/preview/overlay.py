"""Preview drawings: who is who, what will be painted, what is protected, who stands in front."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..image import boxes
from ..image.fill import area_resize, shrunk
from ..image.growth import VISIBLE
from ..pairing import row_of
from ..people.depth_order import Order, in_order
from ..people.from_masks import fitted, photo_size
from ..scene import PERSON, Box, Layer, Person, Scene
from . import marks
from .marks import ERASED, GUESSED, KEPT, TOLD, Marked, marked

LONGEST = 1280
"""Longest side of a preview in pixels: enough to read numbers, cheap to send to the browser."""

LIKELY = 0.5
"""Probability from which a pixel behind somebody erased counts as a kept person's, not as the background's."""

DOUBT = 0.5
"""Confidence, 0..1, of a guess about who is in front, below which it gets a question mark."""

ARROW = (16.0, 44.0)
"""Shortest and longest arrow in pixels."""


Place = tuple[float, float]


def preview_people(people: Sequence[Person], photos: Sequence[Tensor], count: int) -> Tensor:
    """Everyone outlined and numbered, [count, h, w, 3]: erased people striped, kept ones in outline; level green
    stripes where the artist said that somebody goes on; upright ones, in the person's colour, on what goes with them.

    photos: [H, W, C] each, where there are any; a grey ground takes the place of the others.
    """
    return one_batch([_drawn_people(people, photos, index, None) for index in range(count)])


def preview_order(
    people: Sequence[Person], photos: Sequence[Tensor], count: int, orders: Mapping[int, Order]
) -> Tensor:
    """preview_people, with depths and arrows. orders: each photo's order, of these people."""
    return one_batch([_drawn_people(people, photos, index, orders.get(index)) for index in range(count)])


def preview_layers(scenes: Sequence[Scene], people: Sequence[Person], protect: Tensor | None = None) -> Tensor:
    """What is going to happen, [B, h, w, 3], before anything is sampled.

    Striped red: the background's holes. Striped yellow, the other way: where a kept person probably goes on behind an
    erased one, in a thin line where that is possible. Level green stripes in place of yellow: where the artist said
    so. Blue outline: what stays untouched (kept people; protect [B or 1, H, W]). Numbers: people, with their depth.
    Arrows lead from who is in front to whom that person hides.
    """
    pictures = []
    for index, scene in enumerate(scenes):
        canvas = canvas_of(scene.photo)
        size = (int(scene.photo.shape[0]), int(scene.photo.shape[1]))
        here = [fitted(person, size) for person in people if person.photo == index]
        told = {person.number for person in here if person.hidden is not None}
        _draw_layers(canvas, scene.layers, told, size)
        if protect is not None:
            own = protect[row_of(len(protect), index)] > VISIBLE
            small = area_resize(own[None, None].float(), (canvas.shape[0], canvas.shape[1]))[0, 0]
            canvas[marks.edge((small > 0.5).cpu().numpy())] = KEPT
        pictures.append(_with_people(canvas, here, in_order(here), size, stripes=False))
    return one_batch(pictures)


def _drawn_people(people: Sequence[Person], photos: Sequence[Tensor], index: int, order: Order | None) -> np.ndarray:
    here = [person for person in people if person.photo == index]
    size = photo_size(here, index) or (512, 512)
    if index < len(photos):
        canvas = canvas_of(photos[index])
    else:
        height, width = shrunk(size, LONGEST)
        canvas = np.full((height, width, 3), 96, dtype=np.uint8)
    here = [fitted(person, size) for person in here]
    return _with_people(canvas, here, order, size, stripes=True)


def _draw_layers(canvas: np.ndarray, layers: Sequence[Layer], told: set[int], size: tuple[int, int]) -> None:
    """The holes of the layers; where the artist said that somebody goes on, or where that is likely, that is shown and
    not the background behind.

    told: numbers of the people of whom the artist said where they go on.
    """
    small = (canvas.shape[0], canvas.shape[1])
    somebody = np.zeros(small, dtype=bool)
    areas: list[tuple[Marked, marks.Colour, tuple[int, int]]] = []
    possible: list[Marked] = []
    for layer in layers:
        if layer.domain != PERSON:
            continue
        open_ = layer.hole > 0
        is_told = layer.number in told
        goes_on = open_ if is_told or layer.likely is None else open_ & (layer.likely > LIKELY)
        sure = marked(goes_on, layer.box, size, small)
        if sure is not None:
            sure.under(somebody)[sure.mask] = True
            areas.append((sure, TOLD if is_told else GUESSED, marks.LEVEL if is_told else marks.FALLING))
        whole = marked(open_, layer.box, size, small)
        if whole is not None and not is_told:
            possible.append(whole)
    for layer in layers:
        opacity = layer.hole if layer.reveal is None else layer.reveal
        hole = None if layer.domain == PERSON else marked(opacity > 0, layer.box, size, small)
        if hole is not None:
            marks.stripe(canvas, Marked(hole.box, hole.mask & ~hole.under(somebody)), ERASED, marks.RISING)
            marks.outline(canvas, hole, ERASED)
    for area in possible:
        marks.outline(canvas, area, GUESSED, 1)
    for area, colour, direction in areas:
        marks.stripe(canvas, area, colour, direction)
        marks.outline(canvas, area, colour)


def canvas_of(photo: Tensor) -> np.ndarray:
    """photo [H, W, C] as 8-bit RGB [h, w, 3] of preview size."""
    size = (int(photo.shape[0]), int(photo.shape[1]))
    small_size = shrunk(size, LONGEST)
    # Of a huge photo four pixels for each of the preview's are enough to average.
    step = max(1, min(size[0] // small_size[0], size[1] // small_size[1]) // 2)
    picture = photo[::step, ::step, :3].permute(2, 0, 1)[None].float()
    small = area_resize(picture, small_size)[0].permute(1, 2, 0)
    small = small.expand(-1, -1, 3) if small.shape[-1] == 1 else small
    return (small.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy().copy()


def one_batch(pictures: Sequence[np.ndarray]) -> Tensor:
    """One IMAGE; pictures of another size than the first are brought to its size."""
    first = pictures[0].shape[:2]
    same = [
        picture
        if picture.shape[:2] == first
        else np.asarray(Image.fromarray(picture).resize((first[1], first[0]), Image.Resampling.BILINEAR))
        for picture in pictures
    ]
    return torch.from_numpy(np.stack(same)).float() / 255


def _with_people(
    canvas: np.ndarray, people: Sequence[Person], order: Order | None, size: tuple[int, int], stripes: bool
) -> np.ndarray:
    """The canvas with every person's outline and number; with depths and arrows if an order is given.

    people: fitted to `size`. stripes: fill who goes, and where the artist said that somebody goes on, as long as no
    layers are drawn there.
    """
    small = (canvas.shape[0], canvas.shape[1])
    for person in people:
        _draw_effects(canvas, person, size, stripes)
    areas = {person.number: _area(person, size, small) for person in people}
    for person in people:
        area = areas[person.number]
        if person.erased and stripes:
            marks.stripe(canvas, area, ERASED, marks.RISING)
        marks.outline(canvas, area, ERASED if person.erased else KEPT)
    for person in people if stripes else ():
        if person.hidden is not None and person.hidden_box is not None:
            goes_on = marked(person.hidden > VISIBLE, person.hidden_box, size, small)
            if goes_on is not None:
                marks.stripe(canvas, goes_on, TOLD, marks.LEVEL)
                marks.outline(canvas, goes_on, TOLD, 1)
    ordered, pairs = order or ([], ())
    depth = {person.number: place for place, person in enumerate(ordered, 1)}
    picture, draw = marks.picture_of(canvas)
    plates = marks.Plates(draw, small)
    for pair in pairs:
        if pair.touching:
            front, back = (areas[ordered[place].number] for place in (pair.front, pair.back))
            x, y = pair.place[0] * small[1] / size[1], pair.place[1] * small[0] / size[0]
            tail, head = arrow_across(x, y, front, back)
            marks.arrow(draw, tail, head, pair.told, pair.confidence < DOUBT)
            plates.keep_free(tail, head)
    for person in sorted(people, key=lambda person: boxes.area(person.box)):
        note = f"depth {depth[person.number]}" if len(depth) > 1 else ""
        plates.add(person, areas[person.number].box, note)
    return np.asarray(picture).copy()


def _draw_effects(canvas: np.ndarray, person: Person, size: tuple[int, int], stripes: bool) -> None:
    """What goes with a person, in the person's colour; what the artist refused is nobody's."""
    colour = ERASED if person.erased else KEPT
    for effect in person.effects:
        area = marked(effect.mask > VISIBLE, effect.box, size, (canvas.shape[0], canvas.shape[1]))
        if effect.taken and area is not None:
            if stripes:
                marks.stripe(canvas, area, colour, marks.UPRIGHT)
            marks.outline(canvas, area, colour, 1)


def _area(person: Person, size: tuple[int, int], small: tuple[int, int]) -> Marked:
    area = marked(person.mask > VISIBLE, person.box, size, small)
    # Masks are tight in their boxes, so not empty; that of a hand-made Person may be.
    return area if area is not None else Marked((0, 0, 1, 1), np.ones((1, 1), dtype=bool))


def arrow_across(x: float, y: float, front: Marked, back: Marked) -> tuple[Place, Place]:
    """Tail and head of a short arrow across x, y, where two people meet: many of them stay readable."""
    reach = min(max(0.7 * math.sqrt(min(front.mask.sum(), back.mask.sum())), ARROW[0]), ARROW[1])
    tail, head = (_middle_near(area, x, y, reach) for area in (front, back))
    dx, dy = head[0] - tail[0], head[1] - tail[1]
    length = math.hypot(dx, dy) or 1.0
    ux, uy = dx / length * reach / 2, dy / length * reach / 2
    return (x - ux, y - uy), (x + ux, y + uy)


def _middle_near(area: Marked, x: float, y: float, reach: float) -> Place:
    """The middle of what is marked within `reach` of a place; of everything, if nothing is."""
    around: Box = (int(x - reach), int(y - reach), int(x + reach) + 1, int(y + reach) + 1)
    part = boxes.intersection(around, area.box)
    seen = area.mask[part[1] - area.box[1] : part[3] - area.box[1], part[0] - area.box[0] : part[2] - area.box[0]]
    if boxes.area(part) and seen.any():
        rows, columns = np.nonzero(seen)
        return float(columns.mean()) + part[0], float(rows.mean()) + part[1]
    rows, columns = np.nonzero(area.mask)
    return float(columns.mean()) + area.box[0], float(rows.mean()) + area.box[1]
