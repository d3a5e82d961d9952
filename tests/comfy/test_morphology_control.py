"""Body guidance through ComfyUI's own samplers: what it adds, what it leaves alone to the bit, what is refused."""

import comfy.controlnet
import comfy.model_management
import comfy.model_patcher
import pytest
import torch

from mild.mild_core.guidance.maps import CHANNELS
from mild.mild_core.guidance.network import CONFIDENCE
from mild.tests.helpers.attention import close, counting_calls
from mild.tests.helpers.layers import picture
from mild.tests.helpers.tiny_controlnets import apply, make_controlnet
from mild.tests.helpers.tiny_guidance import ksampled, plain, random_maps
from mild.tests.helpers.tiny_models import make

FAMILIES = ("sd15", "sd15_inpaint", "sd2", "sdxl", "flux", "flux_fill", "flux2")


@pytest.mark.parametrize("family", FAMILIES)
def test_it_changes_the_picture(run_node, tiny, guidance, family):
    model, control = tiny(family), guidance(tiny(family))
    changes = {"height": 9, "width": 7, "cfg": 1.0}
    without = plain(model, **changes)
    result = ksampled(model, apply(run_node, model, control, random_maps(48, 48)), **changes)
    assert torch.isfinite(result).all() and not close(result, without)
    assert not close(result, ksampled(model, apply(run_node, model, control, random_maps(48, 48, seed=5)), **changes))
    weaker = ksampled(model, apply(run_node, model, control, random_maps(48, 48), strength=0.2), **changes)
    assert 0 < (weaker - without).norm() < (result - without).norm()


@pytest.mark.parametrize("family", FAMILIES)
def test_zero_weights_are_no_guidance_to_the_bit(run_node, tiny, guidance, family):
    model = tiny(family)
    conds = apply(run_node, model, guidance(model, zero=True), random_maps(40, 56))
    assert torch.equal(ksampled(model, conds), plain(model))


@pytest.mark.parametrize("family", FAMILIES)
def test_zero_confidence_is_no_guidance_to_the_bit(run_node, tiny, guidance, family):
    model, control = tiny(family), guidance(tiny(family))
    image = random_maps(40, 56)
    image[..., CONFIDENCE] = 0
    assert torch.equal(ksampled(model, apply(run_node, model, control, image)), plain(model))
    assert control.network.runs == []


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_a_row_without_confidence_stays_to_the_bit(run_node, tiny, guidance, family):
    model, control = tiny(family), guidance(tiny(family))
    image = random_maps(40, 40, rows=2)
    image[1, ..., CONFIDENCE] = 0
    result = ksampled(model, apply(run_node, model, control, image), batch=2)
    without = plain(model, batch=2)
    assert torch.equal(result[1], without[1]) and not close(result[0], without[0])


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_strength_zero_and_spans(run_node, tiny, guidance, family):
    model, control = tiny(family), guidance(tiny(family))
    image, given = random_maps(40, 40), (model.positive, model.negative)
    conds = apply(run_node, model, control, image, strength=0.0)
    assert conds[0] is given[0] and conds[1] is given[1]
    direct = control.copy().set_cond_hint(image.movedim(-1, 1), 0.0)
    conds = tuple([[text, {**values, "control": direct}] for text, values in side] for side in given)
    assert torch.equal(ksampled(model, conds), plain(model))
    spans = [(0.0, 1.0), (0.0, 0.4), (0.5, 1.0), (0.4, 0.4)]
    results = [
        ksampled(model, apply(run_node, model, control, image, start_percent=start, end_percent=end), steps=3)
        for start, end in spans
    ]
    assert torch.equal(results[3], plain(model, steps=3))
    for index, one in enumerate(results):
        assert not any(torch.equal(one, other) for other in results[:index])


@pytest.mark.parametrize(("family", "kind"), [("sd15", "controlnet"), ("sd15", "t2i"), ("flux", "flux_pixels")])
def test_it_adds_up_with_a_stock_controlnet_in_both_orders(run_node, tiny, guidance, family, kind):
    model = tiny(family)
    own, stock = guidance(model), make_controlnet(kind, model)
    image, hint = random_maps(16, 16), picture(64, 64)[None]

    def added(*order):
        conds = (model.positive, model.negative)
        for control in order:
            conds = apply(run_node, model, control, image if control is own else hint, *conds)
        control = conds[0][0][1]["control"]
        recorded = {}
        merged = type(control).get_control

        def note(*args, **kwargs):
            result = merged(control, *args, **kwargs)
            recorded.setdefault("added", {place: list(values) for place, values in result.items()})
            return result

        control.get_control = note
        return ksampled(model, conds), recorded["added"]

    (first, one), (second, other) = added(own, stock), added(stock, own)
    assert close(first, second)
    (only_own, mine), (only_stock, theirs) = added(own), added(stock)
    assert not close(first, only_own) and not close(first, only_stock)
    from_end = -1 if family == "sd15" else 1
    for place in ("input", "middle", "output"):
        lists = [values[place][::from_end] for values in (one, other, mine, theirs)]
        for number in range(max(map(len, lists))):
            both, turned, alone, stocks = (values[number] if number < len(values) else None for values in lists)
            expected = [value for value in (alone, stocks) if value is not None]
            if not expected:
                assert both is None and turned is None
                continue
            assert torch.allclose(both, sum(expected), atol=1e-5) and torch.allclose(turned, both, atol=1e-5)


