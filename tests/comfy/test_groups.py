"""Layers that are sampled together come out as they would alone; whatever happens on the way."""

import comfy.model_management
import comfy.patcher_extension
import comfy.samplers
import comfy_extras.nodes_custom_sampler as custom
import numpy as np
import pytest
import torch

from mild.mild_core.comfy.sampling import groups
from mild.mild_core.scene import Scene
from mild.tests.helpers.attention import noting_calls
from mild.tests.helpers.layers import WIDGETS, background, layers_of, person, picture
from mild.tests.helpers.tiny_models import make

pytestmark = pytest.mark.usefixtures("small_native_size")

ROUNDING = 2e-3
"""Of a picture in 0..1: batches of other sizes are multiplied in another order."""

SAMPLERS = ["euler", "uni_pc", "euler_ancestral", "dpmpp_sde", "ddim"]
"""One of each kind: without noise, with a loop of its own, with noise drawn in every step, with a Brownian path, with
noise under the mask. Every sampler's rows: test_row_noise.py.
"""


@pytest.fixture(scope="module")
def alike():
    """One photo with three crops of one size, two of them people, and a background of another size."""
    photo = picture(90, 130)
    layers = (
        background(photo, (5, 5, 25, 40), box=(0, 0, 60, 50)),
        background(photo, (70, 50, 90, 80), box=(64, 32, 128, 84), tail="-2"),
        person(photo, 2, (10, 50, 25, 85), (25, 55, 35, 80), (3, 48, 43, 88)),
        person(photo, 3, (60, 10, 75, 40), (50, 15, 60, 35), (43, 5, 83, 45)),
        person(photo, 4, (100, 10, 112, 40), (90, 12, 101, 38), (82, 5, 122, 45)),
    )
    return [Scene(photo, layers)]


def rows_called(x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **_):
    return transformer_options["mild_rows"]


def batches(tiny):
    """The same with a fresh MODEL, and the rows of all its calls."""
    model, seen = noting_calls(tiny.model, rows_called)
    return tiny._replace(model=model), seen


def only(scenes, *ids):
    return [scene._replace(layers=tuple(layer for layer in scene.layers if layer.id in ids)) for scene in scenes]


def same(one, other, tolerance=ROUNDING):
    return torch.allclose(one.pixels, other.pixels, atol=tolerance)


@pytest.mark.parametrize(
    ("sampler_name", "denoise", "cfg"),
    # a picture's guidance and its start are one sampler's as another's; the last one makes very many steps, as many as
    # the whole batch needs
    [("euler", 0.6, 1.0), *((name, 1.0, 7.0) for name in SAMPLERS), ("dpm_adaptive", 0.6, 1.0)],
)
def test_a_layer_alone_is_the_layer_in_the_batch(sample, alike, sampler_name, denoise, cfg):
    tiny, seen = batches(make("sd15"))
    settings = {
        "sampler_name": sampler_name, "steps": 3, "cfg": cfg, "denoise": denoise, "positive": tiny.positive,
        "negative": tiny.negative,
    }  # fmt: skip
    by_itself = sampler_name == "dpm_adaptive"
    scenes = only(alike, "1/person-2", "1/person-4") if by_itself else alike
    together = layers_of(sample(scenes, tiny, **settings))
    assert max(map(len, seen)) == (1 if by_itself else 3)
    for layer_id in ("1/person-4",) if by_itself else ("1/person-2", "1/person-4", "1/background"):
        (alone,) = layers_of(sample(only(alike, layer_id), tiny, **settings)).values()
        assert same(alone, together[layer_id])


@pytest.mark.parametrize("sampler_name", ["euler", "dpmpp_2m_sde"])
def test_no_split_of_the_batch_changes_a_layer(sample, alike, monkeypatch, sampler_name):
    tiny = make("sd15")
    whole = layers_of(sample(alike, tiny, sampler_name=sampler_name))
    largest = []
    for rows in (2, 1):
        tiny, seen = batches(tiny)
        monkeypatch.setattr(groups.Memory, "rows", lambda self, shape, conds, rows=rows: rows)
        parts = layers_of(sample(alike, tiny, sampler_name=sampler_name))
        assert all(same(layer, parts[key]) for key, layer in whole.items())
        largest.append(max(map(len, seen)))
    assert largest == [2, 1]


