"""MediaPipe's pose landmarker (Google, Apache-2.0): joints and a mask of each person."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from .. import boxes
from ..found import Found
from ..poses import from_blazepose, pose_score
from ..scene import rgb
from .missing import optional_module

MOST = 12
"""People at a look: the model looks for the next one where it has found nobody yet."""

FAINT = 0.1
"""What is less opaque than this belongs to the background."""


@contextmanager
def finder(weights: Path, threshold: float) -> Iterator[Callable[[Tensor], list[Found]]]:
    """With it comes a function that finds the people in a photo [H, W, C], 0..1, of whom the model is at least
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
        picture = (rgb(photo).float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().contiguous().numpy()
        result = model.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture))
        masks = result.segmentation_masks or []
        found = [
            _person(landmarks, torch.from_numpy(mask.numpy_view().copy()))
            for landmarks, mask in zip(result.pose_landmarks, masks, strict=True)
        ]
        return [one for one in found if one is not None]

    # It holds threads of its own, which nothing but this ends in time.
    with model:
        yield look


def _person(landmarks: list, mask: Tensor) -> Found | None:
    """Somebody from her 33 landmarks (shares of the photo) and her mask [H, W] or [H, W, 1]; None without a mask."""
    mask = mask.reshape(mask.shape[:2]).float()
    mask = mask * (mask >= FAINT)
    box = boxes.tight_box(mask)
    if box is None:
        return None
    height, width = mask.shape
    points = torch.tensor([[mark.x * width, mark.y * height, mark.visibility or 0.0] for mark in landmarks])
    joints = from_blazepose(points)
    own = boxes.cut(mask, box).clone()
    return Found(tuple(float(edge) for edge in box), pose_score(joints), joints, own, box)  # type: ignore[arg-type]
