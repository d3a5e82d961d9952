"""The formats of adapters as small matrices: what each adds to the output of a module, without the module's weight.

    delta = scale * left (x) (up @ down)

LoRA has `up` and `down`; LoKr a `left`, whose Kronecker product with the rest is the change; LoHa two pairs, whose
changes are multiplied value by value. A pair of ranks r and s is one of rank r * s (the rows of both, each with each),
so that even LoHa needs no product as large as the weight, unless its rank is high.

ComfyUI's classes can compute this too (`h`, for its bypass mode). It is not used: it casts all weights in each call,
forms LoHa's whole change in each call, needs attributes that only the bypass mode sets, and is another one than the
merged weight for convolutions in groups.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import comfy.model_management
import comfy.model_patcher
import torch
from comfy.weight_adapter import LoHaAdapter, LoKrAdapter, LoRAAdapter
from torch import Tensor

from .adapter import Adapter, Target

NETWORK, WEIGHT = "diffusion_model.", ".weight"

DORA = {LoRAAdapter: 4, LoHaAdapter: 7, LoKrAdapter: 8}
"""Formats whose change of a weight is a product of small matrices, and where in `weights` DoRA's norms stand."""


def routable(adapter: Any) -> bool:
    """Whether it adds to a module's output, whatever the weight is: LoRA, LoHa and LoKr do.

    Not so DoRA (scales the weight), OFT and BOFT (turn it), GLoRA (reads it), ComfyUI's patches "diff" and "set", and a
    LoRA that makes the weight larger (Flux Depth and Canny): the model would have to be given more channels.
    """
    place = DORA.get(type(adapter))
    if place is None or adapter.weights[place] is not None:
        return False
    return not isinstance(adapter, LoRAAdapter) or adapter.weights[5] is None


class Place(NamedTuple):
    """What of a module of the network an adapter changes."""

    path: str  # the module's, within the network
    outputs: tuple[int, int] | None = None  # start and length, of a part of its output channels
    inputs: tuple[int, int] | None = None


def place_of(target: Target) -> Place | None:
    """From a key of ComfyUI's patches; None where that is no module's weight or a part of it that cannot be told."""
    key, part = (target, None) if isinstance(target, str) else target
    if not key.startswith(NETWORK) or not key.endswith(WEIGHT):
        return None
    path = key[len(NETWORK) : -len(WEIGHT)]
    if part is None:
        return Place(path)
    dimension, start, length = part
    return {0: Place(path, (start, length)), 1: Place(path, None, (start, length))}.get(dimension)


def module_of(model: comfy.model_patcher.ModelPatcher, target: Target) -> Any:
    """The linear or convolution module of the MODEL whose weight this is; None where it is none's."""
    place = place_of(target)
    if place is None:
        return None
    try:
        module = model.get_model_object(NETWORK + place.path)
    except (AttributeError, IndexError, KeyError):
        return None
    known = is_convolution(module) or hasattr(module, "in_features")
    return module if known and not getattr(module, "transposed", False) else None


def is_convolution(module: Any) -> bool:
    """Else it is linear. Quantised modules of other packs are told by the same attributes as PyTorch's."""
    return hasattr(module, "kernel_size") and hasattr(module, "out_channels")


def fits(adapter: Any, module: Any, place: Place) -> bool:
    """Whether the change has the size of the module's weight, or of the part of it that it is for."""
    if is_convolution(module):
        if module.groups > 1 and (place.outputs or place.inputs):
            return False
        outputs, inputs = module.out_channels, module.in_channels // module.groups
        kernel = torch.Size(module.kernel_size).numel()
    else:
        outputs, inputs, kernel = module.out_features, module.in_features, 1
    wanted = place.outputs[1] if place.outputs else outputs, (place.inputs[1] if place.inputs else inputs) * kernel
    matrices = Matrices.of(adapter)
    pairs = [(matrices.up, matrices.down), *([] if matrices.second is None else [matrices.second])]
    left = (1, 1) if matrices.left is None else tuple(matrices.left.shape)
    return all(
        (left[0] * len(down if up is None else up), left[1] * down.shape[1]) == wanted
        and (up is None or up.shape[1] == len(down))
        for up, down in pairs
    )


