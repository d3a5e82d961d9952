"""Adapters routed by row: who gets what, beside other nodes."""

import contextlib
import copy

import comfy.model_management
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper

from mild.mild_core.comfy.adapters.adapter import Adapter, Given
from mild.mild_core.comfy.adapters.route import KEY, route
from mild.mild_core.comfy.compiled import Uncompiled, is_compiled
from mild.mild_core.scene import Scene
from mild.tests.helpers.adapters import given, make_adapter, merged
from mild.tests.helpers.attention import CONTEXT_WINDOWS, hooked, near, noting_calls, sampled
from mild.tests.helpers.layers import layers_of
from mild.tests.helpers.tiny_models import make

PLATE, PERSON = 1, 2
"""Seeds."""


def attention(model, seed, **more):
    return make_adapter(model, seed=seed, among="attn", name=f"{seed}.safetensors", size=1.0, **more)


# -- who gets what -----------------------------------------------------------------------------------------------------


def test_one_layer_holds_for_all_rows(tiny):
    """Whatever the batch: a single layer's MODEL with stock KSampler (Get Layer)."""
    tiny = tiny("flux")
    person = attention(tiny.model, PERSON)
    model = route(tiny.model, [Given(person, {"1/person-2": 0.7})])
    expected = sampled(tiny, merged(tiny.model, (person, 0.7)), batch=2)
    assert near(sampled(tiny, model, batch=2), expected) and not near(sampled(tiny, batch=2), expected, 0.01)


def test_as_many_layers_as_rows(tiny):
    tiny = tiny("flux")
    plate, person = attention(tiny.model, PLATE), attention(tiny.model, PERSON)
    model = route(tiny.model, [
        Given(plate, {"1/background": 1.0, "1/person-1": 0.0}), Given(person, {"1/background": 0.0, "1/person-1": 1.0}),
    ])  # fmt: skip
    rows = sampled(tiny, model, batch=2)
    assert near(rows[0], sampled(tiny, merged(tiny.model, (plate, 1.0)), batch=2)[0])
    assert near(rows[1], sampled(tiny, merged(tiny.model, (person, 1.0)), batch=2)[1])
    assert not near(rows[1], sampled(tiny, batch=2)[1], 0.01)


def test_neither_is_refused_at_once(tiny):
    tiny = tiny("flux")
    model = route(tiny.model, [given(attention(tiny.model, PERSON), 1.0, 0.5)])
    model, calls = noting_calls(model, lambda x, *_, **__: len(x))
    with pytest.raises(ValueError, match="layers: 2 of them meet a latent of 3") as error:
        sampled(tiny, model, batch=3)
    assert not calls and "\n" not in str(error.value)


def test_cond_and_uncond_get_the_same(tiny):
    """In one batch, and apart where their prompts differ in length."""
    tiny = tiny("sd15")
    plate, person = attention(tiny.model, PLATE), attention(tiny.model, PERSON)
    routed = route(tiny.model, [given(plate, 1.0, 0.0), given(person, 0.0, 0.6)])
    for positive, batches in (([[tiny.negative[0][0] + 1, {}]], {4}), (tiny.positive, {2})):
        model, calls = noting_calls(routed, lambda x, *_, **__: len(x))
        rows = sampled(tiny, model, batch=2, positive=positive, cfg=5.0)
        assert set(calls) == batches
        for row, pair in enumerate([(plate, 1.0), (person, 0.6)]):
            assert near(rows[row], sampled(tiny, merged(tiny.model, pair), batch=2, positive=positive, cfg=5.0)[row])


@pytest.fixture
def four_layers(scenes):
    """Two of one size and two of another: two groups of Sample Layers."""
    plate, _, person = scenes[0].layers
    more = plate._replace(id="1/background-3"), person._replace(id="1/person-4", number=4)
    return [Scene(scenes[0].photo, (plate, person, *more))]


