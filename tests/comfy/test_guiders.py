"""Sample Layers (Advanced) under GUIDERs of every kind, and which noise levels it gets."""

import comfy.samplers
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch
from comfy.samplers import CFGGuider, sampler_object

from mild.mild_core.scene import Scene
from mild.tests.helpers.attention import noting_calls
from mild.tests.helpers.layers import background, layers_of, person, picture
from mild.tests.helpers.tiny_models import make

pytestmark = pytest.mark.usefixtures("small_native_size")


@pytest.fixture(scope="module")
def alike():
    """One photo with two people on crops of one size, and a background of another."""
    photo = picture(90, 130)
    layers = (
        background(photo, (5, 5, 25, 40), box=(0, 0, 60, 50)),
        person(photo, 2, (10, 50, 25, 85), (25, 55, 35, 80), (3, 48, 43, 88)),
        person(photo, 3, (60, 10, 75, 40), (50, 15, 60, 35), (43, 5, 83, 45)),
    )
    return [Scene(photo, layers)]


def only(scenes, *ids):
    return [scene._replace(layers=tuple(layer for layer in scene.layers if layer.id in ids)) for scene in scenes]


def same(one, other, tolerance=2e-3):
    return torch.allclose(one.pixels, other.pixels, atol=tolerance)


def rows_called(x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **_):
    return transformer_options["mild_rows"]


def test_a_guider_whose_rows_see_each_other_gets_a_layer_at_a_time(run_node, advanced, alike):
    """Perp-Neg adds up over all that it is given."""
    tiny = make("sd15")
    model, seen = noting_calls(tiny.model, rows_called)
    (guider,) = run_node(
        "PerpNegGuider", model=model, positive=tiny.positive, negative=tiny.negative,
        empty_conditioning=make("sd15", seed=5).positive, cfg=3.0, neg_scale=1.0,
    )  # fmt: skip
    together = layers_of(advanced(tiny, alike, guider=guider))
    assert {len(rows) for rows in seen} == {1}
    (alone,) = layers_of(advanced(tiny, only(alike, "1/person-3"), guider=guider)).values()
    assert same(alone, together["1/person-3"], 1e-6)


class Renamed(CFGGuider):
    """A GUIDER of another pack, with names of its own for its prompts."""

    def set_conds(self, positive, negative):
        self.inner_set_conds({"wanted": positive, "unwanted": negative})

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        wanted, unwanted = self.conds["wanted"], self.conds["unwanted"]
        return comfy.samplers.sampling_function(
            self.inner_model, x, timestep, unwanted, wanted, self.cfg, model_options=model_options, seed=seed
        )


def test_a_guider_with_other_names_paints_the_same_and_says_what_it_does_not_read(comfy, advanced, alike):
    tiny = make("sd15")
    guiders = [Renamed(tiny.model), CFGGuider(tiny.model)]
    for guider in guiders:
        guider.set_conds(tiny.positive, tiny.negative)
        guider.set_cfg(4.0)
    own, stock = (layers_of(advanced(tiny, alike, guider=guider)) for guider in guiders)
    assert all(same(layer, own[key]) for key, layer in stock.items())
    basic = custom.Guider_Basic(tiny.model)
    basic.set_conds(tiny.positive)
    layers = tuple(layer._replace(negative=tiny.negative) if layer.number == 3 else layer for layer in alike[0].layers)
    texts = []
    for guider in (guiders[0], basic):
        given = {
            "noise": custom.Noise_RandomNoise(3), "guider": guider, "layers": [alike[0]._replace(layers=layers)],
            "sampler": sampler_object("euler"), "vae": tiny.vae, "sigmas": torch.tensor([14.0, 0.0]),
        }  # fmt: skip
        graph = {key: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(one)}} for key, one in given.items()}
        links = {key: [key, 0] for key in given}
        graph["sample"] = {
            "class_type": "MILD_SampleLayersAdvanced",
            "inputs": {**links, "which": "3", "ground": "plate", "start": "noise"},
        }  # fmt: skip
        texts.append(comfy.run_graph(graph, wanted=["sample"]).ui["sample"]["text"][0].splitlines()[1:])
    unused = "Prompt Layers: negative of Person 3 is not used: this GUIDER"
    assert texts == [
        [f"{unused} (Renamed) reads wanted, unwanted only."], [f"{unused} (Guider_Basic) reads positive only."]
    ]  # fmt: skip


def test_what_the_model_is_patched_with_counts_before_it_is_loaded(run_node, advanced, alike):
    """The first of two runs starts as the second, when the patches are in their places: from noise, at full noise."""
    tiny = make("sd15")
    (model,) = run_node("ModelSamplingContinuousEDM", model=tiny.model, sampling="eps", sigma_max=10.0, sigma_min=0.03)
    patched, scene = tiny._replace(model=model), only(alike, "1/background")
    first, second, noise = (advanced(patched, scene, start=start) for start in ("automatic", "automatic", "noise"))
    assert torch.equal(first[0].layers[0].pixels, second[0].layers[0].pixels)
    assert torch.equal(first[0].layers[0].pixels, noise[0].layers[0].pixels)


def test_noise_levels_that_are_no_numbers_are_the_schedulers_fault(sample, advanced, alike):
    tiny = make("sd15")
    scene = only(alike, "1/person-3")
    with pytest.raises(ValueError, match="scheduler: with steps 1, kl_optimal gives noise levels that are not numbers"):
        sample(scene, tiny, scheduler="kl_optimal", steps=1)
    with pytest.raises(ValueError, match="sigmas: the SIGMAS hold noise levels that are not numbers"):
        advanced(tiny, scene, scheduler="kl_optimal", steps=1)
