"""Stop Attention Bleed: each row by its own layer's regions, nothing else changed, and less comes across."""

import functools
import logging

import comfy.model_management
import node_helpers
import pytest
import torch

from mild.mild_core.attention import rule
from mild.mild_core.attention.layer_regions import Maps
from mild.mild_core.comfy.attention import catch
from mild.mild_core.comfy.attention.adaptive import Adaptive
from mild.mild_core.comfy.attention.spatial import KEY, SpatialSettings, keep_apart
from mild.mild_core.comfy.attention.steer import Steering
from mild.mild_core.scene import Scene
from mild.tests.helpers.attention import TRANSFORMERS, UNETS, Noting, handlers, hooked, sampled
from mild.tests.helpers.layers import background, check, layers_of, person, picture
from mild.tests.helpers.tiny_models import make as made

make = functools.cache(made)  # one model for the whole file: no test may change it

BOTH = pytest.mark.parametrize("adaptive", [False, True])


def box_mask(box=(8, 8, 40, 40), height=64, width=64):
    mask = torch.zeros(1, height, width)
    mask[:, box[1] : box[3], box[0] : box[2]] = 1
    return mask


HOLE, PEOPLE = box_mask(), box_mask((44, 4, 64, 60))


def maps_of(hole=HOLE, people=PEOPLE):
    return Maps.of_mask(hole, people)


def apart(tiny, maps=None, **settings):
    return keep_apart(tiny.model, maps or maps_of(), SpatialSettings(**settings))[0]


def alike(first, second):
    """Up to rounding, which differs from batch to batch."""
    return float((first - second).norm() / second.norm()) < 1e-4


def handler_of(model):
    return handlers(model, KEY)[0]


