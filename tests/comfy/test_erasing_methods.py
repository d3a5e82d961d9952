"""Erase by Attention's SRA and AdaEraser: on every family what the dense formula gives; all else stays."""

import logging

import comfy.model_management
import comfy.sample
import pytest
import torch
import torch.nn.functional as F
from comfy.patcher_extension import WrappersMP

from mild.mild_core.attention import evaluate
from mild.mild_core.attention.layer_regions import Maps
from mild.mild_core.attention.regions import Span
from mild.mild_core.attention.rule import attentive_eraser
from mild.mild_core.comfy.attention import adaeraser, catch, erase
from mild.mild_core.comfy.attention.blocks import chosen_blocks
from mild.mild_core.comfy.attention.run import rows_of
from mild.mild_core.comfy.attention.steer import Steering
from mild.mild_core.comfy.sampling import encode
from mild.mild_core.comfy.sampling.groups import layer_seed
from mild.mild_core.layers.painted import resized
from mild.tests.helpers.attention import (
    OVERRIDE,
    TRANSFORMERS,
    UNETS,
    Noting,
    counting_calls,
    handlers,
    hooked,
    mask_of,
    near,
    noting_calls,
    sampled,
)
from mild.tests.helpers.layers import WIDGETS, layers_of
from mild.tests.helpers.tiny_models import make

SRA, ADA = "self-rectifying attention", "adaeraser"
EVERY = UNETS + TRANSFORMERS
BOX = (20, 14, 52, 50)
"""A hole that leaves some picture on the coarsest grids."""


def cells(mask, spans, kind):
    """[N]: which of these tokens a mask [H, W] touches, in pictures of this kind."""
    found = torch.zeros(sum(span.length for span in spans), dtype=torch.bool)
    for span in spans:
        if span.kind == kind:
            pooled = F.adaptive_max_pool2d(mask[None].float(), span.grid).flatten() > 0
            found[span.start : span.start + span.length] = pooled
    return found


class Dense(Noting):
    """A method with the whole attention matrix. A mask [H, W] for each row of the latent, or layer, by its name."""

    only = None  # blocks; None: all
    also = None  # [H, W]: another hole, which does not look at itself

    def __init__(self, masks):
        super().__init__()
        self.masks = masks

    def attend(self, inner, site, q, k, v, heads, transformer_options, *args, **kwargs):
        self.sites.append(site)
        asked = evaluate.logits_of(q, k, v, heads, *args, **kwargs)
        rows = rows_of(self.runs[-1], transformer_options, len(q))
        plain = inner(q, k, v, heads, *args, **kwargs)
        if site.kind == "cross" or (self.only is not None and site.block not in self.only):
            return plain
        values = v if kwargs.get("skip_reshape") else v.flatten(2).unflatten(-1, (heads, -1)).transpose(1, 2)
        out = torch.empty(*asked.q.shape[:3], values.shape[-1])
        for n, row in enumerate(rows):
            logits = asked.q[n] @ asked.k[n].transpose(-1, -2) * asked.scale
            seen = asked.mask_of(n)
            if seen is not None:
                logits = logits.masked_fill(~seen, float("-inf")) if seen.dtype == torch.bool else logits + seen
            mask = self.masks[row.layer if row.layer in self.masks else 0]
            hole, shown = (cells(mask, site.spans, kind) for kind in ("image", "reference"))
            picture = cells(torch.ones_like(mask), site.spans, "image")
            if 0 < hole.sum() < picture.sum():
                chunk = transformer_options["uuids"][n * len(transformer_options["uuids"]) // len(rows)]
                name = site.block, site.kind, chunk, row.layer
                logits = self.changed(logits, hole, shown, picture, name, transformer_options)
            if self.also is not None and "test_source" not in transformer_options:
                second = cells(self.also, site.spans, "image")
                if second.sum() < picture.sum():
                    logits = logits.masked_fill(second[:, None] & second, float("-inf"))
            out[n] = logits.softmax(-1) @ values[n]
        out = out if kwargs.get("skip_output_reshape") else out.transpose(1, 2).flatten(2)
        return plain if torch.allclose(out, plain, atol=1e-6) else out


class DenseSRA(Dense):
    """softmax(S + m) V, m minus infinity where query and key lie in the hole."""

    def changed(self, logits, hole, shown, picture, name, options):
        return logits.masked_fill(hole[:, None] & (hole | shown), float("-inf"))


class DenseAda(Dense):
    """log(1 - p) is added to the logits of the hole's keys. The source is asked for before each step's own call."""

    def __init__(self, masks, latent, noise):
        super().__init__(masks)
        self.latent, self.noise, self.rows, self.presences = latent, noise, {}, []

    def changed(self, logits, hole, shown, picture, name, options):
        rows = logits.softmax(-1).mean(0)[:, picture]
        if "test_source" in options:
            self.rows[name] = rows
            return logits
        present = F.cosine_similarity(rows, self.rows[name], dim=-1).clamp(0, 1 - 1e-7)
        self.presences.append(present[hole])
        eta = torch.where(hole, 1 - present, 1.0).masked_fill(shown, 0)
        return logits + eta.log()

    def before(self, executor, model, conds, x, timestep, model_options):
        source = model.model_sampling.noise_scaling(timestep, self.noise, model.process_latent_in(self.latent))
        options = model_options["transformer_options"] | {"test_source": True}
        executor(model, conds, source, timestep, {**model_options, "transformer_options": options})
        return executor(model, conds, x, timestep, model_options)

    def on(self, model):
        model = catch.put(model, self, "test")
        model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "test", self.before)
        return model