def test_it_meets_t2i_adapters_of_sdxl_at_the_same_blocks(tiny, guidance):
    """Their lists are longer than SDXL's input blocks, and stock code adds lists up from the far end."""
    model = tiny("sdxl")
    control = guidance(model)
    control.pre_run(model.model.model, lambda share: 1 - share)
    residuals = [torch.full((1, 1), float(block)) for block in control.config.blocks]
    theirs = {"input": [torch.full((1, 1), 100.0 + block) for block in reversed(range(10))], "middle": [], "output": []}
    expected = [100.0 + block + (block if block in control.config.blocks else 0) for block in range(9)]
    joined = control._merged(residuals, {place: list(values) for place, values in theirs.items()})
    stock = comfy.controlnet.ControlBase().control_merge(
        {place: [value.clone() for value in values] for place, values in theirs.items()},
        control._merged(residuals, None),
        None,
    )
    for lists in (joined, stock):
        assert [float(lists["input"].pop()) for _ in range(9)] == expected


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_the_network_runs_once_for_a_sampling(run_node, tiny, guidance, family, together):
    """Whether stock code makes one call of positive and negative, or (for texts of other lengths) two."""
    model, control = tiny(family), guidance(tiny(family))
    if together:
        model = model._replace(negative=[[-text, values] for text, values in model.positive])
    conds = apply(run_node, model, control, random_maps(40, 40, rows=2))
    changes = {"batch": 2, "steps": 4, "cfg": 3.0}
    counted, calls = counting_calls(model.model)
    first = ksampled(model, conds, model=counted, **changes)
    assert len(control.network.runs) == 1 and calls == ([4] * 4 if together else [2] * 8)
    second = ksampled(model, conds, **changes)
    assert torch.equal(first, second) and len(control.network.runs) == 2
    applied = conds[0][0][1]["control"]
    assert not applied._once and not applied._ready
    assert applied is conds[1][0][1]["control"] and applied is not control


def test_samplers_that_ask_twice_in_a_step(run_node, tiny, guidance):
    model, control = tiny("sd15"), guidance(tiny("sd15"))
    conds = apply(run_node, model, control, random_maps(40, 40))
    for sampler in ("heun", "dpmpp_2s_ancestral"):
        control.network.runs.clear()
        ksampled(model, conds, sampler=sampler, steps=3)
        assert len(control.network.runs) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_weights_in_any_type(run_node, tiny, guidance, family, dtype):
    """Close to float32's result, as far as the rounding of weights allows."""
    model = tiny(family)
    image = random_maps(40, 40)
    exact = ksampled(model, apply(run_node, model, guidance(model, strength=0.3), image))
    control = guidance(model, dtype=dtype, strength=0.3)
    assert {parameter.dtype for parameter in control.network.parameters()} == {dtype}
    rounded = ksampled(model, apply(run_node, model, control, image))
    off = (rounded - exact).norm() / (exact - plain(model)).norm()
    assert off < {torch.float16: 0.01, torch.bfloat16: 0.05, torch.float8_e4m3fn: 0.4, torch.float8_e5m2: 0.8}[dtype]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_models_in_any_type(run_node, guidance, dtype):
    model = make("sd15", dtype=dtype)
    control = guidance(make("sd15"))
    conds = apply(run_node, model, control, random_maps(40, 40))
    result, without = ksampled(model, conds), plain(model)
    assert torch.isfinite(result).all() and not close(result, without)
    nothing = apply(run_node, model, guidance(make("sd15"), zero=True), random_maps(40, 40))
    assert torch.equal(ksampled(model, nothing), without)


def test_a_skeleton_picture_guides_where_it_is_drawn(run_node, tiny, guidance):
    model, control = tiny("sd15"), guidance(tiny("sd15"))
    black = torch.zeros(1, 160, 160, 3)
    assert torch.equal(ksampled(model, apply(run_node, model, control, black), height=20, width=20),
                       plain(model, height=20, width=20))  # fmt: skip
    image = black.clone()
    image[:, 70:74, 20:140] = torch.tensor([1.0, 0.0, 0.3])
    for channels in (image, torch.cat([image, torch.ones(1, 160, 160, 1)], -1), image[..., :1]):
        given = control.copy().set_cond_hint(channels.movedim(-1, 1))
        residuals = given._residuals(torch.zeros(1, 4, 20, 20), 1)
        rows = residuals[0][0].abs().sum(0).sum(1).nonzero()[:, 0].tolist()
        assert rows == list(range(rows[0], rows[-1] + 1)) and 6 <= rows[0] <= 8 and 9 <= rows[-1] <= 11
    assert not close(ksampled(model, apply(run_node, model, control, image)), plain(model))
    with pytest.raises(ValueError, match=f"image: .*{len(CHANNELS)} channels.*and this has 7"):
        apply(run_node, model, control, torch.zeros(1, 8, 8, 7))


