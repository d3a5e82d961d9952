"""The bias as a matrix, handed to the attention function as its mask: simple, and faster where tokens are few."""

import torch
from torch import Tensor

from .columns import Columns


def matrix(columns: Columns) -> Tensor:
    """[b, H | 1, N, M], float32: the bias of every query and key, each query's largest one being 0. Softmax does not
    see what a whole row is shifted by; half precision then rounds only what has no weight anyway.
    """
    a = columns.a[:, None]
    if columns.gain is not None:
        a = a * columns.gain
    bias = a @ columns.b[:, None].transpose(-1, -2)
    return bias - bias.amax(-1, keepdim=True)


def with_bias(mask: Tensor | None, bias: Tensor) -> Tensor:
    """The caller's mask ([N | 1, M], [b, N | 1, M] or [b, H | 1, N | 1, M]; bool: True may look) and the bias."""
    if mask is None:
        return bias
    if mask.ndim == 3:
        mask = mask[:, None]
    if mask.dtype == torch.bool:
        return torch.where(mask, bias, torch.finfo(bias.dtype).min)
    return bias + mask
