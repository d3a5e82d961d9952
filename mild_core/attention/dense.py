"""The bias as a matrix, handed to the attention function as its mask: simple, and faster where tokens are few."""

import torch
from torch import Tensor

from .columns import Columns


def matrix(columns: Columns, heads: slice = slice(None)) -> Tensor:  # noqa: B008
    """[b, H | 1, N, M], float32: the bias of every query and key."""
    a = columns.a[:, None]
    if columns.gain is not None:
        a = a * columns.gain[:, heads]
    return a @ columns.b[:, None].transpose(-1, -2)


def with_bias(mask: Tensor | None, columns: Columns, heads: slice, dtype: torch.dtype) -> Tensor:
    """The caller's mask ([N | 1, M], [b, N | 1, M] or [b, H | 1, N | 1, M]; bool: True may look) and the bias."""
    bias = matrix(columns, heads)
    # softmax does not see what a whole row is shifted by; half precision then rounds only what has no weight anyway
    bias = (bias - bias.amax(-1, keepdim=True)).to(dtype)
    if mask is None:
        return bias
    if mask.ndim == 3:
        mask = mask[:, None]
    if mask.dtype == torch.bool:
        return torch.where(mask, bias, torch.finfo(dtype).min)
    return bias + mask