def test_stock_apply_controlnet_of_one_side(run_node, tiny, guidance):
    """The older node, which hangs the ControlNet on the positive alone and lets stock code copy it over."""
    model, control = tiny("sd15"), guidance(tiny("sd15"))
    (positive,) = run_node(
        "ControlNetApply", conditioning=model.positive, control_net=control, image=random_maps(40, 40), strength=1.0
    )
    both = apply(run_node, model, control, random_maps(40, 40))
    assert close(ksampled(model, (positive, model.negative)), ksampled(model, both))


@pytest.mark.parametrize("hint", [(64, 64), (97, 131), (33, 80), (8, 400)])
def test_a_picture_of_another_shape_gives_its_middle(guidance, tiny, hint):
    """As stock ControlNets take it, but averaged over exact areas."""
    control = guidance(tiny("sd15"))
    ramp = torch.linspace(0.5, hint[1] - 0.5, hint[1]) / hint[1]
    image = torch.zeros(1, len(CHANNELS), *hint) + ramp
    seen = []
    control.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    control.set_cond_hint(image)._residuals(torch.zeros(1, 4, 12, 16), 1)
    width = min(hint[1], hint[0] * 16 / 12)
    middle = (hint[1] - width) / 2 / hint[1]
    expected = middle + (torch.arange(32) + 0.5) / 32 * width / hint[1]
    assert seen[0].shape == (1, len(CHANNELS), 24, 32)
    assert torch.allclose(seen[0][0, 0, 3, 2:-2], expected[2:-2], atol=1.5 / hint[1])


@pytest.mark.parametrize(("made_for", "used_with"), [("sd15", "sdxl"), ("sdxl", "sd15"), ("sd15", "flux"),
                                                     ("flux", "sd2"), ("flux", "flux2"), ("sd15", "sd3")])  # fmt: skip
def test_the_wrong_family_is_refused_in_one_sentence(run_node, tiny, guidance, made_for, used_with):
    names = {"sd15": "SD1.5", "sdxl": "SDXL", "flux": "Flux", "sd2": "SD2", "flux2": "Flux 2", "sd3": "SD3"}
    model = tiny(used_with)
    conds = apply(run_node, model, guidance(tiny(made_for)), random_maps(40, 40))
    with pytest.raises(ValueError) as raised:
        ksampled(model, conds)
    words = str(raised.value)
    assert f"is for {names[made_for]} (" in words and f"the MODEL is {names[used_with]}" in words
    assert ". " not in words


def test_another_width_of_the_same_family_is_refused(run_node, tiny, guidance):
    model = tiny("sd15")
    control = guidance(model, widths=(320, 640, 1280, 1280))
    with pytest.raises(ValueError, match=r"320, 640, 1280, 1280 channels.*SD1.5 \(32, 32, 64, 64 channels\)"):
        ksampled(model, apply(run_node, model, control, random_maps(40, 40)))


def test_a_cancelled_sampling_leaves_it_usable(run_node, tiny, guidance):
    model, control = tiny("sd15"), guidance(tiny("sd15"))
    conds = apply(run_node, model, control, random_maps(40, 40))
    good = ksampled(model, conds, steps=3)
    control.network.runs.clear()

    def stop(*_):
        raise comfy.model_management.InterruptProcessingException()

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        ksampled(model, conds, steps=3, callback=stop)
    conds[0][0][1]["control"].cond_hint_original += 0  # what was kept does not outlive the next start
    assert torch.equal(ksampled(model, conds, steps=3), good) and len(control.network.runs) == 2


def test_memory_manager(run_node, tiny, guidance):
    model, control = tiny("sd15"), guidance(tiny("sd15"))
    stock = apply(run_node, model, make_controlnet("controlnet", model), picture(64, 64)[None])
    applied = apply(run_node, model, control, random_maps(40, 40), *stock)[0][0][1]["control"]
    assert isinstance(control.patcher, comfy.model_patcher.ModelPatcher)
    assert applied.get_models() == [*stock[0][0][1]["control"].get_models(), control.patcher]
    small = control.copy().set_cond_hint(torch.zeros(1, len(CHANNELS), 32, 32))
    large = control.copy().set_cond_hint(torch.zeros(4, len(CHANNELS), 64, 64))
    needs = [one.inference_memory_requirements(torch.float16) for one in (control, small, large)]
    assert needs[0] == 0 < needs[1] * 10 < needs[2]
    clone = applied.deepclone_multigpu(torch.device("cpu"), autoregister=True)
    assert clone.network is not control.network and applied.get_instance_for_device(torch.device("cpu")) is clone
    assert clone.patcher in applied.get_models() and clone.strength == applied.strength
    assert torch.equal(clone.cond_hint_original, applied.cond_hint_original)
