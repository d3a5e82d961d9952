"""A run that did nothing says so: no mask painted, nobody there, nobody chosen, no layer named."""

from pathlib import Path

import pytest
import torch

import mild
from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.comfy.sampling.progress import Batch
from mild.mild_core.scene import Person, Scene
from mild.nodes import sampling, show
from mild.tests.helpers.layers import SPLIT, WIDGETS, background, picture

SIZE = (61, 83)


def somebody(erased):
    mask = torch.ones(20, 12)
    return Person("Person 1", 1, 0, SIZE, (30, 20, 42, 40), mask, erased)


def marked(value):
    mask = torch.zeros(1, *SIZE)
    mask[:, 20:40, 30:42] = value
    return mask


def erase(comfy, which="all", **given):
    """Photo to photo; inputs of Split into Layers: people, also_erase, protect."""
    values = {"image": picture(*SIZE)[None], "model": builtin.load_model(), **given}
    graph = {key: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for key, value in values.items()}
    links = {key: [key, 0] for key in ("image", *given)}
    graph["split"] = {"class_type": "MILD_Decompose", "inputs": {**SPLIT, **links}}
    graph["sample"] = {
        "class_type": "MILD_SampleLayers",
        "inputs": {**WIDGETS, "which": which, "model": ["model", 0], "layers": ["split", 0]},
    }
    graph["photo"] = {"class_type": "MILD_Recompose", "inputs": {"layers": ["sample", 0]}}
    return comfy.run_graph(graph, wanted=["photo"])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"people": []}, "there is nobody in people"),
        ({"people": [somebody(False)]}, "nobody is chosen to go"),
        ({"also_erase": marked(0.0)}, "the mask at also_erase is empty"),
        ({"people": [somebody(False)], "also_erase": marked(0.0)}, "nobody is chosen to go, and the mask"),
        ({"people": [somebody(True)], "protect": marked(1.0)}, "everybody chosen is protected"),
        ({"also_erase": marked(1.0), "protect": marked(1.0)}, "all that also_erase marks is protected"),
    ],
)
def test_every_node_on_the_way_warns_and_the_photo_stays(comfy, given, why):
    ran = erase(comfy, **given)
    image, changed = ran.outputs["photo"]
    assert torch.equal(image, picture(*SIZE)[None]) and not changed.any()
    said = {node: ran.ui[node]["mild_warning"] for node in ("split", "sample", "photo")}
    assert all(len(warnings) == 1 for warnings in said.values())
    assert said["split"][0].startswith("Split into Layers: nothing to paint") and why in said["split"][0]
    assert said["sample"][0].startswith("Sample Layers: nothing was painted: there is no layer")
    assert said["photo"][0].startswith("Recompose Photo: nothing was erased")
    for node in said:
        assert ran.ui[node]["text"][0].startswith("Warning: ")


def test_nothing_is_warned_of_where_something_was_painted(comfy):
    for given in ({"people": [somebody(True)]}, {"people": [somebody(False)], "also_erase": marked(1.0)}):
        if not given["people"][0].erased:
            given["also_erase"][:, :, :29] = 1
        ran = erase(comfy, **given)
        assert ran.outputs["photo"][1].any()
        for node in ("split", "sample", "photo"):
            assert ran.ui[node]["mild_warning"] == [] and "Warning" not in ran.ui[node]["text"][0]


def test_a_mask_alone_says_what_goes(comfy):
    ran = erase(comfy, also_erase=marked(1.0))
    _, changed = ran.outputs["photo"]
    assert changed[:, 22:38, 32:40].mean() > 0.9
    assert ran.ui["split"]["text"] == ["1 background layer"]
    assert "obody" not in " ".join(ran.ui[node]["text"][0] for node in ("split", "sample", "photo"))


def test_somebody_or_something_has_to_be_connected(comfy):
    with pytest.raises(ValueError, match="people: nothing says what goes. Connect Choose People .* also_erase"):
        erase(comfy)


def test_a_photo_of_a_batch_in_which_nothing_goes_is_named(comfy):
    mask = torch.cat([marked(1.0), marked(0.0)])
    values = {"image": picture(*SIZE)[None].repeat(2, 1, 1, 1), "also_erase": mask}
    graph = {key: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for key, value in values.items()}
    links = {key: [key, 0] for key in values}
    graph["split"] = {"class_type": "MILD_Decompose", "inputs": {**SPLIT, **links}}
    ran = comfy.run_graph(graph, wanted=["split"])
    assert ran.ui["split"]["text"] == ["1 background layer\nNothing to paint in photo 2."]
    assert ran.ui["split"]["mild_warning"] == []


@pytest.mark.parametrize(("reference", "told"), [(False, True), (True, False)])
def test_a_hole_that_the_photo_cannot_fill_is_told_before_it_is_painted(comfy, monkeypatch, reference, told):
    """In the text on the node, before the first step, and in what stays there; nothing of it where references help."""
    said = []
    monkeypatch.setattr(show, "say", lambda cls, text: said.append(text))
    monkeypatch.setattr(sampling, "say", lambda cls, text: said.append(text))
    monkeypatch.setattr(Batch, "__call__", lambda *_: said.append("a step"))
    cells = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    photo = torch.nn.functional.interpolate(cells, (96, 144), mode="nearest")[0].movedim(0, -1)
    layer = background(photo, (60, 30, 90, 70))
    values = {"model": builtin.load_model(), "layers": [Scene(photo, (layer,))]}
    values |= {"positive": builtin.empty_conditioning(photo[None])} if reference else {}
    graph = {key: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for key, value in values.items()}
    graph["sample"] = {"class_type": "MILD_SampleLayers", "inputs": {**WIDGETS, **{key: [key, 0] for key in values}}}
    ran = comfy.run_graph(graph, wanted=["sample"])
    (text,) = ran.ui["sample"]["text"]
    sentence = "Background: little in this photo is like what surrounds the hole"
    assert (sentence in text) == told and (sentence in said[0]) == told
    assert "a step" in said and ran.ui["sample"]["mild_warning"] == []
    if told:
        assert said.index("a step") == 1
        template = text.split("see the template ")[1].split(".")[0]
        assert (Path(mild.__file__).parent / "workflows" / f"{template}.json").is_file()