def latent_of(tiny, height=8, width=8, batch=1, seed=7):
    return torch.randn(tiny.shape(height, width, batch), generator=torch.Generator().manual_seed(seed))


def with_reference(run_node, tiny, height=6, width=4):
    latent = {"samples": latent_of(tiny, height, width, seed=2)}
    return run_node("ReferenceLatent", conditioning=tiny.positive, latent=latent)[0]


# -- the formulas -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", EVERY)
def test_sra_is_the_dense_formula(tiny, erasing_by, family):
    model = tiny(family)
    height, width = (19, 13) if family in ("sd15", "sdxl", "flux") else (8, 6)
    size = {"height": height, "width": width, "batch": 2, "steps": 1}
    masks = torch.cat([mask_of(height * 8, width * 8, box) for box in (BOX, (4, 4, 30, 20))])
    reference = DenseSRA(dict(enumerate(masks)))
    found = sampled(model, erasing_by(SRA, model.model, masks), **size)
    assert near(found, sampled(model, catch.put(model.model, reference, "test"), **size))
    assert not near(found, sampled(model, **size), 1e-3)


@pytest.mark.parametrize("family", EVERY)
def test_adaeraser_is_the_dense_formula(tiny, erasing_by, family):
    model = tiny(family)
    height, width = (19, 13) if family == "flux" else (8, 6)
    latent, cfg = latent_of(model, height, width, 2), 2.0 if family in ("sd15", "flux") else 1.0
    size = {"latent": latent, "steps": 2, "cfg": cfg}
    masks = torch.cat([mask_of(height * 8, width * 8, box) for box in (BOX, (4, 4, 30, 20))])
    reference = DenseAda(dict(enumerate(masks)), latent, comfy.sample.prepare_noise(latent, 1))
    expected = sampled(model, reference.on(model.model), **size)
    found = sampled(model, erasing_by(ADA, model.model, masks), **size)
    assert near(found, expected)
    assert not near(found, sampled(model, **size), 1e-3)
    present = torch.cat(reference.presences)
    assert present.max() > 1 - 1e-3 and present.min() < 0.995  # as at first, and no longer


