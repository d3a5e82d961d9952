"""MediaPipe's pose landmarker (Google, Apache-2.0): joints and a mask of each person."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...body.poses import from_blazepose, pose_score
from ...optional_packages import optional_module
from ...people.from_masks import cleaned_person, fitted
from ...scene import rgb
from ..found import Found

MOST = 12
"""People found in one run: the model searches for the next one where it has found nobody yet."""

LEAST_OPACITY = 0.1
"""What is less opaque than this belongs to the background."""

LONGEST = 1024
"""Longer side of the photo that the model gets, in pixels. It works at 256, but its masks come at the size of the
photo, and a dozen masks of a large photo would not fit into memory.
"""


@contextmanager
def finder(weights: Path, threshold: float) -> Iterator[Callable[[Tensor], list[Found]]]:
    """A context with a function that finds the people in a photo [H, W, C], 0..1, of whom the model is at least
    `threshold` (0..1) sure.

    Raises ValueError if the package mediapipe is absent or the file is no such model.
    """
    mediapipe = optional_module("mediapipe", "mediapipe", "MediaPipe")
    tasks = optional_module("mediapipe.tasks.python", "mediapipe", "MediaPipe")
    # The file's bytes, not its name: the library cannot open paths beyond ASCII on every system.
    base = tasks.BaseOptions(model_asset_buffer=weights.read_bytes())
    options = tasks.vision.PoseLandmarkerOptions(
        base_options=base,
        num_poses=MOST,
        output_segmentation_masks=True,
        min_pose_detection_confidence=threshold,
        min_pose_presence_confidence=threshold,
    )
    try:
        model = tasks.vision.PoseLandmarker.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"MediaPipe: {weights.name} is no pose landmarker ({str(error).splitlines()[0]}). "
            "Choose a pose_landmarker .task file."
        ) from None

    def look(photo: Tensor) -> list[Found]:
        size = (int(photo.shape[0]), int(photo.shape[1]))
        picture = _picture(photo)
        result = model.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture))
        masks = result.segmentation_masks or []
        found = [
            _person(landmarks, torch.from_numpy(mask.numpy_view().copy()), size)
            for landmarks, mask in zip(result.pose_landmarks, masks, strict=True)
        ]
        return [one for one in found if one is not None]

    # The model has threads of its own, which only leaving its context ends in time.
    with model:
        yield look


def _picture(photo: Tensor) -> np.ndarray:
    """The photo, uint8 [h, w, 3], made smaller if it is large."""
    height, width = int(photo.shape[0]), int(photo.shape[1])
    picture = rgb(photo).permute(2, 0, 1)[None].float()
    scale = LONGEST / max(height, width)
    if scale < 1:
        small = max(1, round(height * scale)), max(1, round(width * scale))
        picture = F.interpolate(picture, size=small, mode="bilinear", antialias=True, align_corners=False)
    return (picture[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).cpu().contiguous().numpy()


def _person(landmarks: list, mask: Tensor, size: tuple[int, int]) -> Found | None:
    """One person of a photo of this height and width, from 33 landmarks (shares of the photo) and a mask [h, w] or
    [h, w, 1]; None if the mask is empty.
    """
    mask = mask.reshape(mask.shape[:2]).float()
    shown, _ = cleaned_person(mask * (mask >= LEAST_OPACITY))
    if shown is None:
        return None
    here = fitted(shown, size)
    points = torch.tensor([[mark.x * size[1], mark.y * size[0], mark.visibility or 0.0] for mark in landmarks])
    joints = from_blazepose(points)
    x0, y0, x1, y1 = here.box
    return Found((float(x0), float(y0), float(x1), float(y1)), pose_score(joints), joints, here.mask, here.box)
