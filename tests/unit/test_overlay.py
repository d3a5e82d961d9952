"""Previews are drawings: they have the right size, mark the right places, and leave the inputs alone."""

import pytest
import torch
from PIL import Image, ImageDraw

from mild.mild_core.image import boxes
from mild.mild_core.layers.decompose import decompose
from mild.mild_core.people.depth_order import with_ranks
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.selection import choose
from mild.mild_core.preview.marks import Plates
from mild.mild_core.preview.overlay import LONGEST, preview_layers, preview_order, preview_people


def people_in(size, count=2, who="1"):
    masks = torch.zeros(count, *size)
    for index in range(count):
        left = size[1] * (2 * index + 1) // (2 * count + 1)
        masks[index, size[0] // 5 : size[0] * 4 // 5 + 1, left : left + max(size[1] // (3 * count), 1)] = 1
    return choose(numbered([person_from_mask(mask) for mask in masks]), who)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 200), (301, 407), (2600, 1700)])
def test_sizes_and_channels(size, channels):
    people = people_in(size, count=2 if size[1] > 10 else 1)
    photo = torch.full((*size, channels), 0.5)
    preview = preview_people(people, [photo], 1)
    assert preview.shape[0] == 1 and preview.shape[-1] == 3
    assert max(preview.shape[1:3]) <= LONGEST
    assert preview.shape[1] / preview.shape[2] == pytest.approx(size[0] / size[1], rel=0.02)
    assert 0 <= float(preview.min()) and float(preview.max()) <= 1
    assert (photo == 0.5).all()


def test_marks_lie_on_people_and_nowhere_else():
    size = (300, 400)
    people = people_in(size)
    photo = torch.full((*size, 3), 0.5)
    marked = (preview_people(people, [photo], 1)[0] - 0.5).abs().amax(-1) > 0.01
    everywhere = torch.zeros(size, dtype=torch.bool)
    for person in people:
        x0, y0, x1, y1 = person.box
        everywhere[y0:y1, x0:x1] = True
        assert marked[y0:y1, x0:x1].any()
    assert not (marked & ~everywhere).any()


def test_erased_and_kept_differ_by_more_than_colour():
    size = (300, 400)
    photo = torch.full((*size, 3), 0.5)
    first, second = people_in(size)
    marks = (preview_people([first, second], [photo], 1)[0] - 0.5).abs().amax(-1) > 0.01

    def inner(person):
        x0, y0, x1, y1 = person.box
        return marks[y0 + 3 : y0 + 60, x0 + 3 : x1 - 3].float().mean()

    assert inner(first) > 0.1 and inner(second) == 0


def test_without_a_photo_people_stand_on_grey():
    preview = preview_people(people_in((50, 80)), [], 1)
    assert preview.shape == (1, 50, 80, 3)
    assert preview_people([], [], 2).shape[0] == 2


def test_layers_are_drawn_photo_by_photo():
    size = (200, 300)
    people = people_in(size)
    photos = torch.full((2, *size, 3), 0.5)
    protect = torch.zeros(1, *size)
    protect[:, 10:30, 10:30] = 1
    scenes = decompose(photos, people, protect=protect)
    preview = preview_layers(scenes, people, protect)
    assert preview.shape == (2, *size, 3)
    hole = scenes[0].layers[0]
    assert (preview[0] != preview[1]).any()
    x0, y0, x1, y1 = hole.box
    changed = (preview[0] - 0.5).abs().amax(-1)[y0:y1, x0:x1] > 0.01
    assert changed[hole.hole > 0].float().mean() > 0.2
    assert ((preview[1] - 0.5).abs().amax(-1)[10:30, 10:30] > 0.01).any()


def red(picture):
    """Where a picture is reddish: erased people and the holes of the wall."""
    return (picture[..., 0] > 0.6) & (picture[..., 1] < 0.45) & (picture[..., 2] < 0.45)


def yellow(picture):
    return (picture[..., 0] > 0.7) & (picture[..., 1] > 0.55) & (picture[..., 2] < 0.45)


def green(picture):
    return (picture[..., 1] > 0.65) & (picture[..., 0] < 0.5) & (picture[..., 2] < 0.7)


