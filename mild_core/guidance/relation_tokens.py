"""The network that turns who stands where and how into tokens, and mixes them into a model's text.

A small transformer makes one token of each person: r. The text c takes from them what it needs,

    c' = c + g W_o Attn(c, r),        g = strength * (confidence of the surest person),

so its number of tokens never changes: further tokens, be they zeros, would take their share of every softmax, and other
lengths split cond and uncond into two calls. W_o is zero at first. Both equations are this project's own. How people
stand to one another enters the transformer twice, as a bias of its attention (Ying et al. 2021, Graphormer, section
3.1.2) and as what is attended to (Shaw et al. 2018, Self-Attention with Relative Position Representations, equation 3).
"""

from typing import Any

import torch
from torch import Tensor, nn

from .token_features import OWN_WIDTH, PAIR_WIDTH, People

NOBODY = 1e-30
"""Least confidence, 0..1, under a logarithm: in float32 such a share of a softmax adds nothing, and gives no NaN."""


class RelationTokens(nn.Module):
    """The network of both steps. It computes in float32, whatever the text is in."""

    def __init__(self, context: int, width: int = 128, depth: int = 2, heads: int = 4, operations: Any = nn):
        """context: channels of the model's text. width: of a token; heads: width is a multiple of it. operations: where
        Linear and LayerNorm come from (torch.nn, or one of comfy.ops).
        """
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is no multiple of {heads} heads.")
        self.context, self.width, self.heads = context, width, heads
        self.own = _two(OWN_WIDTH, width, operations)
        self.pairs = _two(PAIR_WIDTH, width // 2, operations)
        self.blocks = nn.ModuleList(_Block(width, heads, operations) for _ in range(depth))
        self.norm = operations.LayerNorm(width)
        self.context_norm = operations.LayerNorm(context)
        self.query = operations.Linear(context, width)
        # A bias of keys is the same for everyone, which no softmax sees.
        self.key = operations.Linear(width, width, bias=False)
        self.value = operations.Linear(width, width)
        self.out = operations.Linear(width, context, bias=False)
        if self.out.weight is not None:  # comfy.ops may wait for the file
            nn.init.zeros_(self.out.weight)

    def forward(self, people: People) -> Tensor:
        """r: a token of each person, [P, width] or [N, P, width], in their order.

        Who has confidence 0 changes nobody else's token.
        """
        own, pairs, confidence = people
        bias = _log(confidence)[..., None, :] * (1 - torch.eye(own.shape[-2], device=own.device))
        tokens, edges = self.own(own), self.pairs(pairs)
        for block in self.blocks:
            tokens = block(tokens, edges, bias)
        return self.norm(tokens)

    def mix(self, context: Tensor, tokens: Tensor, confidence: Tensor, strength: float = 1.0) -> Tensor:
        """c' of context [B, T, C], in its dtype. tokens [P, width] and confidence [P], or [B, P, ...] for each row.

        context itself comes back where nobody has any confidence, or strength is 0.
        """
        if confidence.numel() == 0 or strength == 0 or not bool((confidence > 0).any()):
            return context
        gate = strength * confidence.amax(-1)[..., None, None]
        text = context.float()
        query = _split(self.query(self.context_norm(text)), self.heads)
        key = _split(self.key(tokens), self.heads)
        value = _split(self.value(tokens) * confidence[..., None], self.heads)
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + _log(confidence)[..., None, None, :]
        seen = (torch.softmax(scores, -1) @ value).transpose(-3, -2).flatten(-2)
        return (text + gate * self.out(seen)).to(context.dtype)


class _Block(nn.Module):
    """Attention among people, biased by how they stand to one another, and a layer for each of them."""

    def __init__(self, width: int, heads: int, operations: Any):
        super().__init__()
        self.heads = heads
        self.norm = operations.LayerNorm(width)
        self.query = operations.Linear(width, width)
        self.key = operations.Linear(width, width, bias=False)
        self.value = operations.Linear(width, width)
        self.edge_bias = operations.Linear(width // 2, heads, bias=False)
        self.edge_value = operations.Linear(width // 2, width, bias=False)
        self.out = operations.Linear(width, width)
        self.feed_norm = operations.LayerNorm(width)
        self.feed = _two(width, width, operations, 2 * width)

    def forward(self, tokens: Tensor, edges: Tensor, bias: Tensor) -> Tensor:
        """tokens [..., P, width], edges [..., P, P, width / 2], bias [..., P, P]: how far each may look at each."""
        rows = self.norm(tokens)
        query, key, value = (_split(layer(rows), self.heads) for layer in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        scores = scores + self.edge_bias(edges).movedim(-1, -3) + bias[..., None, :, :]
        weights = torch.softmax(scores, -1)
        # [..., P, P, heads, width / heads]: what each is to each, summed over the columns
        between = self.edge_value(edges).unflatten(-1, (self.heads, -1))
        seen = (weights @ value).transpose(-3, -2) + torch.einsum("...hij,...ijhd->...ihd", weights, between)
        tokens = tokens + self.out(seen.flatten(-2))
        return tokens + self.feed(self.feed_norm(tokens))


def _two(given: int, width: int, operations: Any, between: int | None = None) -> nn.Sequential:
    between = between or width
    return nn.Sequential(operations.Linear(given, between), nn.GELU(), operations.Linear(between, width))


def _split(rows: Tensor, heads: int) -> Tensor:
    """[..., n, width] -> [..., heads, n, width / heads]."""
    return rows.unflatten(-1, (heads, -1)).transpose(-3, -2)


def _log(confidence: Tensor) -> Tensor:
    return confidence.clamp(min=NOBODY).log()
