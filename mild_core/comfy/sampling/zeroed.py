"""Zeroed text: what a model gets where nobody wrote a prompt."""

import comfy.model_patcher
import torch

from ..erasers.eraser import eraser_of, without_text
from ..families import family_of, pooled_width

TOKENS = 77
"""Length of a zeroed text: CLIP's. Zeroed tokens are all alike, so their number does not matter."""

OF_THE_TEXT = ("pooled_output", "conditioning_llama3")
"""Further tensors of a text beside its tokens (HiDream reads a second text encoder's)."""


def zeroed(model: comfy.model_patcher.ModelPatcher) -> list:
    """What ConditioningZeroOut makes of an empty prompt, for a MODEL whose text encoder is not at hand.

    Raises ValueError when the width of the MODEL's text is unknown.
    """
    if not eraser_of(model).reads_text:
        return without_text()
    width = family_of(model).text_width(model)
    if width is None:
        raise ValueError(
            f"positive: a {type(model.model).__name__} model does not tell how wide its text is: connect its CLIP, or "
            "a prompt, be it an empty one."
        )
    values = {}
    pooled = pooled_width(model.model)
    if pooled:
        values["pooled_output"] = torch.zeros(1, pooled)
    return [[torch.zeros(1, TOKENS, width), values]]


def zeroed_like(conditioning: list) -> list:
    """Zeros of the same shapes, without the entries' other values (areas, controls, references, guidance)."""
    result = []
    for text, values in conditioning[:1]:
        kept = {key: torch.zeros_like(values[key]) for key in OF_THE_TEXT if values.get(key) is not None}
        if values.get("attention_mask") is not None:
            kept["attention_mask"] = values["attention_mask"]  # how many tokens there are, not what they mean
        result.append([None if text is None else torch.zeros_like(text), kept])
    return result
