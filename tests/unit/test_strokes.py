"""Strokes of the picker's brush correct a mask, whoever has which number next time."""

import json
from itertools import pairwise

import pytest
import torch

from mild.mild_core.people.from_masks import numbered, person_from_mask, union_mask
from mild.mild_core.people.strokes import ADD, TAKE, Stroke, people_corrected, read_strokes

SIZE = (60, 100)


def person(box, size=SIZE, soft=False):
    mask = torch.zeros(size)
    mask[box[1] : box[3], box[0] : box[2]] = 0.6 if soft else 1.0
    return person_from_mask(mask)


def two(size=SIZE, **values):
    return numbered([person((10, 10, 30, 50), size, **values), person((60, 10, 80, 50), size, **values)])


def stroke(mode, points, number=1, size=0.1, anchor=(0.2, 0.5)):
    return Stroke(0, number, mode, size, tuple((x / 100, y / 60) for x, y in points), anchor)


def full(person):
    return union_mask([person], SIZE)


def near(points, radius):
    """By the textbook, pixel by pixel: how far its middle is from the line."""
    y, x = torch.meshgrid(torch.arange(60) + 0.5, torch.arange(100) + 0.5, indexing="ij")
    here = torch.stack([x, y], -1)
    result = torch.zeros(60, 100, dtype=torch.bool)
    for start, end in [*pairwise(points), (points[-1], points[-1])]:
        start, way = torch.tensor(start), torch.tensor(end) - torch.tensor(start)
        share = (((here - start) * way).sum(-1) / (way * way).sum().clamp(min=1e-6)).clamp(0, 1)
        result |= (here - start - share[..., None] * way).norm(dim=-1) <= radius
    return result


def test_a_stroke_adds_and_the_box_grows():
    line = [(25.0, 30.0), (45.0, 30.0), (45.0, 5.0)]
    before = two()
    after = people_corrected(before, [stroke(ADD, line)])
    assert after.people[0].box == (10, 0, 50, 50) and after.people[1] is before[1]
    expected = (full(before[0]) > 0) | near(line, 5)
    assert torch.equal(full(after.people[0]) > 0, expected) and after.people[0].mask.unique().tolist() == [0, 1]
    assert after.changed == after.people[:1] and after.lost == after.emptied == []


def test_a_stroke_takes_and_the_box_shrinks_and_soft_values_stay():
    line = [(10.0, 10.0), (30.0, 10.0)]
    before = two(soft=True)
    after = people_corrected(before, [stroke(TAKE, line)]).people[0]
    expected = full(before[0]).masked_fill(near(line, 5), 0)
    assert torch.equal(full(after), expected) and after.box == (10, 15, 30, 50)
    assert torch.equal(full(before[0]), full(two(soft=True)[0])), "the given mask is not written to"


def test_strokes_count_in_the_order_in_which_they_were_painted():
    line, some = [(20.0, 20.0), (20.0, 40.0)], [(20.0, 30.0)]
    for order, value in (((TAKE, ADD), 1.0), ((ADD, TAKE), 0.0)):
        strokes = [stroke(order[0], line, size=0.2), stroke(order[1], some)]
        assert full(people_corrected(two(), strokes).people[0])[30, 20] == value
    again = [stroke(TAKE, line, size=1.0), stroke(ADD, some)]
    assert people_corrected(two(), again).people[0].box == (15, 25, 25, 35)


def test_a_point_marks_a_pixel_and_a_long_thin_line_has_no_gaps():
    dot = people_corrected(two(), [stroke(ADD, [(45.0, 30.0)], size=1e-4)]).people[0]
    assert full(dot)[29:31, 44:46].sum() == 4 and full(dot).sum() == 20 * 40 + 4
    size = (1200, 2000)
    before = numbered([person((200, 200, 600, 1000), size)])
    line = Stroke(0, 1, ADD, 0.002, ((0.01, 0.01), (0.99, 0.99)), (0.2, 0.5))
    (after,) = people_corrected(before, [line]).people
    rows = torch.arange(50, 1150)
    assert union_mask([after], size)[rows, (rows / 0.6).long()].min() == 1


