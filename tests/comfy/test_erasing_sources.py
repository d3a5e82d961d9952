"""Erase by Attention's SRA and AdaEraser: masks of any kind, where the source comes from, layers, other nodes."""

import logging

import comfy.model_management
import comfy.sample
import pytest
import torch
from comfy.patcher_extension import WrappersMP

from mild.mild_core.attention.regions import Span
from mild.mild_core.comfy.attention import catch, erase
from mild.mild_core.comfy.sampling import encode
from mild.mild_core.comfy.sampling.groups import layer_seed
from mild.mild_core.layers.painted import resized
from mild.tests.helpers.attention import (
    OVERRIDE,
    counting_calls,
    handlers,
    hooked,
    mask_of,
    near,
    noting_calls,
    sampled,
)
from mild.tests.helpers.dense_erasers import ADA, BOX, SRA, DenseAda, DenseSRA, cells, latent_of
from mild.tests.helpers.layers import WIDGETS, layers_of
from mild.tests.helpers.tiny_models import make

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
    assert not hooked(model.model) and handler.run is None
    if method == ADA:
        assert handler._kept.bytes == 0 and handler._latent is None
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
