"""Adapters routed by row: what is left behind after them, and modules that never run."""

import copy

import comfy.model_management
import pytest
import torch

from mild.mild_core.comfy.adapters.route import KEY, route
from mild.tests.helpers.adapters import given, make_adapter
from mild.tests.helpers.attention import hooked, near, noting_calls, sampled

PLATE, PERSON = 1, 2
"""Seeds."""


def attention(model, seed, **more):
    return make_adapter(model, seed=seed, among="attn", name=f"{seed}.safetensors", size=1.0, **more)


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
