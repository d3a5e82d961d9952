"""The benchmark of order counts what it says: truth is the order of painting, and only pairs who touch count."""

import numpy as np

from mild.benchmarks.quality import order


def disc(x, y, radius, size=(200, 300)):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_what_is_seen_of_people_painted_over_one_another():
    whole = [disc(100, 100, 40), disc(130, 100, 40), disc(131, 100, 42)]
    seen = order.visible(whole)
    assert len(seen) == 2, "who is nearly covered is nobody"
    assert (seen.sum(0) <= 1).all() and np.array_equal(seen[1], whole[2])
    assert [person.number for person in order.people_of(seen)] == [1, 2]


def test_right_pairs_are_those_in_the_order_of_painting():
    near, far = disc(100, 110, 50), disc(160, 110, 50)
    ours, feet = order.right_pairs(order.visible([far, near]))
    assert ours == [1.0] and len(feet) == 1
    wrong, _ = order.right_pairs(order.visible([far, near])[::-1])
    assert wrong == [0.0]
    assert order.right_pairs(np.stack([disc(50, 100, 20), disc(250, 100, 20)])) == ([], [])
