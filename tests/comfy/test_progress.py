"""The bar follows the work: larger layers weigh more, and so do the built-in model's steps with little noise."""

import pytest

from mild.mild_core import exemplar
from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.comfy.sampling.encode import latent_space, work_size_of
from mild.mild_core.comfy.sampling.progress import BAR
from mild.mild_core.scene import Scene
from mild.tests.helpers.layers import WIDGETS, background, picture
from mild.tests.helpers.tiny_models import make


def progress(comfy, scenes, model, vae=None, **changes):
    """What the bar showed: (all reports, those at the end of a step, which carry a preview)."""
    given = {"model": model, "layers": scenes} | ({} if vae is None else {"vae": vae})
    graph = {key: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for key, value in given.items()}
    inputs = {**WIDGETS, **{key: [key, 0] for key in given}, **changes}
    graph["sample"] = {"class_type": "MILD_SampleLayers", "inputs": inputs}
    reports = [report for report in comfy.run_graph(graph, wanted=["sample"]).progress if report.node == "sample"]
    assert {report.maximum for report in reports} == {BAR}
    values = [report.value for report in reports]
    assert values == sorted(values) and values[-1] == BAR
    return values, [report.value for report in reports if report.preview]


@pytest.mark.usefixtures("small_native_size")
def test_layers_weigh_by_the_pixels_at_which_they_are_painted(comfy):
    photo = picture(160, 240)
    layers = (
        background(photo, (10, 10, 110, 110), box=(0, 0, 120, 120)),
        background(photo, (120, 20, 230, 140), tail="-2"),
    )
    tiny = make("sd15")
    scenes, space = [Scene(photo, layers)], latent_space(tiny.model, tiny.vae)
    (small_h, small_w), (large_h, large_w) = (work_size_of(layer, (160, 240), space) for layer in layers)
    assert large_h * large_w > 1.5 * small_h * small_w
    _, ends = progress(comfy, scenes, tiny.model, tiny.vae, steps=2, memory="save memory")
    assert len(ends) == 4
    shares = [after - before for before, after in zip([0, *ends], ends, strict=False)]
    assert shares[0] == pytest.approx(shares[1], abs=1) and shares[2] == pytest.approx(shares[3], abs=1)
    assert shares[2] == pytest.approx(shares[0] * large_h * large_w / (small_h * small_w), rel=0.02)


def test_steps_of_the_built_in_model_weigh_by_its_work(comfy):
    photo = picture(120, 180)
    layer = background(photo, (60, 20, 100, 100))
    values, ends = progress(comfy, [Scene(photo, (layer,))], builtin.load_model(), steps=8)
    assert len(ends) == 8
    sigmas = [6.0 * (0.03 / 6.0) ** (step / 7) for step in range(8)]  # for the order of magnitude alone
    shape = exemplar.shape_of(layer.hole, layer.allowed)
    last = exemplar.planned_work(sigmas[-1], shape) / sum(exemplar.planned_work(sigma, shape) for sigma in sigmas)
    assert last > 2 / 8
    assert (ends[-1] - ends[-2]) / BAR == pytest.approx(last, abs=0.1)
    assert ends[3] / BAR < 0.3  # half of the steps


@pytest.mark.parametrize(("sampler", "calls"), [("euler", 1), ("heun", 2)])
def test_the_bar_moves_inside_a_step_and_never_beyond_it(comfy, monkeypatch, sampler, calls):
    """Whatever the number of calls of the model in it: shares of work that ComfyUI would not show for their number."""
    monkeypatch.setattr("comfy.utils.PROGRESS_THROTTLE_MIN_INTERVAL", 0)
    photo = picture(120, 180)
    layer = background(photo, (60, 20, 100, 100))
    values, ends = progress(comfy, [Scene(photo, (layer,))], builtin.load_model(), steps=4, sampler_name=sampler)
    before_last = [value for value in values if ends[-2] < value < ends[-1]]
    assert len(set(before_last)) >= 4
    assert max(after - before for before, after in zip(values, values[1:], strict=False)) < 0.5 * (ends[-1] - ends[-2])