def test_lines_every_way_cover_what_is_near_them():
    random = torch.Generator().manual_seed(1)
    for _ in range(40):
        line = [(x * 100, y * 60) for x, y in torch.rand(5, 2, generator=random).tolist()]
        line.append((line[-1][0], line[0][1]))  # straight down, as a line with Shift is in other programs
        (after, _) = people_corrected(two(), [stroke(ADD, line, size=0.07)]).people
        drawn = full(after) > 0
        drawn[10:50, 10:30] = False
        inner, outer = near(line, 3.49), near(line, 3.51)
        assert not (drawn & ~outer).any()
        outside = torch.ones_like(inner)
        outside[10:50, 10:30] = False
        assert not (inner & outside & ~drawn).any()


def test_a_stroke_stays_with_the_person_and_not_with_the_number():
    line = stroke(ADD, [(45.0, 30.0)], number=7)
    both = numbered([person((0, 0, 5, 5)), *(one._replace(name="") for one in two())])
    after = people_corrected(both, [line])
    assert [one.number for one in after.changed] == [2]


def test_whoever_is_emptied_and_whoever_is_gone_is_told():
    before = two()
    gone = stroke(TAKE, [(20.0, 30.0)], size=1.0)
    nobody = stroke(ADD, [(45.0, 30.0)], anchor=(0.95, 0.95))
    after = people_corrected(before, [gone, nobody])
    assert after.emptied == before[:1] and after.people == before[1:] and after.lost == [nobody]
    assert after.changed == []
    beside = people_corrected(before, [stroke(TAKE, [(45.0, 5.0)])])
    assert beside.people[0] is before[0] and beside.changed == [], "a stroke beside the mask takes nothing"


def test_everything_else_of_the_person_stays():
    before = two()[0]._replace(hidden=torch.ones(2, 2), hidden_box=(0, 0, 2, 2), rank=3.0, joints=torch.ones(18, 3))
    after = people_corrected([before], [stroke(ADD, [(45.0, 30.0)])]).people[0]
    assert after._replace(mask=None, box=None) == before._replace(mask=None, box=None)


@pytest.mark.parametrize("point", [(0.0, 0.0), (100.0, 60.0), (0.0, 60.0)])
def test_strokes_at_the_photos_corners(point):
    (after, _) = people_corrected(two(), [stroke(ADD, [(20.0, 30.0), point])]).people
    x, y = min(int(point[0]), 99), min(int(point[1]), 59)
    assert full(after)[y, x] == 1 and after.box[0] >= 0 and after.box[2] <= 100 and after.box[3] <= 60


def written(**values):
    entry = {"photo": 1, "number": 2, "mode": "add", "size": 0.02, "points": [0.4, 0.5, 0.6, 0.5]}
    return json.dumps({"people": [], "strokes": [entry | values]})


def test_text_of_the_picker():
    assert read_strokes("") == read_strokes('{"people": [{"number": 1}]}') == []
    line = ((0.4, 0.5), (0.6, 0.5))
    assert read_strokes(written()) == [Stroke(1, 2, ADD, 0.02, line, line[0])]
    entry = written(x=0.1, y=0.2, item=3, place=0, mode="take")
    assert read_strokes(entry) == [Stroke(0, 2, TAKE, 0.02, line, (0.1, 0.2), 3)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "erase"},
        {"size": 0},
        {"size": 2},
        {"size": None},
        {"points": []},
        {"points": [0.1]},
        {"points": [0.1, 0.2, 0.3]},
        {"points": [0.1, 7]},
        {"points": "no"},
        {"number": "x"},
        {"x": 0.5},
    ],
)
def test_other_text_is_refused(wrong):
    with pytest.raises(ValueError, match="^picked: .*who"):
        read_strokes(written(**wrong))
