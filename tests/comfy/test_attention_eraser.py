"""Erase by Attention: what is to vanish has no influence, as published; guidance is linear; all else stays."""

import logging

import comfy.model_management
import pytest
import torch
import torch.nn.functional as F

from mild.mild_core.attention.layer_regions import Maps
from mild.mild_core.attention.rule import sma
from mild.mild_core.comfy.attention import catch, erase
from mild.mild_core.comfy.attention.run import rows_of
from mild.mild_core.comfy.attention.steer import Steering
from mild.mild_core.comfy.families import layout_of
from mild.tests.helpers.attention import Noting, counting_calls, hooked, mask_of, near, sampled
from mild.tests.helpers.layers import layers_of
from mild.tests.helpers.tiny_models import make

OVERRIDE = "optimized_attention_override"


class Published(Noting):
    """The paper's formula with the whole attention matrix: softmax(S + s) V, and softmax(0.3 S + s) V for queries in
    the mask in the first steps; s is minus infinity for keys in the mask. A mask [H, W] for each row, by its name.
    """

    def __init__(self, masks, suppressed=0.25):
        super().__init__()
        self.masks, self.suppressed = masks, suppressed

    def attend(self, inner, site, q, k, v, heads, transformer_options, *args, **kwargs):
        self.sites.append(site)
        if site.kind != "self" or site.block[0] != "output":
            return inner(q, k, v, heads, *args, **kwargs)
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        out = torch.empty_like(q)
        for n, row in enumerate(rows_of(self.runs[-1], transformer_options, len(q))):
            mask = self.masks[row.layer if row.layer in self.masks else 0]
            pooled = F.adaptive_max_pool2d(mask[None].float(), site.spans[0].grid).flatten() > 0
            logits = q[n] @ k[n].transpose(-1, -2) * q.shape[-1] ** -0.5
            if not pooled.all():
                if site.progress < self.suppressed - 1e-6:
                    logits = torch.where(pooled[:, None], 0.3 * logits, logits)
                logits = logits.masked_fill(pooled, float("-inf"))
            out[n] = logits.softmax(-1) @ v[n]
        return out.transpose(1, 2).flatten(2)


# -- as published -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "height", "width", "batch"), [
    ("sd15", 8, 8, 1), ("sd15", 19, 13, 2), ("sd2", 16, 8, 2), ("sdxl", 19, 13, 1), ("sdxl", 8, 12, 2),
])  # fmt: skip
def test_attention_is_the_papers(erasing, family, height, width, batch):
    tiny, mask = make(family), mask_of(height * 8, width * 8)
    size = {"height": height, "width": width, "batch": batch, "steps": 2, "cfg": 7.0}
    found = sampled(tiny, erasing(tiny.model, mask, suppressed=0.5), **size)
    reference = catch.put(tiny.model, Published({0: mask[0]}, 0.5), "test")
    assert near(found, sampled(tiny, reference, **size))
    assert not near(found, sampled(tiny, **size), 1e-3)


def test_each_row_has_its_mask(erasing):
    tiny, masks = make("sd15"), torch.cat([mask_of(), mask_of(box=(0, 0, 64, 9))])
    reference = catch.put(tiny.model, Published(dict(enumerate(masks))), "test")
    assert near(sampled(tiny, erasing(tiny.model, masks), batch=2), sampled(tiny, reference, batch=2))
    with pytest.raises(ValueError, match="mask: 2 of them meet a latent of 3"):
        sampled(tiny, erasing(tiny.model, masks), batch=3)


@pytest.mark.parametrize(
    ("share", "steps", "first"), [(0.25, 40, 10), (0.25, 4, 1), (0.3, 10, 3), (1, 7, 7), (0, 5, 0)]
)
def test_shares_of_the_steps(share, steps, first):
    """10 of 40, as published."""
    method = erase.AttentiveEraser(9, 0.3, share, share)
    rule = method.rule(0, ("rest", "hole"))
    done = [step / steps for step in range(steps)]
    assert [method.when.at(progress) for progress in done] == [step < first for step in range(steps)]
    assert [bool(rule.query_scale and rule.scale_when.at(p)) for p in done] == [step < first for step in range(steps)]


