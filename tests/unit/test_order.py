"""Depth: the artist before all, then what outlines and depth images show, then feet."""

import pytest
import torch

from mild.mild_core.people import depth_order as order_module
from mild.mild_core.people.contact import Contact
from mild.mild_core.people.depth_order import back_to_front, in_order, relative_depths, with_ranks
from mild.mild_core.people.from_masks import fitted, numbered, person_from_mask
from mild.mild_core.people.order_text import Told, told_pairs
from mild.mild_core.scene import Person


def person(number, box, rank=None, photo=0, name=None):
    mask = torch.ones(box[3] - box[1], box[2] - box[0])
    return Person(name or f"Person {number}", number, photo, (100, 200), box, mask, rank=rank)


def row(count, photo=0):
    """People beside each other, nobody near anybody; 1 is the farthest."""
    return [person(n, (n * 20, 10, n * 20 + 10, 50 + n), photo=photo) for n in range(1, count + 1)]


def numbers(people):
    return [p.number for p in back_to_front(people)]


def order_by(text, people):
    ranked, _ = with_ranks(people, text)
    return [p.number for p in sorted(ranked, key=lambda p: p.rank)]


def ellipse(size, centre, radii):
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 <= 1


def test_lower_feet_are_nearer():
    assert numbers([person(1, (0, 10, 20, 90)), person(2, (30, 40, 40, 60)), person(3, (50, 0, 90, 80))]) == [2, 3, 1]


def test_cut_off_by_the_border_the_larger_is_nearer():
    assert numbers([person(1, (0, 10, 60, 100)), person(2, (70, 60, 90, 100))]) == [2, 1]


def test_the_artists_rank_wins():
    low, high = person(1, (0, 10, 20, 90), rank=1), person(2, (30, 40, 40, 60), rank=2)
    assert numbers([low, high]) == [1, 2]
    three = numbers([low, high, person(3, (50, 0, 90, 80))])
    assert three.index(1) < three.index(2)
    equal = [person(n, (n * 20, 10, n * 20 + 10, 50 - n), rank=7) for n in (1, 2, 3)]
    assert numbers(equal) == [3, 2, 1], "equal ranks say nothing"


def test_nobody():
    assert back_to_front([]) == []
    assert with_ranks([], "") == ([], {})


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", [1, 2, 3, 4]),
        ("  \n", [1, 2, 3, 4]),
        ("3<2", [1, 3, 2, 4]),
        ("2>3", [1, 3, 2, 4]),
        ("2 in front of 3", [1, 3, 2, 4]),
        ("3 is behind 2", [1, 3, 2, 4]),
        ("person 3 stands behind Person 2", [1, 3, 2, 4]),
        ("4<3<2<1", [4, 3, 2, 1]),
        ("1>2>3>4", [4, 3, 2, 1]),
        ("4<3, 3<2;2 < 1\n", [4, 3, 2, 1]),
        ("4<3 and 3<1", [2, 4, 3, 1]),
        ("4\uff1c1", [2, 3, 4, 1]),
        ("４＜３＜２＜１", [4, 3, 2, 1]),
        ("２＞３", [1, 3, 2, 4]),
        ("2在3前面", [1, 3, 2, 4]),
        ("3 在 2 的后面", [1, 3, 2, 4]),
        ("3号站在2号後", [1, 3, 2, 4]),
        ("４，３、２；１", [4, 3, 2, 1]),
        ("3在4前面，3在1后面", [2, 4, 3, 1]),
        ("4,3,2,1", [4, 3, 2, 1]),
        ("4 3 2 1", [4, 3, 2, 1]),
        ("4\n3\n2\n1", [4, 3, 2, 1]),
        ("Person 4, Person 3, 2 1", [4, 3, 2, 1]),
        ("3,2", [1, 3, 2, 4]),
    ],
)
def test_what_artists_write(text, expected):
    assert order_by(text, row(4)) == expected


@pytest.mark.parametrize(
    "text, words",
    [
        ("2<3,3<2", "circle: Person 2 < Person 3 < Person 2"),
        ("1<2<3<1", "circle: Person 1 < Person 2 < Person 3 < Person 1"),
        ("4<1, 1<2, 2<3, 3<1", "circle: Person 1 < Person 2 < Person 3 < Person 1"),
        ("3,1,3", "circle"),
        ("2<2", "'2' and '2' are one person"),
        ("7<2", "no person 7; this photo has 1-4"),
        ("Bob<2", "'Bob' is neither a number nor a name here. This photo has 1-4"),
        ("1<2, 3", "'3' alone says nothing"),
        ("1<", "on one side of '1<' nobody stands"),
        ("3", "'3' alone is no order"),
        ("all", "'all' alone is no order"),
        ("everyone in front of 3", "'everyone' is neither"),
    ],
)
def test_what_cannot_be_followed_is_named(text, words):
    with pytest.raises(ValueError, match="order: ") as caught:
        with_ranks(row(4), text)
    assert words in str(caught.value)


