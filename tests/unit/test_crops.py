"""Far holes are painted apart, near ones together, and no crop shows a hole of another."""

import random

import pytest

from mild.mild_core.image import boxes
from mild.mild_core.layers.crops import LEAST_CONTEXT, context_box, grouped

SIZE = (2000, 3000)


def groups_of(holes, share=1.0, size=SIZE):
    return grouped(holes, [context_box(hole, size, share) for hole in holes])


def test_context_follows_the_hole_and_stays_in_the_photo():
    assert context_box((1000, 1000, 1100, 1300), SIZE, 1.0) == (700, 700, 1400, 1600)
    assert context_box((0, 0, 10, 10), SIZE, 0.0) == (0, 0, 10 + LEAST_CONTEXT, 10 + LEAST_CONTEXT)
    assert context_box((0, 0, 1, 1), (1, 1), 1.0) == (0, 0, 1, 1)


def test_far_apart_stays_apart():
    assert [group.members for group in groups_of([(100, 100, 200, 300), (2500, 1500, 2600, 1700)])] == [(0,), (1,)]


def test_near_ones_share_a_crop():
    (group,) = groups_of([(1000, 500, 1100, 800), (1150, 500, 1250, 800)])
    assert group.members == (0, 1)
    assert group.holes == (1000, 500, 1250, 800)


@pytest.mark.parametrize("seed", range(20))
def test_no_crop_shows_a_foreign_hole(seed):
    source = random.Random(seed)
    holes = []
    for _ in range(source.randint(1, 40)):
        x, y = source.randrange(2900), source.randrange(1900)
        holes.append((x, y, min(x + source.randint(1, 300), 3000), min(y + source.randint(1, 400), 2000)))
    groups = groups_of(holes, share=source.choice([0.0, 0.3, 1.0]))
    assert sorted(member for group in groups for member in group.members) == list(range(len(holes)))
    for group in groups:
        assert boxes.intersection(group.crop, boxes.whole(SIZE)) == group.crop
        for other in groups:
            for member in other.members:
                inside = boxes.intersection(group.crop, holes[member]) == holes[member]
                assert inside if other is group else not boxes.overlap(group.crop, holes[member])


def test_cost_follows_the_hole():
    hole = (500, 500, 700, 900)
    small = sum(boxes.area(group.crop) for group in groups_of([hole], size=(1600, 1600)))
    large = sum(boxes.area(group.crop) for group in groups_of([hole], size=(4000, 6000)))
    assert large <= 1.5 * small


def test_order_of_reading():
    groups = groups_of([(2500, 1500, 2600, 1600), (100, 100, 200, 200), (2500, 100, 2600, 200)])
    assert [group.members for group in groups] == [(1,), (2,), (0,)]
