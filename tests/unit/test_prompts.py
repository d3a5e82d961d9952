"""What a promptable model is asked, and what its answer is worth."""

import pytest
import torch

from mild.mild_core.find.found import Found
from mild.mild_core.find.sam_prompts import BOX, BOX_AND_JOINTS, JOINTS, Prompt, best_mask, prompts
from mild.mild_core.image import boxes
from mild.tests.unit.test_found import standing

SIZE = (120, 200)


def prompt(box):
    return Prompt(torch.tensor([[box[0], box[1]], [box[2], box[3]]]), torch.tensor([2, 3]), box)


def logits_of(box, size=SIZE, side=256, cells=8.0):
    """A model's answer: +cells inside the box of a photo of this size, -cells outside."""
    answer = torch.full((side, side), -cells)
    scale_x, scale_y = side / size[1], side / size[0]
    answer[round(box[1] * scale_y) : round(box[3] * scale_y), round(box[0] * scale_x) : round(box[2] * scale_x)] = cells
    return answer


def test_boxes_come_first_and_joints_after():
    one = standing(100, 50, 300)
    asked = {by: prompts([one], by)[0] for by in (BOX, JOINTS, BOX_AND_JOINTS)}
    assert asked[BOX].labels.tolist() == [2, 3] and asked[BOX].points.flatten().tolist() == pytest.approx(one.box)
    assert set(asked[JOINTS].labels.tolist()) == {1} and len(asked[JOINTS].points) > 4
    assert asked[BOX_AND_JOINTS].labels.tolist() == [2, 3] + [1] * len(asked[JOINTS].points)
    assert all(len(one.points) == len(one.labels) for one in asked.values())


def test_the_neighbours_joints_are_negative_points():
    one, other, far = standing(200, 50, 300), standing(240, 50, 300), standing(500, 50, 300)
    first = prompts([one, other, far], BOX_AND_JOINTS)[0]
    negative = first.points[first.labels == 0]
    assert len(negative) and (negative[:, 0] < 300).all()
    x0, y0, x1, y1 = one.box
    assert ((negative[:, 0] > x0) & (negative[:, 0] < x1) & (negative[:, 1] > y0) & (negative[:, 1] < y1)).all()


def test_without_sure_joints_the_box_asks():
    unsure = standing(100, 50, 300, score=0.2)
    for one in (unsure, Found((1, 2, 30, 40), 1.0)):
        for by in (BOX, JOINTS, BOX_AND_JOINTS):
            assert prompts([one], by)[0].labels.tolist() == [2, 3]


@pytest.mark.parametrize("box", [(20, 10, 60, 110), (0, 0, 50, 50), (150, 70, 200, 120), (3.3, 4.4, 190.2, 111.1)])
def test_the_mask_lies_where_the_answer_does(box):
    mask, place = best_mask(logits_of(box)[None], torch.ones(1), prompt(box), SIZE)
    assert mask.shape == (boxes.height(place), boxes.width(place)) and 0 <= mask.min() and mask.max() <= 1
    assert all(abs(edge - true) <= 2 for edge, true in zip(place, box, strict=True))
    assert (mask > 0.5).float().mean() > 0.9


def test_the_best_of_three_is_taken():
    box, other = (20, 10, 60, 110), (100, 10, 150, 110)
    answers = torch.stack([logits_of(other), logits_of(box), logits_of((0, 0, 200, 120))])
    _, place = best_mask(answers, torch.tensor([0.2, 0.9, 0.5]), prompt(box), SIZE)
    assert abs(place[0] - 20) <= 2 and abs(place[2] - 60) <= 2


def test_what_lies_far_from_the_box_and_specks_are_left_out():
    box = (20, 10, 60, 110)
    answer = torch.maximum(logits_of(box), logits_of((100, 10, 160, 110)))
    answer = torch.maximum(answer, logits_of((63, 50, 65, 52)))
    mask, place = best_mask(answer[None], torch.ones(1), prompt(box), SIZE)
    assert place[2] <= 62


def test_an_empty_answer_gives_the_box():
    box = (20, 10, 60, 110)
    mask, place = best_mask(torch.full((3, 64, 64), -9.0), torch.zeros(3), prompt(box), SIZE)
    assert place == box and mask.all()
