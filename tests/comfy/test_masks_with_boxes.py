"""Masks that came with boxes, as SAM3 Detect gives them with individual_masks, through ComfyUI's own executor."""

import pytest
import torch

from mild.tests.comfy.test_find_people import FIND, SIZE, box, photos
from mild.tests.helpers.in_process import Many

FROM_MASKS = {"split": "one person per mask", "photo": 1}


def sam3(*counts, size=SIZE):
    """Masks and boxes of photos with so many people each, exactly as SAM3_Detect gives them."""
    masks, frames, left = [], [], 0
    for count in counts:
        here = torch.zeros(count, *size)
        frames.append([])
        for number in range(count):
            here[number, 5 + number : 60 + number, left : left + 20] = 1
            frames[-1].append(box(left, 5 + number, 20, 55, score=0.9))
            left = (left + 25) % 110
        masks.append(here)
    return torch.cat(masks), frames


@pytest.mark.parametrize("counts", [(2,), (2, 0, 3), (0, 0, 1), (1, 1)])
def test_masks_go_to_the_photo_of_their_boxes(run_node, counts):
    masks, boxes = sam3(*counts)
    people, preview, around = run_node(
        "MILD_PeopleFromMasks", masks=masks, boxes=boxes, image=photos(len(counts)), **FROM_MASKS
    )
    given = sorted((one["x"], one["y"], one["width"], one["height"]) for frame in boxes for one in frame)
    assert sorted((one["x"], one["y"], one["width"], one["height"]) for frame in around for one in frame) == given
    assert [len(frame) for frame in around] == list(counts)
    assert [sum(person.photo == index for person in people) for index in range(len(counts))] == list(counts)
    assert all(person.number >= 1 for person in people) and preview.shape[0] == len(counts)


def test_photos_one_by_one_in_a_list(run_node):
    masks, boxes = zip(*(sam3(count) for count in (2, 0, 1)), strict=True)
    image = Many([photos(), photos(), photos()])
    people, *_ = run_node("MILD_PeopleFromMasks", masks=Many(masks), boxes=Many(boxes), image=image, **FROM_MASKS)
    assert [[person.photo for person in one] for one in people] == [[0, 0], [], [0]]


def test_without_a_word_boxes_still_tell(run_node):
    """An API call that leaves split and photo away gets the automatic mode."""
    masks, boxes = sam3(2, 1)
    people, *_ = run_node("MILD_PeopleFromMasks", masks=masks, boxes=boxes, image=photos(2))
    assert [person.photo for person in people] == [0, 0, 1]


@pytest.mark.parametrize("boxes", [None, [[]]])
def test_no_masks_at_all_are_nobody(run_node, boxes):
    masks, _ = sam3(0)
    people, preview, _ = run_node("MILD_PeopleFromMasks", masks=masks, boxes=boxes, image=photos(), **FROM_MASKS)
    assert people == [] and preview.shape == (1, *SIZE, 3)


def test_masks_and_boxes_that_do_not_fit(run_node):
    masks, boxes = sam3(2, 1)
    with pytest.raises(ValueError, match="^boxes: .*individual_masks"):
        run_node("MILD_PeopleFromMasks", masks=masks[:2], boxes=boxes, image=photos(2), **FROM_MASKS)
    with pytest.raises(ValueError, match="^boxes: "):
        run_node("MILD_PeopleFromMasks", masks=masks, boxes=[["text"]], **FROM_MASKS)


def test_one_mask_given_twice_is_one_person(comfy):
    masks, _ = sam3(2)
    nearly = masks[0].clone()
    nearly[5, :10] = 0
    overlapping = masks[0].roll(8, 1)
    image = torch.stack([masks[0], masks[1], nearly, overlapping])
    graph = {
        "masks": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(image)}},
        "people": {"class_type": "MILD_PeopleFromMasks", "inputs": {"masks": ["masks", 0], **FROM_MASKS}},
    }
    ran = comfy.run_graph(graph, wanted=["people"])
    people = ran.outputs["people"][0]
    assert len(people) == 3 and "1 mask of somebody who is there already" in ran.ui["people"]["text"][0]
    assert len({person.box for person in people}) == 3  # the two that only overlap are both there
    again = comfy.run_node("MILD_PeopleFromMasks", masks=image[:1], people=people, **FROM_MASKS)[0]
    assert again == people


def test_boxes_of_find_people_prompt_sam3(run_node):
    """What comes out is what SAM3_Detect's bboxes input reads, and its masks find their photos by it."""
    given = [[box(70, 10, 30, 60)], [box(5, 5, 50, 60), box(60, 5, 50, 60)]]
    _, _, boxes = run_node("MILD_FindPeople", **FIND, image=photos(2), boxes=given)
    assert all(set(one) >= {"x", "y", "width", "height"} for photo in boxes for one in photo)
    masks, _ = sam3(1, 2)
    people, *_ = run_node("MILD_PeopleFromMasks", masks=masks, boxes=boxes, **FROM_MASKS)
    assert [person.photo for person in people] == [0, 1, 1]
