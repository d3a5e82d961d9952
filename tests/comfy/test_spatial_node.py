"""The node Stop Attention Bleed: what it takes, what it says, and files of learned strengths."""

from pathlib import Path

import folder_paths
import pytest
import safetensors.torch
import torch

from mild.mild_core.attention.layer_regions import Maps
from mild.mild_core.comfy.attention import gains
from mild.mild_core.comfy.attention.adaptive import Adaptive
from mild.mild_core.comfy.attention.blocks import chosen_blocks
from mild.mild_core.comfy.attention.spatial import KEY, SpatialSettings, keep_apart
from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.scene import Scene
from mild.tests.helpers.attention import handlers, sampled
from mild.tests.helpers.tiny_models import make

WIDGETS = {
    "strength": 1.0, "mode": "fixed", "which": "all", "blocks": "all", "start_percent": 0.0, "end_percent": 1.0,
    "target": 0.98, "words": False, "gains": "none",
}  # fmt: skip
HOLE, PEOPLE = torch.zeros(2, 1, 64, 64)
HOLE[:, 8:40, 8:40] = 1
PEOPLE[:, :, 44:] = 1


@pytest.fixture
def node(run_node):
    def run(model, **inputs):
        return run_node("MILD_SpatialAttention", model=model, **{**WIDGETS, **inputs})[0]

    return run


def test_the_node_does_what_its_widgets_say(node, scenes):
    tiny = make("flux")
    model = node(tiny.model, mask=HOLE, avoid=PEOPLE, strength=0.5, mode="adaptive", target=0.9, words=True)
    (handler,) = handlers(model, KEY)
    assert isinstance(handler, Adaptive) and handler.target == 0.9 and handler.strength == 0.5
    settings = SpatialSettings(strength=0.5, adaptive=True, target=0.9, words=True)
    expected = keep_apart(tiny.model, Maps.of_mask(HOLE, PEOPLE), settings)[0]
    assert torch.equal(sampled(tiny, model), sampled(tiny, expected))
    (handler,) = handlers(node(tiny.model, layers=scenes, which="people"), KEY)
    assert handler.maps.names == ("1/person-2",) and not isinstance(handler, Adaptive)


def test_strength_0_is_the_same_object(node):
    tiny = make("sd15")
    assert node(tiny.model, mask=HOLE, strength=0.0) is tiny.model
    assert node(tiny.model, mask=HOLE * 0) is tiny.model


@pytest.mark.parametrize("layers_without_hole", [[], None])
def test_layers_without_a_hole_pass(node, scenes, layers_without_hole):
    tiny = make("sd15")
    if layers_without_hole is None:
        whole = tuple(layer._replace(hole=layer.hole * 0) for layer in scenes[0].layers)
        layers_without_hole = [Scene(scenes[0].photo, whole)]
    assert node(tiny.model, layers=layers_without_hole) is tiny.model


