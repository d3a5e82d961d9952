"""Previews are drawings: they have the right size, mark the right places, and leave the inputs alone."""

import pytest
import torch

from mild.mild_core.decompose import decompose
from mild.mild_core.overlay import LONGEST, preview_layers, preview_people
from mild.mild_core.people import numbered, person_from_mask
from mild.mild_core.selection import choose


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


def test_a_hundred_people_are_drawn():
    size = (400, 600)
    masks = []
    for index in range(100):
        mask = torch.zeros(size)
        y, x = (index // 20) * 75 + 5, (index % 20) * 29 + 2
        mask[y : y + 2 + index % 60, x : x + 2 + index % 20] = 1
        masks.append(mask)
    people = choose(numbered([person_from_mask(mask) for mask in masks]), "all but 7")
    assert preview_people(people, [torch.rand(*size, 3)], 1).shape == (1, *size, 3)
