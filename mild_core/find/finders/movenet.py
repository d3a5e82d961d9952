"""MoveNet MultiPose Lightning (Google, Apache-2.0): boxes and joints of up to six people in one run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...body.poses import from_coco_17
from ...optional_packages import optional_module
from ...scene import rgb
from ..found import Found

SIDE = 320
"""Longer side of the photo that the model gets, in pixels: it was trained at 256."""

STEP = 32
"""Pixels: the model needs sides that are multiples of this."""

THREADS = 2

LEAST_JOINT = 0.15
"""Score below which a joint is left out: it is mostly guessed."""


def finder(weights: Path, threshold: float) -> Callable[[Tensor], list[Found]]:
    """A function that finds the people in a photo [H, W, C], 0..1, whose score is at least `threshold` (0..1).

    Raises ValueError if the package ai-edge-litert is absent or the file is no such model.
    """
    litert = optional_module("ai_edge_litert.interpreter", "ai-edge-litert", "MoveNet")
    try:
        model = litert.Interpreter(str(weights), num_threads=THREADS)
        source, result = model.get_input_details()[0], model.get_output_details()[0]
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"MoveNet: {weights.name} cannot be read ({error}). Choose another file.") from None
    if tuple(result["shape"]) != (1, 6, 56):
        raise ValueError(
            f"MoveNet: {weights.name} is another kind of model. Choose MoveNet MultiPose Lightning as a .tflite file."
        )

    def look(photo: Tensor) -> list[Found]:
        picture, scale = _picture(photo)
        model.resize_tensor_input(source["index"], picture.shape, strict=True)
        model.allocate_tensors()
        model.set_tensor(source["index"], picture)
        model.invoke()
        rows = torch.from_numpy(model.get_tensor(result["index"])[0].copy())
        return _people(rows, (picture.shape[1] / scale, picture.shape[2] / scale), threshold)

    return look


def _picture(photo: Tensor) -> tuple[np.ndarray, float]:
    """The photo as the model needs it, uint8 [1, h, w, 3], padded at the right and below; its scale."""
    height, width = int(photo.shape[0]), int(photo.shape[1])
    scale = SIDE / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = F.interpolate(
        rgb(photo).permute(2, 0, 1)[None].float(), size=size, mode="bilinear", antialias=True, align_corners=False
    )
    small = F.pad(small, (0, -size[1] % STEP, 0, -size[0] % STEP))
    return (small[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()[None].copy(), scale


def _people(rows: Tensor, size: tuple[float, float], threshold: float) -> list[Found]:
    """rows [6, 56]: 17 x (y, x, score), then the box y0, x0, y1, x1 and the person's score; places are shares of the
    padded photo, whose height and width `size` gives.
    """
    high, wide = size
    found = []
    for row in rows:
        if float(row[55]) < threshold:
            continue
        points = row[:51].reshape(17, 3)
        joints = torch.stack([points[:, 1] * wide, points[:, 0] * high, points[:, 2]], -1)
        joints[joints[:, 2] < LEAST_JOINT] = 0
        y0, x0, y1, x1 = (float(value) for value in row[51:55])
        found.append(Found((x0 * wide, y0 * high, x1 * wide, y1 * high), float(row[55]), from_coco_17(joints)))
    return found
