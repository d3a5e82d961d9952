"""Adapters routed by row: who gets what, what is left behind, how weights may be stored."""

import copy

import comfy.model_management
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper

from mild.mild_core.comfy.adapters.adapter import Adapter, Given
from mild.mild_core.comfy.adapters.route import KEY, route
from mild.mild_core.comfy.compiled import is_compiled
from mild.mild_core.scene import Scene
from mild.tests.helpers.adapters import given, make_adapter, make_weights, merged
from mild.tests.helpers.attention import hooked, near, noting_calls, sampled
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


# -- nothing to do, nothing that fits ----------------------------------------------------------------------------------


def test_nothing_to_do_is_the_same_object(tiny):
    model = tiny("flux").model
    person = attention(model, PERSON)
    for nothing in ([], [given(person, 0.0, 0.0)], [given(Adapter("only biases", {}, {"a.bias": None}), 1.0)]):
        assert route(model, nothing) is model


def test_an_adapter_of_another_model(tiny):
    """SD2's has other sizes; SD3's has layers of other names."""
    for other, count in (("sd2", "of another size"), ("sd3", "modules that the model does not have")):
        adapter = make_adapter(tiny(other).model, among="attn")
        with pytest.raises(ValueError, match=f"person.safetensors does not fit.*{count}") as error:
            route(tiny("sd15").model, [given(adapter, 1.0)])
        assert "\n" not in str(error.value) and len(str(error.value)) < 500


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


# -- nothing is left behind --------------------------------------------------------------------------------------------


def test_the_model_is_unharmed_and_queued_again(tiny):
    tiny = tiny("flux")
    before = sampled(tiny)
    options, wrappers = copy.deepcopy(tiny.model.model_options), copy.deepcopy(tiny.model.wrappers)
    weights = {key: weight.clone() for key, weight in tiny.model.model.state_dict().items()}
    model = route(tiny.model, [given(attention(tiny.model, PERSON), 1.0)])
    first = sampled(tiny, model)
    assert torch.equal(sampled(tiny, model), first) and not near(first, before, 0.01)
    assert tiny.model.model_options == options and tiny.model.wrappers == wrappers and not hooked(tiny.model)
    assert KEY not in model.model_options["transformer_options"] and not tiny.model.get_additional_models()
    after = tiny.model.model.state_dict()
    assert all(torch.equal(after[key], weight) for key, weight in weights.items())
    assert torch.equal(sampled(tiny), before)


def test_after_cancel(tiny, run_node):
    tiny = tiny("flux")
    before = sampled(tiny)
    model = route(tiny.model, [given(attention(tiny.model, PERSON), 1.0)])
    expected = sampled(tiny, model)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run_node(
            "KSampler", interrupt_at=2, model=model, seed=1, steps=3, cfg=2.0, sampler_name="euler", denoise=1.0,
            scheduler="simple", positive=tiny.positive, negative=tiny.negative, latent_image=tiny.empty_latent(),
        )  # fmt: skip
    assert not hooked(tiny.model)
    assert torch.equal(sampled(tiny, model), expected) and torch.equal(sampled(tiny), before)


@pytest.mark.parametrize("error", [RuntimeError, comfy.model_management.InterruptProcessingException])
def test_after_an_error_inside_the_network(tiny, error):
    tiny = tiny("flux")
    before = sampled(tiny)
    model = route(tiny.model, [given(make_adapter(tiny.model, seed=PERSON), 1.0)])
    failing = model.clone()

    def fail(args, extra):
        assert hooked(tiny.model)
        raise error

    failing.set_model_patch_replace(fail, "dit", "single_block", 1)
    with pytest.raises(error):
        sampled(tiny, failing)
    assert not hooked(tiny.model) and torch.equal(sampled(tiny), before)


# -- layers that never run ---------------------------------------------------------------------------------------------


def test_a_replaced_block_is_told(tiny, caplog):
    tiny = tiny("flux")
    adapter = make_adapter(tiny.model, among="single_blocks")
    model = route(tiny.model, [given(adapter, 1.0)])
    model.set_model_patch_replace(lambda args, extra: {"img": args["img"]}, "dit", "single_block", 1)
    sampled(tiny, model)
    (line,) = [record.getMessage() for record in caplog.records if "MILD" in record.getMessage()]
    assert "person.safetensors: 3 of the 6 modules" in line and "single_blocks.1.linear1" in line
    assert "single_blocks.0" not in line and "a part of the steps" not in line and "\n" not in line