def test_suppression_holds_in_its_share_of_the_steps(erasing):
    tiny, mask, seen = make("sd15"), mask_of(), []
    for changes in ({"suppressed": 0.5}, {"suppressed": 0.75}, {"suppressed": 0.0}, {"suppression": 1.0}):
        pictures = []
        sampled(tiny, erasing(tiny.model, mask, **changes), steps=4, cfg=1.0,
                callback=lambda step, x0, x, total, pictures=pictures: pictures.append(x0))  # fmt: skip
        seen.append(pictures)
    half, longer, never, off = seen
    assert all(torch.equal(one, other) for one, other in zip(never, off, strict=True))
    assert torch.equal(half[1], longer[1]) and not near(half[2], longer[2], 1e-3)
    assert not near(half[0], never[0], 1e-3)


@pytest.mark.parametrize(("family", "blocks"), [("sd15", range(3, 12)), ("sdxl", range(6))])
def test_blocks_are_the_published_ones(family, blocks):
    network = make(family).model.model.diffusion_model
    found = [block for one in layout_of(network).attentions(network) for block in one.blocks]
    assert {block[1] for block, kind in found if erase.in_decoder(block, kind)} == set(blocks)
    assert all(kind == "self" and block[0] == "output" for block, kind in found if erase.in_decoder(block, kind))


@pytest.mark.parametrize(("family", "others"), [("sd15", False), ("sdxl", False), ("sd15", True)])
def test_what_is_hidden_has_no_influence(erasing, family, others):
    """Its keys and values replaced by random ones: the same to the bit, in every steered attention; and with others,
    another rule and another node's override, that come after.
    """
    tiny, mask, changed = make(family), mask_of(), []

    def replaced(inner, site, q, k, v, heads, *args, **kwargs):
        if not erase.in_decoder(site.block, site.kind):
            return inner(q, k, v, heads, *args, **kwargs)
        hidden = F.adaptive_max_pool2d(mask, site.spans[0].grid).flatten() > 0
        if hidden.all():
            return inner(q, k, v, heads, *args, **kwargs)
        k2, v2 = k.clone(), v.clone()
        k2[:, hidden], v2[:, hidden] = 9 * torch.randn_like(k[:, hidden]), 9 * torch.randn_like(v[:, hidden])
        out = inner(q, k2, v2, heads, *args, **kwargs)
        changed.append(torch.equal(out, inner(q, k, v, heads, *args, **kwargs)))
        return out

    def finished(model):
        model = erasing(model, mask)
        if others:
            other = Maps.of_mask(mask_of(box=(0, 0, 20, 40)))
            model = catch.put(model, Steering(other, lambda key, names: sma(names)), "other")
            model.model_options["transformer_options"][OVERRIDE] = lambda func, *args, **kwargs: func(*args, **kwargs)
        return model

    first = catch.put(tiny.model, Noting(change=replaced), "test")
    assert torch.equal(sampled(tiny, finished(first)), sampled(tiny, finished(tiny.model)))
    assert len(changed) > 4 and all(changed)


# -- layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_native_size")
@pytest.mark.parametrize("guidance", [None, 5])
def test_layers_in_one_batch(sample, erasing, alike, guidance):
    tiny = make("sd15")
    erased = erasing(tiny.model, alike, guidance)
    model, calls = counting_calls(erased)
    together = layers_of(sample(alike, tiny, model=model))
    assert set(calls) == {3}
    alone = layers_of(sample(alike, tiny, model=erased, memory="save memory"))
    for key, layer in together.items():
        assert near(layer.pixels, alone[key].pixels)
    if guidance is not None:
        return
    plain = layers_of(sample(alike, tiny))
    masks = {layer.id: layer.hole for layer in alike[0].layers}
    reference = layers_of(sample(alike, tiny, model=catch.put(tiny.model, Published(masks), "test")))
    for key, layer in together.items():
        assert near(layer.pixels, reference[key].pixels) and not near(layer.pixels, plain[key].pixels, 1e-3)


@pytest.mark.usefixtures("small_native_size")
def test_which_layers(sample, erasing, alike):
    tiny = make("sd15")
    some = layers_of(sample(alike, tiny, model=erasing(tiny.model, alike, which="people")))
    plain = layers_of(sample(alike, tiny))
    for key, layer in some.items():
        assert near(layer.pixels, plain[key].pixels, 1e-3) == ("background" in key)


@pytest.mark.usefixtures("small_native_size")
def test_a_mask_does_not_fit_layers(sample, erasing, alike):
    tiny = make("sd15")
    with pytest.raises(ValueError, match="mask: it lies over the whole photo"):
        sample(alike, tiny, model=erasing(tiny.model, mask_of()))


# -- masks of any kind ------------------------------------------------------------------------------------------------


