"""The record of what holes look at, and the drawing of it."""

import json
import math

import pytest
import torch

from mild.mild_core import exemplar
from mild.mild_core.attention.gap import sides
from mild.mild_core.attention.layer_regions import OWN_PERSON
from mild.mild_core.attention.record import EARLY, LATE, MIDDLE, NoiseLevel, Pathway, Record, RegionNames, phases
from mild.mild_core.preview import gap_words
from mild.mild_core.preview.gap_plot import HEIGHT, WIDTH, colour_of, gap_plot, looked_over, together

REGIONS = RegionNames(("rest", "hole", "people", "text"), "rest", ("text",))


def recorded(values, blocks=(("output", 3, 0),), levels=4, heads=2, regions=REGIONS):
    """A layer whose hole looks at the regions by these shares, everywhere."""
    layer = Record().of(Pathway("1/background"), "1/background")
    for block in blocks:
        for step in range(levels):
            level = NoiseLevel(step / levels, 10.0 - step)
            layer.add(block, level, regions, torch.tensor(values).expand(heads, -1))
    return layer


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_own_less_foreign():
    layer = recorded([0.5, 0.2, 0.1, 0.2])
    assert layer.gap() == pytest.approx(0.4) and layer.foreign() == ("people",) and layer.own == "rest"
    assert torch.allclose(layer.gaps(), torch.full((1, 4), 0.4))
    assert layer.shares() == pytest.approx({"rest": 0.5, "hole": 0.2, "people": 0.1, "text": 0.2})


@pytest.mark.parametrize(("names", "own", "expected"), [
    (("rest", "hole", "people"), "rest", ([0], [2])),
    (("rest", "hole", OWN_PERSON), OWN_PERSON, ([2], [0])),
    (("rest", "hole", "people", "erased", "text", "padding"), "rest", ([0], [2, 3])),
    (("rest", "hole", "text"), "rest", ([0], [1])),  # nobody else is there
    (("rest",), "rest", ([0], [])),
])  # fmt: skip
def test_sides(names, own, expected):
    assert sides(names, own, ("text", "padding")) == expected


def test_several_of_one_block_are_averaged():
    record = Record()
    layer, level = record.of(Pathway(0), 0), NoiseLevel(0.0, 5.0)
    for share in (0.2, 0.6):
        layer.add(("middle", 0, 0), level, REGIONS, torch.tensor([[share, 0, 1 - share, 0]]))
    assert layer.gap() == pytest.approx(-0.2) and len(layer.seen) == 1


def test_what_was_not_measured():
    """A region that was removed reads nan, in JSON null, and takes nothing of what was measured with it."""
    record = Record()
    layer = record.of(Pathway(0), 0)
    layer.add(("middle", 0, 0), NoiseLevel(0.0, 5.0), REGIONS, torch.tensor([[0.5, math.nan, 0.5, 0.0]]))
    layer.add(("middle", 0, 0), NoiseLevel(0.5, 2.0), REGIONS, torch.tensor([[0.5, 0.1, math.nan, 0.0]]))
    assert layer.gap() == 0 and math.isnan(layer.gaps()[0, 1])
    (shown,) = json.loads(record.as_json({Pathway(0): "Picture 1"}))["layers"]
    assert shown["gap_by_block_and_sigma"] == [[0.0, None]]
    assert shown["cells"][0]["attention_by_head"]["hole"] == [None] and shown["cells"][1]["gap_by_head"] == [None]
    assert gap_plot("Picture 1", layer, None, torch.ones(4, 4)).isfinite().all()


def test_who_begins_again_is_written_anew():
    record = Record()
    for row in ("1/background", "1/person-2", 0, 1):
        record.of(Pathway(row), row).add(("middle", 0, 0), NoiseLevel(0.0, 5.0), REGIONS, torch.ones(1, 4) / 4)
    record.of(Pathway("1/person-2", True), "1/person-2")
    record.begin(["1/person-2"])
    assert set(record.layers) == {Pathway("1/background"), Pathway(0), Pathway(1)}
    record.begin(range(1))
    assert set(record.layers) == {Pathway("1/background")}


@pytest.mark.parametrize(("steps", "expected"), [
    (1, {0: EARLY}), (2, {0: EARLY, 1: LATE}), (3, {0: EARLY, 1: MIDDLE, 2: LATE}),
    (20, {0: EARLY, 10: MIDDLE, 19: LATE}),
])  # fmt: skip
def test_steps_that_are_looked_at_closely(steps, expected):
    assert phases(steps) == expected


def test_every_number_is_in_the_json():
    blocks = (("input", 1, 0), ("input", 1, 1), ("output", 3, 0))
    record = Record()
    layer = record.of(Pathway("1/person-2"), "1/person-2")
    for number, block in enumerate(blocks):
        for step in range(2):
            mass = torch.rand(3, 4, generator=torch.Generator().manual_seed(10 * number + step))
            layer.add(block, NoiseLevel(step / 2, 9.0 - step), REGIONS, mass / mass.sum(1, keepdim=True))
    layer.add_where(EARLY, torch.rand(3, 5))
    (shown,) = json.loads(record.as_json({Pathway("1/person-2"): "Person 2"}))["layers"]
    assert shown["id"] == "1/person-2" and shown["name"] == "Person 2" and len(shown["cells"]) == 6
    for cell, seen in zip(shown["cells"], layer.seen.values(), strict=True):
        assert cell["gap_by_head"] == pytest.approx(seen.gap.tolist(), abs=1e-4)
        assert list(cell["attention_by_head"]) == list(REGIONS.names)
    assert sum(map(sum, shown["where"]["early"])) == pytest.approx(1, abs=1e-2)
    names, gaps = gap_words.rows(layer)
    assert names == ["input 1", "output 3"] and torch.allclose(gaps[0], layer.gaps()[:2].mean(0))


