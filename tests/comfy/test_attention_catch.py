"""Attention is caught and handed on: nothing changes by itself, everybody's patches run, nothing is left behind."""

import copy
import logging

import comfy.ldm.modules.attention
import comfy.lora
import comfy.model_management
import comfy.sd
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch

from mild.mild_core.attention import evaluate
from mild.mild_core.attention.factors import RowRule
from mild.mild_core.comfy.attention import catch
from mild.mild_core.comfy.attention.run import progress, rows_of
from mild.tests.helpers.attention import TRANSFORMERS, UNETS, Noting, counting_calls, hooked, sampled
from mild.tests.helpers.layers import picture
from mild.tests.helpers.tiny_controlnets import make_controlnet
from mild.tests.helpers.tiny_models import make

OVERRIDE = "optimized_attention_override"


def biased(inner, site, q, k, v, heads, *args, **kwargs):
    """The first half of the queries looks away from the last half of the keys, in self- and joint attention."""
    if site.kind == "cross":
        return inner(q, k, v, heads, *args, **kwargs)
    side = (torch.arange(q.shape[-2]) * 2 >= q.shape[-2]).float()[:, None]
    rule = RowRule(a=-3 * (1 - side), b=side)
    return evaluate.attend(inner, q, k, v, heads, *args, rows=[rule] * len(q), form="columns", whole=inner.whole,
                           **kwargs)  # fmt: skip


def overridden(model, override):
    """A clone on which another node has set its override, over whatever was there."""
    model = model.clone()
    model.model_options["transformer_options"][OVERRIDE] = override
    return model


