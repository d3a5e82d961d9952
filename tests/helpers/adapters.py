"""Random adapters on a MODEL's modules, routed, and merged as ComfyUI merges them."""

import mild.tests.helpers.in_process  # noqa: F401 (puts ComfyUI in place, so it stands first)

# isort: split
import torch
from comfy.weight_adapter import LoHaAdapter, LoKrAdapter, LoRAAdapter
from comfy.weight_adapter.base import factorization

from mild.mild_core.comfy.adapters.adapter import Adapter, Given
from mild.mild_core.comfy.adapters.formats import module_of

FORMATS = ("lora", "lora_middle", "loha", "loha_cp", "lokr", "lokr_whole", "lokr_cp")


def modules_of(model, among=""):
    """Keys of the weights of the MODEL's linear and convolution modules whose names hold `among`, and their shapes."""
    weights = model.model.state_dict()
    return {key: tuple(weights[key].shape) for key in weights if among in key and module_of(model, key) is not None}


def make_weights(kind, shape, rank=4, alpha=2.0, seed=0, size=0.3):
    """An adapter of ComfyUI's own class for a weight of this shape."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(shape, generator=generator) * (size / shape[-1]) ** 0.5

    (outputs, inputs), kernel = shape[:2], shape[2:]
    if kind == "lora":
        return LoRAAdapter(set(), (noise(outputs, rank), noise(rank, inputs, *kernel), alpha, None, None, None))
    if kind == "lora_middle":
        ones = [1] * len(kernel)
        middle = noise(rank, rank, *kernel)
        return LoRAAdapter(set(), (noise(outputs, rank, *ones), noise(rank, inputs, *ones), alpha, middle, None, None))
    columns = inputs * torch.Size(kernel).numel()
    if kind == "loha":
        pairs = noise(outputs, rank), noise(rank, columns), alpha, noise(outputs, rank), noise(rank, columns)
        return LoHaAdapter(set(), (*pairs, None, None, None))
    if kind == "loha_cp":
        pairs = noise(rank, outputs), noise(rank, inputs), alpha, noise(rank, outputs), noise(rank, inputs)
        return LoHaAdapter(set(), (*pairs, noise(rank, rank, *kernel), noise(rank, rank, *kernel), None))
    (a, c), (b, d) = factorization(outputs, 4), factorization(inputs, 4)
    if kind == "lokr":
        low = None, alpha, noise(a, rank), noise(rank, b), noise(c, rank), noise(rank, d * columns // inputs)
        return LoKrAdapter(set(), (None, *low, None, None))
    if kind == "lokr_whole":
        return LoKrAdapter(set(), (noise(a, b), noise(c, d, *kernel), alpha, *[None] * 6))
    if kind == "lokr_cp":
        low = None, alpha, None, None, noise(rank, c), noise(rank, d), noise(rank, rank, *kernel)
        return LoKrAdapter(set(), (noise(a, b), *low, None))
    raise KeyError(kind)


def make_adapter(model, kind="lora", rank=4, seed=0, among="", name="person.safetensors", **more):
    """One on all modules of the MODEL whose names hold `among`."""
    found = modules_of(model, among)
    routed = {key: make_weights(kind, shape, rank, seed=1000 * seed + n, **more)
              for n, (key, shape) in enumerate(found.items())}  # fmt: skip
    return Adapter(name, routed, {})


def given(adapter, *strengths, **named):
    """To rows by their number, or by name."""
    return Given(adapter, {str(number): strength for number, strength in enumerate(strengths)} | named)


def merged(model, *adapters_and_strengths):
    """A clone of the MODEL with (adapter, strength) pairs in its weights."""
    model = model.clone()
    for adapter, strength in adapters_and_strengths:
        assert len(model.add_patches(dict(adapter.routed), strength)) == len(adapter.routed)
    return model
