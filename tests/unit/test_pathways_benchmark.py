"""The benchmark of the layers' samplers measures what it says: the geometry, who takes turns, the ratios."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from mild.benchmarks.cost import pathways
from mild.benchmarks.shared import random_models
from mild.mild_core.image import boxes
from mild.mild_core.layers.work_size import size_of
from mild.mild_core.scene import BACKGROUND, PERSON

MEGAPIXEL = 1024 * 1024


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_crops_are_sampled_at_the_sizes_that_the_figures_are_about(scale):
    scene = pathways.make_scene(scale)
    sizes = [size_of(layer, tuple(scene.photo.shape[:2]), MEGAPIXEL, multiple=16) for layer in scene.layers]
    assert sizes == [(640 * scale, 768 * scale)] + 3 * [(512 * scale, 384 * scale)]
    assert [layer.domain for layer in scene.layers] == [BACKGROUND] + 3 * [PERSON]
    for layer in scene.layers:
        assert boxes.area(layer.box) == layer.hole.numel()
        assert boxes.intersection(layer.box, (0, 0, round(1024 * scale), round(768 * scale))) == layer.box


def test_people_are_hidden_as_split_into_layers_has_it():
    for layer in pathways.make_scene(0.25).layers[1:]:
        assert layer.hole.any() and layer.alpha.any() and not (layer.hole * layer.alpha).any()
        assert (layer.likely[layer.hole > 0] > 0.5).all() and (layer.likely[layer.alpha > 0] == 1).all()


def test_rows_take_turns_and_full_frames_count_for_every_layer(monkeypatch):
    ran = []
    monkeypatch.setattr(pathways, "measured", lambda job, row: ran.append(row.__name__) or pathways.Cost(2, 1, 0.5, 3))
    job = pathways.Job(None, pathways.make_scene(0.25), 0.25, 1)
    for frames in (1, 4):
        ran.clear()
        found = pathways.in_turns(job, 3, frames)
        assert {name: len(costs) for name, costs in found.items()} == {
            "ours": 3,
            "full frame": 3 * frames,
            "per layer": 3,
            "same crops": 3,
        }
        assert found["per layer"][0] == pathways.Cost(8, 4, 2, 12)
        each = len(ran) // 3
        rounds = [ran[start : start + each] for start in range(0, len(ran), each)]
        assert all(sorted(order) == sorted(rounds[0]) for order in rounds)
        assert len({order[0] for order in rounds}) > 1, "whoever comes first would always find the machine the same"


def test_ratios_are_those_of_the_medians():
    def costs(*totals):
        return [pathways.Cost(total, 0.5 * total, 0.25 * total, 2 * total) for total in totals]

    found = {
        "ours": costs(1, 2, 90),
        "full frame": costs(4, 4, 1),
        "per layer": costs(16, 16, 4),
        "same crops": costs(3, 3, 3),
    }
    line = "layers_over_single=0.50 stock_over_ours=8.00 samecrops_over_ours=1.50"
    assert pathways.ratios(found, lambda cost: cost.total) == line
    assert pathways.ratios(found, lambda cost: cost.cpu) == line
    assert all(cost.outside == 0.25 for cost in found["ours"])


def test_a_clock_adds_up_calls_until_it_is_reset(monkeypatch):
    readings = iter([1.0, 1.5, 4.0, 6.0])  # of the machine's clock, at both ends of each call
    monkeypatch.setattr(random_models, "time", SimpleNamespace(perf_counter=lambda: next(readings)))
    clock = random_models.Clock(torch.device("cpu"))
    for size in (2, 3):
        assert clock(torch.sum, torch.ones(size)) == size
    assert clock.seconds() == 2.5 and clock.count == 2 and clock.shapes == {(2,), (3,)}
    clock.reset()
    assert clock.seconds() == 0 and clock.count == 0 and not clock.shapes


def test_previews_become_pictures_as_a_server_makes_them():
    browser = pathways.Browser()
    browser.hook(1, 2, None)
    browser.hook(2, 2, ("JPEG", Image.new("RGB", (8, 8)), 512))
    browser.thread.shutdown(wait=True)
    assert browser.previews == 1