@pytest.mark.parametrize("method", [SRA, ADA])
@pytest.mark.parametrize("family", ["flux", "qwen_image"])
def test_the_holes_place_in_a_reference_picture(run_node, tiny, erasing_by, family, method):
    """It shows who is to vanish, so no query of the hole (SRA), or none at all (AdaEraser), sees it."""
    model, latent, mask = tiny(family), latent_of(tiny(family)), mask_of(box=BOX)
    size = {"latent": latent, "steps": 1, "cfg": 1.0, "positive": with_reference(run_node, model)}
    reference = DenseSRA({0: mask[0]}) if method == SRA else None
    if reference is not None:
        expected = sampled(model, catch.put(model.model, reference, "test"), **size)
    else:
        reference = DenseAda({0: mask[0]}, latent, comfy.sample.prepare_noise(latent, 1))
        expected = sampled(model, reference.on(model.model), **size)
    assert any(span.kind == "reference" for site in reference.sites for span in site.spans)
    assert near(sampled(model, erasing_by(method, model.model, mask), **size), expected)


@pytest.mark.parametrize(("family", "block"), [("sd15", "input 1"), ("flux", "double 0")])
def test_a_hole_that_is_there_altogether_is_forbidden(tiny, erasing_by, family, block):
    """The first block, in a first step from the source itself: presence 1. Nobody then sees the hole, as in Attentive
    Eraser. (In later blocks the two differ by what the first one did.)
    """
    model, mask = tiny(family), mask_of(box=BOX)
    size = {"latent": latent_of(model), "steps": 1, "denoise": 0.5, "cfg": 1.0}
    chosen = chosen_blocks(model.model, block)
    hidden = Steering(Maps.of_mask(mask), lambda key, names: attentive_eraser(names, 1.0), chosen)
    expected = sampled(model, catch.put(model.model, hidden, "test"), **size)
    assert near(sampled(model, erasing_by(ADA, model.model, mask, blocks=block), **size), expected)
    assert not near(sampled(model, **size), expected, 1e-3)


def test_a_hole_of_which_nothing_is_there_is_left_alone(monkeypatch, tiny, erasing_by):
    monkeypatch.setattr(adaeraser.presence, "presence", lambda source, rows: torch.zeros(len(rows.queries)))
    model = tiny("flux")
    found = sampled(model, erasing_by(ADA, model.model, mask_of(box=BOX)), latent=latent_of(model))
    assert near(found, sampled(model, latent=latent_of(model)))


# -- calls of the model -----------------------------------------------------------------------------------------------


def test_what_it_costs(tiny, erasing_by):
    """Self-rectifying attention nothing, AdaEraser one more call in each step in which it holds."""
    model, mask, latent = tiny("flux"), mask_of(box=BOX), latent_of(tiny("flux"), batch=2)

    def calls(erased, **more):
        counted, seen = counting_calls(erased)
        sampled(model, counted, latent=latent, steps=4, **more)
        return seen

    assert calls(erasing_by(SRA, model.model, mask), cfg=1.0) == [2] * 4
    assert calls(erasing_by(ADA, model.model, mask), cfg=1.0) == [2, 2] * 4
    assert calls(erasing_by(ADA, model.model, mask), cfg=2.0) == [2, 2, 2, 2] * 4  # texts of two lengths
    assert calls(erasing_by(ADA, model.model, mask, start=0.25, end=0.5), cfg=1.0) == [2, 2, 2, 2, 2]


def test_a_noise_level_is_asked_for_once(erasing, erasing_by, tiny):
    """By a sampler that looks twice, and by another node's guidance."""
    model, mask, latent = tiny("sd15"), mask_of(box=BOX), latent_of(tiny("sd15"))
    guided = erasing(erasing_by(ADA, model.model, mask), mask, 3)
    for erased, more, expected in ((guided, {}, 3 * 2), (erasing_by(ADA, model.model, mask), {"sampler": "heun"}, 5)):
        counted, seen = counting_calls(erased)
        sampled(model, counted, latent=latent, cfg=1.0, **more)
        assert len(seen) == expected


@pytest.mark.parametrize("method", [SRA, ADA])
def test_steps(tiny, erasing_by, method):
    """Those that begin in the share; before it the picture is the plain one's."""
    model, mask, latent = tiny("flux"), mask_of(box=BOX), latent_of(tiny("flux"))

    def seen(erased):
        pictures = []
        sampled(model, erased, latent=latent, steps=4, cfg=1.0,
                callback=lambda step, x0, x, total: pictures.append(x0))  # fmt: skip
        return pictures

    plain, late, early = (seen(one) for one in (
        model.model, erasing_by(method, model.model, mask, start=0.5), erasing_by(method, model.model, mask, end=0.5)
    ))  # fmt: skip
    assert torch.equal(late[1], plain[1]) and not near(late[2], plain[2], 1e-3)
    assert not near(early[0], plain[0], 1e-3)


