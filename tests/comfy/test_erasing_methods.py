"""Erase by Attention's SRA and AdaEraser: on every family what the dense formula gives; all else stays."""

import logging

import comfy.model_management
import comfy.sample
import pytest
import torch

from mild.mild_core.attention.layer_regions import Maps
from mild.mild_core.attention.rule import attentive_eraser
from mild.mild_core.comfy.attention import adaeraser, catch
from mild.mild_core.comfy.attention.blocks import chosen_blocks
from mild.mild_core.comfy.attention.steer import Steering
from mild.tests.helpers.attention import (
    CONTEXT_WINDOWS,
    TRANSFORMERS,
    UNETS,
    Noting,
    counting_calls,
    mask_of,
    near,
    sampled,
)
from mild.tests.helpers.dense_erasers import ADA, BOX, SRA, DenseAda, DenseSRA, cells, latent_of

EVERY = UNETS + TRANSFORMERS


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
    erased = erasing_by(ADA, model.model, mask_of())
    (cut,) = run_node("ContextWindowsManual", model=erased, context_length=8, dim=2, **CONTEXT_WINDOWS)
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


def kept_bytes(model, mask, latent, cfg=1.0, prompts=1):
    """What the attentions of a picture with itself take at their own numbers of tokens, by block."""
    noting, sizes = Noting(), {}
    sampled(model, catch.put(model.model, noting, "test"), latent=latent, steps=1, cfg=cfg)
    for site in noting.sites:
        hole, picture = (cells(one, site.spans, "image").sum() for one in (mask[0], torch.ones_like(mask[0])))
        if site.kind != "cross" and hole < picture:
            sizes[site.block, site.kind] = 4 * prompts * len(latent) * int(hole * picture)
    return list(sizes.values())


def test_what_is_kept_stays_below_a_bound(monkeypatch, tiny, erasing_by, caplog):
    """All pictures and prompts together. Where it would be more, every second block keeps its rows; it is said, and
    so is how much is kept.
    """
    model, mask, latent = tiny("flux"), mask_of(box=BOX), latent_of(tiny("flux"), batch=2)
    some = sampled(model, erasing_by(ADA, model.model, mask, blocks="double 0, single 0"), latent=latent)
    every = sampled(model, erasing_by(ADA, model.model, mask), latent=latent)
    assert not near(some, every, 1e-3)
    whole = sum(kept_bytes(model, mask, latent, cfg=2.0, prompts=2))
    for most, expected in ((whole, every), (whole - 1, some), (whole // 2, some)):
        caplog.clear()
        monkeypatch.setattr(adaeraser, "MOST_KEPT", most)
        with caplog.at_level(logging.INFO):
            assert torch.equal(sampled(model, erasing_by(ADA, model.model, mask), latent=latent), expected)
        assert sum("is kept in every 2. block only" in record.message for record in caplog.records) == (most < whole)
        assert sum("AdaEraser keeps" in record.message for record in caplog.records) == 1


def test_what_is_kept_is_counted_at_each_blocks_own_tokens(monkeypatch, tiny, erasing_by, caplog):
    """A UNet's inner attentions have few: the bound is not for as many blocks of the largest size."""
    model, mask, latent = tiny("sd15"), mask_of(box=BOX), latent_of(tiny("sd15"))
    size = {"latent": latent, "steps": 1, "cfg": 1.0}
    every = sampled(model, erasing_by(ADA, model.model, mask), **size)
    sizes = kept_bytes(model, mask, latent)
    assert len(set(sizes)) > 1
    monkeypatch.setattr(adaeraser, "MOST_KEPT", sum(sizes))
    assert torch.equal(sampled(model, erasing_by(ADA, model.model, mask), **size), every)
    assert not any("block only" in record.message for record in caplog.records)


def test_what_not_even_one_block_may_keep(monkeypatch, tiny, erasing_by, caplog):
    model, mask, latent = tiny("flux"), mask_of(box=BOX), latent_of(tiny("flux"))
    monkeypatch.setattr(adaeraser, "MOST_KEPT", kept_bytes(model, mask, latent)[0] - 1)
    size = {"latent": latent, "steps": 1, "cfg": 1.0}
    assert near(sampled(model, erasing_by(ADA, model.model, mask), **size), sampled(model, **size))
    assert sum("in a single block takes more than" in record.message for record in caplog.records) == 1
