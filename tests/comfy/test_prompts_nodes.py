"""Prompt Layers: who is named gets the prompts, and everybody else is untouched."""

import pytest
import torch

from mild.mild_core.scene import Scene
from mild.tests.helpers.layers import background, person, picture


def said(number):
    """A CONDITIONING that can be told from others."""
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