def test_other_handlers_are_not_asked_for_the_source(tiny, erasing_by):
    """Such as one that records, or adapts to, what holes look at."""
    model, latent = tiny("flux"), latent_of(tiny("flux"))
    for before in (True, False):
        noting, plain = Noting(), Noting()
        first = catch.put(model.model, noting, "test") if before else model.model
        erased = erasing_by(ADA, first, mask_of(box=BOX))
        sampled(model, erased if before else catch.put(erased, noting, "test"), latent=latent)
        sampled(model, catch.put(model.model, plain, "test"), latent=latent)
        assert len(noting.sites) == len(plain.sites)


def test_the_source_does_not_pass_for_the_pictures_last_step(run_node, tiny, erasing_by):
    """EasyCache here repeats the second step's answer in both later ones: what is asked of the source then changes
    nothing.
    """
    model, latent, mask = tiny("flux"), latent_of(tiny("flux")), mask_of(box=BOX)

    def cached(**when):
        erased = erasing_by(ADA, model.model, mask, **when)
        erased = run_node("EasyCache", model=erased, reuse_threshold=3.0, start_percent=0.0, end_percent=1.0,
                          verbose=False)[0]  # fmt: skip
        return sampled(model, erased, latent=latent, steps=4, cfg=1.0)

    once = cached(end=0.3)
    assert torch.equal(cached(), once)
    assert not near(once, sampled(model, erasing_by(ADA, model.model, mask, end=0.3), latent=latent, steps=4, cfg=1.0))


def test_context_windows_are_refused(run_node, tiny, erasing_by):
    model, size = tiny("sd15"), {"latent": latent_of(tiny("sd15"), 16, 16), "cfg": 1.0}
    (cut,) = run_node(
        "ContextWindowsManual", model=erasing_by(ADA, model.model, mask_of()), context_length=8, context_overlap=1,
        context_schedule="standard_static", context_stride=1, closed_loop=False, fuse_method="pyramid", dim=2,
        freenoise=False, cond_retain_index_list="", split_conds_to_windows=False, latent_retain_index_list="",
        causal_window_fix=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match="model: Context Windows show the model a part"):
        sampled(model, cut, **size)


# -- where ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [SRA, ADA])
@pytest.mark.parametrize(("family", "some"), [("sd15", "output 3-5, middle"), ("flux", "single")])
def test_blocks(tiny, erasing_by, method, family, some):
    model, mask, latent = tiny(family), mask_of(box=BOX), latent_of(tiny(family))
    chosen = {
        "sd15": {("output", n, 0) for n in (3, 4, 5)} | {("middle", 0, 0)},
        "flux": {("single", n) for n in (0, 1)},
    }
    noise = comfy.sample.prepare_noise(latent, 1)
    reference = DenseSRA({0: mask[0]}) if method == SRA else DenseAda({0: mask[0]}, latent, noise)
    reference.only = chosen[family]
    on = catch.put(model.model, reference, "test") if method == SRA else reference.on(model.model)
    found = sampled(model, erasing_by(method, model.model, mask, blocks=some), latent=latent)
    assert near(found, sampled(model, on, latent=latent))
    with pytest.raises(ValueError, match="blocks: 'tripel' is no block of this model"):
        erasing_by(method, model.model, mask, blocks="tripel")


