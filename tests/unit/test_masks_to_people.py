"""Which masks belong to which photo, and what each of them shows."""

import pytest
import torch

from mild.mild_core.people.masks_to_people import AUTOMATIC, BLOBS, LABELS, PER_MASK, people_from_masks, planned

SIZE = (60, 90)
BOX = {"x": 0, "y": 0, "width": 9, "height": 9}


def mask(*places, size=SIZE):
    """Boxes of 12 x 40 at each x."""
    made = torch.zeros(size)
    for x in places:
        made[10:50, x : x + 12] = 1
    return made


def made(split, masks, photos, first=0, boxes=(), sizes=None):
    plan = planned(split, len(masks), photos, first, boxes)
    found = people_from_masks(masks, plan, [SIZE] * photos if sizes is None else sizes, (), split == AUTOMATIC)
    return [(p.photo, p.number, p.box[0]) for p in found.people], found.text


def test_as_many_masks_as_photos_are_one_for_each():
    people, text = made(AUTOMATIC, [mask(5), mask(40)], 2)
    assert people == [(0, 1, 5), (1, 1, 40)]
    assert "2 masks for 2 photos: mask 1 for photo 1, mask 2 for photo 2." in text and "Nobody" not in text
    text = made(AUTOMATIC, [mask(5)] * 9, 9)[1]
    assert "9 masks for 9 photos: one for each, from mask 1 for photo 1 to mask 9 for photo 9." in text


def test_a_painted_mask_shows_several_people():
    people, text = made(AUTOMATIC, [mask(5, 40)], 1)
    assert people == [(0, 1, 5), (0, 2, 40)] and "Each separate part of a mask is one person." in text
    people, text = made(AUTOMATIC, [mask(5, 40), mask(20)], 2)
    assert people == [(0, 1, 5), (0, 2, 40), (1, 1, 20)] and "Each separate part" in text
    assert "separate part" not in made(AUTOMATIC, [mask(5)], 1)[1]


@pytest.mark.parametrize("photos", [0, 1])
def test_of_several_masks_each_is_one_person_also_behind_a_pole(photos):
    people, text = made(AUTOMATIC, [mask(5, 40), mask(70)], photos)
    assert people == [(0, 1, 5), (0, 2, 70)]
    assert "2 masks: " in text and ("photo 1" in text) == (photos == 0)


def test_boxes_tell_photos_and_people():
    people, text = made(AUTOMATIC, [mask(5, 30), mask(40), mask(60)], 2, boxes=[[BOX], [BOX, BOX]])
    assert people == [(0, 1, 5), (1, 1, 40), (1, 2, 60)]
    assert "By the boxes: photo 1 has mask 1, photo 2 has masks 2-3." in text
    # one mask for each photo, all of its boxes in it
    people, text = made(AUTOMATIC, [mask(5, 30), mask(40)], 2, boxes=[[BOX, BOX], [BOX]])
    assert people == [(0, 1, 5), (0, 2, 30), (1, 1, 40)] and "individual_masks" in text
    assert "individual_masks" not in made(AUTOMATIC, [mask(5), mask()], 2, boxes=[[BOX], []])[1]
    with pytest.raises(ValueError, match="^boxes: there are 3 boxes in 2 photos, but 4 masks"):
        planned(AUTOMATIC, 4, 2, 0, [[BOX, BOX], [BOX]])


def test_boxes_that_are_meant_for_every_photo():
    assert planned(PER_MASK, 4, 2, 0, [[BOX, BOX]], True).photos == [0, 0, 1, 1]
    assert planned(AUTOMATIC, 2, 1, 0, [[BOX, BOX]], True).photos == [0, 0]


@pytest.mark.parametrize("split", [AUTOMATIC, PER_MASK])
def test_other_counts_go_to_one_photo_and_say_so(split):
    people, text = made(split, [mask(5), mask(40), mask(70)], 2, 1)
    assert [photo for photo, *_ in people] == [1, 1, 1]
    assert "3 masks for 2 photos: all of them are people of photo 2." in text and "boxes" in text
    assert "Nobody in photo 1." in text
    people, text = made(split, [mask(5)], 3)
    assert (
        people == [(0, 1, 5)] and "1 mask for 3 photos: it is of photo 1." in text and "Nobody in photos 2-3." in text
    )


def test_one_person_per_mask_means_what_it_meant_and_says_what_else_there_is():
    people, text = made(PER_MASK, [mask(5, 20), mask(40)], 2)
    assert people == [(0, 1, 5), (0, 2, 40)]
    assert "all of them are people of photo 1" in text and "'automatic'" in text and "Nobody in photo 2." in text
    assert made(PER_MASK, [mask(5), mask(40)], 1)[1] == "2 people"
    named = made(AUTOMATIC, [mask(5), mask(40)], 2, 1)
    assert [photo for photo, *_ in named[0]] == [1, 1] and "set 'photo' to 1" in named[1]


def test_masks_beyond_the_last_photo_are_named():
    people, text = made(BLOBS, [mask(5), mask(40)], 2, 1)
    assert [photo for photo, *_ in people] == [1, 2]
    assert "mask 1 for photo 2, mask 2 for photo 3" in text and "image holds 2 photos, and there is no photo 3" in text


@pytest.mark.parametrize("split", [AUTOMATIC, PER_MASK, BLOBS])
def test_one_rule_for_specks(split):
    dirty = mask(5, size=(300, 450))
    dirty[290, 440] = 1
    for masks in ([dirty], [dirty, dirty.roll(50, 1)]):
        people, text = made(split, masks, 1, sizes=[(300, 450)])
        assert [x for *_, x in people] == [5, 55][: len(masks)]
        assert f"{len(masks)} speck{'s' * (len(masks) > 1)} too small for a person left out." in text
    label = made(LABELS, [dirty * 3 / 255], 1, sizes=[(300, 450)])
    assert label[0] == [(0, 3, 5)] and "1 speck too small" in label[1]


def test_a_mask_of_another_shape_is_named_unless_it_is_empty():
    turned = mask(5, size=(90, 60))
    text = made(AUTOMATIC, [mask(5), turned], 2)[1]
    assert "masks: 60 x 90 px, the photo 90 x 60" in text and "turned by 90 degrees" in text
    assert "stretched" not in made(AUTOMATIC, [mask(5), torch.zeros(90, 60)], 2)[1]
    assert "stretched" not in made(AUTOMATIC, [mask(5), mask(10, size=(120, 180))], 2)[1]
    assert "stretched" in made(LABELS, [turned * 2 / 255], 1)[1]


def test_labels_say_where_their_numbers_come_from():
    labels = mask(5) * 2 / 255 + mask(40) / 255
    plan = planned(LABELS, 1, 1)
    found = people_from_masks([labels], plan, [SIZE])
    assert [p.number for p in found.people] == [1, 2] and "The grey level is the number." in found.text
    more = people_from_masks([mask(70) / 255], plan, [SIZE], found.people)
    assert more.people[2].number == 3 and "label 1 is number 3" in more.text and "1 of them new" in more.text


def test_nobody():
    people, text = made(AUTOMATIC, [torch.zeros(SIZE)], 1)
    assert people == [] and text.startswith("Nobody: no mask shows anything.")
    assert made(AUTOMATIC, [], 2)[0] == []
    assert "1 empty mask left out" in made(AUTOMATIC, [mask(5), torch.zeros(SIZE)], 1)[1]
