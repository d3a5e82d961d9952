"""Attention functions of ComfyUI's kind, without ComfyUI, and random calls of them."""

import torch
import torch.nn.functional as F

POSITIONAL = ("mask", "attn_precision", "skip_reshape", "skip_output_reshape")


class Recorded:
    """Plain fused attention; remembers what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, q, k, v, heads, *args, **kwargs):
        self.calls.append(((q, k, v, heads, *args), kwargs))
        return fused(q, k, v, heads, *args, **kwargs)


def fused(
    q, k, v, heads, mask=None, attn_precision=None, skip_reshape=False, skip_output_reshape=False,
    scale=None, enable_gqa=False, **kwargs,
):  # fmt: skip
    """As ComfyUI's attention_pytorch."""
    if not skip_reshape:
        head = q.shape[-1] // heads
        q, k, v = (part.unflatten(-1, (-1, head)).transpose(1, 2) for part in (q, k, v))
    if mask is not None:
        mask = mask[None, None] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=enable_gqa)
    return out if skip_output_reshape else out.transpose(1, 2).flatten(2)


def reference(q, k, v, bias=0.0, query_scale=1.0, scale=None, seen=None):
    """Softmax in float32 of q, k, v [B, H, N, d] as it is written: output and weights [B, H, N, M].

    seen: which keys a query may see, bool, [.., N, M].
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    logits = query_scale * (q.float() @ k.float().transpose(-1, -2)) * scale + bias
    if seen is not None:
        logits = logits.masked_fill(~seen, float("-inf"))
    weights = logits.softmax(-1)
    return weights @ v.float(), weights


def random_call(rows=2, heads=3, tokens=77, head=40, keys=None, dtype=torch.float32, seed=0):
    """q, k, v [B, N, heads * d]."""
    generator = torch.Generator().manual_seed(seed)
    counts = (tokens, keys or tokens, keys or tokens)
    return tuple(torch.randn(rows, n, heads * head, generator=generator).to(dtype) for n in counts)


def by_heads(tensor, heads):
    """[B, N, H * d] -> [B, H, N, d]."""
    return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)


def random_soft(tokens, regions, seed=0):
    """[N, R]: soft membership, some tokens wholly in one region."""
    generator = torch.Generator().manual_seed(seed)
    soft = torch.rand(tokens, regions, generator=generator) ** 4 + 1e-3
    soft[::3] = torch.eye(regions)[torch.randint(regions, (len(soft[::3]),), generator=generator)]
    return soft / soft.sum(1, keepdim=True)
