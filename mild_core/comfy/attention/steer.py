"""Applies a rule to the attentions of a MODEL: each row of a batch has the regions of its own layer.

model = catch.put(model, Steering(Maps.of(scenes), rules), "MILD_SpatialAttention")
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...attention import evaluate
from ...attention.factors import RowRule, row_rule
from ...attention.layer_regions import Key, Maps
from ...attention.regions import HOLE, IMAGE, Members, Span, on_spans
from ...attention.rule import Rule
from . import layouts
from .catch import Inner, Site
from .run import Row, Run, rows_of

Rules = Callable[[Key, tuple[str, ...]], Rule]
"""The rule of a pathway whose regions have these names."""

Blocks = Callable[[layouts.Block, str], bool]
"""Whether a block's attention of this kind is steered."""


def every_block(block: layouts.Block, kind: str) -> bool:
    return True


class Place(NamedTuple):
    """Where a row's rule holds: everything that its factors depend on beside the progress."""

    key: Key
    spans: tuple[Span, ...]
    device: torch.device


class Steering:
    """A handler (catch.Handler) that applies a rule. It acts only on attentions of a picture with itself that a hole
    touches; in all others each call stays the caller's own.
    """

    def __init__(self, maps: Maps, rules: Rules, blocks: Blocks = every_block, strength: float = 1.0):
        """strength: factor of the rule's soft part, >= 0."""
        self.maps, self.rules, self.blocks, self.strength = maps, rules, blocks, strength
        self._forget()

    def _forget(self) -> None:
        self.run: Run | None = None
        self._members: dict[Place, Members | None] = {}
        self._rules: dict[Place, tuple[float, RowRule | None]] = {}
        self._told = False

    # -- a handler ----------------------------------------------------------------------------------------------------

    def begin(self, run: Run) -> None:
        self._forget()
        self.run = run

    def end(self) -> None:
        self._forget()

    def attend(
        self, inner: Inner, site: Site, q: Tensor, k: Tensor, v: Tensor, heads: int,
        transformer_options: dict[str, Any], *args: Any, **kwargs: Any,
    ) -> Tensor:  # fmt: skip
        rows = self.steered(site, transformer_options, q)
        if not any(place for _, place in rows):
            return inner(q, k, v, heads, *args, **kwargs)
        rules = [None if place is None else self.row_rule(place, site) for _, place in rows]
        return evaluate.attend(inner, q, k, v, heads, *args, rows=rules, whole=inner.whole, **kwargs)

    # -- what it is made of -------------------------------------------------------------------------------------------

    def steered(self, site: Site, transformer_options: dict[str, Any], q: Tensor) -> list[tuple[Row, Place | None]]:
        """Each row of the batch, and where its rule holds; None: nowhere, the row is left alone. [] where no row of
        this attention is steered.
        """
        if self.run is None or site.kind == layouts.CROSS or not self.blocks(site.block, site.kind):
            return []
        if site.latent[-2:] != self.run.shape[-2:]:
            self._tell_areas()
            return []
        count = len(self.run.rows) or self.run.shape[0]
        result: list[tuple[Row, Place | None]] = []
        for row in rows_of(self.run, transformer_options, q.shape[0]):
            key = self.maps.key(row.layer, count)
            place = None if key is None else Place(key, site.spans, q.device)
            result.append((row, place if place is not None and self.members(place) is not None else None))
        return result

    def members(self, place: Place) -> Members | None:
        """The regions of these tokens; None where the hole touches none of the picture's."""
        if place not in self._members:
            found = on_spans(self.maps.masks(place.key), place.spans)
            hole = found.touched[:, found.names.index(HOLE)]
            touched = any(bool(hole[s.start : s.start + s.length].any()) for s in place.spans if s.kind == IMAGE)
            device = place.device
            moved = Members(found.names, found.soft.to(device), found.touched.to(device)) if touched else None
            self._members[place] = moved
        return self._members[place]

    def row_rule(self, place: Place, site: Site) -> RowRule | None:
        """The rule on these tokens at the site's progress: one object for all rows that share it."""
        known = self._rules.get(place)
        if known is None or known[0] != site.progress:
            members = self.members(place)
            made = None
            if members is not None:
                made = self.made(place, members, site.progress)
            known = self._rules[place] = site.progress, made
        return known[1]

    def made(self, place: Place, members: Members, progress: float) -> RowRule | None:
        return row_rule(self.rules(place.key, members.names), members, progress, self.strength)

    def _tell_areas(self) -> None:
        if not self._told:
            self._told = True
            logging.warning(
                "MILD: prompts that hold in an area of the picture only are painted without attention rules there"
            )


def blocks_named(names: Sequence[str]) -> Blocks:
    """Blocks by name: "output" stands for all of them, "output 3" for one."""
    wanted = [tuple(name.split()) for name in names]

    def chosen(block: layouts.Block, kind: str) -> bool:
        own = tuple(map(str, block))
        return any(own[: len(name)] == name for name in wanted)

    return chosen
