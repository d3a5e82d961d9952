"""The modules that a LoRA file names: trainers write several keys for each, all with the module's name in front."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_ENDS = (
    r"lora_(?:up|down|mid)\.weight",
    r"lora\.(?:up|down)\.weight",
    r"lora_linear_layer\.(?:up|down)\.weight",
    r"lora_[AB](?:\.default)?(?:\.weight)?",
    r"lora_magnitude_vector(?:\.default)?(?:\.weight)?",
    r"hada_(?:w[12]_[ab]|t[12])",
    r"lokr_(?:w[12](?:_[ab])?|t2)",
    r"[ab][12]\.weight",
    r"oft_(?:blocks|diag)",
    r"alpha|dora_scale|rescale|reshape_weight|diff|diff_b|set_weight|w_norm|b_norm",
)
_KEY = re.compile(rf"(?P<module>.+?)(?:_lora\.(?:up|down)\.weight|\.(?:{'|'.join(_ENDS)}))")

_OF_TEXT = re.compile(r"lora_(?:prior_)?te\d?_|lycoris_te\d?_|text_encoders?(?:_\d)?\.|te\d?[._]")
"""How names of text encoders' modules begin, in the files of the usual trainers."""

_WIDTHS = (("lora_down.weight", 1), ("lora_A.weight", 1), ("lora_A.default.weight", 1), ("lora.down.weight", 1),
           ("lora_linear_layer.down.weight", 1), ("lora_A", 1), ("hada_w1_b", 1))  # fmt: skip
"""Keys of matrices that a module's input meets, and the dimension in which their width stands."""


def modules_of(tensors: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names of modules, and their keys; without keys of no adapter's format."""
    found: dict[str, list[str]] = {}
    for key in tensors:
        match = _KEY.fullmatch(key)
        if match is not None:
            found.setdefault(match["module"], []).append(key)
    return {name: tuple(keys) for name, keys in found.items()}


def of_text(module: str) -> bool:
    """Whether a module of this name is a text encoder's."""
    return _OF_TEXT.match(module) is not None


def width_of(module: str, tensors: Mapping[str, Any]) -> int | None:
    """Channels that the module reads; None where the format does not show them."""
    for end, dimension in _WIDTHS:
        for joint in (".", "_"):  # diffusers' first files
            matrix = tensors.get(f"{module}{joint}{end}")
            if matrix is not None and matrix.ndim > dimension:
                return int(matrix.shape[dimension])
    return None
