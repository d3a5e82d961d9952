"""What a file is that does not fit, in words: no LoRA at all, or one for another kind of models."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..families import lora_made_for
from .modules import of_text, width_of

CONTROL = "lora_controlnet"
"""A key that marks Control-LoRAs."""

_KINDS = (
    ("an embedding (textual inversion)", ("string_to_param", "emb_params", "clip_l", "clip_g", "t5xxl"), True),
    ("a ControlNet", (CONTROL, "control_model.", "controlnet_", "input_hint_block.", "control_blocks."), False),
    ("an IP-Adapter", ("ip_adapter.", "image_proj."), False),
    ("a checkpoint", ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "conditioner."), False),
    ("a checkpoint's diffusion model", ("input_blocks.", "down_blocks.", "double_blocks.", "joint_blocks.",
                                        "transformer_blocks.", "noise_refiner.", "diffusion_model.", "blocks."), False),
    ("a text encoder", ("text_model.", "encoder.block.", "model.layers."), False),
    ("a VAE", ("decoder.", "encoder.", "taesd_"), False),
)  # fmt: skip
"""Kinds of files that get into the wrong folder, how their keys begin, and whether these are whole keys."""

SHOWN = 2
"""Names of modules in a sentence."""


def no_lora(keys: Iterable[str], modules: Mapping[str, tuple[str, ...]]) -> str | None:
    """What a file with these keys is in place of a LoRA; None: it is one. modules: what was found of one in it."""
    named = set(keys)
    kind = next((kind for kind, starts, whole in _KINDS if _has(named, starts, whole)), None)
    # A checkpoint may happen to have a parameter called alpha; a Control-LoRA is made of small matrices and of much
    # that no LoRA has.
    if modules and (kind is None or 2 * sum(map(len, modules.values())) > len(named) and CONTROL not in named):
        return None
    return kind or "something else, without any module of a LoRA"


def _has(keys: set[str], starts: tuple[str, ...], whole: bool) -> bool:
    return any(start in keys if whole else any(key.startswith(start) for key in keys) for start in starts)


def made_for(tensors: Mapping[str, Any], modules: Iterable[str], about: Mapping[str, str]) -> str | None:
    """The models that a file seems to be made for: by its modules, else by what its trainer noted; None: unknown."""
    told = told_by_modules(tensors, modules)
    if told is not None:
        return told[0]
    return about.get("modelspec.architecture") or about.get("ss_base_model_version")


def told_by_modules(tensors: Mapping[str, Any], modules: Iterable[str]) -> tuple[str, list[str]] | None:
    """The same by its modules alone, and which of them tell it."""
    return lora_made_for({name: width_of(name, tensors) for name in modules if not of_text(name)})


def such_as(modules: Iterable[str]) -> str:
    """A few of them: "such as a, b"."""
    names = list(modules)
    return f"such as {', '.join(names[:SHOWN])}" if len(names) > SHOWN else ", ".join(names)
