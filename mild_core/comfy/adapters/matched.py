"""A LoRA file on a MODEL or on a CLIP: what of it fits, by the names of its modules and by their sizes."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import comfy.lora
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter import BOFTAdapter, LoHaAdapter, LoKrAdapter, LoRAAdapter, OFTAdapter, WeightAdapterBase

from .adapter import Adapter, Target
from .formats import fits, module_of, place_of, routable
from .read_lora import LoraFile

Size = tuple[int, int | None]
"""Rows and columns of a weight, a convolution's kernel among the columns; None: any number of them."""


class Matched(NamedTuple):
    """What of a file one network takes."""

    adapter: Adapter
    modules: frozenset[str]  # names of modules, as the file writes them, of which something fits
    misshapen: Mapping[str, tuple[Size, Size]]  # named alike, but of another size: the one that the file is for, and
    # the network's


def matched(
    file: LoraFile,
    patcher: ModelPatcher,
    names: Mapping[str, Target],
    socket: str,
    routes: Callable[[Target, Any], bool] = lambda target, patch: False,
) -> Matched:
    """names: modules' names in files, and the weights of this network that they mean (comfy.lora.model_lora_keys_...);
    routes: whether a patch of ComfyUI's for a weight can be added to what its module gives; the rest is merged.

    ValueError with the socket's name where matrices that belong together are missing.
    """
    known = {name: names[name] for name in file.modules if name in names}
    try:
        patches = comfy.lora.load_lora(dict(file.tensors), known, log_missing=False)
    except (KeyError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{socket}: {file.name} is broken: what it says of one module is not complete ({error}). Fetch it again, "
            "or choose another."
        ) from error
    good, misshapen = {}, {}
    for target, patch in patches.items():
        wanted, there = _size_for(patch), _size_of(target, patcher)
        if wanted is None or there is None or wanted in (there, (there[0], None)):
            good[target] = patch
        else:
            misshapen[target] = wanted, there
    routed = {target: patch for target, patch in good.items() if routes(target, patch)}
    return Matched(
        Adapter(file.name, routed, {target: patch for target, patch in good.items() if target not in routed}),
        frozenset(name for name, target in known.items() if any(one in good for one in _meant(target))),
        {
            name: misshapen[one]
            for name, target in known.items()
            for one in _meant(target)
            if one in misshapen and not any(other in good for other in _meant(target))
        },
    )


def can_route(model: ModelPatcher) -> Callable[[Target, Any], bool]:
    """`routes` for this MODEL: LoRA, LoHa and LoKr on its linear and convolution modules."""

    def routes(target: Target, patch: Any) -> bool:
        # ComfyUI turns such a change around: norm_out of Diffusers' names.
        if not isinstance(target, str) and len(target) > 2:
            return False
        place, module = place_of(target), module_of(model, target)
        return place is not None and module is not None and routable(patch) and fits(patch, module, place)

    return routes


def _meant(target: Target) -> Iterable[Target]:
    """The weight, and the bias that ComfyUI changes under the same name."""
    return (target, f"{target.removesuffix('.weight')}.bias") if isinstance(target, str) else (target,)


def _size_of(target: Target, patcher: ModelPatcher) -> Size | None:
    """Of a weight, or of the part of it that is meant; None: there is none of this name.

    By the module where it says its size: what is quantised may be stored in another.
    """
    key, part = (target, None) if isinstance(target, str) else target[:2]
    path, _, name = key.rpartition(".")
    try:
        module = patcher.get_model_object(path)
        shape = list(getattr(module, name).shape)
    except AttributeError:
        return None
    if name == "weight" and hasattr(module, "in_features"):
        shape = [module.out_features, module.in_features]
    if part is not None:
        shape[part[0]] = part[2]
    return _flat(shape)


def _flat(shape: Iterable[int]) -> Size:
    first, *rest = shape
    return int(first), math.prod(rest)


def _size_for(patch: Any) -> Size | None:
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
