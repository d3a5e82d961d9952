"""The CONDITIONING of a layer: what the artist connected, or zeros; and what belongs to this layer alone."""

import comfy.model_base
import comfy.model_patcher
import node_helpers
import torch
from torch import Tensor

from ... import boxes
from ...fill import area_resize
from ...growth import grow
from ...scene import Layer
from ..builtin_model import ExemplarModel, empty_conditioning

TOKENS = 77
"""Length of a zeroed text: CLIP's. Zeroed tokens are all alike, so their number says nothing."""

SURELY = 0.9
"""From this probability on a pixel of a hidden person is hers: what is behind her cannot be seen there."""

DEEP = 12
"""Pixels inside where she surely is: nearer to her outline patches still hold some of the ground."""

SAME_ASPECT = 0.01
"""A reference whose aspect is as near as this to the photo's is taken for a frame of the same camera."""


def complete(
    model: comfy.model_patcher.ModelPatcher, positive: list | None, negative: list | None
) -> tuple[list, list]:
    """Positive and negative; what is missing is zeroed text of the shape of the other, or of the shape the MODEL reads.

    Raises ValueError when both are missing and the MODEL does not tell how wide its text is.
    """
    if positive is None:
        positive = _zeroed_like(negative) if negative is not None else zeroed(model)
    if negative is None:
        negative = _zeroed_like(positive)
    return positive, negative


def zeroed(model: comfy.model_patcher.ModelPatcher) -> list:
    """What ConditioningZeroOut makes of an empty prompt, for a MODEL whose text encoder is not at hand."""
    if isinstance(model.model, ExemplarModel):
        return empty_conditioning()
    values = {}
    pooled = _pooled_width(model.model)
    if pooled:
        values["pooled_output"] = torch.zeros(1, pooled)
    return [[torch.zeros(1, TOKENS, _text_width(model)), values]]


def for_layer(
    conditioning: list,
    layer: Layer,
    photo_size: tuple[int, int],
    allowed: Tensor,
    inpaint: dict,
    plate: Tensor | None = None,
) -> list:
    """The same CONDITIONING with this layer's inpaint channels, allowed pixels and cropped references in every entry.

    allowed [1, h, w] at the size of the layer's latent; inpaint: concat_latent_image and concat_mask, or empty; plate
    [h, w, 3]: what a person is painted on (None: the neutral ground). She gets no references: they show the place
    without her.
    """
    result = []
    values = {**inpaint, "mild_allowed": allowed}
    if layer.likely is not None and layer.ground is not None:
        ground = layer.pixels.new_tensor(layer.ground).expand_as(layer.pixels) if plate is None else plate
        # Where she surely goes on no ground is seen, however much it looks like her.
        seen = grow(layer.likely < SURELY, DEEP)[..., None].to(ground)
        values |= {"mild_ground": torch.cat([ground, seen], -1), "mild_references": None}
    for entry in node_helpers.conditioning_set_values(conditioning, values):
        references = entry[1].get("mild_references")
        if references is not None:
            entry[1]["mild_references"] = [_cropped(picture, layer, photo_size) for picture in references]
        result.append(entry)
    return result


def _cropped(picture: Tensor, layer: Layer, photo_size: tuple[int, int]) -> Tensor:
    """A reference [h, w, c] of the photo's aspect is laid over it and cropped like the layer; others stay whole."""
    height, width = photo_size
    if abs(picture.shape[1] * height / (picture.shape[0] * width) - 1) > SAME_ASPECT:
        return picture
    return boxes.cut(area_resize(picture.movedim(-1, 0)[None], photo_size)[0].movedim(0, -1), layer.box)


def _zeroed_like(conditioning: list) -> list:
    """Zeros of the same shapes, without anything else that hangs on the entries (areas, controls, references)."""
    result = []
    for text, values in conditioning[:1]:
        pooled = values.get("pooled_output")
        result.append([torch.zeros_like(text), {} if pooled is None else {"pooled_output": torch.zeros_like(pooled)}])
    return result


def _text_width(model: comfy.model_patcher.ModelPatcher) -> int:
    """Channels of a text token: from a UNet's configuration, or from the layer of a transformer that reads it."""
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
    if captions is not None:
        return captions[-1].in_features
    raise ValueError(
        f"positive: a {type(model.model).__name__} model does not tell how wide its text is: connect a prompt, "
        "be it an empty one."
    )


def _pooled_width(model: comfy.model_base.BaseModel) -> int:
    """Channels of the pooled text; 0 where the model takes none or makes do without."""
    if isinstance(model, comfy.model_base.SDXL):
        return model.adm_channels - 6 * 256  # the rest are six numbers about sizes, 256 channels each
    if isinstance(model, comfy.model_base.SDXLRefiner):
        return model.adm_channels - 5 * 256
    return model.adm_channels