def test_sample_layers(sample, four_layers, small_native_size, tiny):
    """Each layer as it comes out alone on a MODEL with its adapters merged; the order of the layers does not matter."""
    tiny = tiny("flux_fill")
    plate, person = (make_adapter(tiny.model, seed=seed, among="blocks") for seed in (PLATE, PERSON))
    strengths = {"1/background": (0.8, 0.0), "1/person-2": (0.0, 1.0), "1/background-3": (0.3, 0.5)}
    model = route(tiny.model, [
        Given(plate, {key: pair[0] for key, pair in strengths.items()}, frozenset({"1/person-4"})),
        Given(person, {key: pair[1] for key, pair in strengths.items()}, frozenset({"1/person-4"})),
    ])  # fmt: skip
    settings = {"cfg": 2.0, "positive": tiny.positive, "negative": tiny.negative}
    together = layers_of(sample(four_layers, tiny, model=model, **settings))
    turned = [four_layers[0]._replace(layers=four_layers[0].layers[::-1])]
    for key, layer in layers_of(sample(turned, tiny, model=model, **settings)).items():
        assert torch.allclose(layer.pixels, together[key].pixels, atol=1e-4)
    for layer in four_layers[0].layers:
        pairs = [pair for pair in zip((plate, person), strengths.get(layer.id, (0, 0)), strict=True) if pair[1]]
        alone = [four_layers[0]._replace(layers=(layer,))]
        (expected,) = layers_of(sample(alone, tiny, model=merged(tiny.model, *pairs), **settings)).values()
        (plain,) = layers_of(sample(alone, tiny, **settings)).values()
        assert torch.allclose(together[expected.id].pixels, expected.pixels, atol=1e-4)
        assert torch.allclose(plain.pixels, expected.pixels, atol=1e-3) == (not pairs)


def test_sample_layers_of_two_sizes(sample, four_layers, small_native_size, tiny):
    """A group whose layers get nothing runs as it is."""
    tiny = tiny("sd15_inpaint")
    person = attention(tiny.model, PERSON)
    layers = [four_layers[0]._replace(layers=four_layers[0].layers[:2])]
    model = route(tiny.model, [Given(person, {"1/background": 0.0, "1/person-2": 1.0})])
    found, plain, everywhere = (
        layers_of(sample(layers, tiny, model=one)) for one in (model, tiny.model, merged(tiny.model, (person, 1.0)))
    )
    assert torch.equal(found["1/background"].pixels, plain["1/background"].pixels)
    assert torch.allclose(found["1/person-2"].pixels, everywhere["1/person-2"].pixels, atol=1e-4)
    assert not torch.allclose(found["1/person-2"].pixels, plain["1/person-2"].pixels, atol=1e-3)


def test_a_layer_that_nobody_named(sample, four_layers, small_native_size, tiny):
    tiny = tiny("sd15_inpaint")
    model = route(tiny.model, [Given(attention(tiny.model, PLATE), {"1/background": 1.0})])
    with pytest.raises(ValueError, match="layers: there is no 1/"):
        sample(four_layers, tiny, model=model)


# -- nothing to do -----------------------------------------------------------------------------------------------------


def test_nothing_to_do_is_the_same_object(tiny):
    model = tiny("flux").model
    person = attention(model, PERSON)
    for nothing in ([], [given(person, 0.0, 0.0)], [given(Adapter("only biases", {}, {"a.bias": None}), 1.0)]):
        assert route(model, nothing) is model


# -- beside others -----------------------------------------------------------------------------------------------------


def test_routed_twice_adds(tiny):
    tiny = tiny("flux")
    plate, person = attention(tiny.model, PLATE), attention(tiny.model, PERSON)
    both = route(tiny.model, [given(plate, 0.5, 1.0), given(person, 1.0, 0.0)])
    once = route(tiny.model, [given(plate, 0.5, 1.0)])
    twice = route(once, [given(person, 1.0, 0.0)])
    assert near(sampled(tiny, twice, batch=2), sampled(tiny, both, batch=2))
    assert len(once.get_additional_models_with_key(KEY)) == 1 and len(twice.get_additional_models_with_key(KEY)) == 2
    assert near(sampled(tiny, once, batch=2)[1], sampled(tiny, merged(tiny.model, (plate, 1.0)), batch=2)[1])


