"""Outlines lie where the masks' edges are, whatever the masks look like."""

import json

import numpy as np
import pytest
import torch

from mild.mild_core.example_photo import load_example
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.outlines import ALL_POINTS, MOST_POINTS, inner_point, outlines, simplified, traced
from mild.mild_core.scene import Person


def filled(rings, height, width):
    """Which pixels' middles lie inside the rings, by the even-odd rule."""
    y, x = np.mgrid[:height, :width] + 0.5
    odd = np.zeros((height, width), dtype=bool)
    for ring in rings:
        for (ax, ay), (bx, by) in zip(np.roll(ring, 1, 0), ring, strict=True):
            if ay == by:
                continue
            crossed = (ay > y) != (by > y)
            odd ^= crossed & (x < ax + (bx - ax) * (y - ay) / (by - ay))
    return odd


def blob(seed, height=37, width=29, share=0.5):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 1, height, width, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)[0, 0]
    return (smooth > smooth.quantile(1 - share)).numpy()


@pytest.mark.parametrize("seed", range(6))
def test_rings_hold_exactly_the_mask(seed):
    mask = blob(seed)
    assert (filled(traced(mask), *mask.shape) == mask).all()


def test_noise_and_pixels_that_touch_at_corners():
    mask = np.random.default_rng(1).random((21, 24)) < 0.5
    assert (filled(traced(mask), *mask.shape) == mask).all()
    assert len(traced(np.eye(5, dtype=bool))) == 1


def test_a_hole_is_a_ring_of_its_own_the_other_way_round():
    mask = np.ones((9, 9), dtype=bool)
    mask[3:6, 3:6] = False
    areas = [(r[:, 0] * np.roll(r[:, 1], -1) - r[:, 1] * np.roll(r[:, 0], -1)).sum() for r in traced(mask)]
    assert len(areas) == 2 and areas[0] * areas[1] < 0


def test_nothing_and_everything():
    assert traced(np.zeros((4, 5), dtype=bool)) == []
    (ring,) = traced(np.ones((4, 5), dtype=bool))
    assert (filled([ring], 4, 5)).all()


@pytest.mark.parametrize("exact", [0.5, 2.0, 5.0])
def test_simplified_rings_stay_near(exact):
    for ring in traced(blob(3, 90, 70)):
        simple = simplified(ring, exact)
        assert len(simple) <= len(ring)
        ends = np.roll(simple, -1, 0)
        way = ends - simple
        to = ring[:, None] - simple[None]
        share = np.clip((to * way).sum(-1) / np.maximum((way**2).sum(-1), 1e-9), 0, 1)
        away = np.linalg.norm(to - share[..., None] * way, axis=-1).min(1)
        assert away.max() <= exact + 1e-4


def test_the_inner_point_is_deep_inside():
    mask = np.zeros((60, 80), dtype=bool)
    mask[5:55, 10:16] = True  # thin
    mask[20:40, 50:75] = True  # thick
    x, y = inner_point(mask)
    assert mask[int(y), int(x)] and 55 < x < 70 and 25 < y < 35
    for seed in range(4):
        mask = blob(seed, 300, 200)
        x, y = inner_point(mask)
        assert mask[int(y), int(x)]


def test_example_people_are_drawn_where_they_are():
    example = load_example()
    people = numbered([person_from_mask(mask) for mask in example.masks])
    height, width = example.masks.shape[1:]
    for person, line in zip(people, outlines(people, (height, width)), strict=True):
        x0, y0, x1, y1 = person.box
        assert np.allclose(line.box, (x0 / width, y0 / height, x1 / width, y1 / height))
        rings = [ring * (width, height) - (x0, y0) for ring in line.rings]
        mask = person.mask.numpy() > 0.1
        drawn = filled(rings, *mask.shape)
        assert (drawn & mask).sum() / (drawn | mask).sum() > 0.93
        x, y = int(line.point[0] * width), int(line.point[1] * height)
        others = [one for one in people if one.number != person.number]
        inside = [
            one
            for one in [person, *others]
            if one.box[0] <= x < one.box[2]
            and one.box[1] <= y < one.box[3]
            and one.mask[y - one.box[1], x - one.box[0]] > 0.1
        ]
        assert inside == [person]


def test_a_hundred_people_stay_small():
    mask = torch.from_numpy(blob(2, 300, 200, 0.6)).float()
    corners = [(number * 30, number * 20) for number in range(1, 101)]
    people = [
        Person("", number, 0, (3000, 4000), (x, y, x + 200, y + 300), mask) for number, (x, y) in enumerate(corners, 1)
    ]
    lines = outlines(people, (3000, 4000))
    points = [sum(map(len, line.rings)) for line in lines]
    assert len(lines) == 100 and max(points) <= MOST_POINTS and sum(points) <= ALL_POINTS
    sent = [[round(value, 4) for value in ring.ravel().tolist()] for line in lines for ring in line.rings]
    assert len(json.dumps(sent)) < 150_000


def test_one_pixel_and_people_who_cover_each_other():
    speck = person_from_mask(torch.nn.functional.pad(torch.ones(1, 1), (9, 5, 3, 8)))
    twin = person_from_mask(torch.ones(12, 15))
    for size in ((12, 15), (1200, 1500), (3, 4)):
        for line in outlines([speck, twin, twin], size):
            assert line.rings and all(0 <= value <= 1 for value in (*line.box, *line.point))
    assert outlines([], (5, 5)) == []
