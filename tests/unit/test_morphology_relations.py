"""How people stand to one another, as numbers: finite, in bounds, and right about who hides whom and where."""

import pytest
import torch

from mild.mild_core.body.relations import OWN, PAIRS, relations
from mild.mild_core.people.from_masks import person_from_mask
from mild.mild_core.scene import Person

SIZE = (120, 200)


def rectangle(box, number, erased=False, size=SIZE):
    mask = torch.zeros(size)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return person_from_mask(mask)._replace(number=number, erased=erased)


def disc(x, y, radius, size=SIZE):
    ys, xs = torch.arange(size[0])[:, None] + 0.5, torch.arange(size[1])[None] + 0.5
    return ((xs - x) ** 2 + (ys - y) ** 2 <= radius**2).float()


def overlapping():
    """Two discs; the first (left, erased) is in front of the second (right, kept)."""
    front, back = disc(80, 60, 30), disc(110, 60, 30)
    left = person_from_mask(front)._replace(number=1, erased=True, rank=1.0)
    right = person_from_mask(back * (1 - front))._replace(number=2, rank=0.0)
    return [left, right]


def own_of(own, index, name):
    return float(own[index, OWN.index(name)])


def pair_of(pairs, row, column, name):
    return float(pairs[row, column, PAIRS.index(name)])


def test_places_and_sizes_are_shares_of_the_photo():
    own, _ = relations([rectangle((20, 30, 60, 90), 1)])
    for name, value in {
        "x": 0.2,
        "y": 0.5,
        "width": 0.2,
        "height": 0.5,
        "centroid x": 0.2,
        "centroid y": 0.5,
        "size": 0.1**0.5,
        "depth rank": 1.0,
        "hidden share": 0.0,
        "erased": 0.0,
        "sure": 1.0,
    }.items():
        assert own_of(own, 0, name) == pytest.approx(value), name


def test_the_hidden_one_is_hidden_and_knows_by_whom_and_where():
    people = overlapping()
    own, pairs = relations(people, sure=[0.5, 7.0])
    assert own_of(own, 0, "hidden share") == 0
    covered = float((disc(80, 60, 30) * disc(110, 60, 30)).sum() / disc(110, 60, 30).sum())
    # the convex hull bridges a part of the bite only
    assert 0.1 * covered < own_of(own, 1, "hidden share") < covered
    assert own_of(own, 0, "erased") == 1 and own_of(own, 1, "erased") == 0
    assert own_of(own, 0, "depth rank") == 1 and own_of(own, 1, "depth rank") == 0.5
    assert own_of(own, 0, "sure") == 0.5 and own_of(own, 1, "sure") == 1
    assert pair_of(pairs, 0, 1, "in front") == 1 and pair_of(pairs, 1, 0, "in front") == -1
    assert pair_of(pairs, 1, 0, "contact x") < -0.3 and pair_of(pairs, 0, 1, "contact x") > 0.2
    assert abs(pair_of(pairs, 1, 0, "contact y")) < 0.5
    assert 0.1 < pair_of(pairs, 1, 0, "contact") < 0.7
    assert pair_of(pairs, 1, 0, "other erased") == 1 and pair_of(pairs, 0, 1, "other erased") == 0
    assert pair_of(pairs, 0, 1, "overlap") == pair_of(pairs, 1, 0, "overlap") > 0
    assert not pairs[0, 0].any() and not pairs[1, 1].any()


def test_joints_behind_somebody_widen_what_is_hidden():
    people = overlapping()
    plain, _ = relations(people)
    joints = torch.zeros(18, 3)
    joints[[2, 3, 4]] = torch.tensor([[115.0, 45.0, 0.9], [95.0, 60.0, 0.9], [75.0, 75.0, 0.9]])
    reaching, _ = relations(people, [None, joints])
    assert own_of(reaching, 1, "hidden share") > own_of(plain, 1, "hidden share")
    assert own_of(reaching, 0, "hidden share") == 0  # nobody stands in front


def test_a_depth_picture_turns_the_order():
    left, right = rectangle((20, 20, 60, 100), 1), rectangle((60, 20, 100, 100), 2)
    ramp = torch.linspace(0, 1, 50).expand(30, 50)  # of another size; larger is nearer
    ranks = OWN.index("depth rank")
    one, _ = relations([left, right], depth=ramp)
    other, pairs = relations([left, right], depth=ramp.flip(1))
    assert one[:, ranks].tolist() == [0.5, 1.0] and other[:, ranks].tolist() == [1.0, 0.5]
    assert pair_of(pairs, 0, 1, "in front") == 1


def test_people_apart_share_nothing_but_a_distance():
    _, pairs = relations([rectangle((5, 10, 20, 60), 1), rectangle((150, 10, 190, 60), 2, erased=True)])
    for name in ("overlap", "contact", "contact x", "contact y", "in front"):
        assert pair_of(pairs, 0, 1, name) == 0, name
    assert 0.5 < pair_of(pairs, 0, 1, "distance") < 1
    assert pair_of(pairs, 0, 1, "other erased") == 1


@pytest.mark.parametrize("count", [0, 1, 100])
def test_any_number_of_people_is_finite_and_in_bounds(count):
    random = torch.Generator().manual_seed(count)
    people = []
    for number in range(count):
        x, y, w, h = (int(torch.randint(1, 60, (1,), generator=random)) for _ in range(4))
        box = (min(x * 3, 190), y, min(x * 3 + w, 200), min(y + h, 120))
        people.append(rectangle(box, number, erased=number % 3 == 0))
    own, pairs = relations(people)
    assert own.shape == (count, len(OWN)) and pairs.shape == (count, count, len(PAIRS))
    for values in (own, pairs):
        assert values.dtype == torch.float32 and values.isfinite().all() and (values.abs() <= 1).all()
    assert len(set(own[:, OWN.index("depth rank")].tolist())) == count
    front = pairs[..., PAIRS.index("in front")]
    assert torch.equal(front, -front.T)


def test_masks_of_one_pixel_and_masks_that_show_nothing():
    people = [
        Person("dot", 1, 0, SIZE, (0, 0, 1, 1), torch.ones(1, 1)),
        Person("faint", 2, 0, SIZE, (0, 0, 2, 3), torch.full((3, 2), 0.01), erased=True),
        Person("whole", 3, 0, SIZE, (0, 0, 200, 120), torch.ones(120, 200)),
    ]
    joints = [torch.zeros(18, 3), torch.full((18, 3), 0.5), None]
    own, pairs = relations(people, joints)
    assert own.isfinite().all() and pairs.isfinite().all()
    assert (own >= 0).all() and (own <= 1).all()


def test_the_same_people_at_twice_the_size_stand_alike():
    small = overlapping()
    large = []
    for person in small:
        x0, y0, x1, y1 = (2 * side for side in person.box)
        mask = person.mask.repeat_interleave(2, 0).repeat_interleave(2, 1)
        large.append(person._replace(size=(240, 400), box=(x0, y0, x1, y1), mask=mask))
    for one, other in zip(relations(small), relations(large), strict=True):
        assert torch.allclose(one, other, atol=0.06)
