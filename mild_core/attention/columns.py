"""A bias of low rank as extra columns of queries and keys, regions to be measured as extra columns of values.

    q' = [q, a / c],  k' = [k, b],  v' = [v, r],  scale c handed on:  q'_i.k'_j c = q_i.k_j c + a_i.b_j

and the output's last columns are the mass that each query gives to each region.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .factors import RowRule
from .rule import FORBIDDEN

MULTIPLE = 8
"""Head sizes are filled up to a multiple of this, which fused kernels need."""
KERNELS = (32, 64, 96, 128, 192, 256)
"""Head sizes for which torch has fused kernels; others are computed by the next larger one."""
LARGEST = 1e4
"""Largest absolute value in a column: half precision ends at 65504."""


class Columns(NamedTuple):
    """Of b rows that are called together, or of all of them alike (b = 1)."""

    a: Tensor  # [b, N, C], float32, C >= 0
    b: Tensor  # [b, M, C], float32
    gain: Tensor | None  # [b, heads, 1, C]
    measured: Tensor  # [b, M, R], R >= 0

    @property
    def any(self) -> bool:
        return self.a.shape[-1] + self.measured.shape[-1] > 0


def of_rows(rows: Sequence[RowRule], queries: Tensor, keys: Tensor) -> Columns:
    """The columns of these rows, for queries [B, H, N, d] and keys [B, H, M, d]."""
    rows = rows[:1] if all(row is rows[0] for row in rows) else rows
    device, n, m = queries.device, queries.shape[2], keys.shape[2]
    a = _stack([row.a for row in rows], n, device)
    b = _stack([row.b for row in rows], m, device)
    gain = None
    if any(row.gain is not None for row in rows):
        gain = torch.ones(len(rows), queries.shape[1], 1, a.shape[-1], device=device)
        for one, row in zip(gain, rows, strict=True):
            if row.gain is not None and row.a is not None:
                one[:, 0, : row.a.shape[1]] = row.gain if row.gain.ndim == 2 else row.gain[:, None]
    return Columns(a, b, gain, _stack([row.measured for row in rows], m, device))


def _stack(parts: Sequence[Tensor | None], tokens: int, device: torch.device) -> Tensor:
    """[rows, tokens, most columns], filled up with zeros."""
    for part in parts:
        if part is not None and part.shape[0] != tokens:
            raise ValueError(f"tokens: a rule of {part.shape[0]} meets an attention of {tokens}")
    if len(parts) == 1 and parts[0] is not None:
        return parts[0].to(device, torch.float32)[None]
    width = max(0 if part is None else part.shape[1] for part in parts)
    stack = torch.zeros(len(parts), tokens, width, device=device)
    for row, part in zip(stack, parts, strict=True):
        if part is not None:
            row[:, : part.shape[1]] = part
    return stack


def only_measured(columns: Columns) -> Columns:
    """Without the bias."""
    return columns._replace(a=columns.a[..., :0], b=columns.b[..., :0], gain=None)


def of_some(columns: Columns, rows: slice, heads: slice) -> Columns:
    """Those of some rows and heads."""
    if len(columns.a) > 1:
        columns = Columns(*(None if part is None else part[rows] for part in columns))  # type: ignore[arg-type]
    return columns if columns.gain is None else columns._replace(gain=columns.gain[:, heads])


class Tails(NamedTuple):
    """What is written behind q, k and v, filled up with zeros; of b rows, or of all of them alike (b = 1)."""

    q: Tensor  # [b, heads | 1, N, d' - d]
    k: Tensor  # [b, 1, M, d' - d]
    v: Tensor  # [b, 1, M, d' - d]


def tails(columns: Columns, head: int, dtype: torch.dtype, scale: float) -> Tails:
    """The columns in kind of number `dtype`, for a head size and a scale."""
    size, parts = width(head, columns, dtype) - head, _parts(head, columns, dtype)
    # both sides bear the scale's reciprocal, as a power of two, which rounds nothing
    share = 2.0 ** round(math.log2(1 / scale) / 2)
    a = columns.a[:, None] / (scale * share)
    if columns.gain is not None:
        a = a * columns.gain
    a, b = a.clamp(-LARGEST, LARGEST), columns.b[:, None] * share
    if parts > 1:  # (a + a') (b + b') = a b + a' b + a b' and next to nothing
        high_a, high_b = (part.to(dtype) for part in (a, b))
        a = torch.cat([high_a, (a - high_a).to(dtype), high_a][:parts], -1)
        b = torch.cat([high_b, high_b, (b - high_b).to(dtype)][:parts], -1)
    filled = (F.pad(part.to(dtype), (0, size - part.shape[-1])) for part in (a, b, columns.measured[:, None]))
    return Tails(*filled)


def of_tokens(tails: Tails, queries: Tensor | None, keys: Tensor | None) -> Tails:
    """Those of some queries and keys (indices; None: all)."""
    q = tails.q if queries is None else tails.q.index_select(2, queries)
    k, v = (part if keys is None else part.index_select(2, keys) for part in tails[1:])
    return Tails(q, k, v)


def widened(q: Tensor, k: Tensor, v: Tensor, tails: Tails) -> tuple[Tensor, Tensor, Tensor]:
    """q', k', v' [B, H, N, d']."""
    q, k, v = (
        torch.cat([part, tail.expand(*part.shape[:3], -1)], -1) for part, tail in zip((q, k, v), tails, strict=True)
    )
    return q, k, v


def width(head: int, columns: Columns, dtype: torch.dtype) -> int:
    """The head size that q', k' and v' get."""
    needed = max(columns.a.shape[-1] * _parts(head, columns, dtype), columns.measured.shape[-1])
    return head if needed == 0 else _filled_up(head + needed)


