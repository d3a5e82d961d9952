"""Tries whether an attention function can carry a rule's extra columns.

A quantising one (SageAttention: int8 for a block of tokens) cannot: one column a hundred times larger than the rest
takes the others' digits. Names do not show it, so each function is tried once on random tokens.
"""

import logging
from collections.abc import Callable
from typing import Any

import comfy.ldm.modules.attention
import torch
from torch import Tensor

TOKENS = 2048
"""Some functions take their fast way only from 1,025 tokens on."""

COLUMNS = 4
"""Extra columns of the random tokens: one for each of as many regions."""

FORBIDDEN = 1e3
"""Logits by which a forbidden region is lowered."""

STRONG = 4.0
"""Logits by which any other region is lowered."""

SCALE = 1.25
"""Times the usual 1 / sqrt(d): a rule needs a function that heeds the scale it is given."""

TOLERANCE = 3.0
"""How many times PyTorch's own error a function may be off. (ComfyUI's others: 2.6 in half precision.)"""

Function = Callable[..., Tensor]

PYTORCH = comfy.ldm.modules.attention.get_attention_function("pytorch")


class SelfTest:
    """The outcomes of one sampling: a function is tried once for each kind of numbers and width of a head."""

    def __init__(self) -> None:
        self._chosen: dict[tuple, Function] = {}
        self._noted = False

    def choose(self, functions: dict[Any, Function], q: Tensor, heads: int, **kwargs: Any) -> Function:
        """The first of the functions that is exact, else the last one; that one is taken on trust.

        functions: by what they are called; q as they are to get it, [B, N, heads * d] or [B, heads, N, d]; kwargs:
        what else they get.
        """
        width = q.shape[-1] if q.ndim == 4 else q.shape[-1] // heads
        key = (*functions, q.dtype, q.device, width)
        if key not in self._chosen:
            *tried, last = functions.values()
            good = (function for function in tried if exact(function, q, heads, **kwargs))
            self._chosen[key] = next(good, last)
            if tried and self._chosen[key] is not tried[0] and not self._noted:
                self._noted = True
                logging.info(
                    "MILD: the attention function in use is not exact enough for a rule's numbers (%s, heads of %d); "
                    "in the blocks that a rule changes, PyTorch's own is used", str(q.dtype).split(".")[-1], width,
                )  # fmt: skip
        return self._chosen[key]


def exact(function: Function, q: Tensor, heads: int, **kwargs: Any) -> bool:
    """Whether the function computes attention with extra columns as well as PyTorch's own does: its error (root of the
    mean square) against the dense result in float32 is at most three times PyTorch's.

    q: only for its layout, type, device and width of a head; an error inside the function counts as a no.
    """
    width = q.shape[-1] if q.ndim == 4 else q.shape[-1] // heads
    tokens = _tokens(min(heads, 2), width, q.dtype, q.device)
    scale = SCALE * width**-0.5
    dense = _dense(*tokens, scale)
    kwargs["scale"] = scale
    try:
        own = _error(function, tokens, dense, q.ndim == 4, kwargs)
    except Exception:  # a kernel that does not know this width, say; Cancel is no Exception
        return False
    pytorch = _error(PYTORCH, tokens, dense, q.ndim == 4, kwargs)
    return own <= TOLERANCE * pytorch


def _tokens(heads: int, width: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v [1, heads, TOKENS, width]: random, and in the last columns four regions of which each looks away from the
    next one, one of them for good.
    """
    generator = torch.Generator().manual_seed(0)  # of its own: a sampler's noise must not depend on this test
    q, k, v = torch.randn(3, 1, heads, TOKENS, width, generator=generator)
    region = torch.arange(TOKENS) * COLUMNS // TOKENS
    member = torch.nn.functional.one_hot(region, COLUMNS).float()
    away = STRONG * member.roll(1, 1)
    away[region == 0] *= FORBIDDEN / STRONG
    q[..., -COLUMNS:], k[..., -COLUMNS:], v[..., -COLUMNS:] = -away / (SCALE * width**-0.5), member, member
    return q.to(device, dtype), k.to(device, dtype), v.to(device, dtype)


def _dense(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """softmax(scale q k^T) v in float32, [1, N, heads * d]."""
    weights = (q.float() @ k.float().transpose(-1, -2) * scale).softmax(-1)
    return (weights @ v.float()).transpose(1, 2).flatten(2)


def _error(function: Function, tokens: tuple[Tensor, ...], dense: Tensor, split: bool, kwargs: dict) -> float:
    heads = tokens[0].shape[1]
    if not split:
        tokens = tuple(part.transpose(1, 2).flatten(2) for part in tokens)
    out = function(*tokens, heads, **kwargs, skip_reshape=split)
    error = (out.float() - dense).square().mean().sqrt().item()
    return error if error == error else float("inf")