def test_a_block_replaced_for_some_steps_is_told(tiny, caplog):
    tiny, calls = tiny("flux"), []
    model = route(tiny.model, [given(make_adapter(tiny.model, among="single_blocks"), 1.0)])

    def replace(args, extra):
        calls.append(1)
        return {"img": args["img"]} if len(calls) > 2 else extra["original_block"](args)

    model.set_model_patch_replace(replace, "dit", "single_block", 1)
    sampled(tiny, model)
    (line,) = [record.getMessage() for record in caplog.records if "MILD" in record.getMessage()]
    assert "3 of the 6 modules" in line and "in a part of the steps only" in line


def test_a_cache_of_whole_calls_is_not_told(tiny, run_node, caplog):
    """EasyCache answers in place of the network in some steps, with what it has seen the adapters do."""
    tiny = tiny("flux")
    model = route(tiny.model, [given(make_adapter(tiny.model), 1.0)])
    (model,) = run_node(
        "EasyCache", model=model, reuse_threshold=3.0, start_percent=0.0, end_percent=1.0, verbose=False
    )
    ran = []
    handle = model.model.diffusion_model.img_in.register_forward_hook(lambda *_: ran.append(1))
    sampled(tiny, model, steps=6, cfg=1.0)
    handle.remove()
    assert 0 < len(ran) < 6
    assert not [record for record in caplog.records if "MILD" in record.getMessage()]


def test_nothing_is_told_where_all_run(tiny, caplog):
    tiny = tiny("flux")
    sampled(tiny, route(tiny.model, [given(make_adapter(tiny.model), 1.0, 0.0)]), batch=2)
    assert not [record for record in caplog.records if "MILD" in record.getMessage()]


def test_an_adapter_that_meets_nothing_is_refused(tiny):
    """At the first step, and another adapter beside it does not hide that."""
    tiny = tiny("flux")
    lost = make_adapter(tiny.model, among="single_blocks.1.", name="lost.safetensors")
    model = route(tiny.model, [given(lost, 1.0), given(make_adapter(tiny.model, among="double_blocks"), 1.0)])
    model.set_model_patch_replace(lambda args, extra: {"img": args["img"]}, "dit", "single_block", 1)
    model, calls = noting_calls(model, lambda x, *_, **__: len(x))
    with pytest.raises(ValueError, match="lora: lost.safetensors would have no effect.* all 3 of") as error:
        sampled(tiny, model, steps=4)
    assert len(calls) == 1 and "\n" not in str(error.value) and not hooked(tiny.model)


def test_a_module_that_hands_on_what_it_gets(tiny):
    """Another node has taken a projection out: the adapter's part is added, and what came in stays as it was."""
    tiny = tiny("flux")
    person = attention(tiny.model, PERSON)
    name = "diffusion_model.double_blocks.0.img_attn.proj"

    class Through(torch.nn.Module):
        in_features = out_features = 64
        weight = torch.eye(64)

        def forward(self, x):
            seen.append((x, x.clone()))
            return x

    seen = []
    through, eye = tiny.model.clone(), tiny.model.clone()
    through.add_object_patch(name, Through())
    unit = torch.nn.Linear(64, 64, bias=False).requires_grad_(False)
    unit.weight.copy_(torch.eye(64))
    eye.add_object_patch(name, unit)
    rows = sampled(tiny, route(through, [given(person, 1.0, 0.0)]), batch=2)
    assert near(rows, sampled(tiny, route(eye, [given(person, 1.0, 0.0)]), batch=2))
    assert seen and all(torch.equal(x, before) for x, before in seen)


def test_an_adapter_that_no_row_gets_is_not_missed(tiny, caplog):
    """A row's own adapters are put on for its batch alone."""
    tiny = tiny("flux")
    model = route(tiny.model, [given(make_adapter(tiny.model), 0.0, 1.0)])
    model.model_options["transformer_options"]["mild_rows"] = ("0",)
    assert torch.equal(sampled(tiny, model), sampled(tiny))
    assert not [record for record in caplog.records if "MILD" in record.getMessage()]


# -- rows that cannot be told ------------------------------------------------------------------------------------------


def test_context_windows_are_refused(tiny, run_node):
    tiny = tiny("sd15")
    model = route(tiny.model, [given(attention(tiny.model, PERSON), 1.0, 0.0, 0.0)])
    (cut,) = run_node(
        "ContextWindowsManual", model=model, context_length=2, context_overlap=1, causal_window_fix=False,
        context_schedule="standard_static", context_stride=1, closed_loop=False, fuse_method="pyramid", dim=0,
        freenoise=False, cond_retain_index_list="", split_conds_to_windows=False, latent_retain_index_list="",
    )  # fmt: skip
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


# -- how weights are stored --------------------------------------------------------------------------------------------


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
