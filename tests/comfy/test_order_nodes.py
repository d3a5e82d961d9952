"""Order People and Paint Hidden Part, through ComfyUI's own executor."""

import pytest
import torch

from mild.mild_core.scene import BACKGROUND, PERSON
from mild.tests.helpers.in_process import GraphInvalid
from mild.tests.helpers.layers import SPLIT

SIZE = (97, 131)


def figure(*box, size=SIZE):
    mask = torch.zeros(size)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return mask


LEFT, RIGHT = figure(10, 20, 30, 80), figure(30, 15, 50, 90)
PHOTO = torch.rand(1, *SIZE, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def people(run_node):
    found, *_ = run_node("MILD_PeopleFromMasks", masks=torch.stack([LEFT, RIGHT]), split="one person per mask", photo=1)
    return run_node("MILD_ChoosePeople", people=found, who="2")[0]


@pytest.fixture
def ordered(run_node, people):
    """ordered(text, ...): the people, and the preview."""

    def ordered(text="", **inputs):
        return run_node("MILD_OrderPeople", **({"people": people, "order": text, "invert_depth": False} | inputs))

    return ordered


@pytest.fixture
def layers_of(run_node):
    """layers_of(people): (domain, number) of the layers of the photo."""

    def layers_of(people, **inputs):
        layers, preview = run_node("MILD_Decompose", image=PHOTO, people=people, **(SPLIT | inputs))
        assert preview.shape == PHOTO.shape
        return layers[0].layers

    return layers_of


def test_the_artists_order_decides_who_gets_a_layer(ordered, layers_of):
    in_front, preview = ordered("1<2", image=PHOTO)
    assert preview.shape == PHOTO.shape
    assert [person.rank for person in in_front] == [0, 1]
    assert [layer.domain for layer in layers_of(in_front)] == [BACKGROUND, PERSON]
    behind, _ = ordered("2 behind 1")
    assert [person.rank for person in behind] == [1, 0]
    assert [layer.domain for layer in layers_of(behind)] == [BACKGROUND]


def test_without_a_word_the_order_is_what_splitting_finds_by_itself(ordered, people, layers_of):
    ranked, _ = ordered()
    assert sorted(person.rank for person in ranked) == [0, 1]
    with_node, without = layers_of(ranked), layers_of(people)
    assert [layer.id for layer in with_node] == [layer.id for layer in without]
    assert all(torch.equal(one.hole, other.hole) for one, other in zip(with_node, without, strict=True))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_depth_of_any_size_and_kind(run_node, channels):
    apart = torch.stack([figure(5, 20, 25, 80), figure(90, 20, 110, 80)])
    found, *_ = run_node("MILD_PeopleFromMasks", masks=apart, split="one person per mask", photo=1)
    depth = torch.linspace(0, 1, 50)[None, None, :, None].expand(1, 33, 50, channels)
    ranks = []
    for invert in (False, True):
        ranked, _ = run_node("MILD_OrderPeople", people=found, order="", depth=depth, invert_depth=invert)
        ranks.append([person.rank for person in ranked])
    assert ranks == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    "text, inputs, words",
    [
        ("1<2,2<1", {}, "order: this goes round in a circle: Person 1 < Person 2 < Person 1"),
        ("1<5", {}, "order: there is no person 5; this photo has 1-2"),
        ("", {"depth": torch.full((1, 9, 9, 3), float("nan"))}, "depth: .*NaN"),
        ("", {"depth": torch.zeros(1, 9, 9, 2)}, "depth: .*channels"),
    ],
)
def test_what_cannot_be_ordered_is_named(ordered, text, inputs, words):
    with pytest.raises(ValueError, match=words):
        ordered(text, **inputs)


def test_nobody_can_be_ordered(run_node):
    assert run_node("MILD_OrderPeople", people=[], order="", invert_depth=False)[0] == []