def test_nothing_to_erase_is_the_same_model(erasing, alike):
    tiny, mask = make("sd15"), mask_of()
    assert erasing(tiny.model, mask * 0, 9, grow=1.0) is tiny.model
    assert erasing(tiny.model, mask, 0) is tiny.model
    assert erasing(tiny.model, mask, 9, until=0.0) is tiny.model
    assert erasing(tiny.model, mask, until=0.0) is tiny.model
    whole = tuple(layer._replace(hole=layer.hole * 0) for layer in alike[0].layers)
    assert erasing(tiny.model, [alike[0]._replace(layers=whole)], 9) is tiny.model
    assert erasing(tiny.model, [], 9) is tiny.model


@pytest.mark.parametrize("guidance", [None, 9])
def test_a_full_mask_leaves_nothing_to_look_at(run_graph, comfy, erasing, caplog, guidance):
    tiny, mask = make("sd15"), torch.ones(1, 64, 64)
    with caplog.at_level(logging.WARNING):
        found = sampled(tiny, erasing(tiny.model, mask, guidance), height=19, width=13, cfg=1.0)
    assert near(found, sampled(tiny, height=19, width=13, cfg=1.0))
    assert sum("nothing is left to look at" in record.message for record in caplog.records) == 1


def test_the_node_says_what_it_does(run_graph, comfy):
    tiny = make("sd15")

    def said(mask):
        graph = {name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
                 for name, value in (("model", tiny.model), ("mask", mask))}  # fmt: skip
        graph["node"] = {"class_type": "MILD_AttentionEraser", "inputs": {
            "model": ["model", 0], "mask": ["mask", 0], "method": "attentive eraser", "method.guidance": 9.0,
            "method.suppression": 0.3, "method.suppressed": 0.25, "method.until": 1.0, "grow": 1.0, "which": "all",
        }}  # fmt: skip
        return run_graph(graph, wanted=["node"]).ui["node"]["text"][0]

    assert said(mask_of()).startswith("1 hole hidden, guidance 9") and "cover everything" not in said(mask_of())
    assert "cover everything" in said(torch.ones(1, 64, 64))
    assert "nothing to erase" in said(torch.zeros(1, 64, 64))


def test_a_hole_of_one_pixel_is_seen(erasing):
    tiny, mask = make("sd15"), torch.zeros(1, 512, 333)
    mask[0, 301, 200] = 1
    found = sampled(tiny, erasing(tiny.model, mask, grow=1.0), height=19, width=13)
    reference = sampled(tiny, catch.put(tiny.model, Published({0: mask[0]}), "test"), height=19, width=13)
    assert near(found, reference) and not near(found, sampled(tiny, height=19, width=13), 1e-3)


def noise_mask_of(mask, height, width):
    """As ComfyUI's samplers shrink a noise mask to a latent: [B, h, w]."""
    return comfy.sampler_helpers.prepare_mask(mask[:, None], (len(mask), 4, height, width), torch.device("cpu"))[:, 0]


