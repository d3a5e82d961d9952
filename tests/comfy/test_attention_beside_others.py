"""Attention is caught beside the patches and overrides of other nodes: all of them have their say."""

import logging

import comfy.ldm.modules.attention
import comfy.lora
import comfy.model_management
import comfy.sd
import pytest
import torch

from mild.mild_core.comfy.attention import catch
from mild.tests.helpers.attention import (
    Foreign,
    Noting,
    biased,
    handlers,
    hooked,
    overridden,
    sampled,
)
from mild.tests.helpers.tiny_models import make


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
