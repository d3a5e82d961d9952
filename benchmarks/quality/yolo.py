"""YOLO11n-seg, for comparison only: its weights are AGPL-3.0, so they are in no node and are fetched here by name."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mild.benchmarks.shared import weights
from mild.benchmarks.shared.rivals import Unavailable
from mild.mild_core.find.found import Found, clipped, without_duplicates

SIDE = 640
SURE = 0.25
OVERLAP = 0.7
"""Ultralytics' own defaults for both."""

CLASSES = 80
PERSON = 0


def people(photo: NDArray[np.float32], folder: Path | None) -> list[NDArray[np.bool_]]:
    """A mask [H, W] for each person in photo [H, W, 3], 0..1. Raises Unavailable."""
    height, width = photo.shape[:2]
    scale = SIDE / max(height, width)
    size = round(height * scale), round(width * scale)
    top, left = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
    picture = torch.full((1, 3, SIDE, SIDE), 114 / 255)
    small = torch.from_numpy(photo).permute(2, 0, 1)[None]
    picture[..., top : top + size[0], left : left + size[1]] = F.interpolate(
        small, size=size, mode="bilinear", antialias=True, align_corners=False
    )
    rows, prototypes = (torch.from_numpy(one)[0] for one in session(folder).run(None, {"images": picture.numpy()}))
    rows = rows.T
    rows = rows[(rows[:, 4 : 4 + CLASSES].argmax(1) == PERSON) & (rows[:, 4 + PERSON] > SURE)]
    by_box = {}
    for row in rows:
        x, y, wide, high = (float(value) for value in row[:4])
        corners = (x - wide / 2 - left, y - high / 2 - top, x + wide / 2 - left, y + high / 2 - top)
        one = Found(tuple(edge / scale for edge in corners), float(row[4 + PERSON]))  # type: ignore[arg-type]
        by_box[one] = row
    masks = []
    for one in without_duplicates(list(by_box), OVERLAP):
        logits = torch.einsum("c,chw->hw", by_box[one][4 + CLASSES :], prototypes)[None, None]
        logits = F.interpolate(logits, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        logits = logits[..., top : top + size[0], left : left + size[1]]
        large = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)[0, 0] > 0
        box = clipped(one.box, (height, width))
        if box is not None:
            mask = np.zeros((height, width), bool)
            inside = slice(box[1], box[3]), slice(box[0], box[2])
            mask[inside] = large.numpy()[inside]
            masks.append(mask)
    return masks


@cache
def session(folder: Path | None) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise Unavailable("the package onnxruntime is not installed (uv sync --group bench)") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = weights.weights(weights.YOLO, folder)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
