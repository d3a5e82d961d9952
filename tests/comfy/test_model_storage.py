"""Sample Layers with weights that are stored, patched or loaded otherwise; and what a MODEL is like afterwards."""

import copy
import json
import pathlib

import comfy.lora
import comfy.model_base
import comfy.model_management
import comfy.quant_ops
import comfy.sd
import folder_paths
import pytest
import safetensors.torch
import torch

from mild.mild_core.comfy.adapters.route import route
from mild.mild_core.scene import Scene
from mild.tests.helpers.adapters import given, make_adapter, merged
from mild.tests.helpers.attention import near, sampled
from mild.tests.helpers.layers import background, check, layers_of, picture
from mild.tests.helpers.tiny_models import flux_fill_weights, made_for, make, make_vae


@pytest.fixture(autouse=True)
def smaller_native_size(monkeypatch):
    made_for(monkeypatch, 64 * 64)


@pytest.fixture(scope="module")
def scenes():
    """Two crops of one size."""
    photo = picture()
    boxes = ((0, 2, 40, 42), (43, 9, 83, 49))
    holes = ((20, 10, 30, 30), (60, 20, 70, 41))
    layers = [background(photo, hole, box, tail=f"-{box[0]}") for hole, box in zip(holes, boxes, strict=True)]
    return [Scene(photo, tuple(layers))]


def pixels(scenes):
    return torch.stack([layer.pixels for layer in layers_of(scenes).values()])


def quantised(weights, form):
    """The same with the blocks' linear layers as ComfyUI stores quantised ones: values, scales, name of the format."""
    layout = comfy.quant_ops.QUANT_ALGOS[form]["comfy_tensor_layout"]
    result = dict(weights)
    for key, weight in weights.items():
        if weight.ndim == 2 and "_blocks." in key:
            result |= comfy.quant_ops.QuantizedTensor.from_float(weight, layout, scale="recalculate").state_dict(key)
            name = json.dumps({"format": form}).encode("utf-8")
            result[key.removesuffix("weight") + "comfy_quant"] = torch.tensor(list(name), dtype=torch.uint8)
    return result


@pytest.fixture
def load(run_node):
    """load(weights, weight_dtype): the MODEL that ComfyUI's own loader makes of a file with these weights."""
    path = pathlib.Path(folder_paths.get_folder_paths("diffusion_models")[0], "mild_test.safetensors")

    def run(weights, weight_dtype="default"):
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file({key: value.contiguous() for key, value in weights.items()}, path)
        return run_node("UNETLoader", unet_name=path.name, weight_dtype=weight_dtype)[0]

    yield run
    path.unlink(missing_ok=True)


def alone_as_together(sample, scenes, tiny, tolerance, **changes):
    """Samples the layers together and one by one, and returns them as they came out together."""
    together = sample(scenes, tiny, **changes)
    check(scenes, together)
    for number, layer in enumerate(scenes[0].layers):
        alone = sample([scenes[0]._replace(layers=(layer,))], tiny, **changes)
        assert torch.allclose(pixels(alone)[0], pixels(together)[number], atol=tolerance)
    return pixels(together)


def stored_types(model):
    return {weight.dtype for weight in model.model.parameters()}


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_weights_stored_in_float8(sample, scenes, load, dtype):
    """As Load Diffusion Model stores them: the same as computing with the rounded weights."""
    weights, vae = flux_fill_weights(), make_vae(16)
    model = load(weights, {torch.float8_e4m3fn: "fp8_e4m3fn", torch.float8_e5m2: "fp8_e5m2"}[dtype])
    assert stored_types(model) == {dtype}
    result = alone_as_together(sample, scenes, None, 1e-4, model=model, vae=vae)
    rounded = load({key: weight.to(dtype).float() for key, weight in weights.items()})
    assert stored_types(rounded) == {torch.float32}
    assert torch.allclose(result, pixels(sample(scenes, model=rounded, vae=vae)), atol=1e-4)
    assert not torch.allclose(result, pixels(sample(scenes, model=load(weights), vae=vae)), atol=1e-3)


@pytest.mark.parametrize("form", ["float8_e4m3fn", "int8_tensorwise", "nvfp4"])
def test_quantised_weights(sample, scenes, load, form):
    """ComfyUI's own: values and scales in the file. Near to what the weights give as they were."""
    if form not in comfy.quant_ops.QUANT_ALGOS:
        pytest.skip(f"This ComfyUI stores no weights as {form} (0.24 does not).")
    weights, vae = flux_fill_weights(), make_vae(16)
    model = load(quantised(weights, form))
    assert sum(isinstance(weight, comfy.quant_ops.QuantizedTensor) for weight in model.model.parameters()) >= 10
    result = alone_as_together(sample, scenes, None, 1e-4, model=model, vae=vae)
    plain = pixels(sample(scenes, model=load(weights), vae=vae))
    assert 0 < (result - plain).abs().mean() < 0.01


