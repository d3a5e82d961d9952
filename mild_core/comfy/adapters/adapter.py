"""A LoRA file on one network, and which layers get it how strongly."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from comfy.weight_adapter import WeightAdapterBase

Target = str | tuple[str, tuple[int, int, int]]
"""A weight of the network as ComfyUI's patches name it: its key, or that and (dimension, start, length) of a part."""


class Adapter(NamedTuple):
    """What one file holds for one network."""

    name: str  # the file's, as artists see it
    routed: Mapping[Target, WeightAdapterBase]  # adds to a layer's output, so rows of one batch can differ in it
    merged: Mapping[Target, Any]  # the rest, as ComfyUI's patches: holds for a whole batch or not at all


class Given(NamedTuple):
    """An adapter, and who gets it."""

    adapter: Adapter
    strengths: Mapping[str, float]  # by layer id, in the layers' order; where nobody names the rows: see strength
    others: frozenset[str] = frozenset()  # ids of layers that are left alone

    def strength(self, row: str | int, count: int) -> float:
        """Of a row of a latent of `count` rows: a layer's id, or the row's number where nobody named the rows (then
        there is one layer for all rows, or one for each). ValueError where that cannot be told.
        """
        if row in self.others:
            return 0.0
        if isinstance(row, str):
            if row not in self.strengths:
                raise ValueError(
                    f"layers: there is no {row} among them. Connect the same layers here and to Sample Layers"
                )
            return self.strengths[row]
        names = list(self.strengths)
        if len(names) not in (1, count):
            raise ValueError(
                f"layers: {len(names)} of them meet a latent of {count}. Name one layer in `which`, or use Sample "
                "Layers"
            )
        return self.strengths[names[0 if len(names) == 1 else row]]


def check_nameless(given: Iterable[Given]) -> None:
    """Of all adapters of a MODEL whose latent's rows nobody named. ValueError where they are for different layers: a
    single one's hold for all rows, whichever layer is painted.
    """
    named = list(dict.fromkeys(tuple(one.strengths) for one in given))
    if len(named) > 1 and any(len(names) == 1 for names in named):
        raise ValueError(
            f"which: adapters on this MODEL are for {' and for '.join(', '.join(names) for names in named)}, and this "
            "sampler does not say which layer it paints. Write the same `which` in all nodes Adapters for Layers, or "
            "use Sample Layers"
        )
