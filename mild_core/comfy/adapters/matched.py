"""A LoRA file on a MODEL or on a CLIP: what of it fits, by the names of its layers and by their sizes."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import comfy.lora
import torch
from comfy.weight_adapter import BOFTAdapter, LoHaAdapter, LoKrAdapter, LoRAAdapter, OFTAdapter, WeightAdapterBase

from .adapter import Adapter, Target
from .formats import routable
from .read_lora import LoraFile

Size = tuple[int, int | None]
"""Rows and columns of a weight, a convolution's kernel among the columns; None: any number of them."""


class Matched(NamedTuple):
    """What of a file one network takes."""

    adapter: Adapter
    modules: frozenset[str]  # names of layers, as the file writes them, of which something fits
    misshapen: Mapping[str, tuple[Size, Size]]  # named alike, but of another size: the one that the file is for, and
    # the network's


def matched(file: LoraFile, network: torch.nn.Module, names: Mapping[str, Target], socket: str) -> Matched:
    """names: layers' names in files, and the weights of this network that they mean (comfy.lora.model_lora_keys_...).

    ValueError with the socket's name where matrices that belong together are missing.
    """
    known = {name: names[name] for name in file.modules if name in names}
    try:
        patches = comfy.lora.load_lora(dict(file.tensors), known, log_missing=False)
    except (KeyError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{socket}: {file.name} is broken: what it says of one layer is not complete ({error}). Fetch it again, or "
            "choose another."
        ) from error
    weights = network.state_dict()
    good, misshapen = {}, {}
    for target, patch in patches.items():
        wanted, there = _shape_for(patch), _shape_of(target, weights)
        if wanted is None or there is None or wanted in (there, (there[0], None)):
            good[target] = patch
        else:
            misshapen[target] = wanted, there
    adapter = Adapter(
        file.name,
        {target: patch for target, patch in good.items() if routable(patch)},
        {target: patch for target, patch in good.items() if not routable(patch)},
    )
    return Matched(
        adapter,
        frozenset(name for name, target in known.items() if any(one in good for one in _meant(target))),
        {
            name: misshapen[one]
            for name, target in known.items()
            for one in _meant(target)
            if one in misshapen and not any(other in good for other in _meant(target))
        },
    )


def _meant(target: Target) -> Iterable[Target]:
    """The weight, and the bias that ComfyUI changes under the same name."""
    return (target, f"{target.removesuffix('.weight')}.bias") if isinstance(target, str) else (target,)


def _shape_of(target: Target, weights: Mapping[str, torch.Tensor]) -> Size | None:
    """Of a weight, or of the part of it that is meant; None: there is none of this name."""
    key, part = (target, None) if isinstance(target, str) else (target[0], target[1])
    weight = weights.get(key)
    if weight is None:
        return None
    shape = list(weight.shape)
    if part is not None:
        shape[part[0]] = part[2]
    return _flat(shape)


def _flat(shape: Iterable[int]) -> Size:
    first, *rest = shape
    return int(first), math.prod(rest)


def _shape_for(patch: Any) -> Size | None:
    """Of the weight that a patch is made for; None where it does not show that."""
    if not isinstance(patch, WeightAdapterBase):
        return _flat(patch[1][0].shape)  # "diff" and "set" are as large as the weight
    weights = patch.weights
    if isinstance(patch, LoRAAdapter):
        up, down, mid, larger = weights[0], weights[1], weights[3], weights[5]
        if larger is not None:
            return None  # it makes the weight larger
        if mid is None and up.flatten(1).shape[1] != down.shape[0]:
            return up.shape[0], -1  # of no weight at all
        return up.shape[0], down[0].numel() * (1 if mid is None else math.prod(mid.shape[2:]))
    if isinstance(patch, LoHaAdapter):
        first, second, small = weights[0], weights[1], weights[5]
        if small is None:
            return first.shape[0], second.shape[1]
        return first.shape[1], second.shape[1] * math.prod(small.shape[2:])
    if isinstance(patch, LoKrAdapter):
        one, two, one_a, one_b, two_a, two_b, small = (weights[place] for place in (0, 1, 3, 4, 5, 6, 7))
        left = one.shape if one is not None else (one_a.shape[0], one_b.shape[1])
        if two is not None:
            right = two.shape
        elif small is None:
            right = (two_a.shape[0], two_b.shape[1])
        else:
            right = (two_a.shape[1], two_b.shape[1], *small.shape[2:])
        return left[0] * right[0], left[1] * math.prod(right[1:])
    if isinstance(patch, (OFTAdapter, BOFTAdapter)):
        *_, count, size, _ = weights[0].shape  # blocks on the diagonal of a rotation of the rows
        return count * size, None
    return None
