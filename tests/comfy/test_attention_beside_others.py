"""Attention is caught beside the patches and overrides of other nodes: all of them take effect."""

import logging

import comfy.ldm.modules.attention
import comfy.lora
import comfy.model_management
import comfy.sd
import pytest
import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper

from mild.mild_core.comfy.attention import catch
from mild.mild_core.comfy.erasers import builtin
from mild.tests.helpers.attention import (
    CONTEXT_WINDOWS,
    Foreign,
    Noting,
    biased,
    counting_calls,
    handlers,
    hooked,
    near,
    overridden,
    sampled,
)
from mild.tests.helpers.layers import WIDGETS as SAMPLE
from mild.tests.helpers.tiny_models import make

TITLES = {
    "MILD_SpatialAttention": "Stop Attention Bleed",
    "MILD_AttentionEraser": "Erase by Attention",
    "MILD_RecordGap": "Record Attention Gap",
}
WIDGETS = {
    "MILD_SpatialAttention": {
        "strength": 1.0, "mode": "fixed", "which": "all", "blocks": "all", "start_percent": 0.0, "end_percent": 1.0,
        "target": 0.98, "words": False, "gains": "none",
    },
    "MILD_AttentionEraser": {
        "method": "attention alone", "method.suppression": 0.3, "method.suppressed": 0.25, "method.until": 1.0,
        "grow": 0.0, "which": "all",
    },
    "MILD_RecordGap": {"which": "all"},
}  # fmt: skip


