"""OpenPose and DWPose by the package controlnet-aux, from files on this machine only."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_patcher
import numpy as np
import torch
from torch import Tensor

from ...body.poses import JOINTS, pose_box, pose_score
from ...find.found import Found
from ...optional_packages import optional_module
from ...scene import rgb

PACKAGE = "controlnet-aux"
LONGER_SIDE = 1024
"""Pixels of the longer side at which a photo is looked at. OpenPose scales it to a height of 184 px, and its maps back
to this.
"""


def openpose(weights: Path, threshold: float) -> Callable[[Tensor], list[Found]]:
    """A function that finds the people in a photo [H, W, C], 0..1, whose joints' mean score is at least `threshold`.

    weights: body_pose_model.pth. Raises ValueError if the package is absent or the file is none of OpenPose's.
    """
    body = optional_module("controlnet_aux.open_pose.body", PACKAGE, "OpenPose")
    with torch.inference_mode(False):
        try:
            model = body.Body(str(weights))
        except Exception as error:
            # The package reads the file by names of layers: a wrong one fails in many ways.
            raise ValueError(
                f"OpenPose: {weights.name} is no OpenPose body model ({type(error).__name__}). "
                "Choose body_pose_model.pth."
            ) from None
    patcher = comfy.model_patcher.ModelPatcher(
        model.model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )

    def look(photo: Tensor) -> list[Found]:
        comfy.model_management.load_model_gpu(patcher)
        picture, scale = _bgr(photo)
        candidate, subset = model(picture)
        found = []
        for row in subset:
            joints = torch.zeros(JOINTS, 3)
            for joint, index in enumerate(row[:JOINTS].astype(int)):
                if index >= 0:
                    x, y, score = (float(value) for value in candidate[index][:3])
                    joints[joint] = torch.tensor([(x + 0.5) / scale, (y + 0.5) / scale, min(max(score, 0.0), 1.0)])
            found.append(joints)
        return _people(found, threshold)

    return look


def dwpose(detector: Path, pose: Path, threshold: float) -> Callable[[Tensor], list[Found]]:
    """A function that finds the people in a photo [H, W, C], 0..1, whose joints' mean score is at least `threshold`.

    detector, pose: the YOLOX and DWPose checkpoints (.pth). Raises ValueError if controlnet-aux or the packages that
    it asks for here (mmcv, mmdet, mmpose) are absent, or a file does not load.
    """
    for module in ("mmcv", "mmdet", "mmpose"):
        optional_module(module, module, "DWPose (controlnet-aux)")
    whole = optional_module("controlnet_aux.dwpose.wholebody", PACKAGE, "DWPose (controlnet-aux)")
    device = comfy.model_management.get_torch_device()
    try:
        # Both files are always given: without them the package would download.
        model = whole.Wholebody(None, str(detector), None, str(pose), device=str(device))
    except Exception as error:
        raise ValueError(
            f"DWPose (controlnet-aux): {detector.name} and {pose.name} do not load ({type(error).__name__}: {error}). "
            "Choose a YOLOX-L and a DWPose-L checkpoint."
        ) from None

    def look(photo: Tensor) -> list[Found]:
        picture, scale = _bgr(photo)
        points, scores = model(picture)
        found = []
        for place, score in zip(points, scores, strict=True):
            joints = torch.zeros(JOINTS, 3)
            joints[:, :2] = torch.from_numpy(np.asarray(place[:JOINTS, :2], dtype=np.float32)) / scale
            joints[:, 2] = torch.from_numpy(np.asarray(score[:JOINTS], dtype=np.float32)).clamp(0, 1)
            joints[joints[:, 2] < LEAST_SCORE] = 0
            found.append(joints)
        return _people(found, threshold)

    return look


LEAST_SCORE = 0.3
"""Score (0..1) from which a joint of DWPose, which gives all of them, counts as seen; the package draws no others."""


def _bgr(photo: Tensor) -> tuple[Any, float]:
    """The photo as these models want it, uint8 [h, w, 3] in BGR, and its scale."""
    height, width = int(photo.shape[0]), int(photo.shape[1])
    scale = min(1.0, LONGER_SIDE / max(height, width))
    picture = rgb(photo).permute(2, 0, 1)[None].float()
    if scale < 1:
        size = max(1, round(height * scale)), max(1, round(width * scale))
        picture = torch.nn.functional.interpolate(
            picture, size=size, mode="bilinear", antialias=True, align_corners=False
        )
    whole = (picture[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return whole.flip(0).permute(1, 2, 0).cpu().contiguous().numpy(), scale


def _people(poses: list[Tensor], threshold: float) -> list[Found]:
    found = []
    for joints in poses:
        box, score = pose_box(joints), pose_score(joints)
        if box is not None and score >= threshold:
            found.append(Found(box, score, joints))
    return found
