"""Choose People: clicks and words, and what waits while nobody is chosen."""

import json

import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker


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