class Matrices(NamedTuple):
    """An adapter's, each with two dimensions: a kernel's places lie beside each other after the input's channels."""

    up: Tensor | None  # [outputs, rank]; None: `down` is the whole
    down: Tensor  # [rank, inputs * kernel]
    scale: float
    left: Tensor | None = None  # of LoKr
    second: tuple[Tensor, Tensor] | None = None  # LoHa's other up and down

    @classmethod
    def of(cls, adapter: Any) -> "Matrices":
        """ValueError for a format that is not `routable`."""
        if not routable(adapter):
            raise ValueError(f"lora: {type(adapter).__name__} cannot be told apart by the rows of a batch")
        read: Callable[[Sequence[Any]], Matrices] = {LoRAAdapter: _lora, LoHaAdapter: _loha, LoKrAdapter: _lokr}[
            type(adapter)
        ]
        return read(adapter.weights)


def _lora(weights: Sequence[Any]) -> Matrices:
    up, down, alpha, middle = weights[:4]
    scale = 1.0 if alpha is None else alpha / down.shape[0]
    if middle is not None:  # down 1 x 1, then the kernel between r and r channels, then up 1 x 1
        down = torch.einsum("or...,ri->oi...", middle.float(), down.flatten(1).float())
    return Matrices(up.flatten(1), down.flatten(1), scale)


def _loha(weights: Sequence[Any]) -> Matrices:
    up, down, alpha, second_up, second_down, kernel, second_kernel = weights[:7]
    scale = 1.0 if alpha is None else alpha / down.shape[0]
    if kernel is not None:  # CP decomposition
        up, down = up.T, _with_kernel(kernel, down)
        second_up, second_down = second_up.T, _with_kernel(second_kernel, second_down)
    return Matrices(up, down, scale, second=(second_up, second_down))


def _lokr(weights: Sequence[Any]) -> Matrices:
    left, down, alpha, left_up, left_down, up, low_down, kernel = weights[:8]
    rank = None  # of what is decomposed; where both are, of the second: as ComfyUI merges them
    if left is None:
        rank, left = len(left_down), left_up.float() @ left_down.float()
    if down is None:
        rank, down = len(low_down), low_down
        if kernel is not None:
            up, down = up.T, _with_kernel(kernel, down)
    else:
        up = None
    return Matrices(up, down.flatten(1), 1.0 if alpha is None or rank is None else alpha / rank, left)


def _with_kernel(kernel: Tensor, down: Tensor) -> Tensor:
    """[i, r * kernel] from [i, j, kernel] and [j, r]."""
    return torch.einsum("ij...,jr->ir...", kernel.float(), down.float()).flatten(1)


class Part(torch.nn.Module):
    """What one adapter adds to one module. Its parameters are cast once, to the type in which the model computes, and
    not in each call.
    """

    def __init__(self, adapter: Any, place: Place, dtype: torch.dtype):
        super().__init__()
        self.place = place
        matrices = Matrices.of(adapter)
        self.scale = matrices.scale
        for name, matrix in zip(
            ("up", "down", "left", "second_up", "second_down"),
            (matrices.up, matrices.down, matrices.left, *(matrices.second or (None, None))),
            strict=True,
        ):
            value = None if matrix is None else torch.nn.Parameter(matrix.to(dtype).contiguous(), requires_grad=False)
            self.register_parameter(name, value)

    def matrices(self, like: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """up, down and left, on the device and in the type of `like`."""
        up, down, left, second_up, second_down = (
            None if matrix is None else comfy.model_management.cast_to(matrix, like.dtype, like.device)
            for matrix in (self.up, self.down, self.left, self.second_up, self.second_down)
        )
        if second_up is not None:
            rank = up.shape[1] * second_up.shape[1]
            if rank * (len(up) + down.shape[1]) < len(up) * down.shape[1]:
                up = (up[:, :, None] * second_up[:, None]).flatten(1)
                down = (down[:, None] * second_down[None]).flatten(0, 1)
            else:
                up, down = None, (up @ down) * (second_up @ second_down)
        return up, down, left


def parts_of(adapter: Adapter, dtype: torch.dtype) -> list[Part]:
    """One for each weight of `adapter.routed`, which matched.can_route has let through: so each has a place."""
    return [Part(one, cast(Place, place_of(target)), dtype) for target, one in adapter.routed.items()]