@pytest.mark.parametrize(("family", "order"), [("flux", "below"), ("flux", "above"), ("sd15", "below")])
def test_with_a_lora_for_all(tiny, family, order):
    tiny = tiny(family)
    person, style = (make_adapter(tiny.model, seed=seed, among="blocks") for seed in (PERSON, 3))
    if order == "below":
        model = route(merged(tiny.model, (style, 0.5)), [given(person, 1.0, 0.0)])
    else:
        model = merged(route(tiny.model, [given(person, 1.0, 0.0)]), (style, 0.5))
    rows = sampled(tiny, model, batch=2)
    assert near(rows[0], sampled(tiny, merged(tiny.model, (style, 0.5), (person, 1.0)), batch=2)[0])
    assert near(rows[1], sampled(tiny, merged(tiny.model, (style, 0.5)), batch=2)[1])


@pytest.mark.parametrize("order", ["below", "above"])
def test_with_a_bypassed_lora(tiny, order):
    """ComfyUI's own, which puts another forward into each layer, for as long as the MODEL is loaded."""
    tiny = tiny("flux")
    person, style = attention(tiny.model, PERSON), attention(tiny.model, 3)

    def bypassed(model):
        manager, model = comfy.weight_adapter.BypassInjectionManager(), model.clone()
        for key, one in style.routed.items():
            manager.add_adapter(key, copy.copy(one), strength=0.5)
        model.set_injections("bypass_lora", manager.create_injections(model.model))
        return model

    if order == "below":
        model = route(bypassed(tiny.model), [given(person, 1.0, 0.0)])
    else:
        model = bypassed(route(tiny.model, [given(person, 1.0, 0.0)]))
    rows = sampled(tiny, model, batch=2)
    assert near(rows[0], sampled(tiny, merged(tiny.model, (style, 0.5), (person, 1.0)), batch=2)[0])
    assert near(rows[1], sampled(tiny, merged(tiny.model, (style, 0.5)), batch=2)[1])


@pytest.mark.parametrize("order", ["below", "above"])
def test_with_stop_attention_bleed(tiny, run_node, order):
    tiny = tiny("flux")
    person = attention(tiny.model, PERSON)
    hole, avoid = torch.zeros(2, 1, 64, 64)
    hole[:, 8:40, 8:40] = avoid[:, :, 44:] = 1

    def kept_apart(model):
        return run_node(
            "MILD_SpatialAttention", model=model, mask=hole, avoid=avoid, strength=1.0, mode="fixed", which="all",
            blocks="all", start_percent=0.0, end_percent=1.0, target=0.98, words=False, gains="none",
        )[0]  # fmt: skip

    expected = sampled(tiny, kept_apart(merged(tiny.model, (person, 1.0))), batch=2)
    if order == "below":
        model = route(kept_apart(tiny.model), [given(person, 1.0, 0.0)])
    else:
        model = kept_apart(route(tiny.model, [given(person, 1.0, 0.0)]))
    rows = sampled(tiny, model, batch=2)
    assert near(rows[0], expected[0]) and near(rows[1], sampled(tiny, kept_apart(tiny.model), batch=2)[1])
    assert not near(expected[0], sampled(tiny, merged(tiny.model, (person, 1.0)), batch=2)[0], 1e-3)


@pytest.mark.parametrize("adapted", ["positive", "negative"])
def test_a_guider_with_two_models(tiny, adapted):
    """Dual Model CFG Guider hands the first MODEL's wrappers to the second one as well."""
    tiny, other = tiny("flux"), make("flux", seed=3)
    person = attention(tiny.model, PERSON)

    def run(first, second):
        guider = custom.Guider_DualModel(first, second)
        guider.set_conds(tiny.positive, tiny.negative)
        guider.set_cfg(2.0)
        latent = tiny.empty_latent()["samples"]
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(1))
        sampler = custom.comfy.samplers.sampler_object("euler")
        with torch.inference_mode():
            return guider.sample(noise, latent, sampler, torch.tensor([10.0, 2.0, 0.0]), seed=1)

    assert near(
        run(route(tiny.model, [given(person, 1.0)]), other.model), run(merged(tiny.model, (person, 1.0)), other.model)
    )
    assert not hooked(tiny.model) and not hooked(other.model)


