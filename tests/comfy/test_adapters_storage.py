"""Adapters routed by row: however weights are stored, and in whatever part of the memory."""

import comfy.model_management
import pytest
import torch
from comfy.model_patcher import ModelPatcher

from mild.mild_core.comfy.adapters.adapter import Adapter
from mild.mild_core.comfy.adapters.route import KEY, route
from mild.mild_core.comfy.adapters.weights import beside
from mild.tests.helpers.adapters import given, make_adapter, make_weights, merged
from mild.tests.helpers.attention import near, sampled
from mild.tests.helpers.tiny_models import make

PLATE, PERSON = 1, 2
"""Seeds."""


def attention(model, seed, **more):
    return make_adapter(model, seed=seed, among="attn", name=f"{seed}.safetensors", size=1.0, **more)


def test_weights_in_float8():
    """As computing with the rounded weights: the adapter itself is not rounded to them."""
    tiny, exact = make("flux", dtype=torch.float8_e4m3fn), make("flux")
    stored = tiny.model.model.state_dict()
    for key, weight in exact.model.model.state_dict().items():
        weight.copy_(stored[key])
    person = make_adapter(exact.model, seed=PERSON, among="blocks")
    rows = sampled(tiny, route(tiny.model, [given(person, 1.0, 0.0)]), batch=2)
    assert near(rows[0], sampled(exact, merged(exact.model, (person, 1.0)), batch=2)[0])
    assert near(rows[1], sampled(tiny, batch=2)[1])


def test_weights_in_half_precision():
    tiny = make("flux", dtype=torch.bfloat16)
    person = make_adapter(tiny.model, seed=PERSON)
    rows = sampled(tiny, route(tiny.model, [given(person, 1.0, 0.0)]), batch=2)
    assert near(rows[0], sampled(tiny, merged(tiny.model, (person, 1.0)), batch=2)[0], 0.02)
    assert torch.equal(rows[1], sampled(tiny, batch=2)[1])


def test_files_in_half_precision(tiny):
    """The same numbers in a model that computes in float32."""
    tiny = tiny("flux")
    person = attention(tiny.model, PERSON)
    for one in person.routed.values():
        one.weights = tuple(value.half() if isinstance(value, torch.Tensor) else value for value in one.weights)
    expected = sampled(tiny, merged(tiny.model, (person, 1.0)))
    assert near(sampled(tiny, route(tiny.model, [given(person, 1.0)])), expected)


class Packed(torch.nn.Module):
    """A linear layer as GGUF and other quantised ones are: bytes in place of a weight, unpacked in each call."""

    def __init__(self, linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = torch.nn.Parameter(linear.weight.detach().half().view(torch.uint8), requires_grad=False)
        self.bias = linear.bias

    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight.view(torch.float16).to(x.dtype), self.bias)


def test_layers_that_another_pack_quantised(tiny):
    tiny = tiny("flux")
    person = attention(tiny.model, PERSON)
    packed, rounded = tiny.model.clone(), tiny.model.clone()
    for key in person.routed:
        name = key.removesuffix(".weight")
        linear = tiny.model.get_model_object(name)
        packed.add_object_patch(name, Packed(linear))
        weight = torch.nn.Parameter(linear.weight.detach().half().float(), requires_grad=False)
        rounded.add_object_patch(f"{name}.weight", weight)
    rows = sampled(tiny, route(packed, [given(person, 1.0, 0.0)]), batch=2)
    assert near(rows[0], sampled(tiny, route(rounded, [given(person, 1.0, 0.0)]), batch=2)[0])
    assert near(rows[1], sampled(tiny, packed, batch=2)[1])
    assert not near(rows[0], sampled(tiny, packed, batch=2)[0], 0.01)


