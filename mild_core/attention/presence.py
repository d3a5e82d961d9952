"""How much of what is to vanish is still there, by how alike the picture and its source attend.

AdaEraser (ICML 2026, arXiv 2605.15921, without public code): for each token i of the hole

    p(i) = cos( softmax(q_i k^T c) of the picture, the same of the source ),    eta_i = 1 - p(i),

and eta_i exp(q.k_i c) takes the place of exp(q.k_i c) for every query: log eta_i is added to the logits of key i. The
source is the photo with whoever is to vanish, at the same noise level. Where the description is silent it is ours:
rows are averaged over heads first, so that a key has one weight for all heads, as eta_i has, and one number of a row
is kept for each key, in place of queries and keys of all heads. And where words attend together with the picture, the
picture's part of a row is compared: words are the same for both, and much looked at, so any two rows would be alike.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .rule import FORBIDDEN

MOST_LOGITS = 2**22
"""Logits of all heads that are worked out at once (16 MB in float32)."""


class Rows(NamedTuple):
    """Which rows of an attention are meant."""

    q: Tensor  # [H, N, d]
    k: Tensor  # [H or fewer, M, d]
    queries: Tensor  # [n], int64: which of the N
    scale: float  # of the logits
    mask: Tensor | None = None  # of the attention, [1 or H, 1 or N, M], added to the logits, or bool: True may look
    compared: slice = slice(None)  # the part of the keys, m of them, that is compared


def kept_as(dtype: torch.dtype) -> torch.dtype:
    """In which kind of number rows are kept where queries are in `dtype`: 0..1 needs no bfloat16's range."""
    return torch.float32 if dtype == torch.float32 else torch.float16


def source_rows(rows: Rows) -> Tensor:
    """[n, m]: of the source, averaged over heads and of length 1; kept_as the queries' kind of number."""
    kept = kept_as(rows.q.dtype)
    return torch.cat([part.to(kept) for _, part in _parts(rows)])


def presence(source: Tensor, rows: Rows) -> Tensor:
    """[n], 0..1: the cosine of each row with the source's, [n, m] of `source_rows`."""
    found = torch.empty(len(rows.queries), device=rows.q.device)
    for some, part in _parts(rows):
        found[some] = (part * source[some].float()).sum(-1)
    return found.clamp_(0, 1)


def key_bias(present: Tensor) -> Tensor:
    """log(1 - p): what is added to the logits of a key with this presence, 0..1. At 1 the key is forbidden."""
    return torch.log1p(-present.float()).clamp(min=-FORBIDDEN)


def _parts(rows: Rows) -> Iterator[tuple[slice, Tensor]]:
    """Mean rows [c, m] of length 1, float32, of a part of the queries at a time."""
    q, k, queries, scale, mask, compared = rows
    if len(k) != len(q):
        k = k.repeat_interleave(len(q) // len(k), 0)
    keys, step = k.transpose(-1, -2), max(1, MOST_LOGITS // (len(q) * k.shape[1]))
    for first in range(0, len(queries), step):
        some = slice(first, first + step)
        logits = ((q[:, queries[some]] * scale) @ keys).float()
        if mask is not None:
            here = mask if mask.shape[-2] == 1 else mask[..., queries[some], :]
            logits = logits.masked_fill(~here, float("-inf")) if here.dtype == torch.bool else logits + here
        yield some, F.normalize(logits.softmax(-1)[..., compared].mean(0), dim=-1)
