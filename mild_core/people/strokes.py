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
    frame = person.box
    for stroke in strokes:
        if stroke.mode == ADD:
            frame = boxes.union(frame, _box(stroke, person.size))
    before = boxes.placed(person.mask, person.box, frame)
    mask = before.clone()
    for stroke in strokes:
        box = boxes.intersection(_box(stroke, person.size), frame)
        if boxes.area(box):
            line = _covered(stroke, person.size, box).to(mask.device)
            boxes.cut(mask, boxes.inside(box, frame)).masked_fill_(line, 1.0 if stroke.mode == ADD else 0.0)
    if torch.equal(mask, before):
        return person
    tight = boxes.tight_box(mask > VISIBLE)
    if tight is None:
        return None
    return person._replace(box=boxes.outside(tight, frame), mask=boxes.cut(mask, tight).clone())


def _in_pixels(stroke: Stroke, size: tuple[int, int]) -> tuple[list[Point], float]:
    """The line's corners and the brush's radius in a photo of `size` (height, width)."""
    return [(x * size[1], y * size[0]) for x, y in stroke.points], max(THINNEST, stroke.size * max(size) / 2)


def _box(stroke: Stroke, size: tuple[int, int]) -> Box:
    """What of the photo a stroke can reach."""
    corners, radius = _in_pixels(stroke, size)
    columns, rows = [x for x, _ in corners], [y for _, y in corners]
    box = (
        math.floor(min(columns) - radius),
        math.floor(min(rows) - radius),
        math.ceil(max(columns) + radius),
        math.ceil(max(rows) + radius),
    )
    return boxes.intersection(box, boxes.whole(size))


def _covered(stroke: Stroke, size: tuple[int, int], box: Box) -> Tensor:
    """Which pixels of `box` a stroke covers, [h, w] (bool): those whose middle is within the radius of the line.

    What one piece of the line covers is convex: one span of columns in each row. Spans are added up as the columns
    where they begin and end, so that a long line costs its rows and not its box.
    """
    corners, radius = _in_pixels(stroke, size)
    height, width = boxes.height(box), boxes.width(box)
    ends = torch.zeros((height, width + 1), dtype=torch.int16)
    for start, end in list(pairwise(corners)) or [(corners[0], corners[0])]:
        top = max(0, math.floor(min(start[1], end[1]) - radius) - box[1])
        bottom = min(height, math.ceil(max(start[1], end[1]) + radius) - box[1])
        if top >= bottom:
            continue
        rows = torch.arange(top, bottom)
        low, high = _spans(start, end, radius, rows + (box[1] + 0.5))
        first = (low - 0.5 - box[0]).ceil().clamp(0, width).long()
        last = (high + 0.5 - box[0]).floor().clamp(0, width).long().maximum(first)
        ends[rows, first] += 1
        ends[rows, last] -= 1
    return ends.cumsum(1, dtype=torch.int16)[:, :width] > 0


def _spans(start: Point, end: Point, radius: float, y: Tensor) -> tuple[Tensor, Tensor]:
    """From which x to which x the rows at y [n] are within `radius` of the line from start to end; where they are not
    at all, the first is infinite and the second its negative.
    """
    nowhere = torch.full_like(y, math.inf)
    low, high = nowhere, -nowhere
    for x, middle in (start, end):
        square = radius * radius - (y - middle) ** 2
        reach = square.clamp(min=0).sqrt()
        low = torch.where(square >= 0, torch.minimum(low, x - reach), low)
        high = torch.where(square >= 0, torch.maximum(high, x + reach), high)
    length = math.dist(start, end)
    if length == 0:
        return low, high
    # Between the ends: at most `radius` beside the line, and neither before its start nor behind its end.
    across, down = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    left, right = -nowhere, nowhere
    beside, along = (start[1] - y) * across, (y - start[1]) * down
    for slope, value, least, most in ((down, beside, -radius, radius), (across, along, 0.0, length)):
        if abs(slope) < 1e-6:
            left = torch.where((value >= least) & (value <= most), left, nowhere)
        else:
            bounds = (least - value) / slope + start[0], (most - value) / slope + start[0]
            left = left.maximum(torch.minimum(*bounds))
            right = right.minimum(torch.maximum(*bounds))
    there = left <= right
    return torch.where(there, low.minimum(left), low), torch.where(there, high.maximum(right), high)
