"""Depth: feet first, the artist before all."""

import torch

from mild.mild_core.order import back_to_front
from mild.mild_core.scene import Person


def person(number, box, rank=None):
    mask = torch.ones(box[3] - box[1], box[2] - box[0])
    return Person(f"Person {number}", number, 0, (100, 200), box, mask, rank=rank)


def numbers(people):
    return [p.number for p in back_to_front(people)]


def test_lower_feet_are_nearer():
    assert numbers([person(1, (0, 10, 20, 90)), person(2, (30, 40, 40, 60)), person(3, (50, 0, 90, 80))]) == [2, 3, 1]


def test_cut_off_by_the_border_the_larger_is_nearer():
    assert numbers([person(1, (0, 10, 60, 100)), person(2, (70, 60, 90, 100))]) == [2, 1]


def test_the_artists_rank_wins():
    low, high = person(1, (0, 10, 20, 90), rank=1), person(2, (30, 40, 40, 60), rank=2)
    assert numbers([low, high]) == [1, 2]
    assert numbers([low, high, person(3, (50, 0, 90, 80))]) == [1, 3, 2]


def test_nobody():
    assert back_to_front([]) == []
