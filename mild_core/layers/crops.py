"""Group the holes that are painted together, and choose how much of the photo around them a crop shows."""

from collections.abc import Sequence
from typing import NamedTuple

from ..image import boxes
from ..scene import Box

LEAST_CONTEXT = 64
"""Pixels around a hole that are always shown, where the photo has them: a small spot needs a neighbourhood too."""


class Group(NamedTuple):
    """Holes that share one crop."""

    members: tuple[int, ...]  # indices of the holes
    holes: Box  # around all of them
    crop: Box  # with context


def context_box(hole: Box, size: tuple[int, int], share: float) -> Box:
    """A hole's box with context: `share` of its longer side on each side, at least LEAST_CONTEXT, clipped to the
    photo.
    """
    margin = max(share * max(boxes.width(hole), boxes.height(hole)), LEAST_CONTEXT)
    return boxes.grown(hole, margin, margin, size)


def grouped(holes: Sequence[Box], crops: Sequence[Box]) -> list[Group]:
    """Join holes until no crop shows another group's hole and no two groups would cost less as one.

    holes and crops belong together by position. The cost of a crop is its area. A crop must not show a foreign hole,
    because a pathway takes everything outside its own hole for true. Groups come in reading order (top, then left).
    """
    done: list[Group] = []
    waiting = [Group((i,), hole, crop) for i, (hole, crop) in enumerate(zip(holes, crops, strict=True))]
    while waiting:
        group = waiting.pop()
        other = next((other for other in done if _belong_together(group, other, holes)), None)
        if other is None:
            done.append(group)
            continue
        done.remove(other)
        members = tuple(sorted(group.members + other.members))
        waiting.append(Group(members, boxes.union(group.holes, other.holes), boxes.union(group.crop, other.crop)))
    return sorted(done, key=lambda group: (group.holes[1], group.holes[0]))


def _belong_together(first: Group, second: Group, holes: Sequence[Box]) -> bool:
    together = boxes.area(boxes.union(first.crop, second.crop))
    if together <= boxes.area(first.crop) + boxes.area(second.crop):
        return True
    return any(boxes.overlap(first.crop, holes[i]) for i in second.members) or any(
        boxes.overlap(second.crop, holes[i]) for i in first.members
    )
