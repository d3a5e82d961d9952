"""One attention call under rules, through whichever attention function it is given.

Queries, keys and values are never changed, rows without a rule make the caller's own call, and nothing of the size of
the attention matrix is built (except by the dense form, where that is faster).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from . import choose, columns, dense, gather
from .columns import Columns, Tails
from .factors import Kept, RowRule

Function = Callable[..., Tensor]
"""ComfyUI's kind: (q, k, v, heads, mask, attn_precision, skip_reshape, skip_output_reshape, **kwargs)."""

POSITIONAL = ("mask", "attn_precision", "skip_reshape", "skip_output_reshape")

LEAST_QUERIES = {"cuda": 2**16}
"""Queries of all heads and rows in one call that keep a device busy; calls are not cut into smaller ones for memory."""
LEAST_QUERIES_ELSEWHERE = 2**12
PLAIN = RowRule()
MOST_EXTRA = 0.25
"""Share of q, k and v together that their widened copies may take."""


def attend(
    function: Function,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    *args: Any,
    rows: Sequence[RowRule | None],
    form: str | None = None,
    whole: bool = False,
    memo: dict[Any, Any] | None = None,
    **kwargs: Any,
) -> Tensor:
    """What function(q, k, v, heads, *args, **kwargs) gives under the rules.

    q, k, v: [B, N, heads * d], or [B, heads, N, d] with skip_reshape=True; keys and values may have other lengths and,
    with enable_gqa, fewer heads. rows: one rule for each of the B rows, None for a plain one. All arguments are handed
    on; a mask and a scale hold as ever.
    form: columns.COLUMNS or dense.DENSE; None: the one measured to be faster.
    whole: the function (somebody else's override, say) must see all rows, heads and tokens at once: one call, and what
    is forbidden is a finite bias in place of a gather.
    memo: a dict to keep what the same rules come to from call to call (a step has many blocks of one size); the caller
    empties it when the rules change, at least once per step.
    ValueError where rows or tokens do not fit.
    """
    return attend_measured(function, q, k, v, heads, *args, rows=rows, form=form, whole=whole, memo=memo, **kwargs)[0]