class Foreign:
    """Another node's override, which hands on."""

    def __init__(self):
        self.widths = []

    def __call__(self, func, q, k, v, heads, *args, **kwargs):
        assert kwargs["_inside_attn_wrapper"] and kwargs["transformer_options"]
        self.widths.append(q.shape[-1] if q.ndim == 4 else q.shape[-1] // heads)
        return func(q, k, v, heads, *args, **kwargs)


# -- nothing changes by itself ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", UNETS + TRANSFORMERS)
def test_a_handler_that_changes_nothing(family):
    tiny, handler = make(family), Noting()
    for height, width, batch in ((8, 8, 1), (19, 13, 2)):
        plain = sampled(tiny, height=height, width=width, batch=batch)
        model = catch.put(tiny.model, handler, "test")
        assert torch.equal(sampled(tiny, model, height, width, batch), plain)
        assert torch.equal(sampled(tiny, model, height, width, batch), plain)  # queued again
    assert handler.sites and handler.ended == len(handler.runs) == 4


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


# -- what a handler is told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_progress_and_sigmas(family):
    tiny, handler = make(family), Noting()
    sampled(tiny, catch.put(tiny.model, handler, "test"), steps=4, sampler="heun")
    (run,) = handler.runs
    assert len(run.sigmas) == 5 and run.sigmas[-1] == 0 and run.shape == tiny.shape()
    told = list(dict.fromkeys(site.progress for site in handler.sites))
    assert told == [0.0, 0.25, 0.5, 0.75]
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
    told = sorted({site.progress for site in handler.sites})
    assert told[0] == 0 and told[-1] == 0.5 and len(told) == 3 and 0 < told[1] < 0.5


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


# -- others on the same MODEL -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_stacked_handlers_run_in_order(family):
    tiny, log = make(family), []
    first, second = Noting("first", log), Noting("second", log)
    model = catch.put(catch.put(catch.put(tiny.model, first, "a"), second, "b"), first, "a")
    assert torch.equal(sampled(tiny, model), sampled(tiny))
    assert log and log == ["first", "second", "first"] * (len(log) // 3)
    assert catch.handlers(model, "a") == [first, first] and catch.handlers(model, "b") == [second]


def test_two_handlers_that_change_attention():
    """What each of them adds shows, whichever was put first: biases add up."""
    tiny, once, twice = make("sd15"), Noting(change=biased), Noting(change=biased)
    model = catch.put(tiny.model, once, "a")
    single, double = sampled(tiny, model), sampled(tiny, catch.put(model, twice, "b"))

    def both(inner, site, q, k, v, heads, *args, **kwargs):
        def strong(q, k, v, heads, *args, **kwargs):
            return biased(inner, site, q, k, v, heads, *args, **kwargs)

        strong.whole = True
        return biased(strong, site, q, k, v, heads, *args, **kwargs)

    assert not torch.allclose(single, double, atol=1e-3)
    assert torch.allclose(double, sampled(tiny, catch.put(tiny.model, Noting(change=both), "c")), atol=1e-4)


def test_who_comes_next_wants_the_whole():
    tiny, told = make("sd15"), {"alone": set(), "first": set(), "last": set(), "overridden": set()}

    def telling(name):
        def tell(inner, site, q, *rest, **kwargs):
            told[name].add(inner.whole)
            return inner(q, *rest, **kwargs)

        return Noting(change=tell)

    sampled(tiny, catch.put(tiny.model, telling("alone"), "test"))
    sampled(tiny, catch.put(catch.put(tiny.model, telling("first"), "test"), telling("last"), "test"))
    sampled(tiny, overridden(catch.put(tiny.model, telling("overridden"), "test"), Foreign()))
    assert told == {"alone": {False}, "first": {True}, "last": {False}, "overridden": {True}}


def test_a_handler_that_hands_nothing_on():
    """What keeps a function from being caught twice is handed on for it, and so is what other nodes read."""
    tiny, foreign = make("sd15"), Foreign()

    def bare(inner, site, q, k, v, heads, *args, **kwargs):
        return inner(q, k, v, heads)

    model = overridden(catch.put(tiny.model, Noting(change=bare), "test"), foreign)
    assert torch.equal(sampled(tiny, model), sampled(tiny)) and foreign.widths


def test_a_handler_takes_anothers_place():
    tiny, old, new, other = make("sd15"), Noting(), Noting(), Noting()
    model = catch.put(catch.put(tiny.model, old, "a"), other, "b")
    changed = catch.put(model, new, "a", instead_of=old)
    sampled(tiny, changed)
    assert new.sites and other.sites and not old.sites
    assert catch.handlers(changed, "a") == [new] and catch.handlers(model, "a") == [old]


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("change", [None, biased])
def test_another_nodes_override_stays(order, change):
    tiny, foreign, handler = make("sd15"), Foreign(), Noting(change=change)
    if order == "before":
        model = catch.put(overridden(tiny.model, foreign), handler, "test")
    else:
        model = overridden(catch.put(tiny.model, handler, "test"), foreign)
    result = sampled(tiny, model)
    heads = {4, 8, 16}  # a rule's are wider
    assert handler.sites and (set(foreign.widths) > heads if change else set(foreign.widths) == heads)
    expected = sampled(tiny, change and catch.put(tiny.model, Noting(change=change), "test"))
    assert torch.equal(result, expected) if change is None else torch.allclose(result, expected, atol=1e-4)


def test_an_override_that_changes_attention_has_its_say():
    tiny, handler = make("sd15"), Noting()

    def louder(func, q, k, v, heads, *args, **kwargs):
        return 1.5 * func(q, k, v, heads, *args, **kwargs)

    alone = sampled(tiny, overridden(tiny.model, louder))
    assert torch.equal(alone, sampled(tiny, overridden(catch.put(tiny.model, handler, "test"), louder)))
    assert not torch.allclose(alone, sampled(tiny))


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_replace_patch_keeps_its_block(order, caplog):
    tiny, handler = make("sd15"), Noting()

    def replace(q, k, v, extra_options):
        return comfy.ldm.modules.attention.attention_basic(q, k, v, extra_options["n_heads"])

    def patched(model):
        model = model.clone()
        model.set_model_attn1_replace(replace, "output", 4)
        model.set_model_attn2_replace(replace, "middle", 0)
        return model

    plain = sampled(tiny, patched(tiny.model))
    before = order == "before"
    model = catch.put(patched(tiny.model), handler, "t") if before else patched(catch.put(tiny.model, handler, "t"))
    with caplog.at_level(logging.INFO):
        assert torch.equal(sampled(tiny, model), plain)
    blocks = {(site.block, site.kind) for site in handler.sites}
    assert not blocks & {(("output", 4, 0), "self"), (("middle", 0, 0), "cross")} and len(blocks) == 30
    (line,) = [record.getMessage() for record in caplog.records if "MILD" in record.getMessage()]
    assert "2 of 32" in line and "output 4 0 (self)" in line and "middle 0 0 (cross)" in line and "\n" not in line


def test_an_attention_that_never_comes_is_not_taken_for_the_next(caplog):
    """A pack that changes a module's forward, while another one computes what comes after it."""
    tiny, handler = make("sd15"), Noting()

    def replace(q, k, v, extra):
        # not announced, for it runs outside the network's module, but it comes by
        return comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"], transformer_options=extra)

    model = catch.put(tiny.model, handler, "test").clone()
    name = "diffusion_model.middle_block.1.transformer_blocks.0.attn1.forward"
    model.add_object_patch(name, lambda x, **more: x)
    model.set_model_attn2_replace(replace, "middle", 0)
    sampled(tiny, model)
    assert handler.sites and all(site.block[0] != "middle" for site in handler.sites)
    (line,) = [record.getMessage() for record in caplog.records if "MILD" in record.getMessage()]
    assert "middle 0 0 (self)" in line and "middle 0 0 (cross)" in line and "2 of 32" in line


def test_a_replaced_flux_block_is_told(caplog):
    tiny, handler = make("flux"), Noting()
    model = catch.put(tiny.model, handler, "test").clone()
    model.set_model_patch_replace(lambda args, extra: {"img": args["img"]}, "dit", "single_block", 1)
    model.set_model_patch_replace(lambda args, extra: extra["original_block"](args), "dit", "double_block", 0)
    sampled(tiny, model)
    assert {site.block for site in handler.sites} == {("double", 0), ("double", 1), ("single", 0)}
    (line,) = [record.getMessage() for record in caplog.records if "MILD" in record.getMessage()]
    assert "1 of 4" in line and "single 1" in line


def test_nothing_is_told_where_all_is_caught(caplog):
    tiny = make("sd15")
    sampled(tiny, catch.put(tiny.model, Noting(), "test"))
    assert not [record for record in caplog.records if "MILD" in record.getMessage()]


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_other_packs_patches_run(family):
    tiny = make(family)

    def patched(model, log):
        model = model.clone()
        if family == "flux":
            model.set_model_attn1_patch(lambda q, k, v, **more: log.append("in") or {"q": q * 1.1})
        else:
            model.set_model_attn1_patch(lambda q, k, v, extra: log.append("in") or (q * 1.1, k, v))
            model.set_model_attn2_output_patch(lambda out, extra: log.append("cross") or out * 0.9)
        model.set_model_attn1_output_patch(lambda out, extra: log.append("out") or out * 0.9)
        return model

    without, before, after = [], [], []
    plain = sampled(tiny, patched(tiny.model, without))
    assert torch.equal(sampled(tiny, catch.put(patched(tiny.model, before), Noting(), "t")), plain)
    assert torch.equal(sampled(tiny, patched(catch.put(tiny.model, Noting(), "t"), after)), plain)
    assert without and without == before == after


def test_a_node_that_changes_the_tokens_is_told_off():
    tiny = make("sd15")
    for patch in (lambda q, k, v, e: (q[:, ::2], k, v), lambda q, k, v, e: (q, k[:, ::2], v[:, ::2])):
        model = catch.put(tiny.model, Noting(), "test")
        model.set_model_attn1_patch(patch)
        with pytest.raises(ValueError, match="changes its tokens") as error:
            sampled(tiny, model)
        assert "\n" not in str(error.value) and not hooked(tiny.model)


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize(("node", "settings", "name"), [
    ("TomePatchModel", {"ratio": 0.5}, "Token Merging"),
    ("HyperTile", {"tile_size": 32, "swap_size": 2, "max_depth": 0, "scale_depth": False}, "HyperTile"),
])  # fmt: skip
def test_token_merging_and_hypertile_are_refused(run_node, node, settings, name, order):
    tiny, handler = make("sd15"), Noting()
    model = tiny.model if order == "before" else catch.put(tiny.model, handler, "test")
    (model,) = run_node(node, model=model, **settings)
    if order == "before":
        model = catch.put(model, handler, "test")
    with pytest.raises(ValueError, match=name) as error:
        sampled(tiny, model)
    assert "\n" not in str(error.value) and not handler.runs and not hooked(tiny.model)


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
