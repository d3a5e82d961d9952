"""Connected blobs of a mask: the runs of its rows are joined where they touch (8-connected)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..scene import Box
from . import boxes

Blob = tuple[Box, Tensor]
"""Tight box, and the blob's own mask [h, w] (bool)."""

CELL = 16
"""Pixels: blobs in the same or in neighbouring cells of this size are one cluster."""

MOST_CLUSTERS = 64

SPECK_OF_PHOTO = 2e-5
SPECK_PIXELS = 4
SPECK_OF_LARGEST = 0.1
"""A speck of a brush, of a detector or of a compressed mask: a blob below this share of the photo (or this many
pixels) and below this share of the mask's largest blob. Somebody tiny has no larger blob beside them."""

NEAR = 0.02
"""A speck within this share of a larger blob's longer side belongs to that blob: a strand of hair, a finger."""


def blobs(mask: Tensor, smallest: float = 1) -> tuple[list[Blob], int]:
    """The connected parts of mask [H, W] (bool) with at least `smallest` pixels, largest first, and how many are
    smaller.

    If all are smaller, the largest one counts all the same.
    """
    start = boxes.tight_box(mask)
    if start is None:
        return [], 0
    rows, first, last = _runs(boxes.cut(mask, start).cpu().numpy())
    part, pixels = _parts(rows, first, last)
    large = np.flatnonzero(pixels >= smallest)
    if not len(large):
        large = np.flatnonzero(pixels == pixels.max())[:1]
    large = large[np.argsort(-pixels[large], kind="stable")]
    return _drawn(large, part, rows, first, last, start, mask.device), len(pixels) - len(large)


def without_specks(mask: Tensor) -> tuple[list[Blob], int]:
    """The blobs of mask [H, W] (bool) of a whole photo that are no specks, largest first, and how many specks lie away
    from all of them. A speck beside a blob is a part of it.
    """
    start = boxes.tight_box(mask)
    if start is None:
        return [], 0
    rows, first, last = _runs(boxes.cut(mask, start).cpu().numpy())
    part, pixels = _parts(rows, first, last)
    smallest = min(max(SPECK_PIXELS, SPECK_OF_PHOTO * mask.numel()), SPECK_OF_LARGEST * pixels.max())
    large = np.flatnonzero(pixels >= smallest)
    large = large[np.argsort(-pixels[large], kind="stable")]
    specks = np.flatnonzero(pixels < smallest)
    belongs = np.arange(len(pixels))
    if len(specks):
        around = _boxes(part, len(pixels), rows, first, last)
        belongs[specks] = -1
        # From the largest blob to the smallest: where two are near, the smaller one's box says more.
        for name in large:
            x0, y0, x1, y1 = around[:, name]
            reach = max(1.0, NEAR * max(x1 - x0, y1 - y0))
            left, top, right, bottom = around[:, specks]
            near = (left <= x1 + reach) & (right >= x0 - reach) & (top <= y1 + reach) & (bottom >= y0 - reach)
            belongs[specks[near]] = name
    found = _drawn(large, belongs[part], rows, first, last, start, mask.device)
    return found, int((belongs < 0).sum())


def clusters(mask: Tensor) -> list[Blob]:
    """Blobs of mask [H, W] (bool), where those within about CELL pixels of each other are one: scattered dots make one
    cluster.

    Never more than MOST_CLUSTERS: the more scattered a mask is, the larger are the cells.
    """
    if not mask.any():
        return []
    cell = CELL
    while True:
        height, width = mask.shape
        padded = F.pad(mask[None, None].to(torch.float16), (0, -width % cell, 0, -height % cell))
        coarse, _ = blobs(F.max_pool2d(padded, cell)[0, 0] > 0)
        if len(coarse) <= MOST_CLUSTERS:
            break
        cell *= 2
    found = []
    for (x0, y0, x1, y1), shape in coarse:
        box = boxes.intersection((x0 * cell, y0 * cell, x1 * cell, y1 * cell), boxes.whole((height, width)))
        near = shape.repeat_interleave(cell, 0).repeat_interleave(cell, 1)[: boxes.height(box), : boxes.width(box)]
        own = boxes.cut(mask, box) & near
        tight = boxes.tight_box(own)
        if tight is not None:
            found.append((boxes.outside(tight, box), boxes.cut(own, tight).clone()))
    return found


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, first column and last column (exclusive) of every run, sorted by row and column."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    step = np.diff(padded, axis=1)
    rows, first = np.nonzero(step == 1)
    last = np.nonzero(step == -1)[1]
    return rows, first, last


def _parts(rows: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which blob each run belongs to, from 0, and how many pixels each blob has."""
    _, part = np.unique(_joined(rows, first, last), return_inverse=True)
    return part, np.bincount(part, weights=last - first)


def _boxes(part: np.ndarray, count: int, rows: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """x0, y0, x1, y1 of each of `count` blobs, [4, count]."""
    far = np.iinfo(np.int64).max
    around = np.array([[far], [far], [0], [0]], dtype=np.int64).repeat(count, 1)
    np.minimum.at(around[0], part, first)
    np.minimum.at(around[1], part, rows)
    np.maximum.at(around[2], part, last)
    np.maximum.at(around[3], part, rows + 1)
    return around


def _drawn(
    names: np.ndarray,
    part: np.ndarray,
    rows: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    start: Box,
    device: torch.device,
) -> list[Blob]:
    """The blobs of these names; part: the name of each run's blob. Runs are counted from the corner of `start`."""
    order = np.argsort(part, kind="stable")
    begin = np.searchsorted(part[order], names, side="left")
    end = np.searchsorted(part[order], names, side="right")
    found = []
    for one, other in zip(begin, end, strict=True):
        runs = order[one:other]
        x0, x1 = int(first[runs].min()), int(last[runs].max())
        y0, y1 = int(rows[runs].min()), int(rows[runs].max()) + 1
        step = np.zeros((y1 - y0, x1 - x0 + 1), dtype=np.int8)
        step[rows[runs] - y0, first[runs] - x0] = 1
        step[rows[runs] - y0, last[runs] - x0] = -1
        own = np.cumsum(step[:, :-1], axis=1, dtype=np.int8).astype(bool)
        found.append((boxes.outside((x0, y0, x1, y1), start), torch.from_numpy(own).to(device)))
    return found


def _joined(rows: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """One label per run, equal for runs that touch, also at a corner (Shiloach and Vishkin 1982: hook roots, then
    jump).
    """
    # On one number line, with each row moved on by more than a row's width, the runs of the row above that touch run i
    # are those which end at or after its first column and begin at or before its last: a range, because runs are
    # sorted.
    stride = int(last.max()) + 3
    begin, end = rows * stride + first, rows * stride + last
    low = np.searchsorted(end, begin - stride, side="left")
    high = np.searchsorted(begin, end - stride, side="right")
    count = np.maximum(high - low, 0)
    mine = np.repeat(np.arange(len(rows)), count)
    above = np.arange(len(mine)) - np.repeat(np.cumsum(count) - count, count) + low[mine]
    label = np.arange(len(rows))
    while len(mine):
        one, other = label[mine], label[above]
        np.minimum.at(label, np.maximum(one, other), np.minimum(one, other))
        while True:
            jumped = label[label]
            if np.array_equal(jumped, label):
                break
            label = jumped
        apart = label[mine] != label[above]
        mine, above = mine[apart], above[apart]
    return label
