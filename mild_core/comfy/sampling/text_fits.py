"""Whether a CONDITIONING is text that a MODEL can read. Said before sampling, in words, and not by a matrix product."""

import comfy.model_base
import comfy.model_patcher
import comfy.supported_models
from torch import Tensor

from .zeroed import pooled_width, text_width

_BY_CONFIGURATION = (
    comfy.supported_models.SD15,
    comfy.supported_models.SD20,
    comfy.supported_models.SDXL,
    comfy.supported_models.SDXLRefiner,
)
_BY_CLASS = (
    comfy.model_base.Flux,
    comfy.model_base.SD3,
    comfy.model_base.QwenImage,
    comfy.model_base.Lumina2,
)
"""Models that read the text as it is. Others may first transform it, so nothing is held against a width there."""

_WHOSE = {
    768: "SD1.5's",
    1024: "SD2's",
    1280: "the SDXL refiner's",
    2048: "SDXL's",
    2304: "Lumina's",
    2560: "Z-Image's",
    3584: "Qwen-Image's",
    4096: "that of Flux and SD3",
}
"""Who gives text of so many channels, for the message."""


def check_text(model: comfy.model_patcher.ModelPatcher, conditioning: list, socket: str) -> None:
    """Raise ValueError, with the socket's name, if the CONDITIONING is another model family's text.

    Entries without text pass, and so does everything where the MODEL does not say what it reads.
    """
    known = isinstance(model.model.model_config, _BY_CONFIGURATION) or isinstance(model.model, _BY_CLASS)
    width = text_width(model) if known else None
    for text, values in conditioning:
        if width is not None and isinstance(text, Tensor) and text.shape[-1] != width:
            raise ValueError(
                f"{socket}: its text has {channels(text.shape[-1])}, but this MODEL "
                f"({type(model.model.model_config).__name__}) reads {channels(width)}. {_remedy(socket)}"
            )
        _check_pooled(model, values, socket)


def _check_pooled(model: comfy.model_patcher.ModelPatcher, values: dict, socket: str) -> None:
    """The pooled text: models differ in whether they need it, and how wide."""
    base, pooled = model.model, values.get("pooled_output")
    width = None if pooled is None else pooled.shape[-1]
    if isinstance(base, comfy.model_base.SDXL | comfy.model_base.SDXLRefiner):
        given = "unclip_conditioning" in values  # a picture may stand in its place
        fits = given if width is None else width == pooled_width(base)
    elif isinstance(base, comfy.model_base.SD3):
        fits = "pooled_output" in values if width is None else width == pooled_width(base)
    elif isinstance(base, comfy.model_base.Flux) and not isinstance(base, comfy.model_base.Chroma):
        # It takes zeros for none, and cuts what is too wide.
        fits = width is None or width >= (base.model_config.unet_config.get("vec_in_dim") or 0)
    else:
        return
    if not fits:
        came = "none" if width is None else f"one of {width:,} channels"
        raise ValueError(
            f"{socket}: this MODEL ({type(base.model_config).__name__}) needs a pooled text beside the tokens "
            f"(pooled_output) that fits it, and there is {came}. {_remedy(socket)}"
        )


def channels(width: int) -> str:
    """How wide a text is, in words, and whose such texts are."""
    whose = f" ({_WHOSE[width]})" if width in _WHOSE else ""
    return f"{width:,} channels{whose}"


def _remedy(socket: str) -> str:
    if socket == "clip":
        return "Connect the CLIP that belongs to this model, or none."
    return "Encode the prompt with the CLIP that belongs to this model, or connect nothing."
