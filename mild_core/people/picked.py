"""People chosen by clicks: each stored click of the artist is matched with a person of the current masks.

A click is kept as a point of the photo beside the number that the person had. Another detector, or another threshold,
numbers people anew; the person under the point is then still the one who was clicked.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from ..image.growth import VISIBLE
from ..scene import Box, Person

Point = tuple[float, float]
"""x, y as shares (0..1) of the photo's width and height."""

_T = TypeVar("_T")

REACH = 0.01
"""How far beside a mask a click still counts, as a share of the photo's longer side: masks made anew may be slimmer."""


class Pick(NamedTuple):
    """One person who was clicked."""

    photo: int  # which photo of the batch, from 0
    number: int  # the person's number at the time of the click
    point: Point | None  # in the mask; None: number only
    item: int = 0  # which item of a list of batches, from 0, where ComfyUI runs the node once for each


def read_picks(text: str) -> list[Pick]:
    """What the picker wrote: '{"people": [{"photo": 0, "number": 3, "x": 0.41, "y": 0.52}]}'. Nothing gives no picks.

    x and y may be left out. Where the photos came as a list, the picker adds "item", which item of it, and "place",
    which photo of that item: "photo" counts through all that are shown. Raises ValueError for text that is anything
    else.
    """
    return read_entries(text, "people", _pick)


def read_entries(text: str, key: str, read: Callable[[dict[str, Any]], _T]) -> list[_T]:
    """What `read` makes of each entry of one list in the picker's text; a list that is not there is empty ("people"
    always is).

    Raises ValueError, naming the socket, for a text that the picker did not write; `read` may raise anything that
    reading a wrong entry raises.
    """
    if not text.strip():
        return []
    try:
        lists = json.loads(text)
        return [read(entry) for entry in (lists[key] if key == "people" else lists.get(key, []))]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise ValueError(
            f"picked: this is not what the picker writes: {text[:60]!r}. Leave it empty and write into who "
            "instead (1,3 or all but 2), or click the people anew."
        ) from None


def _pick(entry: dict[str, Any]) -> Pick:
    point = read_point(entry["x"], entry["y"]) if "x" in entry or "y" in entry else None
    return Pick(place_of(entry), int(entry["number"]), point, int(entry.get("item", 0)))


def read_point(x: Any, y: Any) -> Point:
    """Two shares of the photo's sides; ValueError for anything else."""
    point = float(x), float(y)
    if not (0 <= point[0] <= 1 and 0 <= point[1] <= 1):
        raise ValueError
    return point


def place_of(entry: dict[str, Any]) -> int:
    """Which photo of its batch an entry of the picker's text means, from 0."""
    return int(entry["place"] if int(entry.get("item", 0)) else entry.get("photo", 0))


def people_picked(people: Sequence[Person], picks: Iterable[Pick]) -> tuple[list[Person], list[Pick]]:
    """The same people, with `erased` set on those who were clicked and cleared on all others; and the clicks where
    nobody is any more.

    Where a click lies on several people, the one with its number is meant, else the smallest of them.
    """
    chosen: set[int] = set()
    lost = []
    for pick in picks:
        index = meant(people, pick)
        if index is None:
            lost.append(pick)
        else:
            chosen.add(index)
    return [person._replace(erased=index in chosen) for index, person in enumerate(people)], lost


def meant(people: Sequence[Person], pick: Pick) -> int | None:
    """Index of the person whom a click means; None if nobody is there."""
    there = [(index, person) for index, person in enumerate(people) if person.photo == pick.photo]
    if pick.point is None:
        return next((index for index, person in there if person.number == pick.number), None)
    away = {index: distance(person.mask, person.box, person.size, pick.point) for index, person in there}
    nearest = min(away.values(), default=math.inf)
    if nearest > REACH:
        return None
    under = [(index, person) for index, person in there if away[index] <= nearest]
    by_number = [index for index, person in under if person.number == pick.number]
    return by_number[0] if by_number else min(under, key=lambda one: _covered(one[1]))[0]


def distance(mask: Tensor, box: Box, size: tuple[int, int], point: Point) -> float:
    """How far the point is from mask [h, w], which lies at `box` of a photo of `size` (height, width), in longer sides
    of the photo; 0 on it, infinite beyond REACH.
    """
    height, width = size
    reach = max(1.0, REACH * max(height, width))
    column, row = min(int(point[0] * width), width - 1), min(int(point[1] * height), height - 1)
    x0, y0, x1, y1 = box
    left, right = max(column - int(reach), x0), min(column + int(reach) + 1, x1)
    top, bottom = max(row - int(reach), y0), min(row + int(reach) + 1, y1)
    if left >= right or top >= bottom:
        return math.inf
    near = mask[top - y0 : bottom - y0, left - x0 : right - x0] > VISIBLE
    rows, columns = near.nonzero(as_tuple=True)
    if not len(rows):
        return math.inf
    nearest = math.sqrt(int(((rows + top - row) ** 2 + (columns + left - column) ** 2).min()))
    return nearest / max(height, width) if nearest <= reach else math.inf


def _covered(person: Person) -> float:
    """Share of the photo that the person's mask covers."""
    return int((person.mask > VISIBLE).sum()) / (person.size[0] * person.size[1])
