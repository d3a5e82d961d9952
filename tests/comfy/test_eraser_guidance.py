"""Erase by Attention's guidance: linear between plain and hidden, beside other nodes', in a share of the steps."""

import comfy.model_management
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch

from mild.tests.helpers.attention import counting_calls, mask_of, near, sampled
from mild.tests.helpers.tiny_models import make


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_guidance_is_linear_between_plain_and_hidden(erasing, family):
    tiny, mask = make(family), mask_of()
    plain, hidden = (sampled(tiny, model, steps=1, cfg=1.0) for model in (tiny.model, erasing(tiny.model, mask)))
    assert near(sampled(tiny, erasing(tiny.model, mask, 1), steps=1, cfg=1.0), hidden)
    for scale in (0.5, 9.0):
        found = sampled(tiny, erasing(tiny.model, mask, scale), steps=1, cfg=1.0)
        assert near(found, plain + scale * (hidden - plain))
    # with prompts the same difference joins them
    prompted = sampled(tiny, steps=1, cfg=7.0)
    found = sampled(tiny, erasing(tiny.model, mask, 9.0), steps=1, cfg=7.0)
    assert near(found, prompted + 9 * (hidden - plain))


def test_guidance_through_all_steps_at_scale_one(erasing):
    tiny, mask = make("sd15"), mask_of(152, 104)
    size = {"height": 19, "width": 13, "batch": 2, "steps": 2, "cfg": 1.0}
    found = sampled(tiny, erasing(tiny.model, mask, 1), **size)
    assert near(found, sampled(tiny, erasing(tiny.model, mask), **size), 1e-3)


@pytest.mark.parametrize("cfg", [1.0, 7.0])
def test_other_nodes_guidance_before_and_after(erasing, cfg):
    tiny, mask = make("sd15"), mask_of()

    def guided(model):
        model = model.clone()
        model.set_model_sampler_post_cfg_function(lambda args: 0.5 * args["denoised"] + 0.25 * args["input"])
        return model

    inputs = []

    def note(args):
        inputs.append(args["input"].clone())
        return args["denoised"]

    noting = tiny.model.clone()
    noting.set_model_sampler_post_cfg_function(note)
    plain = sampled(tiny, noting, steps=1, cfg=cfg)
    delta = sampled(tiny, erasing(tiny.model, mask, 3), steps=1, cfg=cfg) - plain
    latents = tiny.model.model.process_latent_out
    halved = sampled(tiny, guided(tiny.model), steps=1, cfg=cfg)
    assert near(halved, 0.5 * plain + 0.25 * latents(inputs[0]))
    assert near(sampled(tiny, erasing(guided(tiny.model), mask, 3), steps=1, cfg=cfg), halved + delta)
    assert near(sampled(tiny, guided(erasing(tiny.model, mask, 3)), steps=1, cfg=cfg), halved + delta)


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_guidance_limiter_takes_nothing_away(erasing, order):
    """Outside its range such a node gives back the plain prediction, whatever came before it."""
    tiny, mask = make("sd15"), mask_of()

    def limited(model):
        model = model.clone()
        model.set_model_sampler_post_cfg_function(lambda args: args["cond_denoised"])
        return model

    plain, hidden = (sampled(tiny, model, steps=1, cfg=1.0) for model in (tiny.model, erasing(tiny.model, mask)))
    before = order == "before"
    model = erasing(limited(tiny.model), mask, 3) if before else limited(erasing(tiny.model, mask, 3))
    assert near(sampled(tiny, model, steps=1, cfg=7.0), plain + 3 * (hidden - plain))
    assert "sampler_post_cfg_function" not in tiny.model.model_options


def test_calls_of_the_model(erasing):
    """Two for each step, one where nothing is guided; cfg 1 stays as cheap as it is."""
    tiny, mask = make("sd15"), mask_of()
    model, calls = counting_calls(tiny.model)
    for changes, expected in (
        ({}, [1] * 4), ({"guidance": 5}, [1] * 8), ({"guidance": 5, "until": 0.5}, [1] * 6),
        ({"guidance": 5, "until": 0.6}, [1] * 7),
    ):  # fmt: skip
        calls.clear()
        sampled(tiny, erasing(model, mask, **changes), steps=4, cfg=1.0)
        assert calls == expected, changes
    calls.clear()
    sampled(tiny, erasing(model, mask, 5), steps=2, cfg=7.0)
    assert sum(calls) == 6


def test_until(erasing):
    """Steps after it are plain ones: the rest of a sampling goes on from what it had left."""
    tiny, mask = make("sd15"), mask_of()
    seen = []
    for model in (erasing(tiny.model, mask, until=0.5), erasing(tiny.model, mask), tiny.model):
        sampled(tiny, model, cfg=1.0, callback=lambda step, x0, x, total: seen.append((x.clone(), x0)))
    (_, first), (middle, second), (_, whole_first), (_, whole_second), (_, plain_first), _ = seen
    assert torch.equal(first, whole_first) and not near(first, plain_first, 1e-3)
    assert not near(second, whole_second, 1e-3)
    # the second step is a plain one, from where the first had left it


def test_a_cache_does_not_answer_in_place_of_what_is_hidden(run_node, erasing):
    """The guidance asks about the very picture that the sampler has just asked about: to EasyCache, nothing changed."""
    tiny, mask = make("sd15"), mask_of()
    model = erasing(tiny.model, mask, 3)
    (cached,) = run_node(
        "EasyCache", model=model, reuse_threshold=1e-9, start_percent=0.0, end_percent=1.0, verbose=False
    )
    found = sampled(tiny, cached, steps=4, cfg=1.0)
    assert near(found, sampled(tiny, model, steps=4, cfg=1.0)) and not near(
        found, sampled(tiny, steps=4, cfg=1.0), 0.01
    )


def test_a_guider_without_a_place_for_guidance(erasing):
    """Refused as soon as it goes on to a second step without it: the picture would be a plain one."""
    tiny, mask = make("sd15"), mask_of()
    guider = custom.DualModelGuider.execute(erasing(tiny.model, mask, 9), tiny.positive, 1.0, tiny.model, tiny.negative)
    latent = tiny.empty_latent()["samples"]
    with (
        torch.inference_mode(),
        pytest.raises(ValueError, match="gives no place for guidance, so Erase by Attention would have no effect"),
    ):
        guider.result[0].sample(
            torch.randn(latent.shape), latent, comfy.samplers.sampler_object("euler"), torch.tensor([9.0, 3.0, 0.0])
        )