# -- what changes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [*UNETS, *TRANSFORMERS, "sd15_inpaint"])
def test_every_family(family):
    tiny = make(family)
    for settings in ({}, {"adaptive": True, "words": True}):
        changed = sampled(tiny, apart(tiny, **settings), steps=1 + len(settings) // 2)
        assert changed.isfinite().all() and not torch.equal(changed, sampled(tiny, steps=1 + len(settings) // 2))


@BOTH
@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_something_changes_and_the_model_is_unharmed(family, adaptive):
    tiny = make(family)
    plain = sampled(tiny)
    model = apart(tiny, adaptive=adaptive)
    changed = sampled(tiny, model)
    assert changed.isfinite().all() and not torch.allclose(changed, plain, atol=1e-3)
    assert torch.equal(sampled(tiny, model), changed)  # queued twice: nothing is remembered
    assert torch.equal(sampled(tiny), plain) and not hooked(tiny.model)


def test_nothing_to_do_is_the_same_object():
    tiny = make("sd15")
    maps = maps_of()
    for settings in (SpatialSettings(strength=0.0), SpatialSettings(start=0.5, end=0.5), SpatialSettings(end=0.0)):
        assert keep_apart(tiny.model, maps, settings)[0] is tiny.model
    for empty in (maps_of(HOLE * 0), Maps.of([])):
        model, text = keep_apart(tiny.model, empty, SpatialSettings())
        assert model is tiny.model and "no hole" in text


def test_what_the_rule_leaves_alone_stays_bit_for_bit():
    tiny = make("sd15")
    plain = sampled(tiny)
    for handler in (
        Steering(maps_of(), lambda key, names: rule.off(names)),
        Steering(maps_of(HOLE * 0), lambda key, names: rule.sma(names)),
        Steering(maps_of(), lambda key, names: rule.sma(names), lambda block, kind: False),
        Adaptive(maps_of(), lambda key, names: rule.off(names)),
    ):
        assert torch.equal(sampled(tiny, catch.put(tiny.model, handler, "test")), plain)


@BOTH
def test_only_a_hole_is_no_rule(adaptive):
    """All tokens alike: whatever falls evenly is not seen."""
    tiny = make("sd15")
    full = apart(tiny, maps_of(torch.ones(1, 64, 64), None), adaptive=adaptive)
    assert alike(sampled(tiny, full), sampled(tiny))


def test_half_masks_do_half():
    """Where a mask is half, so is what it forbids."""
    tiny = make("flux")
    plain = sampled(tiny)
    moved = [float((sampled(tiny, apart(tiny, maps_of(HOLE, PEOPLE * by))) - plain).abs().mean()) for by in (0.5, 1)]
    assert 0 < moved[0] < moved[1]


@BOTH
@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_odd_latents(family, adaptive):
    tiny = make(family)
    maps = maps_of(box_mask((20, 9, 71, 60), 152, 104), box_mask((75, 0, 104, 152), 152, 104))
    result = sampled(tiny, apart(tiny, maps, adaptive=adaptive), height=19, width=13)
    assert result.isfinite().all() and not torch.allclose(result, sampled(tiny, height=19, width=13), atol=1e-3)


def test_a_hole_thinner_than_a_token_counts():
    tiny = make("flux")
    thin = box_mask((30, 3, 31, 61))
    assert not torch.equal(sampled(tiny, apart(tiny, maps_of(thin))), sampled(tiny))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_stored_in_less(dtype):
    """What the rule changes is the same, up to what the numbers can tell."""
    tiny = make("sd15", dtype=dtype)
    plain, changed = sampled(tiny).float(), sampled(tiny, apart(tiny, adaptive=True)).float()
    assert changed.isfinite().all()
    full = made("sd15")
    full.model.model.load_state_dict({k: v.float() for k, v in tiny.model.model.state_dict().items()})
    exact = sampled(full, apart(full, adaptive=True)) - sampled(full)
    assert float((changed - plain - exact).norm() / exact.norm()) < 0.3


def test_strengths_of_two_nodes_add_up():
    tiny = make("sd15")
    once = apart(tiny, strength=0.4)
    twice, _ = keep_apart(once, maps_of(), SpatialSettings(strength=0.6))
    assert alike(sampled(tiny, twice), sampled(tiny, apart(tiny)))
    assert len(handlers(twice, KEY)) == 2 and len(handlers(once, KEY)) == 1
    both, _ = keep_apart(apart(tiny, adaptive=True), maps_of(), SpatialSettings(adaptive=True))
    assert not alike(sampled(tiny, both), sampled(tiny, apart(tiny, adaptive=True)))


def test_after_cancel(run_node):
    tiny = make("sd15")
    plain, model = sampled(tiny), apart(tiny, adaptive=True)
    whole = sampled(tiny, model)
    inputs = {"seed": 1, "steps": 3, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    inputs |= {"positive": tiny.positive, "negative": tiny.negative, "latent_image": tiny.empty_latent()}
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run_node("KSampler", interrupt_at=2, model=model, **inputs)
    handler = handler_of(model)
    assert handler.run is None and not handler.factors and not handler._members and not handler._rules
    assert torch.equal(sampled(tiny), plain) and torch.equal(sampled(tiny, model), whole)


def test_a_part_of_the_sampling_and_of_the_blocks():
    tiny = make("sd15")

    def widths(model):
        """Of heads, by progress and block of self-attentions: a rule's are wider."""
        found = {}

        def note(inner, site, q, k, v, heads, *args, **kwargs):
            if site.kind == "self":
                found[site.progress, site.block] = q.shape[-1] if q.ndim == 4 else q.shape[-1] // heads
            return inner(q, k, v, heads, *args, **kwargs)

        sampled(tiny, catch.put(model, Noting(change=note), "noting"), steps=4)
        return found

    plain = widths(tiny.model)
    changed = widths(apart(tiny, adaptive=True, blocks="output 3-5, input 1", start=0.25, end=0.75))
    steered = {key for key, width in changed.items() if width != plain[key]}
    blocks = [("input", 1, 0), *(("output", n, 0) for n in (3, 4, 5))]
    assert steered == {(progress, block) for progress in (0.25, 0.5) for block in blocks}


def test_reference_pictures_are_not_looked_at():
    """A reference shows the photo with the erased person: what stands there must not come into the hole."""
    tiny = make("flux")

    def moved(model):
        results = []
        for seed in (1, 2):
            shown = torch.randn(tiny.shape(), generator=torch.Generator().manual_seed(5))
            other = torch.randn(tiny.shape(), generator=torch.Generator().manual_seed(seed))
            shown[..., 1:5, 1:5] = other[..., 1:5, 1:5]  # below the hole
            positive = node_helpers.conditioning_set_values(tiny.positive, {"reference_latents": [shown]})
            results.append(sampled(tiny, model, positive=positive, cfg=1.0)[..., 2:4, 2:4])
        return float((results[0] - results[1]).abs().mean())

    assert moved(apart(tiny, maps_of(HOLE, None), words=True)) < 0.5 * moved(tiny.model)


def test_prompts_in_an_area_are_left_alone(caplog):
    tiny = make("sd15")
    positive = node_helpers.conditioning_set_values(tiny.positive, {"area": (4, 8, 0, 0), "strength": 1.0})
    model = apart(tiny)
    with caplog.at_level(logging.WARNING):
        changed = sampled(tiny, model, positive=positive, cfg=1.0)
    assert torch.equal(changed, sampled(tiny, positive=positive, cfg=1.0))
    assert sum("area" in record.getMessage() for record in caplog.records) == 1


# -- rows -------------------------------------------------------------------------------------------------------------


@BOTH
def test_a_mask_for_each_picture(adaptive):
    """Each picture of a batch comes out as alone."""
    tiny = make("sd15")
    holes = torch.cat([HOLE, box_mask((24, 0, 60, 30))])
    noise = torch.randn(tiny.shape(batch=2), generator=torch.Generator().manual_seed(1))

    def result(hole, rows):
        model = apart(tiny, maps_of(hole), adaptive=adaptive)
        with torch.inference_mode():
            return comfy.sample.sample(
                model, noise[rows], 1 + 2 * adaptive, 2.0, "euler", "simple", tiny.positive, tiny.negative,
                torch.zeros_like(noise[rows]), seed=1, disable_pbar=True,
            )  # fmt: skip

    both = result(holes, slice(0, 2))
    assert alike(both[:1], result(holes[:1], slice(0, 1)))
    assert alike(both[1:], result(holes[1:], slice(1, 2)))
    assert alike(both[:1], result(HOLE, slice(0, 2))[:1])  # one for all
    with pytest.raises(ValueError, match="2 of them meet a latent of 1"):
        result(holes, slice(0, 1))


def twins():
    """A photo whose background and whose two people have crops of one size."""
    photo = picture(64, 96)
    free = torch.ones(64, 64, dtype=torch.bool)
    free[:, 48:] = False  # a kept neighbour
    free[10:40, 8:30] = False
    layers = (
        background(photo, (8, 10, 30, 40), box=(0, 0, 64, 64), allowed=free),
        person(photo, 2, (50, 4, 62, 60), (40, 20, 50, 50), (16, 0, 80, 64)),
        person(photo, 3, (70, 4, 90, 60), (60, 20, 70, 50), (32, 0, 96, 64)),
    )
    return [Scene(photo, layers)]


@BOTH
@pytest.mark.usefixtures("small_native_size")
def test_layers_alone_as_in_a_batch(sample, adaptive):
    tiny, scenes, seen = make("sd15"), twins(), []
    model = catch.put(apart(tiny, Maps.of(scenes), adaptive=adaptive), Noting(log=seen), "test")
    inputs = {"steps": 1 + 2 * adaptive, "cfg": 2.0, "positive": tiny.positive, "negative": tiny.negative}
    inputs["ground"] = "neutral"
    together = sample(scenes, tiny, model=model, **inputs)
    batch = len(seen)
    alone = sample(scenes, tiny, model=model, memory="save memory", **inputs)
    assert len(seen) - batch == 3 * batch
    plain = sample(scenes, tiny, **inputs)
    check(scenes, together)
    for first, second, none in zip(*(layers_of(s).values() for s in (together, alone, plain)), strict=True):
        assert torch.allclose(first.pixels, second.pixels, atol=2e-3)
        assert not torch.allclose(first.pixels, none.pixels, atol=2e-3)


@pytest.mark.usefixtures("small_native_size")
def test_layers_that_are_not_named_stay(sample):
    tiny, scenes = make("sd15"), twins()
    model = apart(tiny, Maps.of(scenes, "2"), adaptive=True)
    inputs = {"steps": 1, "cfg": 1.0, "ground": "neutral"}
    plain, result = (layers_of(sample(scenes, tiny, **{"model": m, **inputs})) for m in (tiny.model, model))
    same = {key: torch.allclose(plain[key].pixels, result[key].pixels, atol=1e-3) for key in plain}
    assert same == {"1/background": True, "1/person-2": False, "1/person-3": True}


@pytest.mark.usefixtures("small_native_size")
def test_layers_have_regions_of_their_own(sample, scenes):
    tiny, seen = make("sd15"), {}

    def rules(key, names):
        seen[key] = names
        return rule.off(names)

    sample(scenes, tiny, model=catch.put(tiny.model, Steering(Maps.of(scenes), rules), "test"))
    assert seen["1/person-2"] == ("rest", "hole", "herself") and set(seen) == {layer.id for layer in scenes[0].layers}


@pytest.mark.usefixtures("small_native_size")
def test_what_does_not_belong_together_is_told(sample, scenes):
    tiny = make("sd15")
    with pytest.raises(ValueError, match="Connect the layers instead"):
        sample(scenes, tiny, model=apart(tiny))
    with pytest.raises(ValueError, match="Connect the same layers"):
        sample(scenes, tiny, model=apart(tiny, Maps.of([Scene(scenes[0].photo, scenes[0].layers[:1])])))
    with pytest.raises(ValueError, match="3 of them meet a latent of 1"):
        sampled(tiny, apart(tiny, Maps.of(scenes)))
    one = apart(tiny, Maps.of(scenes, "2"))
    assert sampled(tiny, one, batch=2).isfinite().all()  # KSampler on what Get Layer hands out


def test_a_mask_of_another_shape_than_the_latent_is_told(caplog):
    """Its size is known no earlier. It lies over the whole latent all the same."""
    tiny, maps = made("sd15"), Maps.of_mask(box_mask(height=64, width=128))
    model, _ = keep_apart(tiny.model, maps, SpatialSettings())
    for width, words in ((16, False), (8, True)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            sampled(tiny, model, width=width)
        said = "mask: 128 x 64 px, the latent 8 x 8: another shape, so it was stretched by 100%" in caplog.text
        assert said is words
