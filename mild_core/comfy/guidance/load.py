"""A file of body guidance becomes an object that Apply ControlNet nodes take, in ComfyUI's memory manager."""

from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.utils
import folder_paths
import safetensors
import torch
from torch import Tensor

from ...guidance.config import from_metadata
from ...guidance.network import MorphologyGuidance
from ..model_folder import EXTENSION, KEY, register
from .body_control import MorphologyControl

ABSENT = "none there yet"
"""The only choice of a list without files; a saved workflow keeps it."""


def load_guidance(path: Path) -> MorphologyControl:
    """The guidance in a safetensors file that save_guidance wrote (its docstring gives the layout).

    Weights stay in the type that the file has: float32, float16, bfloat16 or float8; layers cast them as they run.
    Raises ValueError, in one sentence with the file's name, for files of any other kind, label set or version, and for
    missing, unexpected or misshapen weights.
    """
    try:
        config = from_metadata(_metadata(path))
        weights = comfy.utils.load_torch_file(str(path), safe_load=True)
        with torch.device("meta"):  # no memory is taken, and nothing drawn, for weights that are about to come
            network = MorphologyGuidance(config, comfy.ops.manual_cast)
        _check(weights, network)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    device = comfy.model_management.get_torch_device()
    network.load_state_dict(weights, assign=True)
    return MorphologyControl(network.eval().requires_grad_(False), patcher_for(network, device))


def patcher_for(network: MorphologyGuidance, device: torch.device) -> comfy.model_patcher.ModelPatcher:
    """The network in ComfyUI's memory manager, as ControlNets are."""
    return comfy.model_patcher.CoreModelPatcher(
        network, load_device=device, offload_device=comfy.model_management.unet_offload_device()
    )


def _metadata(path: Path) -> dict[str, str] | None:
    """Read from the file's head; weights are not touched yet."""
    if path.suffix.lower() != ".safetensors":
        raise ValueError("this is no safetensors file, and nothing else is loaded: it could run code.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.metadata()
    except safetensors.SafetensorError as error:
        raise ValueError(f"the file is damaged or no safetensors file ({error}): download it again.") from None


def _check(weights: dict[str, Tensor], network: MorphologyGuidance) -> None:
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    missing, unexpected = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or unexpected:
        raise ValueError(
            f"its weights are not those of the network that its metadata describe ({len(missing)} are missing"
            f"{_such_as(missing)}, {len(unexpected)} are unknown{_such_as(unexpected)}): download or save it again."
        )
    for name, shape in expected.items():
        if tuple(weights[name].shape) != shape or not weights[name].is_floating_point():
            raise ValueError(
                f"'{name}' has shape {list(weights[name].shape)} and type {weights[name].dtype} where its metadata "
                f"call for numbers of shape {list(shape)}: download or save it again."
            )


def _such_as(names: list[str]) -> str:
    return f", such as '{names[0]}'" if names else ""


def files() -> list[str]:
    """The safetensors files there that are no gains (those have it in their names); [ABSENT] if there are none."""
    register()
    names = folder_paths.get_filename_list(KEY)
    return [name for name in names if _fits(Path(name).name.lower())] or [ABSENT]


def path_of(name: str) -> Path:
    """The file of this name. Raises ValueError that says where to put one."""
    register()
    path = None if name == ABSENT else folder_paths.get_full_path(KEY, name)
    if path is None:
        raise ValueError(
            "file: put a body guidance file (.safetensors) into the folder ComfyUI/models/mild, press R, and choose it "
            "here; without one, Pose Hint and a stock pose ControlNet do a similar job."
        )
    return Path(path)


def _fits(name: str) -> bool:
    return name.endswith(EXTENSION) and "gains" not in name
