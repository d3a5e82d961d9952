"""SAM 2 (Meta, Apache-2.0) as two ONNX files, an encoder of the photo and a decoder of prompts, by onnxruntime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...optional_packages import onnx_session
from ...scene import rgb
from ..sam_prompts import Prompt, best_mask

NAME = "SAM 2 (ONNX)"
MEANT = "the encoder takes an image, the decoder points. Choose the two files that belong together."

SIDE = 1024
"""Pixels: the photo is stretched to a square of this side, as SAM 2 does."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Sam2Onnx:
    """Masks for prompts, of one photo at a time."""

    def __init__(self, encoder: Path, decoder: Path):
        """Raises ValueError if the package onnxruntime is absent or a file is none of SAM 2's."""
        self._encoder = onnx_session(encoder, NAME, {"image"}, (), MEANT)
        self._decoder = onnx_session(decoder, NAME, {"image_embed", "point_coords", "point_labels"}, (), MEANT)

    def masks(self, photo: Tensor, prompts: list[Prompt], step: Callable[[], None]) -> list[tuple[Tensor, tuple]]:
        """For each prompt of photo [H, W, C], 0..1: a mask [h, w], 0..1, and its box in pixels of the photo.

        step is called after the photo and after each prompt.
        """
        size = (int(photo.shape[0]), int(photo.shape[1]))
        names = [one.name for one in self._encoder.get_outputs()]
        features = dict(zip(names, self._encoder.run(None, {"image": _picture(photo)}), strict=True))
        step()
        wanted = {one.name for one in self._decoder.get_inputs()}
        features = {name: value for name, value in features.items() if name in wanted}
        result = []
        for prompt in prompts:
            scale = torch.tensor([SIDE / size[1], SIDE / size[0]])
            given = features | {
                "point_coords": (prompt.points.cpu().float() * scale)[None].numpy(),
                "point_labels": prompt.labels.cpu().float()[None].numpy(),
                "mask_input": torch.zeros(1, 1, SIDE // 4, SIDE // 4).numpy(),
                "has_mask_input": torch.zeros(1).numpy(),
            }
            logits, scores = self._decoder.run(None, given)[:2]
            result.append(best_mask(torch.from_numpy(logits)[0], torch.from_numpy(scores)[0], prompt, size))
            step()
        return result


def _picture(photo: Tensor) -> Any:
    """[1, 3, SIDE, SIDE] float32, normalised by ImageNet's mean and deviation."""
    picture = rgb(photo).permute(2, 0, 1)[None].float()
    picture = F.interpolate(picture, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    mean = picture.new_tensor(MEAN).view(1, 3, 1, 1)
    return ((picture.clamp(0, 1) - mean) / picture.new_tensor(DEVIATION).view(1, 3, 1, 1)).cpu().numpy()
