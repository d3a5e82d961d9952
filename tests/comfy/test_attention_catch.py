"""Attention is caught and handed on: nothing changes by itself, everybody's patches run, nothing is left behind."""

import copy

import comfy.ldm.modules.attention
import comfy.lora
import comfy.model_management
import comfy.sd
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch

from mild.mild_core.comfy.attention import catch
from mild.mild_core.comfy.attention.run import progress, rows_of
from mild.tests.helpers.attention import (
    OVERRIDE,
    TRANSFORMERS,
    UNETS,
    Noting,
    biased,
    counting_calls,
    hooked,
    sampled,
)
from mild.tests.helpers.layers import picture
from mild.tests.helpers.tiny_controlnets import make_controlnet
from mild.tests.helpers.tiny_models import make

# -- nothing changes by itself ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", UNETS + TRANSFORMERS)
def test_a_handler_that_changes_nothing(family):
    tiny, handler = make(family), Noting()
    for height, width, batch in ((8, 8, 1), (19, 13, 2)):
        plain = sampled(tiny, height=height, width=width, batch=batch, steps=1)
        model = catch.put(tiny.model, handler, "test")
        for _ in range(3 - batch):  # the small one is queued again
            assert torch.equal(sampled(tiny, model, height, width, batch, steps=1), plain)
    assert handler.sites and handler.ended == len(handler.runs) == 3


@pytest.mark.parametrize(("family", "dtype"), [
    ("sd15", torch.float8_e4m3fn), ("sdxl", torch.bfloat16), ("flux", torch.float8_e5m2), ("flux2", torch.float16),
])  # fmt: skip
def test_weights_in_other_types(family, dtype):
    tiny, seen = make(family, dtype=dtype), []

    def note(inner, site, q, *rest, **kwargs):
        seen.append(q.dtype)
        return inner(q, *rest, **kwargs)

    result = sampled(tiny, catch.put(tiny.model, Noting(change=note), "test"))
    assert torch.equal(result, sampled(tiny))
    assert set(seen) == {torch.float32 if dtype.itemsize == 1 else dtype}


@pytest.mark.parametrize("order", ["lora first", "lora last"])
@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_with_a_lora(family, order):
    tiny, handler = make(family), Noting()

    def with_lora(model):
        lora, generator = {}, torch.Generator().manual_seed(5)
        weights = model.model.state_dict()
        for name, key in comfy.lora.model_lora_keys_unet(model.model, {}).items():
            weight = weights.get(key) if isinstance(key, str) else None
            if name.startswith("lora_unet_") and weight is not None and weight.ndim == 2:
                lora[f"{name}.lora_up.weight"] = torch.randn(weight.shape[0], 2, generator=generator) * 0.1
                lora[f"{name}.lora_down.weight"] = torch.randn(2, weight.shape[1], generator=generator) * 0.1
        return comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0)[0]

    if order == "lora first":
        model = catch.put(with_lora(tiny.model), handler, "test")
    else:
        model = with_lora(catch.put(tiny.model, handler, "test"))
    result = sampled(tiny, model)
    assert handler.sites and torch.equal(result, sampled(tiny, with_lora(tiny.model)))
    assert not torch.allclose(result, sampled(tiny))


def test_a_controlnets_attentions_are_not_the_models(run_node):
    tiny, handler = make("sd15"), Noting()
    positive, negative = run_node(
        "ControlNetApplyAdvanced", positive=tiny.positive, negative=tiny.negative,
        control_net=make_controlnet("controlnet", tiny), image=picture(64, 64)[None], strength=1.0, start_percent=0.0,
        end_percent=1.0,
    )  # fmt: skip
    tiny = tiny._replace(negative=negative)
    plain = sampled(tiny, positive=positive)
    counted, calls = counting_calls(tiny.model)
    assert torch.equal(sampled(tiny, catch.put(counted, handler, "test"), positive=positive), plain)
    assert not torch.equal(plain, sampled(tiny))
    assert len(handler.sites) == 32 * len(calls)


# -- what a handler gets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_progress_and_sigmas(family):
    tiny, handler = make(family), Noting()
    sampled(tiny, catch.put(tiny.model, handler, "test"), steps=4, sampler="heun")
    (run,) = handler.runs
    assert len(run.sigmas) == 5 and run.sigmas[-1] == 0 and run.shape == tiny.shape()
    given = list(dict.fromkeys(site.progress for site in handler.sites))
    assert given == [0.0, 0.25, 0.5, 0.75]
    assert set(handler.options) >= {
        "sigmas",
        "sample_sigmas",
        "uuids",
        "cond_or_uncond",
        "block" * (family == "sd15"),
    } - {""}


def test_between_two_steps():
    tiny, handler = make("sd15"), Noting()
    sampled(tiny, catch.put(tiny.model, handler, "test"), steps=2, sampler="dpm_2")
    given = sorted({site.progress for site in handler.sites})
    assert given[0] == 0 and given[-1] == 0.5 and len(given) == 3 and 0 < given[1] < 0.5


@pytest.mark.parametrize(("sigma", "expected"), [
    (10.0, 0.0), (99.0, 0.0), (7.0, 1 / 6), (4.0, 1 / 3), (1.0, 2 / 3), (0.25, 11 / 12), (0.0, 1.0),
])  # fmt: skip
def test_progress_is_the_share_of_the_steps(sigma, expected):
    assert progress(torch.tensor([10.0, 4.0, 1.0, 0.0]), sigma) == pytest.approx(expected)
    assert progress(torch.tensor([0.0]), sigma) == 0


