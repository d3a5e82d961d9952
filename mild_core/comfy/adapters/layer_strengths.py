"""Which adapters of which strength a layer gets, of all that were given to a MODEL or a CLIP."""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID, uuid4

import comfy.model_patcher

from .adapter import Adapter, Given

KEY = "mild_layer_adapters"


class Kept(NamedTuple):
    """An adapter that was given, under a name by which it is known among all."""

    name: UUID
    given: Given


class Share(NamedTuple):
    """What a layer gets of one."""

    name: UUID
    adapter: Adapter
    strength: float

    @property
    def key(self) -> tuple[UUID, float]:
        """Equal for equal parts. (Adapters hold dictionaries and cannot be compared at a glance.)"""
        return self.name, self.strength


def kept(patcher: comfy.model_patcher.ModelPatcher) -> tuple[Kept, ...]:
    """All that were given to it, in the order in which they were."""
    return patcher.get_attachment(KEY) or ()


def keep(patcher: comfy.model_patcher.ModelPatcher, given: Iterable[Given]) -> None:
    """Add these. The patcher is changed itself: give a clone where it is somebody else's."""
    patcher.set_attachments(KEY, (*kept(patcher), *(Kept(uuid4(), one) for one in given)))


def shares_of(all_of_them: Iterable[Kept], row: str | int, count: int) -> tuple[Share, ...]:
    """What a row gets, by its layer's id, or by its number among `count` rows that nobody named.

    ValueError where that cannot be told.
    """
    parts = (Share(one.name, one.given.adapter, one.given.strength(row, count)) for one in all_of_them)
    return tuple(part for part in parts if part.strength != 0)
