"""A rule on the tokens of one row of the batch: the factors that an attention call is given."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .regions import Members
from .rule import FORBIDDEN, Rule


class Kept(NamedTuple):
    """Queries that may see the same keys."""

    queries: Tensor | None  # [n], int64, which of the queries; None: all
    keys: Tensor | None  # [m], int64, which keys they may see; None: all
    removed: Tensor | None = None  # [R], bool: measured regions of which no key is left

    def to(self, device: torch.device) -> "Kept":
        return Kept(*(None if part is None else part.to(device) for part in self))


class RowRule(NamedTuple):
    """What holds in one row; rows that share one object are called together. May lie on the CPU wherever the attention
    runs: finding out who may see what would make a GPU wait.

    The logit of query i and key j becomes  query_scale_i q_i.k_j c + gain_h a_i.b_j,  c the scale of the call.
    """

    a: Tensor | None = None  # [N, C], float32: the queries' factors of the bias, C >= 1
    b: Tensor | None = None  # [M, C], float32: the keys'
    gain: Tensor | None = None  # [heads] or [heads, C], float32, > 0. None: 1
    measured: Tensor | None = None  # [M, R]: regions whose attention mass is asked for
    query_scale: Tensor | None = None  # [N], float32
    kept: tuple[Kept, ...] = ()  # a partition of the queries; (): all see all
    blind: int = 0  # queries that would see no key at all, and so keep their plain attention

    @property
    def plain(self) -> bool:
        """Whether nothing changes and nothing is asked for."""
        return self.a is None and self.query_scale is None and not self.kept and self.measured is None


def row_rule(
    rule: Rule,
    members: Members,
    progress: float = 0.0,
    strength: float = 1.0,
    gain: Tensor | None = None,
    measured: Tensor | None = None,
) -> RowRule | None:
    """The rule at this progress (0..1) on the tokens of a self-attention. None: there is nothing to do.

    strength: factor of the soft part, >= 0; 0 also lifts what is forbidden. gain: [heads], factors of the soft part.
    measured: [N, R], regions to be measured, for instance members.soft.
    """
    changed = RowRule(measured=measured)
    if strength > 0:
        a, b = factors(_aligned(rule.table(progress) * strength, rule.regions, members.names), members.soft)
        forbidden = rule.forbidden if rule.forbidden_when.at(progress) > 0 else None
        kept, blind = _kept(forbidden, rule.regions, members, measured)
        scale = _query_scale(rule, members, progress)
        changed = RowRule(a, b, gain if a is not None else None, measured, scale, kept, blind)
    return None if changed.plain and not changed.blind else changed


def factors(table: Tensor, soft: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """a, b [N, C] with a b^T = - soft table soft^T, of as few columns as the table's equal and empty rows or columns
    allow (a hole that avoids eight people alike needs one); None where the table is zero.

    table: [R, R], >= 0; soft: [N, R]. Magnitudes are shared out between both by a power of two, which rounds nothing.
    """
    table = table.clamp(max=FORBIDDEN)
    by_column, by_row = _distinct(table.T), _distinct(table)
    if not by_row:
        return None, None
    share = 2.0 ** round(math.log2(float(table.max())) / 2)
    if len(by_column) <= len(by_row):
        values = table[:, [same[0] for same in by_column]]
        return -(soft @ values.to(soft)) / share, soft @ _indicator(by_column, soft) * share
    values = table[[same[0] for same in by_row]].T
    return -(soft @ _indicator(by_row, soft)) * share, soft @ values.to(soft) / share


def _distinct(table: Tensor) -> list[list[int]]:
    """Indices of rows that are not empty, equal ones together."""
    found: dict[tuple[float, ...], list[int]] = {}
    for n, row in enumerate(table.tolist()):
        if any(row):
            found.setdefault(tuple(row), []).append(n)
    return list(found.values())


def _indicator(groups: list[list[int]], like: Tensor) -> Tensor:
    """[R, groups]: 1 where a region belongs to a group."""
    indicator = torch.zeros(like.shape[1], len(groups))
    for n, group in enumerate(groups):
        indicator[group, n] = 1
    return indicator.to(like)


def _aligned(table: Tensor, regions: tuple[str, ...], names: tuple[str, ...]) -> Tensor:
    """The table over other regions: what only one side knows is left alone."""
    both = [name for name in names if name in regions]
    there, here = (torch.tensor([where.index(name) for name in both], dtype=torch.int64) for where in (regions, names))
    aligned = table.new_zeros(len(names), len(names))
    aligned[here[:, None], here] = table[there[:, None], there]
    return aligned


def _query_scale(rule: Rule, members: Members, progress: float) -> Tensor | None:
    share = rule.scale_when.at(progress)
    if not rule.query_scale or share == 0:
        return None
    scale = torch.ones_like(members.soft[:, 0])
    for name, factor in zip(rule.regions, rule.query_scale, strict=True):
        if factor != 1 and name in members.names:
            # where several regions touch a token, the one that scales it most decides
            here = torch.where(members.touched[:, members.names.index(name)], 1 + share * (factor - 1), 1.0)
            scale = torch.minimum(scale, here)
    return scale


def _kept(
    forbidden: Tensor | None, regions: tuple[str, ...], members: Members, measured: Tensor | None
) -> tuple[tuple[Kept, ...], int]:
    """Queries grouped by the keys they may see, and how many of them would see none."""
    if forbidden is None or not forbidden.any():
        return (), 0
    ban = _aligned(forbidden.float(), regions, members.names)
    touched = members.touched.float()
    device = touched.device
    # a query may not see whatever is forbidden to any region that touches it
    avoided = (touched @ ban.to(device)) > 0  # [N, R]
    kinds, which = torch.unique(avoided, dim=0, return_inverse=True)
    seen = (kinds.float() @ touched.T) == 0  # [kinds, N]
    groups, blind = [], 0
    for number in range(len(kinds)):
        queries = (which == number).nonzero()[:, 0]
        keys = seen[number].nonzero()[:, 0]
        everything = len(keys) == seen.shape[1]
        if len(keys) == 0:
            blind += len(queries)
            everything = True
        removed = None
        if measured is not None and not everything:
            removed = (measured[keys] > 0).sum(0).eq(0) & (measured > 0).any(0)
        groups.append((queries, None if everything else keys, removed))
    if all(keys is None for _, keys, _ in groups):
        return (), blind
    if len(groups) == 1:
        return (Kept(None, groups[0][1], groups[0][2]),), blind
    return tuple(Kept(*group) for group in groups), blind
