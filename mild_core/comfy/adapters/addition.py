"""Adds what an adapter has for a module to some rows of the module's output, in place.

Nothing is made that grows with the batch but what lies between an adapter's two matrices: products are added to the
output by the multiplication itself. Where that cannot be, rows are done one at a time.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from .formats import Part, is_convolution
from .rows import Rows


def add(part: Part, module: Any, x: Tensor, y: Tensor, runs: Sequence[Rows]) -> None:
    """y += gain * delta(x) in these rows.

    x, y: what the module got and gave: [B, ..., C], or [B, C, ...] of a convolution.
    """
    dimension = 1 if is_convolution(module) else -1
    if part.place.inputs is not None:
        x = x.narrow(dimension, *part.place.inputs)
    if part.place.outputs is not None:
        y = y.narrow(dimension, *part.place.outputs)
    up, down, left = part.matrices(x)
    for rows in runs:
        if left is None and up is not None:
            within = slice(rows.start, rows.stop)
            _add_low_rank(module, x[within], y[within], up, down, rows, part.scale)
            continue
        for row, gain in enumerate(rows.gains, rows.start):
            _add_to_one(module, x[row : row + 1], y[row : row + 1], up, down, left, gain * part.scale)


def _add_low_rank(module: Any, x: Tensor, y: Tensor, up: Tensor, down: Tensor, rows: Rows, scale: float) -> None:
    convolution = is_convolution(module)
    groups = module.groups if convolution else 1
    if groups > 1:
        down = down.repeat(groups, 1)
    inner = _convolved(module, x, down) if convolution else linear(x, down)
    factor = scale
    if rows.scales is None:
        factor *= rows.gains[0]
    else:
        inner.mul_(rows.scales.to(inner).view(-1, *[1] * (inner.ndim - 1)))
    inner, up = inner.to(y.dtype), up.to(y.dtype)
    rank = up.shape[1]
    if groups > 1:
        table = y.reshape(len(y), groups, len(up) // groups, -1)
        table.add_(up.view(groups, -1, rank) @ inner.reshape(len(y), groups, rank, -1), alpha=factor)
    elif convolution and y.stride(1) != 1:
        table = y.reshape(len(y), len(up), -1)
        table.baddbmm_(up.expand(len(y), -1, -1), inner.reshape(len(y), rank, -1), alpha=factor)
    else:
        if convolution:  # channels_last
            y, inner = y.movedim(1, -1), inner.movedim(1, -1)
        table = y.reshape(-1, len(up))
        table.addmm_(inner.reshape(-1, rank), up.T, alpha=factor)
    _write_back(table, y)


def _add_to_one(
    module: Any, x: Tensor, y: Tensor, up: Tensor | None, down: Tensor, left: Tensor | None, gain: float
) -> None:
    """One row, by a whole change of the weight (up None) or by a Kronecker product."""
    convolution = is_convolution(module)
    if left is not None and convolution and module.groups > 1:
        down = torch.kron(left, down if up is None else up @ down)
        left = up = None
    if left is None:
        if convolution:
            y.add_(_convolved(module, x, down), alpha=gain)
            return
        table = y.reshape(-1, len(down))
        table.addmm_(x.reshape(-1, down.shape[1]).to(y.dtype), down.T.to(y.dtype), alpha=gain)
        _write_back(table, y)
        return
    outer, blocks = left.shape
    if convolution:  # (left (x) 1) after the kernel on each block of channels
        inner = _convolved(module, x.reshape(blocks, -1, *x.shape[2:]), down).flatten(2)
        if up is not None:
            inner = up @ inner
        table = y.reshape(outer, -1)
        table.addmm_(left.to(y.dtype), inner.reshape(blocks, -1).to(y.dtype), alpha=gain)
    else:
        tokens = x.shape[:-1].numel()
        inner = linear(x.reshape(tokens, blocks, -1), down)
        if up is not None:
            inner = linear(inner, up)
        table = y.reshape(tokens, outer, -1)
        table.baddbmm_(left.to(y.dtype).expand(tokens, -1, -1), inner.to(y.dtype), alpha=gain)
    _write_back(table, y)


def _convolved(module: Any, x: Tensor, table: Tensor) -> Tensor:
    """x under a kernel [channels, inputs * kernel], moved as the module moves its own: also as other packs have it, who
    let pictures wrap around for seamless tiles.
    """
    weight = table.view(len(table), -1, *module.kernel_size)
    if hasattr(module, "_conv_forward"):
        return module._conv_forward(x, weight, None)
    convolve = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[x.ndim - 3]
    return convolve(x, weight, None, module.stride, module.padding, module.dilation, module.groups)


def _write_back(table: Tensor, y: Tensor) -> None:
    """Where y's memory could not be seen as the table, and that became a copy."""
    if table.data_ptr() != y.data_ptr():
        y.copy_(table.view(y.shape))