def test_names_and_photos():
    ann, bob = person(1, (0, 0, 9, 90), name="Ann"), person(2, (50, 0, 60, 40), name="Bob")
    assert order_by("ann<bob", [ann, bob]) == [1, 2]
    assert order_by("Ann, Bob", [ann, bob]) == [1, 2]
    two = row(3) + row(2, photo=1)
    assert told_pairs(two, "2<1, 3<1") == [Told(0, 1, 2), Told(1, 1, 2), Told(0, 1, 3)]
    with pytest.raises(ValueError, match="order: .* in different photos"):
        told_pairs([person(1, (0, 0, 9, 9)), person(2, (0, 0, 9, 9), photo=1)], "1<2")
    with pytest.raises(ValueError, match="order: 1-2 are all called 'dog'"):
        told_pairs([person(n, (0, 0, 9, 9), name="dog") for n in (1, 2)] + [person(3, (0, 0, 9, 9))], "dog<3")


def test_everyone_gets_a_rank_and_nothing_else_changes():
    people = row(3) + row(2, photo=1)
    ranked, orders = with_ranks(people, "3<1")
    assert [p._replace(rank=None) for p in ranked] == people
    assert [p.rank for p in ranked if p.photo == 1] == [0.0, 1.0]
    assert sorted(p.rank for p in ranked if p.photo == 0) == [0.0, 1.0, 2.0]
    assert [p.number for p in orders[0].people] == [2, 3, 1]
    again, _ = with_ranks(ranked, "1<2")
    places = {p.number: p.rank for p in again if p.photo == 0}
    assert places[1] < places[2], "what is written last wins"
    again, _ = with_ranks(ranked)
    assert again == ranked, "a second node keeps what the first one settled"


SIZE = (300, 400)


def overlapping(front_first, gap=0):
    """Two figures beside each other, feet level; one lies over the other."""
    first, second = ellipse(SIZE, (160, 150), (50, 100)), ellipse(SIZE, (220, 150), (50, 100))
    if gap:  # a mask that misses the rim
        edge = ellipse(SIZE, (160, 150), (50 + gap, 100 + gap)) if front_first else None
        other = None if front_first else ellipse(SIZE, (220, 150), (50 + gap, 100 + gap))
        first, second = (first, second & ~edge) if front_first else (first & ~other, second)
    elif front_first:
        second &= ~first
    else:
        first &= ~second
    return numbered([person_from_mask(mask.float()) for mask in (first, second)])


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("scale", [0.25, 1, 4])
@pytest.mark.parametrize("front_first", [True, False])
def test_whose_outline_is_whole_is_in_front(front_first, scale, gap):
    size = (int(SIZE[0] * scale), int(SIZE[1] * scale))
    people = [fitted(p, size) for p in overlapping(front_first, gap)]
    order = in_order(people)
    assert [p.number for p in order.people] == ([2, 1] if front_first else [1, 2])
    (pair,) = order.pairs
    assert (pair.front, pair.back) == (1, 0)
    assert pair.touching and not pair.told and pair.confidence > 0.5
    assert 130 < pair.place[0] / scale < 250 and 40 < pair.place[1] / scale < 260


@pytest.mark.parametrize("front_first", [True, False])
def test_outlines_decide_over_depth_and_the_artist_over_both(front_first):
    people = overlapping(front_first)
    depth = torch.zeros(SIZE)
    depth[:, 190 if front_first else 0 : None if front_first else 190] = 1  # says the contrary
    assert [p.number for p in in_order(people, depth).people] == ([2, 1] if front_first else [1, 2])
    ranked, orders = with_ranks(people, "1<2" if front_first else "2<1", depth[None])
    assert [p.number for p in sorted(ranked, key=lambda p: p.rank)] == ([1, 2] if front_first else [2, 1])
    (pair,) = orders[0].pairs
    assert pair.told and pair.confidence == 1