def test_memory_can_be_saved(sample, alike):
    tiny, seen = batches(make("sd15"))
    saved = layers_of(sample(alike, tiny, memory="save memory"))
    assert {len(rows) for rows in seen} == {1}
    assert all(same(layer, saved[key]) for key, layer in layers_of(sample(alike, tiny)).items())


def test_one_more_person_changes_no_other_layer(sample, alike):
    tiny = make("sd15")
    four = layers_of(sample(alike, tiny))
    three = layers_of(sample(only(alike, "1/background", "1/person-2", "1/person-4"), tiny))
    assert all(same(layer, four[key]) for key, layer in three.items())


def test_noise_belongs_to_the_layer(alike, sample):
    """Two layers with the same picture, hole and seed still differ; one layer has the same noise in every run."""
    tiny = make("sd15")
    layer = alike[0].layers[2]
    twin = layer._replace(id="1/person-7", number=7)
    scene = [alike[0]._replace(layers=(layer, twin))]
    first, second = sample(scene, tiny)[0].layers
    assert not same(first, second)
    assert same(sample(scene, tiny, seed=4)[0].layers[0], first) is False
    assert same(sample([alike[0]._replace(layers=(twin, layer))], tiny)[0].layers[1], first)


@pytest.mark.parametrize("broken_call", [1, 3])
def test_out_of_memory_ends_in_the_same_picture(sample, alike, broken_call):
    tiny = make("sd15")
    before = layers_of(sample(alike, tiny, steps=3, sampler_name="euler_ancestral"))
    tiny, seen = batches(tiny)
    calls = []

    def short_of_memory(executor, x, *args, **kwargs):
        calls.append(len(x))
        if calls.count(3) == broken_call and len(x) == 3:
            raise comfy.model_management.OOM_EXCEPTION("too much")
        return executor(x, *args, **kwargs)

    tiny.model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "oom", short_of_memory)
    after = layers_of(sample(alike, tiny, steps=3, sampler_name="euler_ancestral"))
    assert max(calls) == 3 and {len(rows) for rows in seen} >= {1, 2}
    assert all(same(layer, after[key]) for key, layer in before.items())


def test_out_of_memory_for_a_single_layer_is_told(sample, alike):
    tiny = make("sd15")

    def short_of_memory(executor, *args, **kwargs):
        raise comfy.model_management.OOM_EXCEPTION("too much")

    tiny.model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "oom", short_of_memory)
    with pytest.raises(comfy.model_management.OOM_EXCEPTION):
        sample(alike, tiny)


def test_other_errors_are_not_taken_for_lack_of_memory(sample, alike):
    tiny = make("sd15")
    calls = []

    def broken(executor, *args, **kwargs):
        calls.append(1)
        raise RuntimeError("broken")

    tiny.model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "broken", broken)
    with pytest.raises(RuntimeError, match="broken"):
        sample(alike, tiny)
    assert len(calls) == 1


def test_each_row_has_its_own_text_mask_and_inpaint_channels(sample, alike, run_node):
    """What differs between rows of one batch: found by leaving each layer alone with the same."""
    tiny = make("sd15_inpaint")
    other = make("sd15_inpaint", seed=5)
    mask = torch.zeros(1, 90, 130)
    mask[:, :, 60:] = 1
    (masked,) = run_node(
        "ConditioningSetMask", conditioning=other.positive, mask=mask, strength=1.0, set_cond_area="default"
    )
    layers = list(alike[0].layers)
    layers[2] = layers[2]._replace(positive=other.positive)
    layers[3] = layers[3]._replace(positive=tiny.positive + masked)
    layers[4] = layers[4]._replace(positive=tiny.negative + masked)
    scene = [alike[0]._replace(layers=tuple(layers))]
    settings = {"cfg": 3.0, "positive": tiny.positive, "negative": tiny.negative}
    together = layers_of(sample(scene, tiny, **settings))
    plain = layers_of(sample(alike, tiny, **settings))
    for layer in layers[2:]:
        (alone,) = layers_of(sample(only(scene, layer.id), tiny, **settings)).values()
        assert same(alone, together[layer.id])
        assert not same(together[layer.id], plain[layer.id], 1e-2)


