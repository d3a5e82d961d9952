"""The parts of an adapter on the modules of a MODEL; says what does not fit."""

import comfy.model_patcher
import torch

from .adapter import Adapter
from .formats import Part, fits, module_of, place_of

MOST_NAMED = 4
"""Weights that a sentence names."""


def parts_of(model: comfy.model_patcher.ModelPatcher, adapter: Adapter, dtype: torch.dtype) -> list[Part]:
    """One `Part` for each weight of `adapter.routed`. ValueError where some are not the MODEL's, or of another size."""
    parts, wrong = [], []
    for target, one in adapter.routed.items():
        place, module = place_of(target), module_of(model, target)
        if place is None or module is None or not fits(one, module, place):
            wrong.append(target if isinstance(target, str) else target[0])
        else:
            parts.append(Part(one, place, dtype))
    if wrong:
        names = ", ".join(wrong[:MOST_NAMED]) + (f" and {len(wrong) - MOST_NAMED} more" if wrong[MOST_NAMED:] else "")
        raise ValueError(
            f"lora: {adapter.name} does not fit this model: {len(wrong)} of its {len(adapter.routed)} changes are for "
            f"modules that the model does not have, or of another size ({names}). Take a LoRA that was made for this "
            "kind of model"
        )
    return parts
