"""The weights of adapters as a MODEL of their own beside the MODEL, so ComfyUI loads, counts and frees them.

It also makes them anew for each further GPU. So who needs them asks the MODEL at hand for those beside it, by name.
"""

from collections.abc import Sequence
from uuid import UUID, uuid4

import comfy.model_management
import comfy.model_patcher
import torch

from .adapter import Adapter
from .formats import Part, parts_of

KEY = "mild_adapters"


class Weights(torch.nn.Module):
    """Of several adapters."""

    def __init__(self, adapters: Sequence[Adapter], dtype: torch.dtype):
        super().__init__()
        self.parts: list[list[Part]] = [parts_of(adapter, dtype) for adapter in adapters]
        self.all = torch.nn.ModuleList(part for parts in self.parts for part in parts)


def put_beside(model: comfy.model_patcher.ModelPatcher, adapters: Sequence[Adapter], dtype: torch.dtype) -> UUID:
    """The MODEL is changed itself: give a clone. The name by which `beside` has them."""
    own, name = _patcher(adapters, dtype, model.load_device), uuid4()
    own.set_attachments(KEY, name)
    model.set_additional_models(KEY, [*model.get_additional_models_with_key(KEY), own])
    return name


def beside(model: comfy.model_patcher.ModelPatcher) -> dict[UUID, Weights]:
    """All of this MODEL's, by name: on its own device, where it is a copy on another GPU."""
    return {own.get_attachment(KEY): own.model for own in model.get_additional_models_with_key(KEY)}


def _patcher(
    adapters: Sequence[Adapter], dtype: torch.dtype, device: torch.device, disable_dynamic: bool = False
) -> comfy.model_patcher.ModelPatcher:
    # As the checkpoint's own: with DynamicVRAM ComfyUI would have to free all else for a MODEL of the other class.
    patcher_class = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    patcher = patcher_class(
        Weights(adapters, dtype), load_device=device, offload_device=comfy.model_management.unet_offload_device()
    )
    patcher.cached_patcher_init = (_patcher, (adapters, dtype, device))
    return patcher