def attend_measured(
    function: Function,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    *args: Any,
    rows: Sequence[RowRule | None],
    form: str | None = None,
    whole: bool = False,
    memo: dict[Any, Any] | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """As attend, and the mass [B, heads, N, R] that each query gives to each region of its row's `measured`: a view
    into the call's own result, None where no row is measured. Rows of fewer regions are filled up with zeros; nan: not
    measured, because the row is not or because none of the region's keys was left to be looked at.
    """
    if len(rows) != q.shape[0]:
        raise ValueError(f"rows: {len(rows)} rules meet a batch of {q.shape[0]}")
    rows = [None if row is None or row.plain else row for row in rows]
    if all(row is None for row in rows):
        return function(q, k, v, heads, *args, **kwargs), None
    named = {**dict(zip(POSITIONAL, args, strict=False)), **kwargs}
    mask, scale = named.pop("mask", None), named.pop("scale", None)
    reshaped, heads_apart = named.pop("skip_reshape", False), named.pop("skip_output_reshape", False)
    if not reshaped:
        q, k, v = _by_heads(q, k, v, heads, bool(named.get("enable_gqa", False)))
    out = q.new_empty(q.shape[0], q.shape[2], q.shape[1], v.shape[-1])
    count = max(0 if row is None or row.measured is None else row.measured.shape[1] for row in rows)
    mass = q.new_empty(*q.shape[:3], count) if count else None
    call = _AttentionCall(function, named, scale, form, whole, memo)
    for index in _groups(rows, whole):
        at = _regular(index)
        group = [PLAIN if row is None else row for row in (rows[n] for n in index)]
        some_mask = gather.rows_of(mask, at, q.shape[0])
        some_out, some_mass = out[at], None if mass is None else mass[at]
        _run(call, q[at], k[at], v[at], some_mask, group, some_out, some_mass)
        if isinstance(at, list):  # these are copies
            out[at] = some_out
            if mass is not None and some_mass is not None:
                mass[at] = some_mass
    return out.transpose(1, 2) if heads_apart else out.flatten(2), mass


class Logits(NamedTuple):
    """What an attention call takes the softmax of: scale q k^T, and the mask."""

    q: Tensor  # [B, H, N, d]
    k: Tensor  # [B, H or fewer, M, d]
    scale: float
    mask: Tensor | None  # [N | 1, M], [b, N | 1, M] or [b, H | 1, N | 1, M]

    def mask_of(self, row: int) -> Tensor | None:
        """[1 or H, N | 1, M] of one of the B rows."""
        if self.mask is None or self.mask.ndim == 2:
            return None if self.mask is None else self.mask[None]
        mask = self.mask if self.mask.ndim == 4 else self.mask[:, None]
        return mask[row if len(mask) == len(self.q) else 0]


def logits_of(q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any, **kwargs: Any) -> Logits:
    """The same arguments as an attention function's."""
    named = {**dict(zip(POSITIONAL, args, strict=False)), **kwargs}
    if not named.get("skip_reshape", False):
        q, k, _ = _by_heads(q, k, v, heads, bool(named.get("enable_gqa", False)))
    scale = named.get("scale")
    return Logits(q, k, q.shape[-1] ** -0.5 if scale is None else scale, named.get("mask"))


def _by_heads(q: Tensor, k: Tensor, v: Tensor, heads: int, fewer: bool) -> tuple[Tensor, Tensor, Tensor]:
    """[B, N, H * d] -> [B, H, N, d], as views. (Stable Diffusion 3 hands on values as [B, N, H, d].)"""
    q, k, v = (part.flatten(2) for part in (q, k, v))
    head = q.shape[-1] // heads
    key_heads = k.shape[-1] // head if fewer else heads
    counts = (heads, key_heads, key_heads)
    q, k, v = (part.unflatten(-1, (n, -1)).transpose(1, 2) for part, n in zip((q, k, v), counts, strict=True))
    return q, k, v


def _groups(rows: Sequence[RowRule | None], whole: bool) -> list[list[int]]:
    """Numbers of the rows that can share calls: plain ones, those that gather the same, all others."""
    if whole:
        return [list(range(len(rows)))]
    found: dict[int, list[int]] = {}
    for n, row in enumerate(rows):
        found.setdefault(-1 if row is None else id(row) if row.kept else 0, []).append(n)
    return list(found.values())


def _regular(index: list[int]) -> slice | list[int]:
    """A slice, which copies nothing, where the numbers are evenly spaced: the chunks of one layer are."""
    step = index[1] - index[0] if len(index) > 1 else 1
    if index == list(range(index[0], index[-1] + 1, step)):
        return slice(index[0], index[-1] + 1, step)
    return index


class _AttentionCall(NamedTuple):
    """What all parts of one call share."""

    function: Function
    handed_on: dict[str, Any]
    scale: float | None
    form: str | None
    whole: bool
    memo: dict[Any, Any] | None


class _Prepared(NamedTuple):
    """What rules come to in one kind of call."""

    rows: Sequence[RowRule]
    columns: Columns  # those that q, k and v get
    scales: Tensor | None  # [b, 1, N, 1]: factors of the queries
    tails: Tails | None  # the columns as they are written, unless gains make them as large as the queries
    bias: Tensor | None  # [b, H | 1, N, M], of the dense form


def _prepared(call: _AttentionCall, q: Tensor, k: Tensor, rows: Sequence[RowRule]) -> _Prepared:
    if call.memo is None:
        return _prepare(call, q, k, rows)
    key = (q.shape[1:], k.shape[2], q.dtype, q.device, call.scale, call.form, call.whole, *map(id, rows))
    if key not in call.memo:
        # the rows stay with it, so that no other object gets one's id
        call.memo[key] = rows, _prepare(call, q, k, rows)
    return call.memo[key][1]


def _prepare(call: _AttentionCall, q: Tensor, k: Tensor, rows: Sequence[RowRule]) -> _Prepared:
    if call.whole:
        same = {id(row): columns.without_gather(row, q, k) for row in rows}
        rows = [same[id(row)] for row in rows]
    else:
        moved = {id(row): row._replace(kept=tuple(kept.to(q.device) for kept in row.kept)) for row in rows}
        rows = [moved[id(row)] for row in rows]
    every = columns.of_rows(rows, q, k)
    biased, measured = every.a.shape[-1] > 0, every.measured.shape[-1] > 0
    form = call.form or choose.COLUMNS
    if call.form is None and biased and not measured:  # where something is measured there are columns anyway
        form = choose.form(q.shape[-1], q.shape[2], k.shape[2], q.device.type)
    scales = None
    if any(row.query_scale is not None for row in rows):
        scales = q.new_ones(len(rows), 1, q.shape[2], 1)
        for one, row in zip(scales, rows, strict=True):
            if row.query_scale is not None:
                one[0, :, 0] = row.query_scale
    if form == choose.DENSE and biased:
        added = columns.only_measured(every)
        return _Prepared(rows, added, scales, _tails(call, q, added), dense.matrix(every).to(q.dtype))
    return _Prepared(rows, every, scales, None if every.gain is not None else _tails(call, q, every), None)


def _tails(call: _AttentionCall, q: Tensor, added: Columns) -> Tails | None:
    """None: nothing is added."""
    return columns.tails(added, q.shape[-1], q.dtype, _scale(call, q)) if added.any else None


def _scale(call: _AttentionCall, q: Tensor) -> float:
    return q.shape[-1] ** -0.5 if call.scale is None else call.scale


def _run(
    call: _AttentionCall,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    rows: Sequence[RowRule],
    out: Tensor,
    mass: Tensor | None,
) -> None:
    """Rows that share calls. q, k, v: [b, H, N, d]; out [b, N, H, d] and mass [b, H, N, R] are written."""
    ready = _prepared(call, q, k, rows)
    added, scales = ready.columns, ready.scales
    named = {**call.handed_on, "skip_reshape": True, "skip_output_reshape": True}
    if added.any or call.scale is not None:
        named["scale"] = _scale(call, q)
    end, measured = v.shape[-1], added.measured.shape[-1]
    for some, heads in _pieces(q, k, added, bool(ready.rows[0].kept), call.whole):
        tails = _of_some(ready.tails, some)
        if tails is None and added.any:
            tails = _tails(call, q, columns.of_some(added, some, heads))
        some_mask = gather.heads_of(gather.rows_of(mask, some, len(q)), heads, q.shape[1])
        if ready.bias is not None:
            bias = ready.bias if len(ready.bias) == 1 else ready.bias[some]
            some_mask = dense.with_bias(some_mask, bias if bias.shape[1] == 1 else bias[:, heads])
        for kept in ready.rows[0].kept or (Kept(None, None),):
            queries = gather.pick(q[some, heads], kept.queries)
            keys, values = (gather.pick(one[some, heads], kept.keys) for one in (k, v))
            if scales is not None:
                queries = queries * gather.pick(scales[some], kept.queries)
            if tails is not None:
                here = columns.of_tokens(tails, kept.queries, kept.keys)
                queries, keys, values = columns.widened(queries, keys, values, here)
            here_mask = gather.tokens_of(some_mask, kept.queries, kept.keys, (q.shape[2], k.shape[2]))
            result = call.function(queries, keys, values, queries.shape[1], mask=here_mask, **named)
            gather.put(out[some, :, heads].transpose(1, 2), kept.queries, result[..., :end])
            if mass is not None and measured:
                seen = result[..., end : end + measured]
                if kept.removed is not None:
                    seen = seen.masked_fill(kept.removed, float("nan"))
                gather.put(mass[some, heads, :, :measured], kept.queries, seen)
                del seen
            del queries, keys, values, result  # or they live on beside the next ones
    if mass is not None:
        for one, row in zip(mass, rows, strict=True):
            if row.measured is None:
                one.fill_(float("nan"))
                continue
            count = row.measured.shape[1]
            one[..., count:] = 0
            for kept in row.kept if call.whole else ():  # for gathered ones this is done above
                if kept.removed is not None:
                    removed, its = kept.removed.to(one.device), one[None, ..., :count]
                    which = None if kept.queries is None else kept.queries.to(one.device)
                    gather.put(its, which, gather.pick(its, which).masked_fill(removed, float("nan")))


def _of_some(tails: Tails | None, rows: slice) -> Tails | None:
    if tails is None or len(tails.q) == 1:
        return tails
    return Tails(*(part[rows] for part in tails))


def _pieces(q: Tensor, k: Tensor, added: Columns, gathered: bool, whole: bool) -> Iterator[tuple[slice, slice]]:
    """Rows and heads to be called together: all, unless their copies would take more than MOST_EXTRA."""
    rows, heads, tokens, head = q.shape
    most = rows * heads
    everything = slice(None), slice(None)
    if whole or not (added.any or gathered):
        yield everything
        return
    # against q, k and v: q', k', v' and the result of the pieces, and the mass of all
    extra = 4 * columns.width(head, added, q.dtype) / (3 * head)
    left = max(MOST_EXTRA - added.measured.shape[-1] / (3 * head), 0)
    least = LEAST_QUERIES.get(q.device.type, LEAST_QUERIES_ELSEWHERE)
    together = max(int(most * left / extra), math.ceil(least / tokens), 1)
    if together >= most:
        yield everything
    elif together >= heads or k.shape[1] != heads:
        step = max(together // heads, 1)
        yield from ((slice(n, n + step), slice(None)) for n in range(0, rows, step))
    else:
        for row in range(rows):
            yield from ((slice(row, row + 1), slice(n, n + together)) for n in range(0, heads, together))
