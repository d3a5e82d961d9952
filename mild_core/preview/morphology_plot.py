"""Draw bodies: parts in soft colours, skeletons, and arrows from who stands in front to whom that person hides."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..body.body_parts import PART_COLOURS, PARTS
from ..body.relations import PAIRS
from ..image import boxes
from ..image.growth import VISIBLE
from ..scene import Body, Morphology
from . import marks
from .marks import ERASED, KEPT, Marked, marked
from .morphology_legend import GROUND, Signs, legend
from .overlay import LONGEST, Place, arrow_across, canvas_of, one_batch
from .skeleton_marks import GREY, RAINBOW, Skeleton, points_of, with_skeletons

NARROWEST = 420
"""Pixels: least width of a preview; a narrower photo gets empty ground beside it, for the legend."""

GREYED, LIGHTENED = 0.75, 0.15
"""Shares, 0..1, by which the photo's colours go towards grey, and its brightness towards white."""

OPACITY = (0.25, 0.65)
"""Opacity, 0..1, of parts of confidence 0, and of confidence 1."""

EMPTY = 96
"""Grey level where there is no photo."""

CONTACT, CONTACT_X, CONTACT_Y, IN_FRONT = map(PAIRS.index, ("contact", "contact x", "contact y", "in front"))


def preview_morphology(morphologies: Sequence[Morphology], photos: Sequence[Tensor]) -> Tensor:
    """What is known of the bodies in each photo, [len(morphologies), h, w, 3], 0..1, with a legend below.

    Parts are the paler the less sure they are. photos: [H, W, C] each, C in 1, 3, 4; a grey ground takes the place of
    those that are missing. Pictures of another size than the first are brought to its size.
    """
    explained = _signs(morphologies)
    return one_batch([_drawn(one, photos, explained) for one in morphologies])


def _drawn(morphology: Morphology, photos: Sequence[Tensor], signs: Signs) -> np.ndarray:
    canvas = _ground(morphology, photos)
    size, small = morphology.size, (canvas.shape[0], canvas.shape[1])
    areas: dict[int, Marked] = {}
    for body in morphology.bodies:
        _paint_parts(canvas, body, size)
        areas[body.number] = _area(body, size, small)
    for body in morphology.bodies:
        marks.outline(canvas, areas[body.number], ERASED if body.erased else KEPT)
    skeletons = [Skeleton(joints, None, GREY) for joints in morphology.nobody]
    known = [body for body in morphology.bodies if body.joints is not None]
    skeletons += [Skeleton(body.joints, body.inferred, RAINBOW) for body in known if body.joints is not None]
    picture, draw = marks.picture_of(with_skeletons(canvas, skeletons, size))
    plates = marks.Plates(draw, small)
    arrows = _arrows(morphology, areas)
    for _, _, tail, head in arrows:
        marks.arrow(draw, tail, head, told=True, doubt=False)
        plates.keep_free(tail, head)
    for body in sorted(morphology.bodies, key=lambda body: boxes.area(body.box)):
        plates.add(body, areas[body.number].box, "", _head(areas[body.number]))
    for front, back, tail, head in arrows:
        plates.write(f"{front} hides {back}", [(head[0] + tail[0]) / 2, (head[1] + tail[1]) / 2])
    for joints in morphology.nobody:
        points = list(points_of(joints, size, small).values())
        if points:
            middle = [sum(axis) / len(points) for axis in zip(*points, strict=True)]
            plates.write("nobody", middle)
    return _with_legend(np.asarray(picture), signs)


def _ground(morphology: Morphology, photos: Sequence[Tensor]) -> np.ndarray:
    """The photo, enlarged if it is small, greyed and lightened; [h, w, 3] uint8."""
    if morphology.photo < len(photos):
        canvas = canvas_of(photos[morphology.photo])
    else:
        scale = LONGEST / max(morphology.size)
        canvas = np.full((*(max(1, round(side * scale)) for side in morphology.size), 3), EMPTY, dtype=np.uint8)
    longer = max(canvas.shape[:2])
    if longer < LONGEST:
        # A skeleton of 30 pixels shows nothing.
        wide, high = (max(1, round(side * LONGEST / longer)) for side in canvas.shape[1::-1])
        canvas = np.asarray(Image.fromarray(canvas).resize((wide, high), Image.Resampling.BICUBIC))
    grey = canvas.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    soft = canvas * (1 - GREYED) + grey[..., None] * GREYED
    return (soft + (255 - soft) * LIGHTENED).astype(np.uint8)


