"""How much of each cell of a small grid a mask covers, from the mask's own pixels, at any fractional scale."""

import math

import torch
from torch import Tensor

from ..scene import Box
from . import boxes


def area_shares(piece: Tensor, place: Box, crop: boxes.RealBox, size: tuple[int, int]) -> Tensor:
    """piece [n, m], 0..1, stretched over the box `place` of the photo, seen in the box `crop` at size (height, width).

    Returns [height, width], 0..1, float32: the mean of the piece over the exact (fractional) area of each cell, 0
    beside it. So the sum and the centre of mass are kept, whatever the sizes. Both boxes are in the photo's pixels;
    crop may lie between them, and reach beyond the photo. No tensor as large as the photo is made.
    """
    result = piece.new_zeros(size, dtype=torch.float32)
    if not boxes.area(place) or not boxes.area(boxes.intersection(place, crop)):
        return result
    rows = _side(place[1], place[3], piece.shape[0], crop[1], crop[3], size[0])
    columns = _side(place[0], place[2], piece.shape[1], crop[0], crop[2], size[1])
    used = piece[rows.first : rows.last, columns.first : columns.last].float()
    small = _summed(_summed(used, rows).T, columns).T
    result[rows.cell : rows.cell + rows.cells, columns.cell : columns.cell + columns.cells] = small
    return result.clamp_(0, 1)


class _Side:
    """One side of the piece on the same side of the grid: which pixels fall on it, and into which cells."""

    def __init__(self, first: int, last: int, start: float, pitch: float, count: int):
        self.first, self.last = first, last  # pixels of the piece that are needed
        self.pitch = pitch  # of a pixel, in cells
        self.cell = max(math.floor(start), 0)  # the first cell that any of them touches
        end = min(math.ceil(start + (last - first) * pitch), count)
        self.cells = max(end - self.cell, 1)
        self.start = start - self.cell  # where the first pixel begins, in cells from that one


def _side(low: int, high: int, pixels: int, crop_low: float, crop_high: float, count: int) -> _Side:
    """pixels from low to high (of the photo) on `count` cells from crop_low to crop_high."""
    scale = count / (crop_high - crop_low)
    pitch = (high - low) / pixels
    first = max(math.floor((crop_low - low) / pitch), 0)
    last = min(math.ceil((crop_high - low) / pitch), pixels)
    return _Side(first, last, (low + first * pitch - crop_low) * scale, pitch * scale, count)


def _summed(piece: Tensor, side: _Side) -> Tensor:
    """Rows of piece [n, m] added up in their cells, each by the share of the cell that it covers: [cells, m]."""
    edges = side.start + torch.arange(piece.shape[0] + 1, device=piece.device, dtype=torch.float32) * side.pitch
    if side.pitch > 1:
        cells = torch.arange(side.cells, device=piece.device, dtype=torch.float32)[:, None]
        weights = (torch.minimum(edges[1:], cells + 1) - torch.maximum(edges[:-1], cells)).clamp(min=0)
        return weights @ piece
    # A pixel lies in one cell or across two. One more cell at each end takes what lies beside the grid.
    cell = edges[:-1].floor()
    beyond = (edges[1:] - (cell + 1)).clamp(0, side.pitch)
    cell = cell.long() + 1
    summed = piece.new_zeros(side.cells + 3, piece.shape[1])
    summed.index_add_(0, cell.clamp(0, side.cells + 2), piece, alpha=side.pitch)
    across = (beyond > 0).nonzero()[:, 0]
    moved = piece[across] * beyond[across, None]
    summed.index_add_(0, cell[across].clamp(0, side.cells + 2), moved, alpha=-1)
    summed.index_add_(0, (cell[across] + 1).clamp(0, side.cells + 2), moved)
    return summed[1 : side.cells + 1]
