"""Where the wires of a workflow run: straight where nothing is in the way, else in lanes above the groups.

The front end draws a wire as a Bezier curve that leaves to the right and arrives from the left, and dips it under
nodes. Points at which wires turn (its reroutes) are shared by all wires of one output.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

Box = tuple[float, float, float, float]

BEND = 0.25  # how far a curve's control points lie from its ends, as a share of the distance: the front end's own
STEPS = 64
TITLE = 30
CLEAR = 6  # px between a wire and a node
BEFORE = 42  # px before a node and behind one at which wires turn
SIDE = 9  # px between wires that turn beside each other
STEEP = 260  # px: a longer way up or down has a point at both ends
ABOVE = 34  # px between the lowest lane and the groups below it


class Link(NamedTuple):
    """One wire."""

    key: int
    origin: int
    origin_slot: int
    target: int
    target_slot: int


class Point(NamedTuple):
    """A place at which wires turn."""

    x: float
    y: float
    parent: int | None  # the point before it
    links: set[int]


class Lanes(NamedTuple):
    """All points by their ids, and the last one of each link that has any."""

    points: dict[int, Point]
    last: dict[int, int]


def routed(
    links: list[Link], boxes: Mapping[int, Box], slots: Mapping[int, tuple[list, list]], rows: Mapping[int, float],
    lane: float,
) -> Lanes:  # fmt: skip
    """The points of all wires that need some.

    boxes: position, width and height of each node, which has a title above; slots: places of inputs and outputs, from
    the node's position; rows: the top of the groups among which a node stands; lane: px from one lane to the next.
    """
    ends = {link.key: (_slot(link.origin, 1, link.origin_slot, boxes, slots),
                       _slot(link.target, 0, link.target_slot, boxes, slots)) for link in links}  # fmt: skip
    bent = [link for link in links if _under(*ends[link.key], boxes, {link.origin, link.target})]
    trunks: dict[tuple[int, int, float], list[Link]] = defaultdict(list)
    for link in bent:
        trunks[link.origin, link.origin_slot, rows[link.target]].append(link)
    lanes = Lanes({}, {})
    used: dict[float, list[list[tuple[float, float]]]] = defaultdict(list)
    turns: dict[int, int] = defaultdict(int)
    # the longest on top: shorter ones then turn below it
    for (origin, _, row), trunk in sorted(trunks.items(), key=lambda item: _reach(item[1], ends)):
        trunk.sort(key=lambda link: ends[link.key][1])
        (x0, y0), _ = ends[trunk[0].key]
        stops = [ends[link.key][1][0] - BEFORE for link in trunk]
        start = _beside(_right(origin, boxes), y0, row, boxes) + BEFORE - SIDE * (turns[origin] % 3)
        turns[origin] += 1
        y = row - ABOVE - lane * _free(used[row], start, max(stops))
        everyone = {link.key for link in trunk}
        parent = None
        if abs(y - y0) > STEEP:
            parent = _add(lanes, start, y0 + (40 if y > y0 else -40), None, everyone)
        parent = _add(lanes, start, y, parent, everyone)
        for index, (link, x) in enumerate(zip(trunk, stops, strict=True)):
            onward = {other.key for other in trunk[index:]}
            if x > lanes.points[parent].x + SIDE:
                parent = _add(lanes, x, y, parent, onward)
            y1 = ends[link.key][1][1]
            lanes.last[link.key] = parent
            if abs(y1 - y) > STEEP:
                lanes.last[link.key] = _add(lanes, x, y1 - 40, parent, {link.key})
    return lanes


def _slot(key: int, side: int, number: int, boxes, slots) -> tuple[float, float]:
    x, y, _, _ = boxes[key]
    dx, dy = slots[key][side][number]
    return x + dx, y + dy


def _right(key: int, boxes: Mapping[int, Box]) -> float:
    return boxes[key][0] + boxes[key][2]


def _beside(x: float, y0: float, y1: float, boxes: Mapping[int, Box]) -> float:
    """x, or as far to the right of it as nodes above or below reach, between heights y0 and y1."""
    top, bottom = min(y0, y1), max(y0, y1)
    in_the_way = [
        left + width
        for left, y, width, height in boxes.values()
        if left < x + BEFORE and x < left + width and y - TITLE < bottom and top < y + height
    ]
    return max([x, *in_the_way])


def _reach(trunk: list[Link], ends: Mapping[int, tuple]) -> float:
    """How far a trunk runs."""
    return max(ends[link.key][1][0] - ends[link.key][0][0] for link in trunk)


def _free(taken: list[list[tuple[float, float]]], start: float, end: float) -> int:
    """The lowest lane that nothing else uses between start and end; it is taken."""
    for number, spans in enumerate(taken):
        if all(end < a - 30 or b + 30 < start for a, b in spans):
            spans.append((start, end))
            return number
    taken.append([(start, end)])
    return len(taken) - 1


def _add(lanes: Lanes, x: float, y: float, parent: int | None, links: set[int]) -> int:
    key = len(lanes.points) + 1
    lanes.points[key] = Point(x, y, parent, links)
    return key


def _under(start: tuple[float, float], end: tuple[float, float], boxes: Mapping[int, Box], own: set[int]) -> bool:
    """Whether the curve between two slots comes near a node that is not one of its own."""
    (x0, y0), (x3, y3) = start, end
    bend = BEND * ((x3 - x0) ** 2 + (y3 - y0) ** 2) ** 0.5
    for step in range(STEPS + 1):
        t = step / STEPS
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        x, y = a * x0 + b * (x0 + bend) + c * (x3 - bend) + d * x3, (a + b) * y0 + (c + d) * y3
        for key, (left, top, width, height) in boxes.items():
            near = left - CLEAR < x < left + width + CLEAR and top - TITLE - CLEAR < y < top + height + CLEAR
            if near and key not in own:
                return True
    return False
