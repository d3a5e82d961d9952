"""Masks corrected by hand: strokes of the picker's brush add to a person's mask, or take from it.

A stroke is kept as a line in shares of the photo, beside the person's number and a point of their mask as it was
found. So it stays with the person when the people are found anew, as clicks do (picked.py).
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..image import boxes
from ..image.growth import VISIBLE
from ..scene import Box, Person
from .picked import Pick, Point, meant, place_of, read_entries, read_point

ADD, TAKE = MODES = ("add", "take")

THINNEST = 0.75
"""Least radius of a stroke in pixels of the mask: so a click marks one pixel at least."""

PIECE = 64
"""Pixels: a long line is drawn in pieces of this length or of two diameters, whichever is more. A slanted line has a
box that is mostly empty, up to the whole photo.
"""


class Stroke(NamedTuple):
    """One stroke of the brush."""

    photo: int  # which photo of the batch, from 0
    number: int  # the person's number at the time
    mode: str  # ADD or TAKE
    size: float  # the brush's diameter, as a share of the photo's longer side
    points: tuple[Point, ...]  # the line's corners; a single one is a dot
    anchor: Point  # in the person's mask before any stroke: whoever is there, or nearest, is meant
    item: int = 0  # which item of a list of batches, from 0


class Corrected(NamedTuple):
    """People after the strokes, and what the strokes did."""

    people: list[Person]  # in the same order, without those whose whole mask was taken
    changed: list[Person]  # those of `people` whose mask is another now
    emptied: list[Person]  # as they were found
    lost: list[Stroke]  # strokes of people who are no longer there


def read_strokes(text: str) -> list[Stroke]:
    """The strokes in what the picker wrote: '{"people": [], "strokes": [{"photo": 0, "number": 2, "mode": "add",
    "size": 0.02, "points": [0.41, 0.52, 0.43, 0.55], "x": 0.4, "y": 0.5}]}'.

    x and y, the anchor, may be left out: then it is the first point. Raises ValueError for any other text.
    """
    return read_entries(text, "strokes", _stroke)


def _stroke(entry: dict[str, Any]) -> Stroke:
    mode, size, flat = entry["mode"], float(entry["size"]), entry["points"]
    if mode not in MODES or not 0 < size <= 1 or len(flat) < 2 or len(flat) % 2:
        raise ValueError
    points = tuple(read_point(x, y) for x, y in zip(flat[::2], flat[1::2], strict=True))
    anchor = read_point(entry["x"], entry["y"]) if "x" in entry or "y" in entry else points[0]
    return Stroke(place_of(entry), int(entry["number"]), mode, size, points, anchor, int(entry.get("item", 0)))


def people_corrected(people: Sequence[Person], strokes: Iterable[Stroke]) -> Corrected:
    """The people with the strokes in their masks, in the order in which they were painted.

    Only the mask and its box change. Hard masks stay hard. Nothing is computed for the people who were left alone.
    """
    own: dict[int, list[Stroke]] = {}
    lost = []
    for stroke in strokes:
        index = meant(people, Pick(stroke.photo, stroke.number, stroke.anchor))
        if index is None:
            lost.append(stroke)
        else:
            own.setdefault(index, []).append(stroke)
    result = Corrected([], [], [], lost)
    for index, person in enumerate(people):
        if index not in own:
            result.people.append(person)
            continue
        after = _painted(person, own[index])
        if after is None:
            result.emptied.append(person)
        else:
            result.people.append(after)
            if after is not person:
                result.changed.append(after)
    return result


def _painted(person: Person, strokes: Sequence[Stroke]) -> Person | None:
    """The person after these strokes: the same one if nothing changed, None if nothing is left."""
    drawn = [(stroke.mode, *_drawn(stroke, person.size, person.mask.device)) for stroke in strokes]
    frame = person.box
    for mode, box, _ in drawn:
        if mode == ADD:
            frame = boxes.union(frame, box)
    mask = boxes.placed(person.mask, person.box, frame)
    before = mask.clone()
    for mode, box, line in drawn:
        shared = boxes.intersection(box, frame)
        if boxes.area(shared):
            under = boxes.cut(mask, boxes.inside(shared, frame))
            under.masked_fill_(boxes.cut(line, boxes.inside(shared, box)), 1.0 if mode == ADD else 0.0)
    if torch.equal(mask, before):
        return person
    tight = boxes.tight_box(mask > VISIBLE)
    if tight is None:
        return None
    return person._replace(box=boxes.outside(tight, frame), mask=boxes.cut(mask, tight).clone())


def _drawn(stroke: Stroke, size: tuple[int, int], device: torch.device) -> tuple[Box, Tensor]:
    """Which pixels of a photo of `size` (height, width) a stroke covers: their box, and a mask [h, w] (bool) of it.

    A pixel is covered if its middle is within the brush's radius of the line.
    """
    radius = max(THINNEST, stroke.size * max(size) / 2)
    corners = [(x * size[1], y * size[0]) for x, y in stroke.points]
    pieces = [piece for start, end in pairwise(corners) for piece in _pieces(start, end, max(PIECE, 4 * radius))]
    box = _around(corners, radius, size)
    canvas = torch.zeros((boxes.height(box), boxes.width(box)), dtype=torch.bool, device=device)
    for start, end in pieces or [(corners[0], corners[0])]:
        part = _around([start, end], radius, size)
        x = torch.arange(part[0], part[2], device=device)[None] + (0.5 - start[0])
        y = torch.arange(part[1], part[3], device=device)[:, None] + (0.5 - start[1])
        dx, dy = end[0] - start[0], end[1] - start[1]
        share = ((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-6)).clamp_(0, 1)
        near = (x - share * dx) ** 2 + (y - share * dy) ** 2 <= radius * radius
        boxes.cut(canvas, boxes.inside(part, box)).logical_or_(near)
    return box, canvas


def _pieces(start: Point, end: Point, longest: float) -> list[tuple[Point, Point]]:
    """A line cut into equal pieces of at most that length."""
    count = max(1, math.ceil(math.dist(start, end) / longest))
    at = [
        (start[0] + (end[0] - start[0]) * step / count, start[1] + (end[1] - start[1]) * step / count)
        for step in range(count + 1)
    ]
    return list(pairwise(at))


def _around(points: Sequence[Point], radius: float, size: tuple[int, int]) -> Box:
    """The box of pixels within that radius of these points."""
    columns, rows = [x for x, _ in points], [y for _, y in points]
    box = (
        math.floor(min(columns) - radius),
        math.floor(min(rows) - radius),
        math.ceil(max(columns) + radius),
        math.ceil(max(rows) + radius),
    )
    return boxes.intersection(box, boxes.whole(size))