def left_half():
    mask = torch.zeros(1, 64, 64)
    mask[:, :, :32] = 1
    return mask


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_stacked_handlers_run_in_order(family):
    tiny, log = make(family), []
    first, second = Noting("first", log), Noting("second", log)
    model = catch.put(catch.put(catch.put(tiny.model, first, "a"), second, "b"), first, "a")
    assert torch.equal(sampled(tiny, model), sampled(tiny))
    assert log and log == ["first", "second", "first"] * (len(log) // 3)
    assert handlers(model, "a") == [first, first] and handlers(model, "b") == [second]


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
    tiny, wholes = make("sd15"), {"alone": set(), "first": set(), "last": set(), "overridden": set()}

    def telling(name):
        def note(inner, site, q, *rest, **kwargs):
            wholes[name].add(inner.whole)
            return inner(q, *rest, **kwargs)

        return Noting(change=note)

    sampled(tiny, catch.put(tiny.model, telling("alone"), "test"))
    sampled(tiny, catch.put(catch.put(tiny.model, telling("first"), "test"), telling("last"), "test"))
    sampled(tiny, overridden(catch.put(tiny.model, telling("overridden"), "test"), Foreign()))
    assert wholes == {"alone": {False}, "first": {True}, "last": {False}, "overridden": {True}}


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
    assert handlers(changed, "a") == [new] and handlers(model, "a") == [old]


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("change", [None, biased])
def test_another_nodes_override_stays(order, change):
    tiny, foreign, handler = make("sd15"), Foreign(), Noting(change=change)
    if order == "before":
        model = catch.put(overridden(tiny.model, foreign), handler, "test")
    else:
        model = overridden(catch.put(tiny.model, handler, "test"), foreign)
    result = sampled(tiny, model)
    heads = {4, 8}  # a rule's are wider
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


def referenced(model, which=lambda name: True):
    """A clone whose blocks run as Advanced-ControlNet's Reference has them: attentions without transformer_options."""

    def forward_of(block):
        def forward(x, context=None, transformer_options=None):
            x = x + block.attn1(block.norm1(x), context=None, value=None)
            x = x + block.attn2(block.norm2(x), context=context, value=None)
            return x + block.ff(block.norm3(x))

        return forward

    model = model.clone()
    for name, module in model.model.named_modules():
        if isinstance(module, comfy.ldm.modules.attention.BasicTransformerBlock) and which(name):
            model.add_object_patch(f"{name}.forward", forward_of(module))
    return model


@pytest.mark.parametrize("order", ["before", "after"])
def test_an_attention_without_options_is_another_nodes(order, caplog):
    """It stays as it is, with a note: no KeyError."""
    tiny, handler = make("sd15"), Noting()
    plain = sampled(tiny, referenced(tiny.model, lambda name: "middle" in name))
    if order == "before":
        model = catch.put(referenced(tiny.model, lambda name: "middle" in name), handler, "test")
    else:
        model = referenced(catch.put(tiny.model, handler, "test"), lambda name: "middle" in name)
    assert torch.equal(sampled(tiny, model), plain)
    assert len({(site.block, site.kind) for site in handler.sites}) == 30
    (line,) = [record.getMessage() for record in caplog.records if "MILD" in record.getMessage()]
    assert "Noting: 2 of 32" in line and "middle 0 0 (self)" in line and "middle 0 0 (cross)" in line


def test_an_attention_that_came_by_only_sometimes_is_told(caplog):
    """A node that works in a part of the steps computes a block's second call by itself."""
    tiny, handler, calls = make("sd15"), Noting(), []
    model = catch.put(tiny.model, handler, "test").clone()
    block = model.model.diffusion_model.middle_block[1].transformer_blocks[0]
    former = block.forward

    def forward(x, context=None, transformer_options=None):
        calls.append(len(x))
        if len(calls) > 1:
            return x + block.attn1(block.norm1(x))
        return former(x, context=context, transformer_options=transformer_options)

    model.add_object_patch("diffusion_model.middle_block.1.transformer_blocks.0.forward", forward)
    sampled(tiny, model)
    (line,) = [record.getMessage() for record in caplog.records if "MILD" in record.getMessage()]
    assert "1 of 32" in line and "middle 0 0 (self)" in line and "in a part of the steps only" in line


@pytest.mark.parametrize("node", ["MILD_SpatialAttention", "MILD_AttentionEraser", "MILD_RecordGap"])
def test_a_node_that_gets_no_attention_at_all_is_refused(run_node, node):
    """At the first step: nobody waits for a picture that was never steered."""
    tiny, title = make("sd15"), TITLES[node]
    model, calls = counting_calls(referenced(tiny.model))
    model = run_node(node, model=model, mask=left_half(), **WIDGETS[node])[0]
    with pytest.raises(ValueError, match=f"model: {title} would have no effect") as error:
        sampled(tiny, model)
    assert "\n" not in str(error.value) and len(calls) == 1 and not hooked(tiny.model)


def test_whoever_gets_none_of_its_blocks_is_refused_though_others_get_theirs(run_node):
    """Erase by Attention works in the decoder only; the encoder's attentions still come by."""
    tiny = make("sd15")
    model = referenced(tiny.model, lambda name: "output_blocks" in name)
    kept_apart, erasing = (
        run_node(node, model=model, mask=left_half(), **WIDGETS[node])[0]
        for node in ("MILD_SpatialAttention", "MILD_AttentionEraser")
    )
    assert torch.isfinite(sampled(tiny, kept_apart)).all()
    with pytest.raises(ValueError, match="Erase by Attention would have no effect.* all 9 of"):
        sampled(tiny, erasing)


@pytest.mark.usefixtures("small_native_size")
def test_sample_layers_says_what_a_node_could_not_do(comfy, run_node, run_graph, scenes):
    tiny = make("sd15")
    steered = run_node("MILD_SpatialAttention", model=tiny.model, layers=scenes, **WIDGETS["MILD_SpatialAttention"])[0]
    model = referenced(steered, lambda name: "middle" in name)
    giving = {"model": model, "vae": tiny.vae, "layers": scenes}
    graph = {name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for name, value in giving.items()}
    graph["node"] = {"class_type": "MILD_SampleLayers", "inputs": {**SAMPLE, **{name: [name, 0] for name in giving}}}
    text = run_graph(graph, wanted=["node"]).ui["node"]["text"][0]
    (line,) = [line for line in text.split("\n") if "another node" in line]
    assert line.startswith("Stop Attention Bleed: 1 of 16 attentions") and "middle 0 0 (self)" in line


@pytest.mark.parametrize("node", ["MILD_SpatialAttention", "MILD_AttentionEraser", "MILD_RecordGap"])
@pytest.mark.parametrize("dim", [0, 2, 3])
def test_context_windows_are_refused(run_node, node, dim):
    """They show the model a part of the batch (0), of the height (2) or of the width (3)."""
    tiny = make("sd15")
    windows = {"dim": dim, **CONTEXT_WINDOWS}
    steered = run_node(node, model=tiny.model, mask=left_half(), **WIDGETS[node])[0]
    # in ComfyUI 0.30.0 such windows over height or width take one picture at a time
    size = {"height": 16, "width": 16, "batch": 1 if dim else 3, "cfg": 1.0}
    (cut,) = run_node("ContextWindowsManual", model=steered, context_length=8 if dim else 2, **windows)
    with pytest.raises(ValueError, match="model: Context Windows show the model a part") as error:
        sampled(tiny, cut, **size)
    assert "\n" not in str(error.value)
    (whole,) = run_node("ContextWindowsManual", model=steered, context_length=16, **windows)
    assert torch.equal(sampled(tiny, whole, **size), sampled(tiny, steered, **size))


def test_context_windows_are_refused_for_the_built_in_models_record(run_node, scenes):
    model = builtin.load_model()
    recording = run_node("MILD_RecordGap", model=model, layers=scenes, which="all")[0]
    (cut,) = run_node("ContextWindowsManual", model=recording, context_length=8, dim=2, **CONTEXT_WINDOWS)
    with pytest.raises(ValueError, match="model: Context Windows show the model a part"):
        run_node("MILD_SampleLayers", model=cut, layers=scenes, **SAMPLE)


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


def test_a_compiled_model_is_steered_like_any_other(caplog):
    """It runs as it is written, told: what torch.compile has seen once would run without the hooks of later calls."""
    tiny = make("flux")
    compiled = tiny.model.clone()
    set_torch_compile_wrapper(compiled, backend="eager", keys=["diffusion_model.single_blocks.0"])
    plain, handler = sampled(tiny, compiled), Noting(change=biased)
    steered = sampled(tiny, catch.put(compiled, handler, "test"))
    (line,) = [record.getMessage() for record in caplog.records if "MILD" in record.getMessage()]
    assert "torch.compile is set aside" in line
    expected = Noting(change=biased)
    assert near(steered, sampled(tiny, catch.put(tiny.model, expected, "test"))) and not near(steered, plain, 0.01)
    assert [site.block for site in handler.sites] == [site.block for site in expected.sites]
