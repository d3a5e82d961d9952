"""The benchmarks of layers measure what they say: who stands where, which pixels changed, how far a seam is off."""

import numpy as np
import pytest
import torch

from mild.benchmarks.cost import layers
from mild.benchmarks.quality import kept_people
from mild.benchmarks.quality import seams as seam_benchmark
from mild.mild_core.image import boxes
from mild.mild_core.layers.decompose import decompose
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.selection import choose
from mild.mild_core.scene import PERSON


@pytest.fixture
def photo():
    """Two people side by side who touch, left to right."""
    masks = np.zeros((2, 60, 80), bool)
    masks[0, 10:50, 10:40] = masks[1, 10:50, 40:70] = True
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    return kept_people.Photo("two", picture, masks)


def test_every_choice_but_nobody_and_all():
    for count in (2, 3, 4):
        found = list(kept_people.choices(count))
        assert len(found) == len(set(found)) == 2**count - 2
        assert all(0 < len(who) < count and set(who) <= set(range(1, count + 1)) for who in found)


@pytest.mark.parametrize("place, field", [((20, 40), "band"), ((20, 41), "kept"), ((20, 60), "kept")])
def test_a_changed_pixel_of_somebody_who_stays_is_counted(photo, place, field):
    saved = photo.picture.copy()
    assert kept_people.count(photo, (1,), saved, (), 1) == (0, 0, 0, 0.0, 0)
    saved[place] ^= 1
    counted = kept_people.count(photo, (1,), saved, (), 1)
    assert (counted.kept, counted.band) == ((0, 1) if field == "band" else (1, 0))
    assert counted.outside == 1  # there is no layer, so no hole


def test_changes_in_holes_are_told_from_changes_outside(photo):
    people = choose(numbered([person_from_mask(torch.from_numpy(mask).float()) for mask in photo.masks]), "1")
    image = torch.from_numpy(photo.picture.astype(np.float32) / 255)[None]
    (scene,) = decompose(image, people)
    saved = photo.picture.copy()
    saved[photo.masks[0]] ^= 1
    assert kept_people.count(photo, (1,), saved, scene.layers, 1)[:4] == (0, 0, 0, 1.0)
    saved[0, 79] ^= 1
    assert kept_people.count(photo, (1,), saved, scene.layers, 1).outside == 1
    assert kept_people.touching(photo.masks, (1,))


@pytest.mark.parametrize("count", layers.CROWDS)
def test_a_crowd_stands_as_it_says(count, monkeypatch):
    monkeypatch.setattr(layers, "HEIGHT", 800)
    monkeypatch.setattr(layers, "WIDTH", 1200)
    monkeypatch.setattr(layers, "STEP", 12)
    people = layers.crowd(count)
    assert len(people) == count and len({person.number for person in people}) == count
    assert 0.4 * count <= sum(person.erased for person in people) <= 0.5 * count
    seen = torch.zeros(800, 1200)
    for person in people:
        boxes.cut(seen, person.box).add_(person.mask)
        assert boxes.tight_box(person.mask) == (0, 0, boxes.width(person.box), boxes.height(person.box))
    assert seen.max() == 1, "two people at one pixel"
    scenes = layers.painted(decompose(torch.full((1, 800, 1200, 3), 0.5), people))
    assert any(layer.domain == PERSON for layer in scenes[0].layers)
    for layer in scenes[0].layers:
        assert layer.sampled and (layer.pixels[layer.hole > 0] != 0.5).any(-1).float().mean() > 0.9


def test_shifts_are_as_large_as_they_say():
    grey = torch.full((20, 30, 3), 0.5)
    moved = {name: (change(grey) - grey) * 255 for name, change in seam_benchmark.SHIFTS.items()}
    assert not moved["no shift"].any() and torch.allclose(moved["contrast"], torch.zeros(3), atol=1e-3)
    assert torch.allclose(moved["offset"], torch.tensor([6.0, -4.0, 3.0]), atol=1e-3)
    assert torch.allclose(moved["tint"].mean((0, 1)), torch.zeros(3), atol=1e-3) and moved["tint"].abs().max() > 19
