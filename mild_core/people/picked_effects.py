"""Shadows, reflections and carried things taken or refused by clicks, and the mask of what goes with whom.

A click is kept as a point of the photo, beside the kind and the person's number: proposed anew, the effect of that
kind under the point is still the one that was clicked.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..image.growth import VISIBLE
from ..scene import EFFECTS, Effect, Person
from .from_masks import union_mask
from .picked import REACH, Point, distance, place_of, read_entries, read_point


class EffectPick(NamedTuple):
    """One effect that was clicked."""

    photo: int  # which photo of the batch, from 0
    number: int  # the number of the person it goes with, at the time of the click
    kind: str  # one of EFFECTS
    point: Point  # in the effect's mask
    taken: bool
    item: int = 0  # which item of a list of batches, from 0


def read_effects(text: str) -> list[EffectPick]:
    """The effects in what the picker wrote: '{"people": [], "effects": [{"photo": 0, "number": 2, "kind": "shadow",
    "x": 0.4, "y": 0.9, "taken": false}]}'. Raises ValueError for any other text.
    """
    return read_entries(text, "effects", _effect)


def _effect(entry: dict[str, Any]) -> EffectPick:
    kind, taken = entry["kind"], entry["taken"]
    if kind not in EFFECTS or not isinstance(taken, bool):
        raise ValueError
    point = read_point(entry["x"], entry["y"])
    return EffectPick(place_of(entry), int(entry["number"]), kind, point, taken, int(entry.get("item", 0)))


def effects_picked(people: Sequence[Person], picks: Iterable[EffectPick]) -> tuple[list[Person], list[EffectPick]]:
    """The same people, with `taken` as it was clicked on the effects that were; and the clicks where no effect of that
    kind is any more.

    Where a click lies on effects of several people, that of the person with its number is meant, else the smallest.
    """
    taken: dict[tuple[int, int], bool] = {}
    lost = []
    for pick in picks:
        found = _meant(people, pick)
        if found is None:
            lost.append(pick)
        else:
            taken[found] = pick.taken
    result = []
    for index, person in enumerate(people):
        clicked = [(taken.get((index, place), effect.taken), effect) for place, effect in enumerate(person.effects)]
        result.append(person._replace(effects=tuple(effect._replace(taken=goes) for goes, effect in clicked)))
    return result, lost


def _meant(people: Sequence[Person], pick: EffectPick) -> tuple[int, int] | None:
    """Which person, and which of their effects, a click means; None if there is none of that kind."""
    found: list[tuple[float, bool, int, int, int]] = []
    for index, person in enumerate(people):
        if person.photo != pick.photo:
            continue
        for place, effect in enumerate(person.effects):
            if effect.kind == pick.kind:
                away = distance(effect.mask, effect.box, person.size, pick.point)
                other = person.number != pick.number
                found.append((away, other, int((effect.mask > VISIBLE).sum()), index, place))
    if not found or min(found)[0] > REACH:
        return None
    return min(found)[3:]


def taken_effects(person: Person) -> list[Effect]:
    """What goes with a person when they go."""
    return [effect for effect in person.effects if effect.taken]


def as_person(person: Person, effect: Effect) -> Person:
    """One of a person's effects as somebody who has its mask, so that it can be fitted and outlined as people are."""
    return Person(person.name, person.number, person.photo, person.size, effect.box, effect.mask)


def going_mask(going: Sequence[Person], staying: Sequence[Person], size: tuple[int, int]) -> Tensor:
    """One mask [H, W], float32, 0..1, of the people of one photo who go and of what goes with them.

    Effects give way to the people who stay: a shadow that falls on somebody goes around them. size: height and width.
    """
    result = union_mask(going, size)
    effects = [as_person(person, effect) for person in going for effect in taken_effects(person)]
    if not effects:
        return result
    return torch.maximum(result, torch.minimum(union_mask(effects, size), 1 - union_mask(staying, size)))
