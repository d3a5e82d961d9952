"""Example Photo: the artist's own photo comes out in place of the example, and one switch is all it takes."""

import json

import pytest
import torch

from mild.mild_core.example_photo import load_example

OWN = torch.rand(1, 40, 30, 3, generator=torch.Generator().manual_seed(1))
TWO = torch.zeros(1, 40, 30)
TWO[0, 5:35, 3:9] = TWO[0, 5:35, 18:24] = 1


def test_the_example_comes_out_while_nothing_is_connected(run_node):
    for given, stored in zip(run_node("MILD_ExamplePhoto"), load_example(), strict=True):
        assert torch.equal(given, stored) if isinstance(given, torch.Tensor) else given == stored


def test_a_connected_photo_takes_its_place(run_node):
    image, masks, background, hidden, poses = run_node("MILD_ExamplePhoto", image=OWN, masks=TWO)
    assert torch.equal(image, OWN) and torch.equal(masks, TWO) and torch.equal(background, OWN)
    assert hidden.shape == (1, 40, 30) and not hidden.any()
    assert poses == [{"people": [], "canvas_width": 30, "canvas_height": 40}]


def test_without_a_mask_nobody_is_there(run_node):
    _, masks, *_ = run_node("MILD_ExamplePhoto", image=OWN.repeat(2, 1, 1, 1))
    assert masks.shape == (2, 40, 30) and not masks.any()


def test_a_mask_without_its_photo_is_refused(run_node):
    with pytest.raises(Exception, match="masks: there is no photo"):
        run_node("MILD_ExamplePhoto", masks=TWO)


@pytest.mark.parametrize("own, people", [(False, 6), (True, 2)])
def test_people_are_told_apart_in_both(run_node, own, people):
    """Six masks of one photo are one person each; one painted mask shows a person in each separate part."""
    image, masks, *_ = run_node("MILD_ExamplePhoto", **({"image": OWN, "masks": TWO} if own else {}))
    found, *_ = run_node("MILD_PeopleFromMasks", masks=masks, image=image, split="automatic")
    assert [person.number for person in found] == list(range(1, people + 1))
    picked = json.dumps({"people": [{"photo": 0, "number": 1}]})
    chosen, erase, _ = run_node("MILD_ChoosePeople", people=found, image=image, who="", picked=picked)
    assert [person.erased for person in chosen] == [True] + [False] * (people - 1)
    assert torch.equal(erase[0] > 0, (masks[0] > 0) & (erase[0] > 0)) and erase.any()