def two_who_touch():
    size = (200, 300)
    hidden, front = torch.zeros(size), torch.zeros(size)
    front[30:190, 120:180] = 1
    hidden[40:170, 60:120] = 1
    return numbered([person_from_mask(hidden), person_from_mask(front)])


def test_wall_guess_and_what_the_artist_told_look_different():
    first, second = two_who_touch()
    people = [first, second._replace(erased=True)]
    photo = torch.full((1, 200, 300, 3), 0.5)
    guessed = preview_layers(decompose(photo, people), people)[0]
    assert red(guessed)[:, 150:].any()
    told = [first._replace(hidden=torch.ones(60, 30), hidden_box=(120, 60, 150, 120)), people[1]]
    shown = preview_layers(decompose(photo, told), told)[0]
    inside = shown[61:72, 125:145]
    assert green(inside).any() and not red(inside).any() and not yellow(shown).any()
    assert not green(guessed).any()
    rows = green(inside).float().mean(1)
    assert ((rows < 0.01) | (rows > 0.6)).float().mean() > 0.9, "level stripes, whatever the colours"
    nothing = [first._replace(hidden=torch.zeros(1, 1), hidden_box=(0, 0, 1, 1)), people[1]]
    shown = preview_layers(decompose(photo, nothing), nothing)[0]
    assert red(shown)[61:72, 122:145].any() and not yellow(shown).any() and not green(shown).any()


def test_arrows_lead_from_the_front_and_told_ones_are_solid():
    people = two_who_touch()
    photo = torch.full((200, 300, 3), 0.5)

    def white(text):
        ranked, orders = with_ranks(people, text)
        picture = preview_order(ranked, [photo], 1, orders)[0]
        marks = (picture > 0.9).all(-1)
        (pair,) = orders[0].pairs
        x, y = (int(value) for value in pair.place)
        area = marks[y - 25 : y + 26, x - 25 : x + 26]
        columns = area.nonzero()[:, 1].float()
        return int(area.sum()), float((columns - 25).pow(3).mean())

    to_left, to_right = white("1<2"), white("2<1")
    assert to_left[1] < 0 < to_right[1], "the head, which holds more than the tail, lies on who is hidden"
    assert to_left[0] > 1.2 * min(white("")[0], 10_000)


def test_no_arrow_between_people_apart():
    people = people_in((200, 300))
    ranked, orders = with_ranks(people, "1<2")
    photo = torch.full((200, 300, 3), 0.5)
    between = preview_order(ranked, [photo], 1, orders)[0][:, people[0].box[2] + 3 : people[1].box[0] - 3]
    assert (between - 0.5).abs().max() < 0.01


def test_the_hidden_part_shows_on_the_people():
    first, second = two_who_touch()
    first = first._replace(hidden=torch.ones(60, 30), hidden_box=(150, 60, 180, 120))
    shown = preview_people([first, second], [torch.full((200, 300, 3), 0.5)], 1)[0]
    assert green(shown[60:120, 150:180]).float().mean() > 0.1
    assert not green(shown[:, :110]).any()


def test_crowded_numbers_keep_out_of_one_anothers_way():
    size = (400, 600)
    masks = []
    for index in range(12):
        mask = torch.zeros(size)
        mask[60:360, 40 + 40 * index : 90 + 40 * index] = 1
        masks.append(mask)
    people = numbered([person_from_mask(mask) for mask in masks])
    plates = Plates(ImageDraw.Draw(Image.new("RGB", (600, 400))), size)
    for person in people:
        plates.add(person, person.box, "depth 3")
    for index, first in enumerate(plates.taken):
        assert boxes.intersection(first, (0, 0, 600, 400)) == first
        assert not any(boxes.overlap(first, other) for other in plates.taken[:index])


def test_a_hundred_people_are_drawn():
    size = (400, 600)
    masks = []
    for index in range(100):
        mask = torch.zeros(size)
        y, x = (index // 20) * 75 + 5, (index % 20) * 29 + 2
        mask[y : y + 2 + index % 60, x : x + 2 + index % 20] = 1
        masks.append(mask)
    people = choose(numbered([person_from_mask(mask) for mask in masks]), "all but 7")
    photo = torch.rand(*size, 3)
    assert preview_people(people, [photo], 1).shape == (1, *size, 3)
    ranked, orders = with_ranks(people)
    assert preview_order(ranked, [photo], 1, orders).shape == (1, *size, 3)
