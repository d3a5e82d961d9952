"""Adaptive strength: each block is steered as strongly as it needs, by what its hole was seen to look at.

After each noise level, for each layer and block, with o and x the mass that the hole's mean query gives to its own and
to foreign regions, averaged over heads, and the gap g = (o - x) / (o + x) (CAG without what the hole gives to itself,
which no target could demand):

    m <- m + RATE * ( log(x / o) - log((1 - target) / (1 + target)) ) / l

where l is by how much the rule at m = 1 lowers the logits of what is foreign more than those of what is own, for the
hole's mean token: lowering them by y divides x / o by e^y, so a step goes RATE of the way. m is the factor of the
strength; it starts at 1, moves at most MOST_STEP at once and stays within BOUNDS.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...attention.factors import RowRule, row_rule
from ...attention.gap import mean_mass
from ...attention.layer_regions import Key
from ...attention.regions import HOLE, Members
from ...attention.rule import Rule
from .. import layouts
from .catch import Inner, Site
from .run import AttentionRow
from .steer import Place, Steered, Steering

RATE = 0.5
"""Share of the way to the target that one step goes."""

MOST_STEP = 0.5
"""How far the factor moves at most after one noise level."""

BOUNDS = 0.25, 4.0
"""Least and largest factor of the strength."""

LEAST_MASS = 1e-6
"""Attention mass (0..1) below which half precision is no different from 0."""

LEAST_LEVER = 0.1
"""Logits: where a rule changes less than this it is not adapted."""

TARGET = 0.98
"""The gap, -1..1, that is aimed at unless the artist sets another."""

State = tuple[Key, layouts.Block]
"""Of a row: layers of a batch, or pictures, have nothing in common."""


def next_factor(factor: float, own: float, foreign: float, lever: float, target: float) -> float:
    """m after own and foreign mass, each 0..1, were measured with it; lever: l, > 0; target: -1..1, exclusive."""
    too_much = math.log(max(foreign, LEAST_MASS) / max(own, LEAST_MASS)) - math.log((1 - target) / (1 + target))
    step = min(max(RATE * too_much / lever, -MOST_STEP), MOST_STEP)
    return min(max(factor + step, BOUNDS[0]), BOUNDS[1])


class Leverage(NamedTuple):
    """What a rule's table can do for one pathway on one grid."""

    table: Tensor  # [R, R]
    sides: Tensor  # [N, 2]: how much of each token is the pathway's own, and how much its hole is to look away from
    logits: float  # l at strength 1; 0 where there is nothing of either side, or the tokens too large to separate them


class Adaptive(Steering):
    """Steering whose strength follows what was measured: of the positive conditioning, once per noise level."""

    def __init__(self, *args: Any, target: float = TARGET, **kwargs: Any):
        """target: the gap that is wanted, 0 <= target < 1."""
        self.target = target
        super().__init__(*args, **kwargs)

    def _forget(self) -> None:
        super()._forget()
        self.factors: dict[State, float] = {}
        self._progress: float | None = None
        self._seen: dict[State, list[Tensor]] = {}
        self._leverage: dict[Place, Leverage] = {}
        self._levers: dict[Place, float] = {}  # where something is measured
        self._lever_of: dict[State, float] = {}

    def attend(
        self, inner: Inner, site: Site, q: Tensor, k: Tensor, v: Tensor, heads: int,
        transformer_options: dict[str, Any], *args: Any, **kwargs: Any,
    ) -> Tensor:  # fmt: skip
        if site.progress != self._progress:
            self._progress = site.progress
            self._learn()
        return super().attend(inner, site, q, k, v, heads, transformer_options, *args, **kwargs)

    def made(self, place: Place, members: Members, progress: float) -> RowRule | None:
        rule, strength = self.rules(place.key, members.names), self.strength * self.when.at(progress)
        table = rule.table(progress)
        known = self._leverage.get(place)
        if known is None or not torch.equal(known.table, table):
            known = self._leverage[place] = _leverage(rule, table, self.maps.own(place.key), members)
        lever = strength * known.logits
        self._levers.pop(place, None)
        if lever < LEAST_LEVER:
            return row_rule(rule, members, progress, strength)
        self._levers[place] = lever
        return row_rule(rule, members, progress, strength, measured=known.sides)

    def factor(self, row: AttentionRow, block: layouts.Block) -> float:
        return self.factors.get((row.layer, block), 1.0)

    def measured(self, site: Site, rows: list[Steered], mass: Tensor) -> None:
        for (row, place), one in zip(rows, mass, strict=True):
            members = None if place is None else self.members(place)
            if place is None or members is None or place not in self._levers or not row.positive:
                continue
            state = row.layer, site.block
            self._lever_of[state] = self._levers[place]
            weights = members.soft[:, members.names.index(HOLE)]
            self._seen.setdefault(state, []).append(mean_mass(one, weights).mean(0))

    def _learn(self) -> None:
        """From all that was measured at the last noise level, brought from the device at once."""
        if not self._seen:
            return
        device = next(iter(self._seen.values()))[0].device
        means = torch.stack([torch.stack(seen).mean(0).to(device) for seen in self._seen.values()]).tolist()
        for state, (own, foreign) in zip(self._seen, means, strict=True):
            before = self.factors.get(state, 1.0)
            self.factors[state] = next_factor(before, own, foreign, self._lever_of[state], self.target)
        self._seen.clear()


def _leverage(rule: Rule, table: Tensor, own: str, members: Members) -> Leverage:
    """What is measured of these tokens, and how much the table does about it."""
    row = table[rule.regions.index(HOLE)].tolist()
    avoided = {name for name, by in zip(rule.regions, row, strict=True) if by > 0 and name != HOLE}
    sides = [members.soft[:, [name in side for name in members.names]].sum(1) for side in ({own}, avoided, {HOLE})]
    regions = members.soft[:, [members.names.index(name) for name in rule.regions]]
    stack = torch.stack(sides)
    total = stack.sum(1, keepdim=True)
    means = (stack @ regions / total.clamp(min=LEAST_MASS)).cpu()  # [3, R]: of which regions each side's tokens are
    logits = float(means[2] @ table @ (means[1] - means[0])) if bool((total > 0).all()) else 0.0
    return Leverage(table, torch.stack(sides[:2], 1), logits)
