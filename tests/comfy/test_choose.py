"""Choose People: clicks and words, and what waits while nobody is chosen."""

import json

import folder_paths
import numpy as np
import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from PIL import Image

from mild.mild_core.people.from_masks import numbered, person_from_mask, union_mask
from mild.mild_core.scene import CARRIED, SHADOW, Effect


@pytest.fixture
def graph():
    def build(who="", picked=None, photo=True):
        choice = {"people": ["people", 0], "who": who}
        choice |= {"image": ["photo", 0]} if photo else {}
        choice |= {"picked": picked} if picked is not None else {}
        return {
            "photo": {"class_type": "MILD_ExamplePhoto", "inputs": {}},
            "people": {
                "class_type": "MILD_PeopleFromMasks",
                "inputs": {"masks": ["photo", 1], "split": "one person per mask", "photo": 1},
            },
            "choose": {"class_type": "MILD_ChoosePeople", "inputs": choice},
            "behind": {"class_type": "MaskPreview", "inputs": {"mask": ["choose", 1]}},
        }

    return build


def shown(ran):
    return ran.ui["choose"]["mild_people"][0]["people"]


def clicked(*people, photo=0):
    points = [{"photo": photo, "number": 50, "x": one["point"][0], "y": one["point"][1]} for one in people]
    return json.dumps({"people": points})


def test_an_empty_choice_shows_the_people_and_stops_what_is_behind(run_graph, graph):
    ran = run_graph(graph())
    assert "behind" not in ran.ui
    assert all(isinstance(value, ExecutionBlocker) and value.message is None for value in ran.outputs["choose"])
    assert [one["number"] for one in shown(ran)] == [1, 2, 3, 4, 5, 6]
    assert not any(one["erased"] for one in shown(ran))
    assert "Click who must go, then queue again." in ran.ui["choose"]["text"][0]
    # the picker shows the photo; the front end must not show it a second time
    assert "images" not in ran.ui["choose"] and ran.ui["choose"]["mild_people"][0]["image"]["type"] == "temp"


def test_the_node_runs_by_itself(run_graph, graph):
    alone = {key: value for key, value in graph().items() if key != "behind"}
    assert len(shown(run_graph(alone))) == 6


def test_clicks_choose_and_queueing_goes_on(run_graph, graph):
    people = shown(run_graph(graph()))
    ran = run_graph(graph(picked=clicked(people[1], people[4])))
    assert [one["number"] for one in shown(ran) if one["erased"]] == [2, 5]
    assert [one.number for one in ran.outputs["choose"][0] if one.erased] == [2, 5]
    assert "behind" in ran.ui and ran.outputs["choose"][1].sum() > 0
    assert "photo" not in ran.executed and "people" not in ran.executed


def test_words_win_over_clicks_and_none_is_a_choice(run_graph, graph):
    picked = clicked(shown(run_graph(graph()))[0])
    ran = run_graph(graph(who="3", picked=picked))
    assert [one.number for one in ran.outputs["choose"][0] if one.erased] == [3]
    ran = run_graph(graph(who="none", picked=picked))
    assert "behind" in ran.ui and ran.outputs["choose"][1].sum() == 0
    assert ran.outputs["choose"][2].sum() > 0


def test_who_is_gone_is_told_and_nobody_left_waits(run_graph, graph):
    people = shown(run_graph(graph()))
    nobody = {"point": [0.01, 0.01]}
    ran = run_graph(graph(picked=clicked(people[0], nobody)))
    assert "1 clicked person is no longer there" in ran.ui["choose"]["text"][0]
    assert ran.ui["choose"]["mild_choice"][0]["lost"] == 1 and "behind" in ran.ui
    ran = run_graph(graph(picked=clicked(nobody)))
    assert "behind" not in ran.ui and "no longer there" in ran.ui["choose"]["text"][0]


def test_without_a_photo_there_is_a_size_and_no_picture(run_graph, graph):
    photo = run_graph(graph(photo=False)).ui["choose"]["mild_people"][0]
    assert photo["image"] is None and (photo["width"], photo["height"]) == (768, 576)