def test_a_model_that_is_loaded_in_part(monkeypatch):
    """As with --lowvram: ComfyUI loads what fits, of the adapters too, and casts the rest layer by layer."""
    tiny = make("flux")
    person, style = (make_adapter(tiny.model, seed=seed, among="blocks") for seed in (PERSON, 3))
    model = route(merged(tiny.model, (style, 0.5)), [given(person, 1.0, 0.0)])
    whole = sampled(tiny, model, batch=2)
    comfy.model_management.unload_all_models()
    stock, partly = comfy.model_management.LoadedModel.model_load, []

    def load(self, lowvram_model_memory=0, force_patch_weights=False):
        result = stock(self, self.model.model_size() // 3, force_patch_weights)
        partly.append(self.model.loaded_size() < self.model.model_size())
        return result

    monkeypatch.setattr(comfy.model_management.LoadedModel, "model_load", load)
    assert near(sampled(tiny, model, batch=2), whole) and partly == [True, True]


def test_comfyui_loads_and_frees_the_adapters(tiny):
    tiny = tiny("flux")
    person = attention(tiny.model, PERSON)
    model = route(tiny.model, [given(person, 1.0)])
    (own,) = model.get_nested_additional_models()
    size = sum(matrix.numel() for one in person.routed.values() for matrix in one.weights[:2])
    assert own.model_size() == 4 * size
    sampled(tiny, model)
    loaded = [each.model for each in comfy.model_management.current_loaded_models]
    assert any(own.is_clone(each) for each in loaded) and own.loaded_size() == own.model_size()
    comfy.model_management.unload_all_models()
    assert own.loaded_size() == 0


def test_a_part_of_a_fused_layer(tiny):
    """As in Flux LoRAs from diffusers, which have q, k and v apart."""
    tiny = tiny("flux")
    key, width = "diffusion_model.double_blocks.0.img_attn.qkv.weight", 64
    parts = {(key, (0, width * n, width)): make_weights("lora", (width, width), seed=n, size=3.0) for n in range(3)}
    person = Adapter("person.safetensors", parts, {})
    rows = sampled(tiny, route(tiny.model, [given(person, 1.0, 0.0)]), batch=2)
    assert near(rows[0], sampled(tiny, merged(tiny.model, (person, 1.0)), batch=2)[0])
    assert not near(rows[0], sampled(tiny, batch=2)[0], 0.001)


SEVERAL_GPUS = pytest.mark.skipif(
    not hasattr(ModelPatcher, "match_multigpu_clones"), reason="this ComfyUI has no copies of a MODEL for other GPUs"
)
OTHER_GPU = torch.device("cpu", 0)
"""Not equal to the device that the MODEL is on, and there on every machine."""


@pytest.fixture
def loaded():
    """As from a loader of ComfyUI's: it knows how it is loaded anew."""
    tiny = make("flux")
    tiny.model.cached_patcher_init = (lambda **_: make("flux").model, ())
    return tiny


@SEVERAL_GPUS
def test_on_another_gpu(loaded):
    """Select Model Device, after the adapters: the copy has weights of its own, and needs none of the first one's."""
    person = attention(loaded.model, PERSON)
    model = route(loaded.model, [given(person, 1.0, 0.0)])
    copy = model.deepclone_multigpu(new_load_device=OTHER_GPU)
    (own,), (first,) = (each.get_additional_models_with_key(KEY) for each in (copy, model))
    assert own.load_device == OTHER_GPU and not own.is_clone(first)
    assert beside(copy).keys() == beside(model).keys()
    for matrix in first.model.parameters():
        matrix.data = torch.full_like(matrix, torch.nan)
    rows = sampled(loaded, copy, batch=2)
    assert near(rows[0], sampled(loaded, merged(loaded.model, (person, 1.0)), batch=2)[0])
    assert near(rows[1], sampled(loaded, batch=2)[1])


@SEVERAL_GPUS
@pytest.mark.parametrize("order", ["before", "after"])
def test_on_several_gpus(loaded, order):
    """MultiGPU CFG Split, before or after the adapters: cond and uncond on two devices, each with its own weights."""
    plate, person = attention(loaded.model, PLATE), attention(loaded.model, PERSON)

    def split(model):
        model = model.clone()
        copy = model.deepclone_multigpu(new_load_device=OTHER_GPU)
        copy.is_multigpu_base_clone = True
        model.set_additional_models("multigpu", [copy])
        model.match_multigpu_clones()
        return model

    def adapted(model):
        return route(route(model, [given(plate, 0.0, 0.7)]), [given(person, 1.0, 0.0)])

    model = adapted(split(loaded.model)) if order == "before" else split(adapted(loaded.model))
    (copy,) = model.get_additional_models_with_key("multigpu")
    ran = []
    for each in (model, copy):
        each.model.diffusion_model.register_forward_pre_hook(lambda network, args: ran.append(network))
    rows = sampled(loaded, model, batch=2)
    assert {id(network) for network in ran} == {id(each.model.diffusion_model) for each in (model, copy)}
    assert near(rows[0], sampled(loaded, merged(loaded.model, (person, 1.0)), batch=2)[0])
    assert near(rows[1], sampled(loaded, merged(loaded.model, (plate, 0.7)), batch=2)[1])
