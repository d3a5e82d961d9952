"""Which adapters of which strength a layer gets, of all that were given to a MODEL or a CLIP."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
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


def models_of(guider: Any) -> Iterator[tuple[str, comfy.model_patcher.ModelPatcher]]:
    """Of a GUIDER, by the name of the attribute: Dual Model CFG Guider has two."""
    for name, value in vars(guider).items():
        if isinstance(value, comfy.model_patcher.ModelPatcher):
            yield name, value


def note_on_models(guider: Any) -> str | None:
    """A sentence for the artist where a GUIDER has two models that do not have the same adapters; None: all is well."""
    routed = [{one.name for one in kept(model) if one.given.adapter.routed} for _, model in models_of(guider)]
    if all(names == routed[0] for names in routed):
        return None
    return (
        f"This GUIDER ({type(guider).__name__}) samples all of its models with what is on the first: the first one's "
        "adapters reach the others, too, and theirs are left out. Connect one MODEL to all of its sockets, or use CFG "
        "Guider."
    )


def shares_of(all_of_them: Iterable[Kept], row: str | int, count: int) -> tuple[Share, ...]:
    """What a row gets, by its layer's id, or by its number among `count` rows that nobody named.

    ValueError where that cannot be told.
    """
    parts = (Share(one.name, one.given.adapter, one.given.strength(row, count)) for one in all_of_them)
    return tuple(part for part in parts if part.strength != 0)
