"""Propose Effects and what comes after it, through ComfyUI's own executor."""

import pytest
import torch

from mild.mild_core.image import boxes
from mild.mild_core.scene import BACKGROUND, CARRIED, EFFECTS, SHADOW
from mild.tests.helpers.in_process import InProcess
from mild.tests.helpers.layers import SPLIT
from mild.tests.unit.test_effects import SIZE, body, drawn, ground, soft_shadow

LEFT, RIGHT = body(60), body(210)
PHOTO = drawn(drawn(ground() * soft_shadow(210), LEFT), RIGHT, (0.5, 0.15, 0.2))[None]
WIDGETS = {"shadows": True, "reflections": True, "carried": True, "sensitivity": 0.5, "added_are": CARRIED}


@pytest.fixture
def people(run_node):
    return run_node("MILD_PeopleFromMasks", masks=torch.stack([LEFT, RIGHT]), split="one person per mask", photo=1)[0]


@pytest.fixture
def proposed(run_node, people):
    """proposed(...): people with effects, and the preview."""

    def proposed(**inputs):
        return run_node("MILD_ProposeEffects", **({"people": people, "image": PHOTO} | WIDGETS | inputs))

    return proposed


def test_they_pass_through_the_nodes_into_the_layers(proposed, run_node):
    found, preview = proposed()
    assert preview.shape == PHOTO.shape
    assert [[effect.kind for effect in person.effects] for person in found] == [[], [SHADOW]]
    marked = run_node("MILD_OrderPeople", people=found, order="1<2", invert_depth=False)[0]
    marked = run_node("MILD_HiddenPart", people=marked, hidden=torch.zeros(1, *SIZE), who="1", photo=1)[0]
    more = run_node("MILD_PeopleFromMasks", people=marked, masks=body(150)[None], split="one person per mask", photo=1)[
        0
    ]
    for who, lifted in (("2", True), ("3", False)):
        chosen = run_node("MILD_ChoosePeople", people=more, who=who)[0]
        assert [len(person.effects) for person in chosen] == [0, 1, 0]
        scenes = run_node("MILD_Decompose", image=PHOTO, people=chosen, **SPLIT)[0]
        backgrounds = [layer for layer in scenes[0].layers if layer.domain == BACKGROUND]
        changed = [layer.pixels != boxes.cut(PHOTO[0], layer.box) for layer in backgrounds]
        assert any(bool(one.any()) for one in changed) == lifted


def test_after_the_choice_it_works_too(proposed, run_node, people):
    chosen = run_node("MILD_ChoosePeople", people=people, who="2")[0]
    found, _ = proposed(people=chosen)
    assert [(person.erased, len(person.effects)) for person in found] == [(False, 0), (True, 1)]


def test_masks_and_words(people):
    never = torch.ones(1, 64, 64)
    blob = torch.zeros(1, *SIZE)
    blob[0, 90:100, 88:95] = 1
    with InProcess() as comfy:

        def said(**inputs):
            graph = {"propose": {"class_type": "MILD_ProposeEffects", "inputs": dict(WIDGETS)}}
            for name, value in ({"people": people, "image": PHOTO} | inputs).items():
                graph[name] = {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
                graph["propose"]["inputs"][name] = [name, 0]
            run = comfy.run_graph(graph, wanted=["propose"])
            return run.outputs["propose"][0], run.ui["propose"]["text"][0]

        found, text = said()
        assert "Person 2: shadow (" in text and "% sure)" in text and "Person 1" not in text
        found, text = said(add=blob)
        assert [[effect.kind for effect in person.effects] for person in found] == [[CARRIED], [SHADOW]]
        assert "Person 1: 1 drawn by you (carried or ridden thing)." in text
        found, text = said(not_effect=never)
        assert not any(person.effects for person in found)
        assert "Nothing found that goes with anybody." in text and "not_effect took 1 away" in text
        assert "not_effect: 64 x 64 px" in text and "stretched" in text
        found, text = said(people=[])
        assert found == [] and text == "Nobody is here, so nothing goes with anybody."


def test_bad_input(proposed, people):
    assert {"shadow", "reflection", "carried"} == set(EFFECTS)
    with pytest.raises(ValueError, match="image: there are people in 2 photos, but image holds 1"):
        proposed(people=[*people, people[0]._replace(photo=1)])
    with pytest.raises(ValueError, match="add: got 2 masks for 1 photo"):
        proposed(add=torch.zeros(2, 8, 8))
    with pytest.raises(ValueError, match="not_effect"):
        proposed(not_effect=torch.full((1, 8, 8), float("nan")))
