"""Clicks stay with the person who was clicked, whatever number the person has next time."""

import json

import pytest
import torch

from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.picked import REACH, Pick, people_picked, read_picks


def disc(x, y, radius, size=(200, 300), photo=0):
    rows, columns = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    return person_from_mask(((columns - x) ** 2 + (rows - y) ** 2 < radius**2).float(), photo)


def crowd(photo=0):
    """Four people, three in a row and a small one on the large third."""
    return numbered(
        [
            disc(50, 100, 20, photo=photo),
            disc(120, 100, 20, photo=photo),
            disc(220, 100, 50, photo=photo),
            disc(240, 100, 8, photo=photo),
        ]
    )


def pick(number, x, y, photo=0):
    return Pick(photo, number, (x / 300, y / 200))


def gone(people):
    return [(person.photo, person.number) for person in people if person.erased]


def test_a_click_finds_the_person_under_any_number():
    for number in (1, 2, 3, 77):
        people, lost = people_picked(crowd(), [pick(number, 120, 100)])
        assert gone(people) == [(0, 2)] and lost == []


def test_she_is_found_after_others_came_and_went():
    clicks = [pick(2, 125, 95), pick(3, 200, 120)]
    for others in ([disc(10, 20, 5), disc(20, 180, 5)], []):
        people = numbered([*others, disc(120, 100, 20), disc(220, 100, 50)])
        chosen, lost = people_picked(people, clicks)
        assert [person.box[0] for person in chosen if person.erased] == [100, 170] and lost == []


def test_where_people_overlap_the_number_decides_and_else_the_smallest():
    small = next(person.number for person in crowd() if person.box[2] - person.box[0] < 20)
    large = next(person.number for person in crowd() if person.box[2] - person.box[0] > 90)
    for number, meant in ((small, small), (large, large), (99, small)):
        people, _ = people_picked(crowd(), [pick(number, 240, 100)])
        assert gone(people) == [(0, meant)]


def test_a_slimmer_mask_is_reached_and_another_place_is_not():
    reach = REACH * 300
    near, lost = people_picked(crowd(), [pick(1, 50 + 19 + reach, 100)])
    assert gone(near) == [(0, 1)] and lost == []
    click = pick(1, 50 + 22 + 2 * reach, 100)
    far, lost = people_picked(crowd(), [click])
    assert gone(far) == [] and lost == [click]


def test_each_photo_has_clicks_of_its_own():
    people = crowd(0) + crowd(1)
    chosen, lost = people_picked(people, [pick(1, 50, 100, photo=1), pick(2, 120, 100), pick(1, 50, 100, photo=5)])
    assert gone(chosen) == [(0, 2), (1, 1)] and [one.photo for one in lost] == [5]


def test_masks_of_another_size_are_clicked_at_the_same_place():
    people = numbered([disc(25, 50, 10, size=(100, 150)), disc(60, 50, 10, size=(100, 150))])
    assert gone(people_picked(people, [pick(9, 120, 100)])[0]) == [(0, 2)]


def test_an_earlier_choice_is_forgotten_and_nobody_changes_otherwise():
    people = [person._replace(erased=True) for person in crowd()]
    chosen, _ = people_picked(people, [pick(1, 50, 100), pick(7, 50, 100)])
    assert gone(chosen) == [(0, 1)]
    assert all(a.mask is b.mask and a.name == b.name for a, b in zip(people, chosen, strict=True))


def test_without_a_point_the_number_counts():
    chosen, lost = people_picked(crowd(), [Pick(0, 2, None), Pick(0, 9, None)])
    assert gone(chosen) == [(0, 2)] and lost == [Pick(0, 9, None)]


@pytest.mark.parametrize("point", [(0.0, 0.0), (1.0, 1.0)])
def test_corners_of_the_photo(point):
    corner = person_from_mask(torch.ones(3, 5))
    assert gone(people_picked([corner._replace(number=1)], [Pick(0, 1, point)])[0]) == [(0, 1)]


def test_nobody_there():
    click = pick(1, 50, 100)
    assert people_picked([], [click]) == ([], [click])


def test_text_of_the_picker():
    text = json.dumps({"people": [{"photo": 1, "number": 3, "x": 0.25, "y": 0.5}, {"number": 2}]})
    assert read_picks(text) == [Pick(1, 3, (0.25, 0.5)), Pick(0, 2, None)]
    assert read_picks("") == read_picks(" \n") == read_picks('{"people": []}') == []


@pytest.mark.parametrize(
    "text",
    [
        "all",
        "1,3",
        "[]",
        "{}",
        "null",
        '{"people": 3}',
        '{"people": [1]}',
        '{"people": [{"x": 0.5, "y": 0.5}]}',
        '{"people": [{"number": 1, "x": 0.5}]}',
        '{"people": [{"number": 1, "x": 7, "y": 0.5}]}',
        '{"people": [{"number": 1, "x": NaN, "y": 0.5}]}',
        '{"people": [{"number": Infinity}]}',
    ],
)
def test_other_text_is_refused_with_what_to_do(text):
    with pytest.raises(ValueError, match="^picked: .*who"):
        read_picks(text)
