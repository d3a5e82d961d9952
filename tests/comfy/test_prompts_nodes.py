"""Prompt Layers: who is named gets the prompts, and everybody else is untouched."""

import pytest
import torch

from mild.mild_core.comfy.families import family_of
from mild.mild_core.scene import BACKGROUND, PERSON, Scene
from mild.tests.helpers.layers import WIDGETS, background, person, picture
from mild.tests.helpers.tiny_clip import make_clip
from mild.tests.helpers.tiny_models import make


def said(number):
    """A CONDITIONING that differs from all others."""
    return [[torch.full((1, 3, 8), float(number)), {}]]


@pytest.fixture
def two_photos():
    """A background and two people; and a photo with a background only."""
    photo, other = picture(), picture(seed=1)
    layers = (
        background(photo, (20, 10, 40, 50)),
        person(photo, 2, (10, 15, 22, 45), (22, 20, 30, 40), (3, 8, 36, 53)),
        person(photo, 3, (50, 15, 62, 45), (62, 20, 70, 40), (43, 8, 76, 53)),
    )
    return [Scene(photo, layers), Scene(other, (background(other, (20, 10, 40, 50), index=1),))]


@pytest.fixture(scope="module")
def sd15():
    return make("sd15_inpaint")


@pytest.fixture(scope="module")
def clip():
    return make_clip("sd15")


@pytest.fixture(scope="module")
def photo_layers():
    photo = picture()
    behind = background(photo, (20, 10, 40, 50))
    anna = person(photo, 2, (10, 15, 22, 45), (22, 20, 30, 40), (3, 8, 36, 53))
    return [Scene(photo, (behind, anna))]


@pytest.fixture
def sampling(run_graph, comfy, sd15):
    """sampling(layers, ...): Sample Layers (id "node") in a graph; what is given is connected, be it None."""

    def sampling(layers, **inputs):
        given = {"model": sd15.model, "vae": sd15.vae, "layers": layers, **inputs}
        graph = {
            name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for name, value in given.items()
        }
        links = {name: [name, 0] for name in given}
        graph["node"] = {"class_type": "MILD_SampleLayers", "inputs": {**WIDGETS, **links}}
        return run_graph(graph, wanted=["node"])

    return sampling


@pytest.fixture
def prompted(run_node):
    """prompted(layers, which, ...): the scenes that the node returns."""

    def prompted(scenes, which="people", **inputs):
        return run_node("MILD_PromptLayers", layers=scenes, which=which, **inputs)[0]

    return prompted


def test_the_named_get_the_prompts_and_all_else_is_the_same_object(prompted, two_photos):
    positive, negative = said(1), said(2)
    first, second = prompted(two_photos, "2", positive=positive, negative=negative)
    assert second is two_photos[1] and first.photo is two_photos[0].photo
    behind, anna, ben = first.layers
    assert behind is two_photos[0].layers[0] and ben is two_photos[0].layers[2]
    assert anna.positive is positive and anna.negative is negative
    assert anna._replace(positive=None, negative=None) == two_photos[0].layers[1]
    assert two_photos[0].layers[1].positive is None  # what was handed in stays as it was


def test_several_in_a_row_add_up_and_the_last_one_wins(prompted, two_photos):
    scenes = prompted(two_photos, "background", positive=said(1), negative=said(2))
    scenes = prompted(scenes, "people", positive=said(3), negative=said(4))
    scenes = prompted(scenes, "2", positive=said(5))
    got = [[float(layer.positive[0][0].mean()), float(layer.negative[0][0].mean())] for layer in scenes[0].layers]
    assert got == [[1, 2], [5, 4], [3, 4]]
    assert float(scenes[1].layers[0].positive[0][0].mean()) == 1


def test_one_side_alone_leaves_the_other(prompted, two_photos):
    scenes = prompted(two_photos, "all", negative=said(7))
    assert all(layer.positive is None and layer.negative for scene in scenes for layer in scene.layers)


def test_nothing_connected_changes_nothing(prompted, two_photos):
    same = prompted(two_photos, "all")
    assert all(new is old for new, old in zip(same, two_photos, strict=True))