def test_a_unets_largest_attentions_are_left_out(monkeypatch, tiny, erasing_by, caplog):
    """Unless they are named, or no others are there: then it is said."""
    model, mask, latent = tiny("sd15"), mask_of(box=BOX), latent_of(tiny("sd15"))
    every, named = (sampled(model, erasing_by(ADA, model.model, mask, blocks=blocks), latent=latent)
                    for blocks in ("all", "input 4-8, middle, output 3-8"))  # fmt: skip
    monkeypatch.setattr(adaeraser, "MOST_TOKENS", 16)
    assert not near(named, every, 1e-3)
    assert torch.equal(sampled(model, erasing_by(ADA, model.model, mask), latent=latent), named)
    monkeypatch.setattr(adaeraser, "MOST_TOKENS", 0)
    with caplog.at_level(logging.WARNING):
        found = sampled(model, erasing_by(ADA, model.model, mask.clone()), latent=latent)  # (equal inputs are cached)
    assert near(found, sampled(model, latent=latent))
    assert sum("so nothing was held back. Name blocks" in record.message for record in caplog.records) == 1


def test_what_is_kept_stays_below_a_bound(monkeypatch, tiny, erasing_by, caplog):
    """Where it would be more, every second block keeps its rows; it is said, and so is how much is kept."""
    model, mask, latent = tiny("flux"), mask_of(box=BOX), latent_of(tiny("flux"))
    some = sampled(model, erasing_by(ADA, model.model, mask, blocks="double 0, single 0"), latent=latent)
    tokens = int(cells(mask[0], [Span("image", 0, 16, (4, 4))], "image").sum())
    monkeypatch.setattr(adaeraser, "MOST_KEPT", 2 * 4 * tokens * 16)
    with caplog.at_level(logging.INFO):
        assert torch.equal(sampled(model, erasing_by(ADA, model.model, mask), latent=latent), some)
    assert sum("is kept in every 2. block only" in record.message for record in caplog.records) == 1
    assert sum("AdaEraser keeps" in record.message for record in caplog.records) == 1


# -- masks of any kind, and sources -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [SRA, ADA])
def test_nothing_to_do_is_the_same_model(tiny, erasing_by, alike, method):
    model, mask = tiny("flux"), mask_of()
    vae = {"vae": model.vae}
    assert erasing_by(method, model.model, mask * 0, grow=1.0) is model.model
    assert erasing_by(method, model.model, mask, start=0.5, end=0.5) is model.model
    assert erasing_by(method, model.model, mask, end=0.0) is model.model
    whole = tuple(layer._replace(hole=layer.hole * 0) for layer in alike[0].layers)
    assert erasing_by(method, model.model, [alike[0]._replace(layers=whole)], **vae) is model.model
    assert erasing_by(method, model.model, [], **vae) is model.model
    with pytest.raises(ValueError, match="end_percent: it lies before start_percent"):
        erasing_by(method, model.model, mask, start=0.6, end=0.5)


@pytest.mark.parametrize("method", [SRA, ADA])
@pytest.mark.parametrize("family", ["sd15", "flux", "z_image"])
def test_a_full_mask_leaves_nothing_to_look_at(tiny, erasing_by, caplog, family, method):
    """Though words and padding are left."""
    model, latent = tiny(family), latent_of(tiny(family), 9, 7)
    with caplog.at_level(logging.WARNING):
        found = sampled(model, erasing_by(method, model.model, torch.ones(1, 64, 64)), latent=latent, cfg=1.0)
    assert torch.equal(found, sampled(model, latent=latent, cfg=1.0))
    assert sum("nothing is left to look at" in record.message for record in caplog.records) == 1