@pytest.mark.parametrize("size", [(512, 512), (520, 333), (1024, 768), (1500, 1111)])
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_what_is_hidden_is_what_is_painted_anew(run_node, family, size):
    """One grown mask for both, as published: every cell of the latent that attention does not see is painted whole."""
    tiny, (height, width) = make(family), size
    mask = mask_of(height, width, (10, 33, 51, 47))
    mask[:, 1, 1] = 1
    (_, painted) = run_node(
        "MILD_AttentionEraser", model=tiny.model, mask=mask, method="attention alone", grow=1.0, which="all",
        **{"method.suppression": 0.3, "method.suppressed": 0.25, "method.until": 1.0},
    )  # fmt: skip
    hidden = erase.grown_mask(tiny.model, mask, 1.0)
    cells = F.adaptive_max_pool2d(hidden[:, None], (height // 8, width // 8))[:, 0]
    assert painted.shape == mask.shape and torch.equal(noise_mask_of(painted, height // 8, width // 8), cells)
    # the mask as it was leaves a rim of what is hidden unpainted
    assert (cells > noise_mask_of(mask, height // 8, width // 8)).any()


def test_layers_need_no_noise_mask(run_node, alike):
    (_, painted) = run_node(
        "MILD_AttentionEraser", model=make("sd15").model, layers=alike, method="attention alone", grow=1.0, which="all",
        **{"method.suppression": 0.3, "method.suppressed": 0.25, "method.until": 1.0},
    )  # fmt: skip
    assert painted.ndim == 3 and not painted.any()


def test_a_mask_grows_more_for_sdxl(erasing):
    mask = mask_of(512, 512)
    small, large = (erase.grown_mask(make(family).model, mask, 1.0) for family in ("sd15", "sdxl"))
    assert mask.sum() < small.sum() < large.sum()
    assert torch.equal(erase.grown_mask(make("sdxl").model, mask, 0.0), mask)


# -- others -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [None, 9])
def test_queued_twice_cancelled_and_the_model_unharmed(run_node, erasing, guidance):
    tiny, mask = make("sd15"), mask_of()
    plain, model = sampled(tiny), erasing(tiny.model, mask, guidance)
    first = sampled(tiny, model)
    assert torch.equal(sampled(tiny, model), first)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run_node(
            "KSampler", interrupt_at=1, model=model, seed=1, steps=2, cfg=2.0, sampler_name="euler",
            scheduler="simple", positive=tiny.positive, negative=tiny.negative, latent_image=tiny.empty_latent(),
            denoise=1.0,
        )  # fmt: skip
    assert not hooked(tiny.model)
    assert torch.equal(sampled(tiny, model), first) and torch.equal(sampled(tiny), plain)
    assert OVERRIDE not in tiny.model.model_options["transformer_options"]


def test_two_on_one_model(erasing):
    """Attention alone hides what either hides; guidances add up."""
    tiny, one, other = make("sd15"), mask_of(), mask_of(box=(4, 0, 20, 30))
    both = erasing(erasing(tiny.model, one, suppression=1.0), other, suppression=1.0)
    union = erasing(tiny.model, torch.maximum(one, other), suppression=1.0)
    assert near(sampled(tiny, both), sampled(tiny, union))
    plain, first, second, guided = (
        sampled(tiny, model, steps=1)
        for model in (tiny.model, erasing(tiny.model, one, 3), erasing(tiny.model, other, 5),
                      erasing(erasing(tiny.model, one, 3), other, 5))
    )  # fmt: skip
    assert near(guided, first + second - plain)


@pytest.mark.parametrize("when", ["before", "after"])
def test_with_another_nodes_override(erasing, when):
    tiny, mask, calls = make("sd15"), mask_of(), []

    def override(func, q, k, v, heads, *args, **kwargs):
        calls.append(k.shape[-2])
        return func(q, k, v, heads, *args, **kwargs)

    def overridden(model):
        model = model.clone()
        model.model_options["transformer_options"][OVERRIDE] = override
        return model

    before = when == "before"
    model = erasing(overridden(tiny.model), mask, 9) if before else overridden(erasing(tiny.model, mask, 9))
    assert near(sampled(tiny, model), sampled(tiny, erasing(tiny.model, mask, 9)), 1e-3)
    assert calls


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_models_stored_in_other_types(erasing, dtype):
    tiny, mask = make("sd15", dtype=dtype), mask_of()
    found = sampled(tiny, erasing(tiny.model, mask, 3))
    assert torch.isfinite(found).all() and not near(found, sampled(tiny), 1e-3)


# -- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_models_without_a_decoder_are_refused(erasing, family):
    with pytest.raises(ValueError, match="model: the Attentive Eraser works in the decoder of a UNet"):
        erasing(make(family).model, mask_of(), 9)


def test_the_built_in_model_is_refused(run_node, erasing):
    with pytest.raises(ValueError, match="model: "):
        erasing(run_node("MILD_BuiltInModel", model="exemplar")[0], mask_of(), 9)


def test_a_mask_or_layers(run_node, alike):
    method = {"method": "attention alone", "method.suppression": 0.3, "method.suppressed": 0.25, "method.until": 1.0}
    for given in ({}, {"mask": mask_of(), "layers": alike}):
        with pytest.raises(ValueError, match="mask: connect either a mask"):
            run_node("MILD_AttentionEraser", model=make("sd15").model, grow=1.0, which="all", **method, **given)
    with pytest.raises(ValueError, match="mask: expected a MASK"):
        run_node("MILD_AttentionEraser", model=make("sd15").model, mask=torch.zeros(1, 8, 8, 3), grow=1.0, which="all",
                 **method)  # fmt: skip
    with pytest.raises(ValueError, match="method: .*Choose one of: attentive eraser, attention alone"):
        run_node("MILD_AttentionEraser", model=make("sd15").model, mask=mask_of(), grow=1.0, which="all",
                 **(method | {"method": "witchcraft"}))  # fmt: skip
