"""Load the photo that comes with the pack. NOTICE.txt names its source."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

FOLDER = Path(__file__).resolve().parent


class Example(NamedTuple):
    """Six pedestrians on a campus road, two of them close together."""

    photo: Tensor  # [1, 576, 768, 3], 0..1
    masks: Tensor  # [6, 576, 768], 0 or 1, from left to right
    background: Tensor  # [1, 576, 768, 3], 0..1: the same place without them
    hidden: Tensor  # [1, 576, 768], 0 or 1: where the third person goes on behind the second (drawn by hand, a guess)
    poses: list[dict]  # POSE_KEYPOINT: one OpenPose frame with the six, in the masks' order; hidden joints are absent


def load_example() -> Example:
    """Read the five files from this folder."""
    labels = torch.from_numpy(np.array(Image.open(FOLDER / "masks.png")))
    masks = torch.stack([labels == number for number in range(1, int(labels.max()) + 1)]).float()
    hidden = torch.from_numpy(np.array(Image.open(FOLDER / "hidden.png").convert("L"))) > 0
    poses = json.loads((FOLDER / "poses.json").read_text(encoding="utf-8"))
    return Example(_picture("photo.jpg"), masks, _picture("background.jpg"), hidden[None].float(), poses)


def _picture(name: str) -> Tensor:
    pixels = np.array(Image.open(FOLDER / name).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels)[None]
