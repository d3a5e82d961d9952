"""Connected blobs of a mask, found by joining the runs of its rows (two-pass labelling on runs, 8-connected)."""

import numpy as np
import torch
from torch import Tensor

from . import boxes
from .scene import Box


def blobs(mask: Tensor, smallest: float = 1) -> list[tuple[Box, Tensor]]:
    """The connected parts of mask [H, W] (bool) with at least `smallest` pixels, largest first.

    Each comes as its tight box and its own mask [h, w] (bool).
    """
    start = boxes.tight_box(mask)
    if start is None:
        return []
    rows, first, last = _runs(boxes.cut(mask, start).cpu().numpy())
    label = _joined(rows, first, last)
    names, index = np.unique(label, return_inverse=True)
    order = np.argsort(index, kind="stable")
    ends = np.cumsum(np.bincount(index, minlength=len(names)))
    found = []
    for runs in np.split(order, ends[:-1]):
        if (last[runs] - first[runs]).sum() < smallest:
            continue
        x0, x1 = int(first[runs].min()), int(last[runs].max())
        y0, y1 = int(rows[runs].min()), int(rows[runs].max()) + 1
        step = np.zeros((y1 - y0, x1 - x0 + 1), dtype=np.int8)
        step[rows[runs] - y0, first[runs] - x0] = 1
        step[rows[runs] - y0, last[runs] - x0] = -1
        own = np.cumsum(step[:, :-1], axis=1, dtype=np.int8).astype(bool)
        found.append((boxes.outside((x0, y0, x1, y1), start), torch.from_numpy(own).to(mask.device)))
    return sorted(found, key=lambda blob: -int(blob[1].sum()))


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, first column and last column (exclusive) of every run, sorted by row and column."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    step = np.diff(padded, axis=1)
    rows, first = np.nonzero(step == 1)
    last = np.nonzero(step == -1)[1]
    return rows, first, last


def _joined(rows: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """One label per run, equal for runs that touch, also at a corner."""
    # On one number line, with each row moved on by more than a row's width, the runs of the row above that touch run i
    # are those which end at or after its first column and begin at or before its last: a range, because runs are
    # sorted.
    stride = int(last.max()) + 3
    begin, end = rows * stride + first, rows * stride + last
    low = np.searchsorted(end, begin - stride, side="left")
    high = np.searchsorted(begin, end - stride, side="right")
    count = np.maximum(high - low, 0)
    mine = np.repeat(np.arange(len(rows)), count)
    offset = np.arange(len(mine)) - np.repeat(np.cumsum(count) - count, count)
    above = low[mine] + offset
    label = np.arange(len(rows))
    while True:
        before = label.copy()
        smaller = np.minimum(label[mine], label[above])
        np.minimum.at(label, label[mine], smaller)
        np.minimum.at(label, label[above], smaller)
        label = label[label]
        if np.array_equal(label, before):
            return label
