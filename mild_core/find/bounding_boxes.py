"""BOUNDING_BOX, as ComfyUI's own detectors give it: dicts of x, y, width, height, and maybe label and score."""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..image import boxes
from ..scene import Person
from .found import Found

AS_SHARES = 1.01
"""Boxes that all end before this are shares of the photo, not pixels: nobody fills one pixel."""


class InFrames(NamedTuple):
    """The people whom the boxes of some photos show."""

    found: list[list[Found]]  # one list for each photo
    other: int  # boxes with other labels
    shares: bool  # the boxes were shares of the photo's sides, 0..1


def frames_of(value: Any) -> tuple[list[list[dict]], bool]:
    """The boxes of each photo, and whether they are meant for every photo (one dict, or one flat list of them).

    value: list[list[dict]], one list for each photo, list[dict] or a dict. Raises ValueError, in the socket's name,
    for anything else.
    """
    if isinstance(value, dict):
        value, flat = [[value]], True
    elif isinstance(value, (list, tuple)) and value and all(isinstance(one, dict) for one in value):
        value, flat = [list(value)], True
    else:
        flat = False
    good = isinstance(value, (list, tuple)) and all(isinstance(frame, (list, tuple)) for frame in value)
    if not good or not all(isinstance(one, dict) for frame in value for one in frame):
        raise ValueError(
            f"boxes: expected bounding boxes, got {type(value).__name__}. Connect the boxes of a detector such as "
            "SAM3 Detect or RT-DETR."
        )
    return [list(frame) for frame in value], flat


def found_in_frames(value: Any, sizes: Sequence[tuple[int, int]], labels: str) -> InFrames:
    """The people whom the boxes of some photos show.

    sizes: height and width of each photo. labels: names, separated by commas; a box with another label is left out, one
    without a label is kept. Empty text keeps all. Boxes may be pixels or, all of them, shares of the photo (0..1), as
    some detectors give them. Raises ValueError if the boxes are no boxes, or are meant for another number of photos.
    """
    count = len(sizes)
    frames, flat = frames_of(value)
    if flat:
        frames = frames * count
    if frames and len(frames) != count:
        raise ValueError(
            f"boxes: there are boxes for {len(frames)} photos, but image holds {count}. "
            "Connect the boxes that were found in these photos."
        )
    wanted = {word.strip().lower() for word in re.split(r"[,;\n\uff0c\u3001]", labels) if word.strip()}
    result: list[list[Found]] = [[] for _ in range(count)]
    other = 0
    for frame, people in zip(frames, result, strict=False):
        for one in frame:
            label = str(one.get("label") or "").strip().lower()
            if wanted and label and label not in wanted:
                other += 1
            else:
                people.append(_found(one))
    ends = [end for people in result for one in people for end in one.box]
    # A list of boxes without any size is no list of shares, and a photo of one pixel has no use for them.
    shares = bool(ends) and min(ends) >= -0.5 and 0 < max(ends) <= AS_SHARES and max(map(max, sizes)) > 2
    if shares:
        scaled = [[_scaled(one, size) for one in people] for people, size in zip(result, sizes, strict=True)]
        return InFrames(scaled, other, True)
    return InFrames(result, other, False)


def boxes_of(found: Sequence[Found]) -> list[dict]:
    """The people of one photo as bounding boxes, for any node that takes them."""
    return [
        {
            "x": one.box[0],
            "y": one.box[1],
            "width": one.box[2] - one.box[0],
            "height": one.box[3] - one.box[1],
            "label": "person",
            "score": one.score,
        }
        for one in found
    ]


def boxes_around(people: Sequence[Person]) -> list[dict]:
    """The masks of one photo's people as bounding boxes, for any node that takes them."""
    return [
        {
            "x": one.box[0],
            "y": one.box[1],
            "width": boxes.width(one.box),
            "height": boxes.height(one.box),
            "label": "person",
            "score": 1.0,
        }
        for one in people
    ]


def _found(box: dict) -> Found:
    try:
        x, y, width, height = (float(box[key]) for key in ("x", "y", "width", "height"))
        score = float(box.get("score", 1.0))
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"boxes: a box needs the numbers x, y, width and height, got {box}. Connect the boxes of a detector."
        ) from None
    if not all(math.isfinite(one) for one in (x, y, width, height, score)):
        raise ValueError(f"boxes: a box holds numbers that are none (NaN or infinite): {box}. Run the detector again.")
    # A box drawn from right to left, or upwards, is the same box.
    return Found((min(x, x + width), min(y, y + height), max(x, x + width), max(y, y + height)), score)


def _scaled(one: Found, size: tuple[int, int]) -> Found:
    x0, y0, x1, y1 = one.box
    return one._replace(box=(x0 * size[1], y0 * size[0], x1 * size[1], y1 * size[0]))