@pytest.mark.usefixtures("small_native_size")
def test_rows_of_sample_layers(sample, scenes):
    """Each attention can tell which row is which layer, and which are of the positive conditioning."""
    tiny, seen = make("sd15"), set()

    class Rows(Noting):
        def attend(self, inner, site, q, k, v, heads, transformer_options, *args, **kwargs):
            rows = rows_of(self.runs[-1], transformer_options, len(q))
            assert len(rows) == len(q) and {row.layer for row in rows} == set(self.runs[-1].rows)
            assert sum(row.positive for row in rows) in (0, len(self.runs[-1].rows), len(q))
            seen.update(rows)
            return inner(q, k, v, heads, *args, **kwargs)

    model = catch.put(tiny.model, Rows(), "test")
    sample(scenes, tiny, model=model, cfg=3.0, positive=tiny.positive, negative=tiny.negative)
    assert seen == {(layer.id, positive) for layer in scenes[0].layers for positive in (True, False)}


def test_rows_without_names():
    tiny, handler = make("sd15"), Noting()
    sampled(tiny, catch.put(tiny.model, handler, "test"), batch=3)
    rows = rows_of(handler.runs[0], handler.options, handler.sizes[-1][0])
    assert [row.layer for row in rows] == [0, 1, 2] * (len(rows) // 3)
    chunks = [index == 0 for index in handler.options["cond_or_uncond"]]  # KSampler's positive stands first
    assert [row.positive for row in rows[::3]] == chunks
    with pytest.raises(ValueError, match="divides the batch"):
        rows_of(handler.runs[0]._replace(rows=("a", "b")), handler.options, 3 * len(chunks))


# -- nothing is left behind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_the_model_is_unharmed(family):
    tiny = make(family)
    before = sampled(tiny)
    options, wrappers = copy.deepcopy(tiny.model.model_options), copy.deepcopy(tiny.model.wrappers)
    weights = {key: weight.clone() for key, weight in tiny.model.model.state_dict().items()}
    model = catch.put(tiny.model, Noting(change=biased), "test")
    assert not torch.allclose(sampled(tiny, model), before, atol=1e-3)
    assert tiny.model.model_options == options and tiny.model.wrappers == wrappers and not hooked(tiny.model)
    assert OVERRIDE not in model.model_options["transformer_options"]
    after = tiny.model.model.state_dict()
    assert all(torch.equal(after[key], weight) for key, weight in weights.items())
    assert torch.equal(sampled(tiny), before)


def test_after_cancel(run_node):
    tiny, handler = make("sd15"), Noting()
    before = sampled(tiny)
    inputs = {"seed": 1, "steps": 3, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    inputs |= {"positive": tiny.positive, "negative": tiny.negative, "latent_image": tiny.empty_latent()}
    model = catch.put(tiny.model, handler, "test")
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run_node("KSampler", interrupt_at=2, model=model, **inputs)
    assert handler.sites and handler.ended == 1 and not hooked(tiny.model)
    assert torch.equal(sampled(tiny, model), before) and torch.equal(sampled(tiny), before)


@pytest.mark.parametrize("error", [ValueError, comfy.model_management.InterruptProcessingException])
def test_after_an_error_inside_an_attention(error):
    tiny = make("flux")
    before = sampled(tiny)

    def fail(inner, site, q, *rest, **kwargs):
        if site.block == ("single", 1):
            raise error
        return inner(q, *rest, **kwargs)

    handler = Noting(change=fail)
    model = catch.put(tiny.model, handler, "test")
    with pytest.raises(error):
        sampled(tiny, model)
    assert handler.ended == 1 and not hooked(tiny.model)
    handler.change = None
    assert torch.equal(sampled(tiny, model), before) and torch.equal(sampled(tiny), before)


def test_unloaded_and_loaded_again():
    tiny, handler = make("sd15"), Noting()
    model = catch.put(tiny.model, handler, "test")
    first = sampled(tiny, model)
    seen = len(handler.sites)
    comfy.model_management.unload_all_models()
    assert torch.equal(sampled(tiny, model), first) and len(handler.sites) == 2 * seen


def test_clones_of_one_model_in_turn():
    tiny = make("sd15")
    plain, one, two = sampled(tiny), Noting(), Noting(change=biased)
    first, second = catch.put(tiny.model, one, "test"), catch.put(tiny.model, two, "test")
    changed = sampled(tiny, second)
    for _ in range(2):
        assert torch.equal(sampled(tiny, first), plain)
        assert torch.equal(sampled(tiny, second.clone()), changed)
        assert torch.equal(sampled(tiny), plain)
    assert len(one.runs) == 2 and len(two.runs) == 3
    assert len(one.sites) * 3 == len(two.sites) * 2


@pytest.mark.parametrize("handled", ["positive", "negative"])
def test_a_guider_with_two_models(handled):
    """ComfyUI's Dual Model CFG Guider samples both with the options of the first."""
    tiny, other, handler = make("sd15"), make("sd15", seed=3), Noting()

    def run(first, second):
        guider = custom.Guider_DualModel(first, second)
        guider.set_conds(tiny.positive, tiny.negative)
        guider.set_cfg(2.0)
        latent = tiny.empty_latent()["samples"]
        sigmas = torch.tensor([10.0, 2.0, 0.0])
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            return guider.sample(noise, latent, custom.comfy.samplers.sampler_object("euler"), sigmas, seed=1)

    plain = run(tiny.model, other.model)
    models = [tiny.model, other.model]
    models[handled == "negative"] = catch.put(models[handled == "negative"], handler, "test")
    assert torch.equal(run(*models), plain)
    assert len(handler.sites) == (32 * 4 if handled == "positive" else 0)
    assert not hooked(tiny.model) and not hooked(other.model)