class FixedNoise:
    """A NOISE of another pack, whose seed cannot be set."""

    seed = property(lambda self: 11)

    def generate_noise(self, latent):
        return custom.Noise_RandomNoise(11).generate_noise(latent)


def advanced(run_node, tiny, scenes, noise=None, guider=None, sampler="euler", denoise=1.0, **changes):
    if guider is None:
        guider = comfy.samplers.CFGGuider(tiny.model)
        guider.set_conds(tiny.positive, tiny.negative)
        guider.set_cfg(4.0)
    (sigmas,) = run_node("BasicScheduler", model=tiny.model, scheduler="normal", steps=2, denoise=denoise)
    inputs = {"which": "all", "ground": "plate", "start": "automatic", "memory": "automatic", **changes}
    return run_node(
        "MILD_SampleLayersAdvanced", noise=noise or custom.Noise_RandomNoise(3), guider=guider,
        sampler=comfy.samplers.sampler_object(sampler), sigmas=sigmas, layers=scenes, vae=tiny.vae, **inputs,
    )[0]  # fmt: skip


@pytest.mark.parametrize("sampler_name", ["euler", "ddim"])
def test_advanced_is_sample_layers(run_node, sample, alike, sampler_name):
    tiny = make("sd15")
    plain = sample(alike, tiny, cfg=4.0, positive=tiny.positive, negative=tiny.negative, sampler_name=sampler_name)
    result = advanced(run_node, tiny, alike, sampler=sampler_name)
    assert all(same(layer, layers_of(plain)[key], 1e-6) for key, layer in layers_of(result).items())


def test_guiders_of_every_kind(run_node, alike):
    tiny = make("sd15")
    basic = custom.Guider_Basic(tiny.model)
    basic.set_conds(tiny.positive)
    dual = custom.Guider_DualCFG(tiny.model)
    dual.set_conds(tiny.positive, tiny.negative, tiny.negative)
    dual.set_cfg(3.0, 2.0)
    two = custom.Guider_DualModel(tiny.model, make("sd15", seed=8).model)
    two.set_conds(tiny.positive, tiny.negative)
    two.set_cfg(3.0)
    pictures = []
    for guider in (basic, dual, two):
        conds = {name: list(entries) for name, entries in guider.original_conds.items()}
        together = layers_of(advanced(run_node, tiny, alike, guider=guider))
        (alone,) = layers_of(advanced(run_node, tiny, only(alike, "1/person-3"), guider=guider)).values()
        assert same(alone, together["1/person-3"])
        assert guider.original_conds == conds and "mild_rows" not in guider.model_options["transformer_options"]
        pictures.append(alone)
    assert not same(pictures[0], pictures[1]) and not same(pictures[1], pictures[2])


def test_layers_own_prompts_go_before_the_guiders(run_node, alike):
    tiny = make("sd15")
    other = make("sd15", seed=5)
    prompted = alike[0]._replace(layers=tuple(
        layer._replace(positive=other.positive) if layer.number == 3 else layer for layer in alike[0].layers
    ))  # fmt: skip
    plain, own = (layers_of(advanced(run_node, tiny, [scene])) for scene in (alike[0], prompted))
    assert same(plain["1/person-2"], own["1/person-2"], 1e-6)
    assert not same(plain["1/person-3"], own["1/person-3"])


def test_noise_of_other_packs(run_node, alike):
    tiny = make("sd15")
    first = layers_of(advanced(run_node, tiny, alike, noise=FixedNoise()))
    again = layers_of(advanced(run_node, tiny, alike, noise=FixedNoise()))
    assert all(torch.equal(layer.pixels, again[key].pixels) for key, layer in first.items())
    without = layers_of(advanced(run_node, tiny, alike, noise=custom.Noise_EmptyNoise()))
    assert not same(without["1/person-3"], first["1/person-3"])


