"""Zeroed text: what a model gets where nobody wrote a prompt; and what text a MODEL reads, so that it fits."""

import comfy.model_base
import comfy.model_patcher
import torch

from ..builtin_model import ExemplarModel, empty_conditioning

TOKENS = 77
"""Length of a zeroed text: CLIP's. Zeroed tokens are all alike, so their number says nothing."""

OF_THE_TEXT = ("pooled_output", "conditioning_llama3")
"""Further tensors of a text beside its tokens (HiDream reads a second text encoder's)."""


def zeroed(model: comfy.model_patcher.ModelPatcher) -> list:
    """What ConditioningZeroOut makes of an empty prompt, for a MODEL whose text encoder is not at hand.

    Raises ValueError when the MODEL does not tell how wide its text is.
    """
    if isinstance(model.model, ExemplarModel):
        return empty_conditioning()
    width = text_width(model)
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
    """Zeros of the same shapes, without what else hangs on the entries (areas, controls, references, guidance)."""
    result = []
    for text, values in conditioning[:1]:
        kept = {key: torch.zeros_like(values[key]) for key in OF_THE_TEXT if values.get(key) is not None}
        if values.get("attention_mask") is not None:
            kept["attention_mask"] = values["attention_mask"]  # how many tokens there are, not what they say
        result.append([None if text is None else torch.zeros_like(text), kept])
    return result


def text_width(model: comfy.model_patcher.ModelPatcher) -> int | None:
    """Channels of a text token: from a UNet's configuration, or from the layer of a transformer that reads it; None
    where neither tells.
    """
    width = model.model.model_config.unet_config.get("context_dim")
    if isinstance(width, list | tuple):
        width = width[0]
    if width is not None:
        return width
    network = model.get_model_object("diffusion_model")
    for name in ("txt_in", "context_embedder"):  # Flux, Chroma, Qwen-Image; SD3
        width = getattr(getattr(network, name, None), "in_features", None)
        if width is not None:
            return width
    captions = getattr(network, "cap_embedder", None)  # Lumina, Z-Image: a norm, then a linear layer
    return None if captions is None else captions[-1].in_features


def pooled_width(model: comfy.model_base.BaseModel) -> int:
    """Channels of the pooled text; 0 where the model takes none or makes do without."""
    if isinstance(model, comfy.model_base.SDXL):
        return model.adm_channels - 6 * 256  # the rest are six numbers about sizes, 256 channels each
    if isinstance(model, comfy.model_base.SDXLRefiner):
        return model.adm_channels - 5 * 256
    return model.adm_channels
