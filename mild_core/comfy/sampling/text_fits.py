"""Checks that a CONDITIONING is text that a MODEL can read, before sampling, where a matrix product would fail."""

import comfy.model_patcher
from torch import Tensor

from ..families import channels, family_of


def check_text(model: comfy.model_patcher.ModelPatcher, conditioning: list, socket: str) -> None:
    """Raise ValueError, with the socket's name, if the CONDITIONING is another model family's text.

    Entries without text pass, and so does everything where it is unknown what the MODEL reads.
    """
    family = family_of(model)
    width = family.text_width(model) if family.reads_as_is else None
    for text, values in conditioning:
        if width is not None and isinstance(text, Tensor) and text.shape[-1] != width:
            raise ValueError(
                f"{socket}: its text has {channels(text.shape[-1])}, but this MODEL "
                f"({type(model.model.model_config).__name__}) reads {channels(width)}. {_remedy(socket)}"
            )
        _check_pooled(model, values, socket)


def _check_pooled(model: comfy.model_patcher.ModelPatcher, values: dict, socket: str) -> None:
    """The pooled text: models differ in whether they need it, and how wide."""
    base, wanted = model.model, family_of(model).pooled
    if wanted is None or wanted.fits(base, values):
        return
    pooled = values.get("pooled_output")
    came = "none" if pooled is None else f"one of {pooled.shape[-1]:,} channels"
    raise ValueError(
        f"{socket}: this MODEL ({type(base.model_config).__name__}) needs a pooled text beside the tokens "
        f"(pooled_output) that fits it, and there is {came}. {_remedy(socket)}"
    )


def _remedy(socket: str) -> str:
    if socket == "clip":
        return "Connect the CLIP that belongs to this model, or none."
    return "Encode the prompt with the CLIP that belongs to this model, or connect nothing."