def test_somebody_hidden_in_the_middle_is_behind():
    """A wide figure cut in two by a narrow one."""
    wide, narrow = ellipse(SIZE, (200, 150), (120, 100)), ellipse(SIZE, (200, 140), (25, 135))
    people = numbered([person_from_mask(mask.float()) for mask in (wide & ~narrow, narrow)])
    assert [p.box[2] - p.box[0] for p in back_to_front(people)] == [241, 51]


@pytest.mark.parametrize("size", [(37, 53), (300, 400), (1200, 900)])
def test_depth_of_any_size_decides_between_people_apart(size):
    people = row(3)
    depth = torch.linspace(1, 0, size[1]).expand(*size)
    assert [p.number for p in in_order(people, depth).people] == [3, 2, 1]
    assert [p.number for p in in_order(people, 1 - depth).people] == [1, 2, 3]
    ranked, _ = with_ranks(people, "", torch.stack([depth, depth]))
    assert [p.rank for p in ranked] == [2, 1, 0]
    values = relative_depths(people, depth * 1000 - 5)
    assert values == pytest.approx(relative_depths(people, depth), abs=1e-3)
    assert sorted(values, reverse=True) == values


def test_a_flat_depth_image_says_nothing():
    people = row(3)
    assert numbers(people) == [p.number for p in in_order(people, torch.full((50, 60), 0.3)).people]


def test_depth_for_photos_that_are_not_there():
    with pytest.raises(ValueError, match="depth: there are people in photo 3, but depth holds 2"):
        with_ranks(row(2, photo=2), "", torch.rand(2, 9, 9))


@pytest.mark.parametrize("weakest", [0, 1, 2])
def test_in_a_circle_of_guesses_the_least_sure_one_gives_way(monkeypatch, weakest):
    people = row(3)
    logits = [1.0 if index == weakest else 2.0 + index for index in range(3)]
    circle = [
        Contact(first, second, logit, True, (0.0, 0.0))
        for (first, second), logit in zip(((0, 1), (1, 2), (2, 0)), logits, strict=True)
    ]
    monkeypatch.setattr(order_module, "contacts", lambda people: circle)
    order = in_order(people)
    place = {p.number - 1: where for where, p in enumerate(order.people)}
    holds = [place[contact.first] > place[contact.second] for contact in circle]
    assert holds == [index != weakest for index in range(3)]
    assert sorted(pair.confidence > 0 for pair in order.pairs) == [False, True, True]
    first = circle[weakest].first
    told = in_order(people, told=[Told(0, front=first + 1, back=circle[weakest].second + 1)])
    place = {p.number - 1: where for where, p in enumerate(told.people)}
    assert place[first] > place[circle[weakest].second], "the artist is surer than any guess"


def test_odd_people():
    dot = torch.zeros(60, 80)
    dot[30, 40:42] = 1
    twice = torch.zeros(60, 80)
    twice[20:50, 30:60] = 1
    border = torch.zeros(60, 80)
    border[40:, 55:] = 1
    people = numbered([person_from_mask(mask) for mask in (dot, twice, twice, border, torch.ones(60, 80))])
    order = in_order(people)
    assert sorted(p.number for p in order.people) == [1, 2, 3, 4, 5]
    assert in_order(people) == order or [p.number for p in in_order(people).people] == [p.number for p in order.people]
    mixed = [people[0], fitted(people[1], (240, 320))]
    assert len(in_order(mixed).people) == 2


@pytest.mark.parametrize("seed", range(4))
def test_order_is_total_and_follows_what_was_told(seed):
    """Crowds that overlap: every told pair holds, and the order does not depend on how the people are given."""
    generator = torch.Generator().manual_seed(seed)

    def some(limit):
        return int(torch.randint(0, limit, (1,), generator=generator))

    masks = []
    for _ in range(25):
        masks.append(ellipse((120, 200), (some(200), some(120)), (3 + some(20), 3 + some(40))).float())
    people = numbered([p for p in (person_from_mask(mask) for mask in masks) if p is not None])
    hidden_order = torch.randperm(len(people), generator=generator).tolist()
    pairs = []
    for _ in range(12):
        a, b = some(len(people)), some(len(people))
        if hidden_order[a] < hidden_order[b]:
            pairs.append(f"{a + 1}<{b + 1}")
    ranked, _ = with_ranks(people, ",".join(pairs))
    rank = {p.number: p.rank for p in ranked}
    assert sorted(rank.values()) == list(range(len(people)))
    assert all(rank[int(a)] < rank[int(b)] for a, b in (pair.split("<") for pair in pairs))
    shuffled = [people[index] for index in hidden_order]
    assert [p.number for p in back_to_front(shuffled)] == [p.number for p in back_to_front(people)]