def test_a_batch_has_a_picture_and_people_of_its_own_for_each_photo(run_node):
    (people, *_) = run_node("MILD_PeopleFromMasks", masks=torch.ones(2, 8, 10), split="separate blobs", photo=1)
    picked = json.dumps({"people": [{"photo": 1, "number": 1, "x": 0.5, "y": 0.5}]})
    photos = torch.rand(3, 8, 10, 3)
    chosen, erase, keep = run_node("MILD_ChoosePeople", people=people, image=photos, who="", picked=picked)
    assert [person.erased for person in chosen] == [False, True]
    assert erase.mean((1, 2)).tolist() == [0, 1, 0] and keep.mean((1, 2)).tolist() == [1, 0, 0]


def test_nobody_found(run_node):
    (people, *_) = run_node("MILD_PeopleFromMasks", masks=torch.zeros(1, 8, 10), split="separate blobs", photo=1)
    waiting = run_node("MILD_ChoosePeople", people=people, image=torch.rand(1, 8, 10, 3), who="")
    assert all(isinstance(value, ExecutionBlocker) for value in waiting)
    chosen, erase, _ = run_node("MILD_ChoosePeople", people=people, image=torch.rand(1, 8, 10, 3), who="all")
    assert chosen == [] and erase.shape == (1, 8, 10) and erase.sum() == 0


def test_channels_and_sizes(run_node):
    (people, *_) = run_node("MILD_PeopleFromMasks", masks=torch.ones(1, 5, 7), split="separate blobs", photo=1)
    for channels in (1, 3, 4):
        _, erase, _ = run_node("MILD_ChoosePeople", people=people, image=torch.rand(1, 23, 31, channels), who="all")
        assert erase.shape == (1, 23, 31) and erase.min() == 1


def test_junk_in_picked_is_refused(run_node):
    (people, *_) = run_node("MILD_PeopleFromMasks", masks=torch.ones(1, 5, 7), split="separate blobs", photo=1)
    with pytest.raises(ValueError, match="^picked: "):
        run_node("MILD_ChoosePeople", people=people, who="", picked="1,3")


def two_people():
    """Two squares in a photo of 40 x 60 px; the first has a shadow and a bag, the second a shadow on the first."""
    masks = torch.zeros(2, 40, 60)
    masks[0, 10:30, 5:25] = masks[1, 10:30, 35:55] = 1
    first, second = numbered([person_from_mask(mask) for mask in masks])
    shadow, bag = (
        Effect(SHADOW, (5, 30, 25, 34), torch.ones(4, 20)),
        Effect(CARRIED, (25, 15, 29, 20), torch.ones(5, 4)),
    )
    over = Effect(SHADOW, (20, 20, 35, 24), torch.ones(4, 15))
    return [first._replace(effects=(shadow, bag)), second._replace(effects=(over,))]


def text(people=(), strokes=(), effects=()):
    return json.dumps({"people": list(people), "strokes": list(strokes), "effects": list(effects)})


ONE = {"photo": 0, "number": 1, "x": 0.25, "y": 0.5}
TOO = {"photo": 0, "number": 2, "x": 0.75, "y": 0.5}
ADDED = {**TOO, "mode": "add", "size": 0.1, "points": [0.75, 0.05]}
EMPTIED = {**ONE, "mode": "take", "size": 1, "points": [0.25, 0.5]}


@pytest.fixture
def run_shown(comfy):
    """run_shown(who=..., picked=..., image=...): the node's outputs for two_people, and its ui."""

    def run(image=None, **inputs):
        photo = torch.rand(1, 40, 60, 3) if image is None else image
        gives = {"people": two_people(), "image": photo}
        graph = {
            name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for name, value in gives.items()
        }
        inputs |= {name: [name, 0] for name in gives}
        ran = comfy.run_graph({**graph, "choose": {"class_type": "MILD_ChoosePeople", "inputs": inputs}})
        return ran.outputs["choose"], ran.ui["choose"]

    return run


def test_strokes_are_in_every_output_and_in_what_the_picker_gets(run_shown):
    outputs, ui = run_shown(who="", picked=text([TOO], [ADDED]))
    people, erase, keep = outputs
    assert people[1].box == (35, 0, 55, 30) and erase[0, 2, 45] == 1 and keep[0].sum() == 400
    entry = ui["mild_people"][0]["people"][1]
    assert (
        entry["box"][1] == 0 and entry["before"]["box"][1] == 0.25 and "before" not in ui["mild_people"][0]["people"][0]
    )
    assert "Corrected by the brush: Person 2." in ui["text"][0]


