"""SAM 2 by Meta's own package `sam2`, its weights in ComfyUI's memory manager."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.utils
import torch
from torch import Tensor

from ...find.sam_prompts import Prompt, best_mask
from ...optional_packages import optional_module
from ...scene import Box, rgb

FINDER = "SAM 2 (sam2 package)"
SIZES = (("tiny", "t"), ("small", "s"), ("base", "b+"), ("large", "l"))


class Sam2Package:
    """Masks for prompts, of one photo at a time."""

    def __init__(self, weights: Path):
        """Raises ValueError if the package sam2 is absent, or the file is no SAM 2 checkpoint whose name has its
        size.
        """
        build = optional_module("sam2.build_sam", "sam2", FINDER)
        predictor = optional_module("sam2.sam2_image_predictor", "sam2", FINDER)
        with torch.inference_mode(False):
            model = _model(build, weights)
            # The package's own loader reads pickles only; ComfyUI's reads safetensors too, and both safely.
            values = comfy.utils.load_torch_file(str(weights), safe_load=True)
            try:
                model.load_state_dict(values.get("model", values))
            except (RuntimeError, AttributeError):
                raise ValueError(
                    f"{FINDER}: {weights.name} does not fit SAM 2 of the size and version in its name. Choose "
                    "a checkpoint of SAM 2 or 2.1 under its own name, such as sam2.1_hiera_tiny.pt."
                ) from None
        # The plain patcher: the package's layers are torch's, and know nothing of weights that are streamed in. It
        # notes the device on the module, which SAM 2's own does not allow: hence the wrapping.
        self.patcher = comfy.model_patcher.ModelPatcher(
            torch.nn.ModuleDict({"sam2": model}),
            load_device=comfy.model_management.get_torch_device(),
            offload_device=comfy.model_management.unet_offload_device(),
        )
        self.predictor: Any = predictor.SAM2ImagePredictor(model)

    def masks(self, photo: Tensor, prompts: list[Prompt], step: Callable[[], None]) -> list[tuple[Tensor, Box]]:
        """For each prompt of photo [H, W, C], 0..1: a mask [h, w], 0..1, and its box in pixels of the photo.

        step is called after the photo and after each prompt.
        """
        comfy.model_management.load_model_gpu(self.patcher)
        size = (int(photo.shape[0]), int(photo.shape[1]))
        picture = (rgb(photo).float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().contiguous().numpy()
        self.predictor.set_image(picture)
        step()
        result = []
        for prompt in prompts:
            points = prompt.points.cpu()
            corners = prompt.labels > 1
            box = points[corners].reshape(4).numpy() if bool(corners.any()) else None
            sure = points[~corners].numpy() if bool((~corners).any()) else None
            labels = None if sure is None else prompt.labels[~corners].cpu().numpy()
            # The small logits, not the large masks: only the part around the person is enlarged.
            _, scores, logits = self.predictor.predict(sure, labels, box, multimask_output=True, return_logits=True)
            result.append(best_mask(torch.from_numpy(logits), torch.from_numpy(scores), prompt, size))
            step()
        self.predictor.reset_predictor()
        return result


def _model(build: Any, weights: Path) -> Any:
    """SAM 2 of this checkpoint's size, without its weights."""
    config = config_of(weights)
    try:
        return build.build_sam2(config, None, device="cpu")
    except Exception as error:
        # Hydra, which reads the configurations, may have been set up for something else by another node pack.
        raise ValueError(
            f"{FINDER}: the package sam2 could not set up {config} ({type(error).__name__}: {error}). Update it, or "
            "choose SAM 2 (ONNX)."
        ) from error


def config_of(weights: Path) -> str:
    """The package's configuration for a checkpoint, read from its name, as in sam2.1_hiera_base_plus.pt.

    Raises ValueError if the name has no size.
    """
    name = weights.name.lower()
    later = any(mark in name for mark in ("2.1", "2_1", "2-1"))
    for size, letter in SIZES:
        if size in name:
            return f"configs/sam2.1/sam2.1_hiera_{letter}.yaml" if later else f"configs/sam2/sam2_hiera_{letter}.yaml"
    raise ValueError(
        f"{FINDER}: the name of {weights.name} does not show its size: let it hold tiny, small, base or large, as in "
        "sam2.1_hiera_tiny.pt."
    )