# -- the drawing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("blocks", "levels"), [(1, 1), (16, 20), (57, 4), (1, 1000)])
def test_any_number_of_blocks_and_steps(blocks, levels):
    layer = recorded([0.2, 0.2, 0.6, 0.0], tuple(("single", n) for n in range(blocks)), levels)
    layer.add_where(EARLY, torch.ones(3, 5))
    drawn = gap_plot("Background", layer, torch.rand(30, 20, 3), torch.ones(30, 20))
    assert drawn.shape[1:] == (WIDTH, 3) and 300 < len(drawn) <= HEIGHT and 0 <= drawn.min() and drawn.max() <= 1
    middle = (drawn[155:165, 400:402] * 255).round().flatten(0, 1)
    assert (middle == torch.tensor(colour_of(-0.4))).all(1).any()


def test_plots_of_several_heights_are_one_image():
    low, high = recorded([0.5, 0.2, 0.3, 0]), recorded([0.5, 0.2, 0.3, 0], tuple(("single", n) for n in range(20)))
    plots = [gap_plot("A", layer, None, torch.ones(4, 4)) for layer in (low, high)]
    batch = together(plots)
    assert len(plots[0]) < len(plots[1]) == batch.shape[1] and torch.equal(batch[1], plots[1])
    assert torch.equal(batch[0, : len(plots[0])], plots[0]) and (batch[0, len(plots[0]) :] == batch[0, 0, 0]).all()


def test_colours_tell_more_from_less():
    values = [n / 10 for n in range(-10, 11)]
    blue_less_red = [colour_of(value)[2] - colour_of(value)[0] for value in values]
    assert blue_less_red == sorted(blue_less_red) and len(set(blue_less_red)) == len(values)
    assert len({colour_of(math.nan), colour_of(0.0), colour_of(1.0), colour_of(-1.0)}) == 4
    assert colour_of(-3.0) == colour_of(-1.0)


@pytest.mark.parametrize("size", [(40, 60), (1, 1), (300, 7), (2000, 3000)])
def test_bright_where_the_hole_looks(size):
    hole = torch.zeros(size)
    looked = torch.zeros(2, 2)
    looked[0, 1] = 1
    drawn = torch.tensor(list(looked_over(torch.full((*size, 3), 0.5), hole, looked, (396, 270)).tobytes()))
    width = looked_over(None, hole, looked, (396, 270)).size[0]
    picture = drawn.view(-1, width, 3).float()
    height = picture.shape[0]
    assert height <= 270 and width <= 396
    if min(height, width) > 3:
        light = picture.mean(2)
        assert light[: height // 2, -(width // 2) :].mean() > 1.5 * light[height // 2 :].mean()
        assert (light[: height // 4, : width // 4] < light[: height // 4, -(width // 4) :].mean()).all()


def test_the_hole_is_outlined():
    hole = torch.zeros(64, 64)
    hole[16:48, 16:48] = 1
    with_hole, without = (looked_over(None, one, torch.zeros(2, 2), (64, 64)) for one in (hole, hole * 0))
    assert (255, 255, 255) in set(zip(*[iter(with_hole.tobytes())] * 3, strict=True)) and 255 not in without.tobytes()


# -- the exemplar prior's votes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [4.0, 0.5, 0.03])
def test_votes_are_attention_over_patches(sigma):
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(2, 3, 40, 56, generator=generator) * 2 - 1
    hole = torch.zeros(2, 1, 40, 56)
    hole[0, :, 10:24, 20:34] = 1
    hole[1, :, 4:30, 6:20] = 1
    allowed = 1 - hole
    allowed[:, :, :, 40:] = 0
    noisy = photo + sigma * torch.randn(photo.shape, generator=generator)
    arguments = noisy, torch.full((2,), sigma), photo, hole, allowed
    shown = {}
    plain = exemplar.denoise(*arguments)
    watched = exemplar.denoise(*arguments, watch=lambda row, looked: shown.setdefault(row, looked))
    assert torch.equal(plain, watched) and set(shown) == {0, 1}
    for row, looked in shown.items():
        assert looked.min() >= 0 and looked.sum() == pytest.approx(1, abs=1e-4)
        share = torch.nn.functional.interpolate(allowed[row : row + 1], size=looked.shape[1:], mode="area")[0]
        assert looked[share < 0.99].sum() == 0  # neither the hole nor what is forbidden


def test_a_pixel_is_what_it_looks_at():
    """Of a photo in two halves of plain colours: the hole's colour is the mean of what was looked at."""
    photo = torch.full((1, 3, 32, 48), -0.6)
    photo[..., 24:] = 0.6
    hole = torch.zeros(1, 1, 32, 48)
    hole[..., 12:20, 18:30] = 1
    shown = []
    painted = exemplar.denoise(photo, torch.tensor([0.03]), photo, hole, watch=lambda row, looked: shown.append(looked))
    colour = (shown[0][0] * photo[0, 0]).sum() if shown[0].shape[1:] == photo.shape[2:] else None
    assert colour is not None and painted[0, 0][hole[0, 0] > 0].mean() == pytest.approx(float(colour), abs=0.1)