def test_wrong_inputs_are_told(node, scenes):
    tiny = make("sd15")
    for inputs, words in (
        ({}, "nothing is connected"),
        ({"mask": HOLE, "layers": scenes}, "both are connected"),
        ({"layers": scenes, "avoid": PEOPLE}, "Disconnect it"),
        ({"mask": HOLE, "avoid": PEOPLE.expand(3, -1, -1)}, "3 masks for 1"),
        ({"mask": HOLE, "blocks": "output 3, double"}, "'double' is no block of this model.*input 1-8, middle 0"),
        ({"mask": HOLE, "blocks": " "}, "is no block"),
        ({"mask": HOLE, "start_percent": 0.6, "end_percent": 0.4}, "end_percent"),
        ({"layers": scenes, "which": "7"}, "7"),
        ({"mask": torch.zeros(1, 8, 8, 3)}, "mask: expected a MASK"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            node(tiny.model, **inputs)
        assert "\n" not in str(error.value)


def test_the_built_in_model_needs_no_rule(node, scenes):
    model = builtin.load_model()
    assert node(model, layers=scenes) is model and node(model, mask=HOLE) is model
    with pytest.raises(ValueError, match="avoid: the Built-in Model"):
        node(model, mask=HOLE, avoid=PEOPLE)


@pytest.mark.parametrize(("family", "text", "expected"), [
    ("sd15", "all", {("input", 1, 0), ("middle", 0, 0), ("output", 11, 0)}),
    ("sd15", "Output 10 - 11", {("output", 11, 0)}),
    ("sd15", "ｏｕｔｐｕｔ　１０～１１、middle", {("output", 11, 0), ("middle", 0, 0)}),
    ("sd15", "全部", {("input", 1, 0), ("middle", 0, 0), ("output", 3, 0), ("output", 11, 0)}),
    ("flux", "double, single 1", {("double", 0), ("double", 1), ("single", 1)}),
])  # fmt: skip
def test_blocks_by_name(family, text, expected):
    chosen = chosen_blocks(make(family).model, text)
    asked = [("input", 1, 0), ("middle", 0, 0), ("output", 3, 0), ("output", 11, 0)]
    if family == "flux":
        asked = [("double", 0), ("double", 1), ("single", 0), ("single", 1)]
    found = {block for block in asked if chosen(block, "self")}
    assert found == (set(asked) if text == "all" else expected)


# -- learned strengths ------------------------------------------------------------------------------------------------


@pytest.fixture
def file():
    """file(tensors): the name of a file in models/mild that holds them."""
    folder = Path(folder_paths.models_dir) / "mild"
    folder.mkdir(parents=True, exist_ok=True)
    made = []

    def write(tensors, name="some_gains.safetensors"):
        safetensors.torch.save_file(tensors, folder / name)
        made.append(folder / name)
        folder_paths.filename_list_cache.clear()
        return name

    yield write
    for path in made:
        path.unlink(missing_ok=True)
    folder_paths.filename_list_cache.clear()


def blocks_of(by, heads=2):
    return {name: torch.full((heads,), by) for name in ("double.0", "double.1", "single.0", "single.1")}


def test_gains_scale_the_strength(node, file):
    """Of softplus of what the file holds: here of 0.5 for every head."""
    tiny = make("flux")
    name = file(blocks_of(float(torch.log(torch.expm1(torch.tensor(0.5))))))
    assert gains.files() == ["none", name]
    learned = node(tiny.model, mask=HOLE, avoid=PEOPLE, gains=name)
    half = node(tiny.model, mask=HOLE, avoid=PEOPLE, strength=0.5)
    assert torch.allclose(sampled(tiny, learned), sampled(tiny, half), atol=1e-4)
    assert not torch.allclose(sampled(tiny, learned), sampled(tiny), atol=1e-3)
    assert sampled(tiny, node(tiny.model, mask=HOLE, avoid=PEOPLE, gains=name, mode="adaptive")).isfinite().all()


def test_blocks_without_gains_and_single_heads(node, file):
    tiny = make("flux")
    name = file({"double.0": torch.tensor([-30.0, 5.0])})
    learned = node(tiny.model, mask=HOLE, avoid=PEOPLE, gains=name, blocks="double 0")
    whole = node(tiny.model, mask=HOLE, avoid=PEOPLE, blocks="double 0")
    results = [sampled(tiny, model) for model in (learned, whole, tiny.model)]
    assert not any(torch.allclose(results[i], results[j], atol=1e-4) for i, j in ((0, 1), (0, 2)))
    elsewhere = [
        sampled(tiny, node(tiny.model, mask=HOLE, avoid=PEOPLE, gains=g, blocks="single")) for g in (name, "none")
    ]
    assert torch.equal(*elsewhere)


def test_files_that_do_not_fit_are_told(node, file):
    tiny = make("flux")
    inputs = {"mask": HOLE, "avoid": PEOPLE}
    model = node(tiny.model, **inputs, gains=file(blocks_of(0.0, heads=8)))
    with pytest.raises(ValueError, match="made for another model: 8 heads in double 0, but this one has 2"):
        sampled(tiny, model)
    for wrong in ({"weight": torch.zeros(4)}, {"double.0": torch.zeros(4, 4)}, {"double.0": torch.tensor([torch.nan])}):
        name = file(wrong, "wrong_gains.safetensors")
        with pytest.raises(ValueError, match="holds no gains") as error:
            node(tiny.model, **inputs, gains=name)
        assert name in str(error.value)
    with pytest.raises(ValueError, match="is not in models/mild"):
        gains.load("gone_gains.safetensors")
