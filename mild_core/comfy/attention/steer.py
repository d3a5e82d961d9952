"""Applies a rule to the attentions of a MODEL: each row of a batch has the regions of its own layer.

model = catch.put(model, Steering(Maps.of(scenes), rules), "MILD_SpatialAttention")
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...attention import evaluate
from ...attention.factors import RowRule, row_rule
from ...attention.layer_regions import Key, Maps, reduced
from ...attention.regions import HOLE, IMAGE, Members, Span, on_spans
from ...attention.rule import ALWAYS, Rule, Schedule
from .. import layouts
from .blocks import Blocks, every_block
from .catch import Inner, Site
from .gains import Gains
from .run import AttentionRow, SamplingRun, rows_of

Rules = Callable[[Key, tuple[str, ...]], Rule]
"""The rule of a pathway whose regions have these names."""


class Place(NamedTuple):
    """Where a rule holds: everything that its factors depend on beside the progress."""

    key: Key
    spans: tuple[Span, ...]
    device: torch.device


class Steered(NamedTuple):
    """One row of an attention's batch."""

    row: AttentionRow
    place: Place | None  # None: it is left alone


class Steering:
    """A handler (catch.Handler) that applies a rule. It acts only on attentions of a picture with itself that a hole
    touches; in all others each call stays the caller's own.
    """

    title = "Stop Attention Bleed"

    def __init__(
        self, maps: Maps, rules: Rules, blocks: Blocks = every_block, strength: float = 1.0,
        when: Schedule = ALWAYS, gains: Gains | None = None,
    ):  # fmt: skip
        """strength: factor of the rules' soft part, >= 0; when: in which part of the sampling anything happens; gains:
        further factors, by block and head.
        """
        self.maps, self.rules, self.blocks, self.strength, self.when = maps, rules, blocks, strength, when
        self.gains = gains or Gains()
        self._forget()

    def _forget(self) -> None:
        self.run: SamplingRun | None = None
        self._members: dict[Place, Members | None] = {}
        self._rules: dict[Place, tuple[float, RowRule | None]] = {}
        self._masks: dict[Key, dict[str, Tensor]] = {}
        self._memo: dict[Any, Any] = {}
        self._memo_of: float | None = None  # the progress that it is for
        self._own: dict[tuple[AttentionRow, Place, layouts.Block], tuple[float, RowRule | None]] = {}
        self._noted = False

    # -- a handler ----------------------------------------------------------------------------------------------------

    def acts_on(self, block: layouts.Block, kind: str) -> bool:
        return kind != layouts.CROSS and self.blocks(block, kind)

    def begin(self, run: SamplingRun) -> None:
        self._forget()
        self.run = run
        for misfit in self.maps.misfits((run.shape[-2], run.shape[-1])):
            run.note(f"{self.title}: {misfit}")

    def end(self) -> None:
        self._forget()

    def attend(
        self, inner: Inner, site: Site, q: Tensor, k: Tensor, v: Tensor, heads: int,
        transformer_options: dict[str, Any], *args: Any, **kwargs: Any,
    ) -> Tensor:  # fmt: skip
        rows = self.steered(site, transformer_options, q)
        rules = [None if place is None else self.row_rule(row, place, site, heads) for row, place in rows]
        if all(rule is None for rule in rules):
            return inner(q, k, v, heads, *args, **kwargs)
        if site.progress != self._memo_of:
            self._memo_of = site.progress
            self._memo.clear()
        # What is particular to a block is not needed again.
        memo = self._memo if all(rule is None or rule.gain is None for rule in rules) else None
        out, mass = evaluate.attend_measured(
            inner, q, k, v, heads, *args, rows=rules, whole=inner.whole, memo=memo, **kwargs
        )
        if mass is not None:
            self.measured(site, rows, mass)
        return out

    # -- what is made for each row ------------------------------------------------------------------------------------

    def steered(self, site: Site, transformer_options: dict[str, Any], q: Tensor) -> list[Steered]:
        """The rows of the batch; none where nothing in this attention is steered."""
        if self.run is None or not self.acts_on(site.block, site.kind):
            return []
        if self.when.at(site.progress) == 0:
            return []
        if site.latent[-2:] != self.run.shape[-2:]:
            self._note_areas(self.run)
            return []
        count = len(self.run.rows) or self.run.shape[0]
        rows = []
        for row in rows_of(self.run, transformer_options, q.shape[0]):
            key = self.maps.key(row.layer, count)
            place = None if key is None else Place(key, site.spans, q.device)
            rows.append(Steered(row, place if place is not None and self.members(place) is not None else None))
        return rows

    def members(self, place: Place) -> Members | None:
        """The regions of these tokens; None where the hole touches none of the picture's."""
        if place not in self._members:
            if place.key not in self._masks:
                self._masks[place.key] = reduced(self.maps.masks(place.key))
            found = on_spans(self._masks[place.key], place.spans)
            hole = found.touched[:, found.names.index(HOLE)]
            pictures = (span for span in place.spans if span.kind == IMAGE)
            touched = any(bool(hole[span.start : span.start + span.length].any()) for span in pictures)
            moved = Members(found.names, found.soft.to(place.device), found.touched.to(place.device))
            self._members[place] = moved if touched else None
        return self._members[place]

    def row_rule(self, row: AttentionRow, place: Place, site: Site, heads: int) -> RowRule | None:
        """The rule of one row in this block, at the site's progress: one object for all rows that share it."""
        shared = self._rules.get(place)
        if shared is None or shared[0] != site.progress:
            members = self.members(place)
            made = None if members is None else self.made(place, members, site.progress)
            shared = self._rules[place] = site.progress, made
        rule, factor, gain = shared[1], self.factor(row, site.block), self.gains.of(site.block, heads)
        if rule is None or rule.a is None or (factor == 1 and gain is None):
            return rule
        name = row._replace(positive=False), place, site.block  # both chunks of a layer share one
        own = self._own.get(name)
        if own is None or own[0] != site.progress:
            gain = torch.ones(heads) if gain is None else gain
            own = self._own[name] = site.progress, rule._replace(gain=(gain * factor).to(place.device))
        return own[1]

    def made(self, place: Place, members: Members, progress: float) -> RowRule | None:
        """The rule on these tokens, before what is particular to a block or a row."""
        rule = self.rules(place.key, members.names)
        return row_rule(rule, members, progress, self.strength * self.when.at(progress))

    def factor(self, row: AttentionRow, block: layouts.Block) -> float:
        """A further factor of the strength, > 0."""
        return 1.0

    def measured(self, site: Site, rows: list[Steered], mass: Tensor) -> None:
        """Called with the mass [B, heads, N, R] where `made` asked for any."""

    def _note_areas(self, run: SamplingRun) -> None:
        if not self._noted:
            self._noted = True
            run.note(f"{self.title}: prompts that hold in an area only are painted without it there.")