def test_a_latent_that_does_not_show_the_erased_is_told(run_node, tiny, erasing_by, caplog):
    model, mask = tiny("flux"), mask_of(box=BOX)
    erased, shown = erasing_by(ADA, model.model, mask), latent_of(model)
    inside = cells(mask[0], [Span("image", 0, 64, (8, 8))], "image").unflatten(0, (8, 8))
    filled = torch.where(inside, 0.3, shown)
    said = []
    for latent in (shown, filled, torch.zeros_like(shown)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            sampled(model, erased, latent=latent, steps=1)
        said.append(sum("does not show whoever is to vanish" in record.message for record in caplog.records))
    assert said == [0, 1, 1]
    with caplog.at_level(logging.WARNING):
        run_node(
            "KSamplerAdvanced", model=erased, add_noise="disable", noise_seed=1, steps=2, cfg=1.0, start_at_step=0,
            sampler_name="euler", scheduler="simple", positive=model.positive, negative=model.negative,
            latent_image={"samples": shown}, end_at_step=2, return_with_leftover_noise="disable",
        )  # fmt: skip
    assert any("told to add no noise" in record.message for record in caplog.records)


def test_no_source_is_no_error(tiny, erasing_by, caplog):
    """Another node may save calls of the model."""
    model = tiny("flux")

    def saving(executor, model, conds, x, timestep, model_options):
        if catch.ONLY in model_options["transformer_options"]:
            return [torch.zeros_like(x)] * len(conds)
        return executor(model, conds, x, timestep, model_options)

    erased = erasing_by(ADA, model.model, mask_of(box=BOX))
    erased.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "saving", saving)
    with caplog.at_level(logging.WARNING):
        found = sampled(model, erased, latent=latent_of(model))
    assert near(found, sampled(model, latent=latent_of(model)))
    assert sum("skipped calls of the model for the source" in record.message for record in caplog.records) == 1


# -- layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_native_size")
@pytest.mark.parametrize(("family", "method"), [("flux", SRA), ("flux", ADA), ("sd15", ADA)])
def test_layers_in_one_batch(sample, tiny, erasing_by, alike, family, method):
    model = tiny(family)
    erased = erasing_by(method, model.model, alike, vae=model.vae)
    counted, calls = counting_calls(erased)
    together = layers_of(sample(alike, model, model=counted))
    assert set(calls) == {3} and len(calls) == (2 if method == SRA else 4)
    alone, plain = (layers_of(sample(alike, model, model=one, memory="save memory")) for one in (erased, model.model))
    for key, layer in together.items():
        assert near(layer.pixels, alone[key].pixels) and not near(layer.pixels, plain[key].pixels, 1e-3)
    some = layers_of(sample(alike, model, model=erasing_by(method, model.model, alike, which="people", vae=model.vae)))
    for key, layer in some.items():
        expected = plain if "background" in key else together
        assert near(layer.pixels, expected[key].pixels)


@pytest.mark.usefixtures("small_native_size")
def test_a_layers_source_is_the_photos_own_crop(sample, tiny, erasing_by, alike):
    """At the noise level of the step, under the sampler's own noise for the layer."""
    model, latents = tiny("sd15"), []

    def note(x, t, c_concat, c_crossattn, control, options, **more):
        if catch.ONLY in options:
            latents.append((x, options["sigmas"][0]))

    (layer,) = [layer for layer in alike[0].layers if layer.number is not None]
    noting, _ = noting_calls(erasing_by(ADA, model.model, alike, which="people", vae=model.vae), note)
    sample(alike, model, model=noting, which="people")
    x0, y0, x1, y1 = layer.box
    crop = alike[0].photo[None, y0:y1, x0:x1]
    space = encode.latent_space(model.model, model.vae)
    size = encode.work_size_of(layer, tuple(alike[0].photo.shape[:2]), space)
    latent = model.model.model.process_latent_in(model.vae.encode(resized(crop, size)))
    noise = comfy.sample.prepare_noise(latent, layer_seed(WIDGETS["seed"], layer.id))
    assert len(latents) == 2 and latents[0][1] > latents[1][1]
    for x, sigma in latents:
        assert near(x, latent + sigma * noise)


def test_what_layers_need(tiny, erasing_by, alike):
    with pytest.raises(ValueError, match="vae: adaeraser compares each layer with the photo itself.*Connect"):
        erasing_by(ADA, tiny("sd15").model, alike)
    with pytest.raises(ValueError, match="vae: it gives latents of"):
        erasing_by(ADA, tiny("sd15").model, alike, vae=tiny("flux").vae)
    pixels = tiny("chroma_radiance")
    assert erasing_by(ADA, pixels.model, alike) is not pixels.model


