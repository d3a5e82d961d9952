"""The benchmarks measure what they say: scenes have their truth, figures move the right way."""

import math
import random

import numpy as np
import pytest
import torch
from PIL import Image

from mild.benchmarks.shared import cutouts, metrics, rivals, scenes
from mild.benchmarks.shared.live import LiveBytes


@pytest.fixture
def texture():
    """[90, 120, 3], 0..1, whole grey levels."""
    return (np.random.default_rng(0).integers(40, 215, (90, 120, 3)) / 255).astype(np.float32)


@pytest.fixture
def person():
    alpha = np.zeros((60, 24), np.float32)
    alpha[2:58, 4:20] = 1
    return cutouts.Cutout(np.full((60, 24, 3), 0.9, np.float32), alpha)


def test_composed_scene_equals_its_plate_outside_the_masks(texture, person):
    people = [
        (person, scenes.Placement("a", 0.3, 0.9, 0.5, False)),
        (person, scenes.Placement("b", 0.5, 1.1, 0.6, True)),
    ]
    scene = scenes.compose("scene", texture, people)
    assert len(scene.masks) == 2 and not (scene.masks[0] & scene.masks[1]).any()
    assert (scene.photo[~scene.union] == texture[~scene.union]).all()
    assert (scene.photo[scene.union] != texture[scene.union]).any(-1).mean() > 0.95
    assert (np.round(scene.photo * 255) / 255 == scene.photo).all()


def test_scene_with_a_hidden_person_is_refused(texture, person):
    same = scenes.Placement("a", 0.5, 0.9, 0.6, False)
    assert scenes.compose("scene", texture, [(person, same), (person, same)]) is None


def test_placements_stand_plausibly():
    rng = random.Random(1)
    drawn = [p for _ in range(300) for p in scenes.draw_placements(rng, [str(i) for i in range(9)])]
    assert all(0.35 <= p.height <= 0.85 for p in drawn)
    assert all(p.feet > p.height for p in drawn)  # heads are inside the frame


def test_committed_list_is_long_and_uses_a_plate_once():
    import json

    listed = json.loads(scenes.SCENE_LIST.read_text(encoding="utf-8"))["scenes"]
    assert len(listed) >= 200
    assert len({entry["plate"] for entry in listed}) == len(listed)
    assert all(1 <= len(entry["people"]) <= 3 for entry in listed)


def test_scenes_from_folders_are_the_same_twice(tmp_path, texture, person):
    for folder in ("plates", "cutouts"):
        (tmp_path / folder).mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.uint8(texture * 255)).save(tmp_path / "plates" / name)
    for name in ("1.png", "2.png", "3.png"):
        rgba = np.dstack([person.rgb, person.alpha])
        Image.fromarray(np.uint8(rgba * 255)).save(tmp_path / "cutouts" / name)
    once, twice = (scenes.composed_scenes(tmp_path / "plates", tmp_path / "cutouts") for _ in range(2))
    assert len(once) == 2
    assert all((a.photo == b.photo).all() and a.name == b.name for a, b in zip(once, twice, strict=True))


def test_a_parsing_beside_a_photo_is_no_cutout_itself(tmp_path, texture, person):
    (tmp_path / "plates").mkdir()
    (tmp_path / "people").mkdir()
    for name in ("a.png", "b.png", "c.png", "d.png"):
        Image.fromarray(np.uint8(texture * 255)).save(tmp_path / "plates" / name)
    for name in ("one", "two", "three"):
        Image.fromarray(np.uint8(person.rgb * 255)).save(tmp_path / "people" / f"{name}.jpg")
        Image.fromarray(np.uint8(person.alpha > 0.5)).save(tmp_path / "people" / f"{name}_parsing.png")
    assert scenes.picture_names(tmp_path / "people") == ["one.jpg", "three.jpg", "two.jpg"]
    drawn = scenes.composed_scenes(tmp_path / "plates", tmp_path / "people")
    assert len(drawn) == 4 and all(scene.union.any() for scene in drawn)


def test_exposure_is_fitted_away_from_people(texture):
    people = np.zeros(texture.shape[:2], bool)
    people[40:50, 50:60] = True
    frame = texture * 0.8 + 0.1
    frame[people] = 0
    matched, residual = scenes.match_exposure(texture, frame, people)
    assert residual < 0.1
    assert np.abs(matched - frame)[~people].max() < 1 / 255


def test_effect_is_the_shadow_beside_the_person(texture):
    people = np.zeros(texture.shape[:2], bool)
    people[20:60, 50:60] = True
    photo = texture.copy()
    photo[50:60, 64:90] -= 0.15  # beside the person
    photo[5:15, 5:30] -= 0.15  # far away: no effect of the person
    effect = scenes.effect_area(photo, texture, people)
    assert effect[52:58, 68:86].all() and not effect[:30].any() and not effect[people].any()


def test_eroded_masks_shrink_and_boxes_hold_them(texture):
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 5:25, 5:15] = True
    masks[1, 30, 30] = True  # too small to shrink
    assert scenes.eroded(masks)[0].sum() == 16 * 6 and scenes.eroded(masks)[1].any()
    assert (scenes.boxes(masks) >= masks).all()


def test_blur_costs_sharpness_and_perceptual_distance_but_not_the_other_way(texture):
    import cv2

    pytest.importorskip("stlpips_pytorch")
    hole = np.zeros(texture.shape[:2], bool)
    hole[30:60, 40:80] = True
    blurred = np.where(hole[..., None], cv2.GaussianBlur(texture, (0, 0), 4), texture)
    assert metrics.sharpness(texture, texture, hole) == 1
    assert metrics.sharpness(blurred, texture, hole) < 0.2
    assert metrics.perceptual(texture, texture, hole) < 1e-6 < metrics.perceptual(blurred, texture, hole)


def test_sharpness_of_a_flat_truth_is_no_number():
    flat = np.full((40, 40, 3), 0.5, np.float32)
    assert math.isnan(metrics.sharpness(flat, flat, np.ones((40, 40), bool)))


def test_changed_pixels_are_counted_beyond_reach_only(texture):
    given = np.zeros(texture.shape[:2], bool)
    given[40:50, 60:70] = True
    result = texture.copy()
    result[30:60, 50:80] = 0  # within 16 px
    assert metrics.changed_outside(result, texture, given) == 0
    result[0, 0] += 1 / 255
    assert metrics.changed_outside(result, texture, given) == 1


def test_rivals_leave_everything_outside_the_hole(texture):
    hole = np.zeros(texture.shape[:2], bool)
    hole[30:60, 40:80] = True
    for eraser in (rivals.ring_mean, rivals.telea):
        result = eraser(texture, hole)
        assert (result[~hole] == texture[~hole]).all() and (result[hole] != texture[hole]).any()


def test_interval_is_over_the_known_values():
    mean = metrics.mean_with_interval([1.0, 2.0, 3.0, math.nan])
    assert mean.value == 2 and mean.n == 3 and 0 < mean.half < 2
    assert metrics.mean_with_interval([math.nan]).text(2) == "-"


def test_live_bytes_are_those_of_what_is_still_there():
    before = torch.zeros(1000)
    with LiveBytes() as live:
        first = before + 1
        view = first.view(10, 100)[:5]
        view += 1  # no memory of its own
        second = first * 2
        del first, view
        third = second + 1
    assert live.most == 2 * 4000
    del second, third