def _area(body: Body, size: tuple[int, int], small: tuple[int, int]) -> Marked:
    area = marked(body.mask > VISIBLE, body.box, size, small)
    return area if area is not None else Marked((0, 0, 1, 1), np.ones((1, 1), dtype=bool))


def _head(area: Marked) -> Place:
    """x, y of the middle of the uppermost tenth of what is marked."""
    x, y = np.nonzero(area.mask)[::-1]
    top = y <= y.min() + area.mask.shape[0] // 10
    return float(x[top].mean()) + area.box[0] + 0.5, float(area.box[1] + y.min())


def _paint_parts(canvas: np.ndarray, body: Body, size: tuple[int, int]) -> None:
    """The body's parts over the canvas of a photo of this height and width."""
    if body.parts is None or body.parts_box is None:
        return
    x0, y0, x1, y1 = body.parts_box
    rows, y = _sampled(canvas.shape[0], size[0], (y0, y1), body.parts.shape[0])
    columns, x = _sampled(canvas.shape[1], size[1], (x0, x1), body.parts.shape[1])
    parts = body.parts[y.to(body.parts.device)][:, x.to(body.parts.device)].cpu().numpy()
    sure = np.ones(parts.shape, np.float32)
    if body.parts_sure is not None:
        here = body.parts_sure[y.to(body.parts_sure.device)][:, x.to(body.parts_sure.device)]
        sure = here.float().clamp(0, 1).cpu().numpy()
    opacity = np.where(parts > 0, OPACITY[0] + (OPACITY[1] - OPACITY[0]) * sure, 0.0)
    under = canvas[rows, columns]
    colours = np.array(PART_COLOURS, np.float32)[parts]
    under[:] = (under + (colours - under) * opacity[..., None]).astype(np.uint8)


def _sampled(pixels: int, photo: int, span: tuple[int, int], count: int) -> tuple[slice, Tensor]:
    """The pixels of a preview's side whose middles lie in a span of the photo's side, and for each of them the nearest
    of `count` values that fill this span.
    """
    middles = (torch.arange(pixels) + 0.5) * (photo / pixels)
    inside = ((middles >= span[0]) & (middles < span[1])).nonzero()[:, 0]
    if not len(inside):
        return slice(0, 0), inside
    values = (middles[inside] - span[0]) * (count / (span[1] - span[0]))
    return slice(int(inside[0]), int(inside[-1]) + 1), values.long().clamp(0, count - 1)


def _arrows(morphology: Morphology, areas: dict[int, Marked]) -> list[tuple[int, int, Place, Place]]:
    """Number of who hides, and of whom; tail and head of the arrow: for every two who touch, where they do."""
    arrows = []
    for row, front in enumerate(morphology.bodies):
        for column, back in enumerate(morphology.bodies):
            pair = morphology.pairs[row, column].tolist()
            if pair[CONTACT] > 0 and pair[IN_FRONT] > 0:
                x0, y0, x1, y1 = areas[front.number].box
                x = (x0 + x1 + pair[CONTACT_X] * (x1 - x0)) / 2
                y = (y0 + y1 + pair[CONTACT_Y] * (y1 - y0)) / 2
                ends = arrow_across(x, y, areas[front.number], areas[back.number])
                arrows.append((front.number, back.number, *ends))
    return arrows


def _with_legend(picture: np.ndarray, signs: Signs) -> np.ndarray:
    if picture.shape[1] < NARROWEST:
        beside = np.full((picture.shape[0], NARROWEST - picture.shape[1], 3), GROUND, dtype=np.uint8)
        picture = np.concatenate([picture, beside], axis=1)
    return np.concatenate([picture, legend(picture.shape[1], signs)])


def _signs(morphologies: Sequence[Morphology]) -> Signs:
    """What occurs in any of the photos."""
    bodies = [body for one in morphologies for body in one.bodies]
    hiding = [(one.pairs[..., CONTACT] > 0) & (one.pairs[..., IN_FRONT] > 0) for one in morphologies]
    parts = torch.zeros(len(PARTS), dtype=torch.bool)
    for body in bodies:
        if body.parts is not None:
            parts[body.parts.unique().long().cpu()] = True
    return Signs(
        kept=any(not body.erased for body in bodies),
        erased=any(body.erased for body in bodies),
        seen=any(body.joints is not None for body in bodies),
        inferred=any(body.inferred is not None and bool(body.inferred.any()) for body in bodies),
        arrows=any(bool(pairs.any()) for pairs in hiding),
        nobody=any(len(one.nobody) > 0 for one in morphologies),
        parts=tuple(part for part in parts.nonzero()[:, 0].tolist() if part),
    )