@pytest.mark.parametrize("form", ["float8_e4m3fn", "int8_tensorwise"])
def test_adapters_on_quantised_weights(load, form):
    """They see what goes into a module and comes out: the row without one stays, the other one is about as near as
    that to what it is with the weights as they were.
    """
    if form not in comfy.quant_ops.QUANT_ALGOS:
        pytest.skip(f"This ComfyUI stores no weights as {form} (0.24 does not).")
    tiny, weights = make("flux_fill"), flux_fill_weights()
    model, exact = load(quantised(weights, form)), comfy.sd.load_diffusion_model_state_dict(dict(weights))
    person = make_adapter(exact, among="blocks", size=1.0)
    rows = sampled(tiny, route(model, [given(person, 1.0, 0.0)]), batch=2)
    expected, plain = sampled(tiny, merged(exact, (person, 1.0)), batch=2), sampled(tiny, model, batch=2)
    rounding = (plain - sampled(tiny, exact, batch=2)).abs().mean()
    assert near(rows[1], plain[1])
    assert (rows[0] - expected[0]).abs().mean() < 2 * rounding < 0.5 * (expected[0] - plain[0]).abs().mean()


@pytest.mark.parametrize(("family", "dtype"), [
    ("sd15", torch.bfloat16), ("flux_fill", torch.float16), ("qwen_image", torch.bfloat16),
    ("sd15_inpaint", torch.float8_e4m3fn), ("sdxl", torch.float8_e4m3fn), ("qwen_image", torch.float8_e5m2),
])  # fmt: skip
def test_weights_in_other_types(sample, scenes, family, dtype):
    tiny = make(family, dtype=dtype)
    assert tiny.model.model_dtype() == dtype
    # Sums of half precision depend on their order, and so on the batch.
    alone_as_together(sample, scenes, tiny, 1e-4 if dtype.itemsize == 1 else 0.05)


def with_lora(model, strength=1.0):
    """A clone with a LoRA on all linear layers that its blocks' attention has."""
    generator = torch.Generator().manual_seed(5)
    names = comfy.lora.model_lora_keys_unet(model.model, {})
    sizes = {key: weight.shape for key, weight in model.model.state_dict().items()}
    lora = {}
    for name, key in names.items():
        size = sizes.get(key, ()) if isinstance(key, str) else ()
        if name.startswith("lora_unet_") and len(size) == 2 and "attn" in name:
            out, into = size
            lora[f"{name}.lora_up.weight"] = torch.randn(out, 2, generator=generator) * 0.3
            lora[f"{name}.lora_down.weight"] = torch.randn(2, into, generator=generator) * into**-0.5
    assert lora
    return comfy.sd.load_lora_for_models(model, None, lora, strength, 0)[0]


@pytest.mark.parametrize("family", ["sd15_inpaint", "flux_fill"])
def test_a_model_with_a_lora(sample, scenes, family):
    tiny = make(family)
    patched = with_lora(tiny.model)
    result = alone_as_together(sample, scenes, tiny, 1e-4, model=patched)
    merged = make(family)
    keys = patched.get_key_patches()
    for key, weight in merged.model.model.state_dict().items():
        if len(keys[key]) > 1:
            weight.copy_(comfy.lora.calculate_weight(keys[key][1:], weight.clone(), key))
    assert torch.allclose(result, pixels(sample(scenes, merged)), atol=1e-4)
    assert not torch.allclose(result, pixels(sample(scenes, tiny)), atol=1e-3)


@pytest.fixture
def little_memory(monkeypatch):
    """As on a small graphics card with --lowvram, where ComfyUI loads what fits and casts the rest layer by layer.

    On the CPU that flag changes nothing, so its loader finds room here for a third of the weights.
    """
    stock = comfy.model_management.LoadedModel.model_load
    partly = []

    def load(self, lowvram_model_memory=0, force_patch_weights=False):
        third = self.model.model_size() // 3
        result = stock(self, third, force_patch_weights)
        if isinstance(self.model.model, comfy.model_base.BaseModel):  # and no VAE
            partly.append(self.model.model.model_lowvram)
        return result

    monkeypatch.setattr(comfy.model_management.LoadedModel, "model_load", load)
    return partly


@pytest.mark.parametrize("family", ["sd15_inpaint", "flux_fill"])
def test_a_model_that_does_not_fit_whole(sample, scenes, family, request):
    tiny = make(family)
    patched = with_lora(tiny.model)
    whole = pixels(sample(scenes, tiny, model=patched))
    comfy.model_management.unload_all_models()
    partly = request.getfixturevalue("little_memory")
    result = alone_as_together(sample, scenes, tiny, 1e-4, model=patched)
    assert partly and all(partly)
    assert torch.allclose(result, whole, atol=1e-4)


@pytest.mark.parametrize("family", ["sd15", "sdxl_inpaint", "flux_fill", "qwen_image"])
def test_the_model_is_unharmed(run_node, sample, scenes, family):
    tiny = make(family)

    def stock():
        inputs = {"seed": 1, "steps": 2, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
        inputs |= {"model": tiny.model, "positive": tiny.positive, "negative": tiny.negative}
        return run_node("KSampler", latent_image=tiny.empty_latent(), **inputs)[0]["samples"]

    before = stock()
    weights = {key: weight.clone() for key, weight in tiny.model.model.state_dict().items()}
    options, uuid = copy.deepcopy(tiny.model.model_options), tiny.model.patches_uuid
    positive, negative = (list(conditioning[0][1]) for conditioning in (tiny.positive, tiny.negative))
    sample(scenes, tiny, cfg=3.0, positive=tiny.positive, negative=tiny.negative)
    assert tiny.model.model_options == options and tiny.model.patches_uuid == uuid
    assert [list(conditioning[0][1]) for conditioning in (tiny.positive, tiny.negative)] == [positive, negative]
    after = tiny.model.model.state_dict()
    assert after.keys() == weights.keys() and all(torch.equal(after[key], weight) for key, weight in weights.items())
    assert torch.equal(stock(), before)