def _filled_up(size: int) -> int:
    return math.ceil(size / MULTIPLE) * MULTIPLE


def _parts(head: int, columns: Columns, dtype: torch.dtype) -> int:
    """How many columns each column of the bias becomes.

    Half precision rounds a bias of 20 by up to 0.1, more than it rounds q k. What is rounded off a, and off b, goes
    into columns of its own, as far as that costs nothing: into what is filled up anyway, and with bfloat16, which
    rounds eight times as much as float16, into what the kernel of this size computes anyway.
    """
    count = columns.a.shape[-1]
    if count == 0 or torch.finfo(dtype).bits > 16:
        return 1
    limit = _filled_up(head + max(count, columns.measured.shape[-1]))
    if dtype == torch.bfloat16:
        limit = next((size for size in KERNELS if size >= limit), limit)
    return max(1, min(3, (limit - head) // count))


def without_gather(row: RowRule, queries: Tensor, keys: Tensor) -> RowRule:
    """The same row with what is forbidden as finite columns: the form for a function that must see all tokens."""
    if not row.kept:
        return row
    half = 2.0 ** round(math.log2(FORBIDDEN) / 2)
    limited = [kept for kept in row.kept if kept.keys is not None]
    a = torch.zeros(queries.shape[2], len(limited), device=queries.device)
    b = torch.full((keys.shape[2], len(limited)), half, device=queries.device)
    for n, kept in enumerate(limited):
        a[slice(None) if kept.queries is None else kept.queries.to(a.device), n] = -half
        if kept.keys is not None:
            b[kept.keys.to(b.device), n] = 0
    if row.a is not None and row.b is not None:
        hard = a.shape[1]
        a, b = torch.cat([a, row.a.to(a)], 1), torch.cat([b, row.b.to(b)], 1)
        if row.gain is not None:  # which is for the soft part alone
            gain = torch.ones(len(row.gain), a.shape[1], device=a.device)
            gain[:, hard:] = row.gain if row.gain.ndim == 2 else row.gain[:, None]
            return row._replace(a=a, b=b, gain=gain, kept=())
    return row._replace(a=a, b=b, kept=())
