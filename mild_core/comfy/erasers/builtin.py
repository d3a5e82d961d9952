"""The built-in model: how it is loaded, which values it gets for a layer, and how it differs from a checkpoint."""

from collections.abc import Mapping

import comfy.model_management
import comfy.model_patcher
import torch
from torch import Tensor

from ... import exemplar
from ...image.fill import area_resize
from ...image.growth import grow
from ...layers.ground import certain_pixels
from ...scene import Box, Layer, rgb
from .eraser import Eraser, attach, without_text
from .exemplar_model import DONE, LOOKED, ExemplarModel

MODELS = ("exemplar",)

CHECKPOINT_TEMPLATE = "05 Erase people with SD15 inpaint"

CERTAIN = 0.9
"""Probability (0..1) from which a pixel counts as the hidden person's, so that nothing behind is seen there."""

GROUND_MARGIN = 12
"""Dilation in pixels of the area where the ground may be seen: patches that near to the outline still hold some of it.
"""


class Builtin(Eraser):
    """It copies patches of the photo into its holes, and chooses them by the layer's own rules."""

    name = "the Built-in Model"
    reads_text = False
    fills_itself = True
    has_weights = False
    row_by_row = True
    keeps_apart = True
    per_row = ("mild_references", "mild_ground", "mild_crop")
    done = DONE
    looked = LOOKED

    def __init__(self, quality: exemplar.Quality):
        self.quality = quality

    def native_pixels(self, model: comfy.model_patcher.ModelPatcher) -> int | None:
        """Any size."""
        return None

    def multiple(self, model: comfy.model_patcher.ModelPatcher) -> int:
        """Any pixel."""
        return 1

    def step_work(self, sigmas: Tensor, layer: Layer, size: tuple[int, int]) -> list[float]:
        """Little noise means fine levels, and many more patches to compare."""
        shape = exemplar.shape_of(layer.hole, layer.allowed, size)
        guided = layer.likely is not None
        return [exemplar.planned_work(float(sigma), shape, self.quality, guided) for sigma in sigmas[:-1]]

    def doubt(self, layer: Layer, conds: Mapping[str, list[dict]]) -> str | None:
        """Where the photo holds little that is like the hole's surroundings, and no reference may hold more."""
        if layer.likely is not None or any("mild_references" in cond for entries in conds.values() for cond in entries):
            return None
        unlike = exemplar.unlikeness(layer.pixels, layer.hole, layer.allowed)
        if unlike is None or unlike <= exemplar.TOO_UNLIKE:
            return None
        return (
            f"{layer.name}: little in this photo is like what surrounds the hole, so the Built-in Model will hardly "
            f"continue it well. An inpaint checkpoint can: see the template {CHECKPOINT_TEMPLATE}. A reference photo "
            "of the place helps, too."
        )

    def layer_values(self, layer: Layer, hole: Tensor, plate: Tensor | None) -> dict:
        """The pixels it may look at, and what a person is painted on.

        A person gets no references: they show the place without the person.
        """
        allowed = layer.allowed
        if layer.likely is not None:
            allowed = certain_pixels(layer.pixels, layer.alpha, layer.hole, plate)
        allowed = area_resize(allowed[None, None].float(), (hole.shape[-2], hole.shape[-1]))[0]
        values: dict[str, Tensor | None] = {"mild_allowed": allowed}
        if layer.likely is not None and layer.ground is not None:
            ground = layer.pixels.new_tensor(layer.ground).expand_as(layer.pixels) if plate is None else plate
            # Where the person is certain no ground is seen, however much it looks like the person.
            seen = grow(layer.likely < CERTAIN, GROUND_MARGIN)[..., None].to(ground)
            values |= {"mild_ground": torch.cat([ground, seen], -1), "mild_references": None}
        return values

    def framed_values(self, own: Box) -> dict:
        """How coarse it begins depends on the size of what it works on, so that stays the layer's own crop."""
        return {"mild_crop": own}


def load_model(
    name: str = MODELS[0], quality: str = exemplar.NORMAL, disable_dynamic: bool = False
) -> comfy.model_patcher.ModelPatcher:
    """A fresh MODEL of the built-in kind `name`; quality: one of exemplar.QUALITIES."""
    if name not in MODELS:
        raise ValueError(f"model: there is no built-in model {name!r}, only {', '.join(MODELS)}.")
    if quality not in exemplar.QUALITIES:
        raise ValueError(f"quality: got {quality!r}, expected one of {', '.join(exemplar.QUALITIES)}.")
    effort = exemplar.QUALITIES[quality]
    # ComfyUI reloads a model by its cached_patcher_init where it needs a second copy of it (hooks, several GPUs).
    patcher_class = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    patcher = patcher_class(
        ExemplarModel(effort),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    patcher.cached_patcher_init = (load_model, (name, quality))
    attach(patcher, Builtin(effort))
    return patcher


def empty_conditioning(references: Tensor | None = None) -> list:
    """A CONDITIONING without text (KSampler requires one); references [B, H, W, C] in 0..1 travel in it."""
    values = {} if references is None else {"mild_references": [rgb(picture.float()) for picture in references]}
    return without_text(**values)
