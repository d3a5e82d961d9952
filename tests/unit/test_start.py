"""What a layer starts from: nothing of whoever is erased, at any size."""

import pytest
import torch

from mild.mild_core.layers.painted import resized
from mild.mild_core.layers.start_picture import start_picture
from mild.mild_core.scene import Layer
from mild.tests.helpers.layers import background, picture

HOLE = (20, 10, 45, 50)
SIZES = [None, (61, 83), (32, 48), (61, 40), (96, 128), (96, 40), (1, 1)]


@pytest.fixture(scope="module")
def layer():
    return background(picture(), HOLE)


def erased(layer: Layer, colour: float) -> Layer:
    return layer._replace(pixels=torch.where(layer.hole[..., None] > 0, colour, layer.pixels))


@pytest.mark.parametrize("size", SIZES)
def test_the_hole_never_matters(layer, size):
    results = [start_picture(erased(layer, colour), size=size) for colour in (0.0, 1.0)]
    assert torch.equal(*results)
    assert results[0].shape == (*(size or (61, 83)), 3) and results[0].dtype == torch.float32
    assert 0 <= results[0].min() and results[0].max() <= 1


def test_outside_the_hole_it_is_the_layer(layer):
    result = start_picture(layer)
    outside = layer.hole == 0
    assert torch.equal(result[outside], layer.pixels[outside])
    # The fill goes over into what is beside it without a step.
    above, inside = result[HOLE[1] - 1, HOLE[0] : HOLE[2]], result[HOLE[1], HOLE[0] : HOLE[2]]
    assert (above - inside).abs().mean() < 0.06


def test_made_smaller_first_it_looks_the_same(layer):
    whole = start_picture(layer)
    small = start_picture(layer, size=(30, 40))
    assert (small - resized(whole[None], (30, 40))[0]).abs().max() < 0.06
    no_hole = layer._replace(hole=torch.zeros_like(layer.hole), allowed=torch.ones_like(layer.allowed))
    assert torch.allclose(start_picture(no_hole, size=(30, 40)), resized(no_hole.pixels[None], (30, 40))[0], atol=1e-6)


@pytest.mark.parametrize("size", [None, (30, 40)])
def test_only_allowed_pixels_are_spread(layer, size):
    """Whoever stays beside the hole is seen in place, and not smeared into it."""
    kept = torch.zeros(61, 83, dtype=torch.bool)
    kept[10:50, 45:60] = True
    red = layer._replace(
        pixels=torch.where(kept[..., None], torch.tensor([1.0, 0.0, 0.0]), 0.5),
        allowed=(layer.hole == 0) & ~kept,
    )
    result = start_picture(red, size=size)
    rows, columns = result.shape[0] / 61, result.shape[1] / 83
    inside = result[round(15 * rows) : round(45 * rows), round(23 * columns) : round(42 * columns)]
    beside = result[round(15 * rows) : round(45 * rows), round(47 * columns) : round(57 * columns)]
    assert torch.allclose(inside, torch.full_like(inside, 0.5), atol=1e-3)
    assert torch.allclose(beside, torch.tensor([1.0, 0.0, 0.0]).expand_as(beside), atol=1e-3)


@pytest.mark.parametrize("size", [None, (30, 40)])
def test_all_hole_is_grey(layer, size):
    nothing = layer._replace(hole=torch.ones_like(layer.hole), allowed=torch.zeros_like(layer.allowed))
    assert (start_picture(nothing, size=size) == 0.5).all()


@pytest.mark.parametrize("size", [None, (30, 40), (96, 128)])
def test_a_painted_layer_is_its_own_picture(layer, size):
    painted = layer._replace(sampled=True)
    assert torch.equal(start_picture(painted, size=size), resized(layer.pixels[None], size or (61, 83))[0])