def test_samplers_of_other_packs_get_a_layer_at_a_time(run_node, alike):
    class Plain(comfy.samplers.Sampler):
        def sample(
            self,
            model_wrap,
            sigmas,
            extra_args,
            callback,
            noise,
            latent_image=None,
            denoise_mask=None,
            disable_pbar=False,
        ):
            inner = comfy.samplers.sampler_object("euler")
            return inner.sample(model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask, True)

    tiny, seen = batches(make("sd15"))
    guider = comfy.samplers.CFGGuider(tiny.model)
    guider.set_conds(tiny.positive, tiny.negative)
    inputs = {"noise": custom.Noise_RandomNoise(3), "guider": guider, "layers": alike, "vae": tiny.vae,
              "sigmas": torch.tensor([14.0, 3.0, 0.0]), "which": "people", "ground": "plate"}  # fmt: skip
    own = layers_of(run_node("MILD_SampleLayersAdvanced", sampler=Plain(), **inputs)[0])
    assert {len(rows) for rows in seen} == {1}
    stock = run_node("MILD_SampleLayersAdvanced", sampler=comfy.samplers.sampler_object("euler"), **inputs)[0]
    assert all(same(layer, own[key]) for key, layer in layers_of(stock).items())


def test_a_guider_that_keeps_no_prompts_is_refused(run_node, alike):
    tiny = make("sd15")

    class Strange:
        model_patcher = tiny.model

    with pytest.raises(ValueError, match="guider: Strange"):
        advanced(run_node, tiny, alike, guider=Strange())


def test_no_sigmas_no_change(run_node, alike):
    tiny = make("sd15")
    result = advanced(run_node, tiny, alike, denoise=0.0)
    assert result[0].layers == alike[0].layers


def test_a_second_sampler_runs_alone(comfy, alike):
    """Its seed changed: what the first painted is not painted again, and stays bit for bit."""
    tiny = make("sd15")
    graph = {
        name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
        for name, value in {"model": tiny.model, "vae": tiny.vae, "layers": alike}.items()
    }
    links = {"model": ["model", 0], "vae": ["vae", 0]}
    graph["first"] = {"class_type": "MILD_SampleLayers", "inputs": {**WIDGETS, **links, "layers": ["layers", 0],
                                                                  "which": "people"}}  # fmt: skip
    graph["second"] = {"class_type": "MILD_SampleLayers", "inputs": {**WIDGETS, **links, "layers": ["first", 0],
                                                                   "which": "background"}}  # fmt: skip
    before = comfy.run_graph(graph, wanted=["second"])
    graph["second"]["inputs"]["seed"] += 1
    after = comfy.run_graph(graph, wanted=["second"])
    assert "first" in before.executed and "first" not in after.executed
    one, other = (layers_of(ran.outputs["second"][0]) for ran in (before, after))
    for key, layer in one.items():
        assert torch.equal(layer.pixels, other[key].pixels) == key.startswith("1/person")


def test_previews_show_all_layers_so_far(comfy, alike):
    """The bar counts all layers; what one batch has painted stays while the next one runs."""
    tiny = make("sd15")
    given = {"model": tiny.model, "vae": tiny.vae, "layers": alike}
    graph = {key: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for key, value in given.items()}
    links = {key: [key, 0] for key in given}
    graph["sample"] = {"class_type": "MILD_SampleLayers", "inputs": {**WIDGETS, **links, "steps": 3}}
    ran = comfy.run_graph(graph, wanted=["sample"])
    steps = [step for step in ran.progress if step.node == "sample"]
    values = [step.value for step in steps]
    assert values == sorted(values) and values[-1] == steps[0].maximum
    pictures = [np.asarray(step.preview[1].convert("RGB")).astype(int) for step in steps if step.preview]
    photo = (alike[0].photo * 255).int().numpy()
    assert all(picture.shape == photo.shape for picture in pictures)

    def moved(picture, layer):
        x0, y0, x1, y1 = layer.box
        inside = (layer.hole > 0).numpy()
        return np.abs(picture - photo)[y0:y1, x0:x1][inside].mean()

    last = [moved(pictures[-1], layer) > 3 for layer in alike[0].layers]
    first = [moved(pictures[0], layer) > 3 for layer in alike[0].layers]
    assert all(last) and any(first) and not all(first)