def test_strokes_count_for_a_choice_in_words_and_for_a_choice_not_yet_made(run_shown):
    (people, erase, keep), _ = run_shown(who="1", picked=text([TOO], [ADDED]))
    assert [one.erased for one in people] == [True, False] and keep[0, 2, 45] == 1 and erase[0, 2, 45] == 0
    outputs, ui = run_shown(who="", picked=text([], [ADDED]))
    assert all(isinstance(value, ExecutionBlocker) for value in outputs) and ui["mild_waits"] == [True]
    assert ui["mild_people"][0]["people"][1]["box"][1] == 0


def test_a_click_on_what_the_brush_added_means_that_person(run_shown):
    (people, *_), ui = run_shown(who="", picked=text([{**TOO, "number": 9, "y": 0.05}], [ADDED]))
    assert [one.erased for one in people] == [False, True] and ui["mild_waits"] == [False]


def test_whoever_is_emptied_and_strokes_of_nobody_are_told(run_shown):
    nobody = {**ADDED, "x": 0.99, "y": 0.99}
    (people, _, keep), ui = run_shown(who="2", picked=text([], [EMPTIED, nobody, nobody]))
    assert [one.number for one in people] == [2] and keep.sum() == 0
    said = ui["text"][0]
    assert "Person 1 is left out: the brush took away all of their mask." in said
    assert "2 strokes of the brush were not used" in said and ui["mild_choice"][0]["lost_strokes"] == 2
    (emptied,) = ui["mild_people"][0]["emptied"]
    assert emptied["number"] == 1 and emptied["box"] == [0.0833, 0.25, 0.4167, 0.75] and emptied["effects"]


def refused(kind, x, y, number=1):
    return {"photo": 0, "number": number, "kind": kind, "x": x, "y": y, "taken": False}


def test_taken_effects_go_with_their_person_and_nothing_else_does(run_shown):
    (people, erase, keep), ui = run_shown(who="", picked=text([ONE]))
    expected = union_mask(people[:1], (40, 60))
    expected[30:34, 5:25] = expected[15:20, 25:29] = 1
    assert torch.equal(erase[0], expected) and torch.equal(keep[0], union_mask(people[1:], (40, 60)))
    assert "1 of 2 disappear: Person 1 with shadow, carried" in ui["text"][0]
    (people, erase, _), ui = run_shown(who="", picked=text([ONE], effects=[refused("shadow", 0.25, 0.8)]))
    expected[30:34, 5:25] = 0
    assert torch.equal(erase[0], expected) and [one.taken for one in people[0].effects] == [False, True]
    assert "Person 1 with carried" in ui["text"][0]
    shown = ui["mild_people"][0]["people"][0]["effects"]
    assert [(one["kind"], one["taken"], one["proposed"]) for one in shown] == [
        ("shadow", False, True),
        ("carried", True, True),
    ]


def test_the_shadow_of_whoever_goes_leaves_out_whoever_stays_and_that_of_whoever_stays_goes_not(run_shown):
    (_, erase, keep), _ = run_shown(who="2", picked="")
    assert erase[0, 20:24, 25:35].min() == 1 and erase[0, :, :25].sum() == 0 and keep[0].sum() == 400
    (_, erase, keep), _ = run_shown(who="1", picked="")
    assert erase[0, 20:24, 29:35].sum() == 0 and keep[0].sum() == 400


def test_an_effect_that_is_gone_is_told(run_shown):
    _, ui = run_shown(who="", picked=text([ONE], effects=[refused("reflection", 0.25, 0.8)]))
    assert "1 clicked shadow, reflection or thing is no longer there." in ui["text"][0]
    assert ui["mild_choice"][0]["lost_effects"] == 1


def test_a_large_photo_comes_small_and_with_all_of_its_pixels(run_shown):
    photo = torch.zeros(1, 300, 2000, 3)
    photo[..., 500, 0] = 1
    _, ui = run_shown(who="all", picked="", image=photo)
    shown = ui["mild_people"][0]
    assert (shown["width"], shown["height"]) == (2000, 300)
    full = Image.open(f"{folder_paths.get_temp_directory()}/{shown['full']['filename']}")
    assert full.size == (2000, 300) and np.asarray(full)[150, 500, 0] > 100 > np.asarray(full)[150, 520, 0]
    _, ui = run_shown(who="all", picked="")
    assert ui["mild_people"][0]["full"] is None, "the picture itself has all pixels"