def test_a_hidden_part_is_what_gets_painted(run_node, people, layers_of):
    hidden = figure(25, 30, 40, 50)[None]
    inputs = {"people": people, "hidden": hidden, "who": "1", "photo": 1}
    marked, preview = run_node("MILD_HiddenPart", image=PHOTO, **inputs)
    assert preview.shape == PHOTO.shape
    assert (preview[0] - PHOTO[0]).abs().amax(-1)[30:50, 30:40].mean() > 0.05
    assert people[0].hidden is None, "the word must not leak into the people before it"
    _, person = layers_of(marked, feather=0.0)
    opened = torch.zeros(SIZE)
    x0, y0, x1, y1 = person.box
    opened[y0:y1, x0:x1] = person.hole
    assert (opened[30:50, 30:40] == 1).all()
    assert not opened[:, 41:].any() and not opened[:27].any() and not opened[53:].any()
    nothing, _ = run_node("MILD_HiddenPart", **(inputs | {"hidden": torch.zeros(1, 64, 64)}))
    assert [layer.domain for layer in layers_of(nothing)] == [BACKGROUND]


def test_hidden_parts_are_chained_and_said(comfy, run_node):
    found, *_ = run_node("MILD_PeopleFromMasks", masks=torch.stack([LEFT, RIGHT]), split="one person per mask", photo=1)
    graph = {
        "people": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(found)}},
        "mask": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(figure(1, 1, 9, 9)[None])}},
        "none": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(torch.zeros(1, 4, 4))}},
        "first": {
            "class_type": "MILD_HiddenPart",
            "inputs": {"people": ["people", 0], "hidden": ["mask", 0], "who": "Person 1", "photo": 1},
        },
        "second": {
            "class_type": "MILD_HiddenPart",
            "inputs": {"people": ["first", 0], "hidden": ["none", 0], "who": "2", "photo": 1},
        },
    }
    ran = comfy.run_graph(graph, wanted=["second"])
    marked = ran.outputs["second"][0]
    assert [person.hidden.numel() for person in marked] == [64, 1]
    text = ran.ui["second"]["text"][0]
    assert "Person 1: goes on where it is green" in text and "Person 2: nothing is hidden" in text
    assert comfy.run_graph(graph, wanted=["second"]).executed == []


@pytest.mark.parametrize(
    "inputs, words",
    [
        ({"who": "5"}, "who: there is no '5'; this photo has 1-2"),
        ({"who": "2"}, "Person 2 goes, but Paint Hidden Part says"),
        ({"photo": 2}, "who: there is no '1' in photo 2"),
        ({"hidden": torch.full((1, 9, 9), float("nan"))}, "hidden: .*NaN"),
    ],
)
def test_hidden_parts_that_make_no_sense(run_node, people, inputs, words):
    with pytest.raises(ValueError, match=words):
        run_node(
            "MILD_HiddenPart",
            **({"people": people, "hidden": torch.ones(1, *SIZE), "who": "1", "photo": 1} | inputs),
        )


def test_a_hidden_part_where_nobody_goes_is_said(comfy, run_node, people):
    marked, _ = run_node("MILD_HiddenPart", people=people, hidden=figure(90, 5, 99, 20)[None], who="1", photo=1)
    graph = {
        "image": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(PHOTO)}},
        "people": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(marked)}},
        "split": {"class_type": "MILD_Decompose", "inputs": {"image": ["image", 0], "people": ["people", 0], **SPLIT}},
    }
    ran = comfy.run_graph(graph, wanted=["split"])
    assert "Person 1: the painted hidden part lies where nobody goes" in ran.ui["split"]["text"][0]


def test_a_choice_made_later_is_checked_when_the_photo_is_split(run_node, people, layers_of):
    marked, _ = run_node("MILD_HiddenPart", people=people, hidden=torch.ones(1, 5, 5), who="1", photo=1)
    chosen = run_node("MILD_ChoosePeople", people=marked, who="all")[0]
    with pytest.raises(ValueError, match="Person 1 goes, but Paint Hidden Part says"):
        layers_of(chosen)


def test_widgets_out_of_range(run_node, people):
    with pytest.raises(GraphInvalid):
        run_node("MILD_HiddenPart", people=people, hidden=torch.ones(1, 5, 5), who="1", photo=0)