def test_a_compiled_model(tiny, caplog):
    """It runs as it is written, told: what torch.compile has seen once it runs without the hooks that came later."""
    tiny = tiny("flux")
    person = make_adapter(tiny.model, seed=PERSON, among="time_in", size=3.0)
    compiled = tiny.model.clone()
    set_torch_compile_wrapper(compiled, backend="eager", keys=["diffusion_model.time_in"])
    plain = sampled(tiny, compiled, batch=2)
    for strengths in ((1.0, 0.0), (0.0, 0.5)):
        caplog.clear()
        rows = sampled(tiny, route(compiled, [given(person, *strengths)]), batch=2)
        assert near(rows, sampled(tiny, route(tiny.model, [given(person, *strengths)]), batch=2))
        assert not near(rows, plain, 0.01)
        (line,) = [record.getMessage() for record in caplog.records if "MILD" in record.getMessage()]
        assert "torch.compile is set aside" in line
    assert near(sampled(tiny, compiled, batch=2), plain)


def test_a_compiled_block(tiny):
    """As other packs compile them."""
    network = tiny("flux").model.model.diffusion_model
    assert not is_compiled(network, {})
    assert is_compiled(torch.nn.Sequential(torch.compile(torch.nn.Linear(2, 2), backend="eager")), {})
    in_place = torch.nn.Linear(2, 2)
    in_place.compile(backend="eager")
    assert is_compiled(torch.nn.Sequential(in_place), {})


def test_compiled_networks_whose_calls_overlap():
    """As on two GPUs, which ComfyUI calls in a thread each: the first is done while the second is not."""
    seen = []

    def compiling(graph, inputs):
        seen.append(graph)
        return graph.forward

    networks = [torch.compile(torch.nn.Linear(2, 2), backend=compiling) for _ in range(3)]
    first, second = (Uncompiled("test", lambda sentence: None).of(network, {}) for network in networks[:2])
    with contextlib.ExitStack() as later:
        with first:
            later.enter_context(second)
            networks[0](torch.ones(1, 2))
        networks[1](torch.ones(1, 2))
        assert not seen
    networks[2](torch.ones(1, 2))
    assert len(seen) == 1


# -- rows that cannot be told ------------------------------------------------------------------------------------------


def test_context_windows_are_refused(tiny, run_node):
    tiny = tiny("sd15")
    model = route(tiny.model, [given(attention(tiny.model, PERSON), 1.0, 0.0, 0.0)])
    (cut,) = run_node("ContextWindowsManual", model=model, context_length=2, dim=0, **CONTEXT_WINDOWS)
    with pytest.raises(ValueError, match="model: Context Windows show the model a part of the batch"):
        sampled(tiny, cut, batch=3, cfg=1.0)
    assert not hooked(tiny.model)


def test_a_layer_on_other_rows_than_the_batchs(tiny):
    """As HyperTile has it, which cuts each picture into tiles: exact where all rows get the same, else refused."""
    tiny = tiny("sd15")
    person = attention(tiny.model, PERSON)

    def cut(model):
        def halves(q, k, v, extra):
            return tuple(tokens.reshape(-1, tokens.shape[1] // 2, tokens.shape[2]) for tokens in (q, k, v))

        def whole(out, extra):
            return out.reshape(len(out) // 2, -1, out.shape[2])

        model = model.clone()
        model.set_model_attn1_patch(lambda q, k, v, extra: halves(q, k, v, extra) if q.shape[1] == 64 else (q, k, v))
        model.set_model_attn1_output_patch(lambda out, extra: whole(out, extra) if out.shape[1] == 32 else out)
        return model

    same = route(tiny.model, [given(person, 0.7, 0.7)])
    assert near(sampled(tiny, cut(same), batch=2), sampled(tiny, cut(merged(tiny.model, (person, 0.7))), batch=2))
    with pytest.raises(ValueError, match="2.safetensors changes .*attn1.* on 4 rows for a batch of 2") as error:
        sampled(tiny, cut(route(tiny.model, [given(person, 1.0, 0.5)])), batch=2)
    assert "\n" not in str(error.value) and not hooked(tiny.model)