# -- others -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [SRA, ADA])
def test_queued_twice_cancelled_and_the_model_unharmed(run_node, tiny, erasing_by, method):
    model, mask, latent = tiny("flux"), mask_of(box=BOX), latent_of(tiny("flux"))
    plain, erased = sampled(model, latent=latent), erasing_by(method, model.model, mask)
    (handler,) = handlers(erased, erase.KEY)
    first = sampled(model, erased, latent=latent)
    assert torch.equal(sampled(model, erased, latent=latent), first)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run_node(
            "KSampler", interrupt_at=1, model=erased, seed=1, steps=2, cfg=2.0, sampler_name="euler",
            scheduler="simple", positive=model.positive, negative=model.negative, latent_image={"samples": latent},
            denoise=1.0,
        )  # fmt: skip
    assert not hooked(model.model) and handler.run is None and not getattr(handler, "_kept", None)
    assert getattr(handler, "_latent", None) is None
    assert torch.equal(sampled(model, erased, latent=latent), first)
    assert torch.equal(sampled(model, latent=latent), plain)
    assert OVERRIDE not in model.model.model_options["transformer_options"]


def test_two_on_one_model(tiny, erasing_by):
    """Each does its own: two of self-rectifying attention hide what either hides, one of each what both do."""
    model, latent = tiny("flux"), latent_of(tiny("flux"))
    one, other = mask_of(box=BOX), mask_of(box=(0, 0, 16, 30))
    both = erasing_by(SRA, erasing_by(SRA, model.model, one), other)
    reference = DenseSRA({0: one[0]})
    reference.also = other[0]
    expected = sampled(model, catch.put(model.model, reference, "test"), latent=latent)
    assert near(sampled(model, both, latent=latent), expected)
    mixed = erasing_by(SRA, erasing_by(ADA, model.model, one), other)
    reference = DenseAda({0: one[0]}, latent, comfy.sample.prepare_noise(latent, 1))
    reference.also = other[0]
    assert near(sampled(model, mixed, latent=latent), sampled(model, reference.on(model.model), latent=latent))
    counted, calls = counting_calls(erasing_by(ADA, erasing_by(ADA, model.model, one), other))
    assert torch.isfinite(sampled(model, counted, latent=latent, cfg=1.0)).all()
    assert len(calls) == 2 * 3


@pytest.mark.parametrize("method", [SRA, ADA])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_models_stored_in_other_types(erasing_by, method, dtype):
    model, mask = make("flux", dtype=dtype), mask_of(box=BOX)
    latent = latent_of(model)
    found = sampled(model, erasing_by(method, model.model, mask), latent=latent)
    assert torch.isfinite(found).all() and not near(found, sampled(model, latent=latent), 1e-3)


def test_what_the_node_says(run_graph, comfy, tiny, alike):
    model = tiny("flux")

    def said(method, **given):
        given = {"model": model.model, **given}
        graph = {name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
                 for name, value in given.items()}  # fmt: skip
        graph["node"] = {"class_type": "MILD_AttentionEraser", "inputs": {
            "method": method, "method.blocks": "all", "method.start_percent": 0.0, "method.end_percent": 1.0,
            "grow": 1.0, "which": "all", **{name: [name, 0] for name in given},
        }}  # fmt: skip
        return run_graph(graph, wanted=["node"]).ui["node"]["text"][0]

    assert said(SRA, mask=mask_of()) == "1 hole does not look at itself."
    assert said(SRA, layers=alike) == "3 holes do not look at themselves."
    assert "by one more call in each step" in said(ADA, mask=mask_of())
    assert "the latent that KSampler gets" in said(ADA, mask=mask_of())
    assert "each layer's own crop" in said(ADA, layers=alike, vae=model.vae)
    for method, given in ((ADA, {"mask": mask_of()}), (SRA, {"layers": alike})):
        assert "vae is not used" in said(method, vae=model.vae, **given)
    assert "cover everything" in said(SRA, mask=torch.ones(1, 64, 64))


@pytest.mark.parametrize("method", [SRA, ADA])
def test_the_built_in_model_is_refused(run_node, erasing_by, method):
    with pytest.raises(ValueError, match="model: no hooks for this model family"):
        erasing_by(method, run_node("MILD_BuiltInModel", model="exemplar")[0], mask_of())