def test_the_node_says_who_got_what(run_graph, comfy, two_photos):
    def give(value):
        return {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}

    first = {"layers": ["layers", 0], "which": "background", "positive": ["prompt", 0]}
    second = {"layers": ["first", 0], "which": "2", "positive": ["prompt", 0], "negative": ["prompt", 0]}
    graph = {
        "layers": give(two_photos),
        "prompt": give(said(1)),
        "first": {"class_type": "MILD_PromptLayers", "inputs": first},
        "second": {"class_type": "MILD_PromptLayers", "inputs": second},
        "none": {"class_type": "MILD_PromptLayers", "inputs": {"layers": ["layers", 0], "which": "all"}},
    }
    ran = run_graph(graph, wanted=["second", "none"])
    assert ran.ui["second"]["text"][0].splitlines() == [
        "Photo 1. Positive and negative for Person 2. From another Prompt Layers: Background (positive). "
        "As connected to Sample Layers: Person 3.",
        "Photo 2. Nobody here is named. From another Prompt Layers: Background (positive).",
    ]
    assert "nothing changed" in ran.ui["none"]["text"][0]


def test_naming_somebody_who_is_not_there_is_told(prompted, two_photos):
    with pytest.raises(ValueError, match="which: no layer is called '7'"):
        prompted(two_photos, "7", positive=said(1))
    with pytest.raises(ValueError, match="which: nothing is written"):
        prompted(two_photos, " ", positive=said(1))


def test_a_scene_without_layers_passes(prompted):
    scenes = [Scene(picture(), ())]
    assert prompted(scenes, "people", positive=said(1))[0] is scenes[0]


def test_another_prompt_for_one_layer_changes_that_layer_alone(small_native_size, sample, prompted, sd15, photo_layers):
    same = {"positive": sd15.positive, "negative": sd15.negative, "ground": "neutral"}
    before = sample(photo_layers, sd15, **same)[0].layers
    other = prompted(photo_layers, "2", positive=sd15.negative)
    after = sample(other, sd15, **same)[0].layers
    assert torch.equal(after[0].pixels, before[0].pixels)
    assert not torch.allclose(after[1].pixels, before[1].pixels, atol=1e-3)


def test_the_packs_own_prompts_reach_the_model(small_native_size, sample, prompted, sd15, clip, photo_layers):
    own = sample(photo_layers, sd15, clip=clip, cfg=5.0)[0].layers
    texts = family_of(sd15.model).prompts.texts
    written = photo_layers
    for which, text in (("background", texts[BACKGROUND]), ("people", texts[PERSON])):
        sides = {"positive": text.positive, "negative": text.negative}
        sides = {side: clip.encode_from_tokens_scheduled(clip.tokenize(words)) for side, words in sides.items()}
        written = prompted(written, which, **sides)
    for ours, theirs in zip(own, sample(written, sd15, cfg=5.0)[0].layers, strict=True):
        assert torch.equal(ours.pixels, theirs.pixels)


def test_the_node_says_which_prompts_were_used(small_native_size, sampling, prompted, sd15, clip, photo_layers):
    scenes = prompted(photo_layers, "2", positive=sd15.positive)
    text = sampling(scenes, clip=clip).ui["node"]["text"][0]
    assert "Prompts: the pack's own (SD1.5 and SD2) for the background; from Prompt Layers for Person 2." in text
    assert "zeroed text" in sampling(scenes).ui["node"]["text"][0]


def test_text_that_does_not_fit_is_told_by_its_socket(sample, prompted, sd15, photo_layers):
    wide = [[torch.zeros(1, 77, 2048), {}]]
    with pytest.raises(ValueError, match="^negative: its text has 2,048 channels"):
        sample(photo_layers, sd15, negative=wide)
    with pytest.raises(ValueError, match="^Prompt Layers: positive of Background: its text has 2,048 channels"):
        sample(prompted(photo_layers, "background", positive=wide), sd15)


def test_under_a_guider_too(run_node, prompted, sd15, photo_layers):
    (guider,) = run_node("BasicGuider", model=sd15.model, conditioning=sd15.positive)
    (noise,) = run_node("RandomNoise", noise_seed=1)
    (sampler,) = run_node("KSamplerSelect", sampler_name="euler")
    wrong = prompted(photo_layers, "2", positive=[[torch.zeros(1, 77, 2048), {}]])
    inputs = {"noise": noise, "guider": guider, "sampler": sampler, "sigmas": torch.tensor([1.0, 0.0])}
    with pytest.raises(ValueError, match="^Prompt Layers: positive of Person 2: its text has 2,048 channels"):
        run_node("MILD_SampleLayersAdvanced", layers=wrong, vae=sd15.vae, which="all", ground="plate", **inputs)


def test_a_checkpoint_without_text_encoder_says_so(sampling, photo_layers):
    with pytest.raises(ValueError, match="^clip: there is no CLIP in what is connected"):
        sampling(photo_layers, clip=None)
