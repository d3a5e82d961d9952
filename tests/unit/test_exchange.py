"""One layer out and back, and what becomes of painted pixels: plain torch, without any node."""

import pytest
import torch

from mild.mild_core.layers import one_layer as exchange
from mild.mild_core.layers.painted import finished, in_hole, resized
from mild.mild_core.layers.start_picture import start_picture
from mild.mild_core.layers.work_size import size_of
from mild.mild_core.scene import BACKGROUND, PERSON, Layer, Scene


def layer(**changes):
    hole = torch.zeros(40, 50)
    hole[10:20, 12:30] = 1
    hole[20, 12:30] = 0.5
    pixels = torch.rand(40, 50, 3, generator=torch.Generator().manual_seed(0))
    own = Layer("1/background", "Background", 0, BACKGROUND, None, (5, 3, 55, 43), pixels, hole, hole == 0,
                torch.ones(40, 50), -1.0, "balanced")  # fmt: skip
    return own._replace(**changes)


def scene(*layers):
    return Scene(torch.zeros(60, 70, 3), layers)


@pytest.mark.parametrize("size", [(40, 50), (17, 20), (200, 111), (17, 111)])
def test_only_the_hole_takes_the_picture(size):
    own = layer()
    picture = torch.full((*size, 3), 0.25)
    after = in_hole(own, picture)
    assert torch.equal(after[own.hole == 0], own.pixels[own.hole == 0])
    assert torch.allclose(after[own.hole > 0], torch.tensor(0.25), atol=1e-5)
    assert after.dtype == own.pixels.dtype


def test_outside_the_hole_the_picture_may_be_anything():
    own = layer()
    picture = torch.where(own.hole[..., None] > 0, 0.5, float("nan")).expand(-1, -1, 3)
    assert torch.isfinite(in_hole(own, picture)).all()


def test_resizing_keeps_the_range_and_flat_colours():
    sharp = (torch.arange(13 * 9).view(1, 13, 9, 1) % 2).float().expand(-1, -1, -1, 3)
    for size in ((13, 9), (5, 4), (40, 31), (5, 31)):
        result = resized(sharp, size)
        assert result.shape == (1, *size, 3) and 0 <= result.min() and result.max() <= 1
        assert torch.allclose(resized(torch.full_like(sharp, 0.3), size), torch.tensor(0.3), atol=1e-5)
    assert resized(sharp, (13, 9)) is sharp


def test_a_finished_background_stays_opaque_and_a_person_is_what_differs():
    own = layer()
    assert finished(own, own.pixels).alpha is own.alpha
    grey = (0.5, 0.5, 0.5)
    alpha = torch.zeros(40, 50)
    alpha[10:30, 5:12] = 1
    person = layer(domain=PERSON, ground=grey, alpha=alpha, pixels=torch.full((40, 50, 3), 0.5))
    painted = person.pixels.clone()
    painted[10:20, 12:20] = torch.tensor((0.9, 0.1, 0.1))
    new = finished(person, painted)
    assert new.sampled and (new.alpha[11:19, 13:19] == 1).all() and (new.alpha[11:19, 22:30] == 0).all()
    assert torch.equal(new.alpha[person.hole == 0], alpha[person.hole == 0])


def test_given_and_taken_back_is_the_start_picture():
    own, other = layer(name="Background 1"), layer(id="1/background-2", name="Background 2")
    scenes = [scene(own, other)]
    given = exchange.give(scenes, "1/background", None)
    assert torch.equal(given.picture, start_picture(own)) and torch.equal(given.mask, (own.hole > 0).float())
    taken = exchange.take(scenes, "Background 1", given.picture)
    assert taken.scenes[0].layers[0] is taken.layer and taken.scenes[0].layers[1] is other and not taken.notes
    assert torch.equal(taken.layer.pixels, given.picture) and taken.layer.sampled
    assert scenes[0].layers[0] is own and not own.sampled


@pytest.mark.parametrize("multiple", [1, 8, 16])
def test_a_picture_of_the_size_that_was_given_is_not_stretched(multiple):
    scenes = [scene(layer())]
    for native in (None, 64 * 64, 1024 * 1024):
        given = exchange.give(scenes, "background", native, multiple)
        assert given.picture.shape[:2] == size_of(layer(), (60, 70), native, multiple, max(multiple // 2, 8))
        assert exchange.take(scenes, "background", given.picture).notes == []


@pytest.mark.parametrize(
    "size, words",
    [
        ((64, 64), "64 x 64 px, the layer 120 x 80: another shape, so it was stretched by 50%"),
        ((120, 80), "fits when turned by 90 degrees"),
        ((400, 200), "stretched by 200%"),
        ((80, 126), "stretched by 5%"),
        ((80, 122), None),  # 2 %
        ((160, 240), None),
        ((512, 768), None),
        ((512, 704), None),  # rounded to multiples of 64
    ],
)
def test_a_picture_of_another_shape_is_told(size, words):
    hole = torch.zeros(80, 120)
    hole[30:50, 40:70] = 1
    own = layer(box=(0, 0, 120, 80), pixels=torch.rand(80, 120, 3), hole=hole, allowed=hole == 0, alpha=hole + 1 - hole)
    notes = exchange.take([scene(own)], "background", torch.rand(*size, 3)).notes
    assert (notes == []) if words is None else (len(notes) == 1 and words in notes[0])


def broken(size, *places):
    picture = torch.full((*size, 3), 0.25)
    for row, column in places:
        picture[row, column] = torch.tensor((float("nan"), float("inf"), 0.5))
    return picture


@pytest.mark.parametrize("size", [(40, 50), (80, 100), (20, 25), (36, 48)])
def test_only_the_hole_of_a_picture_is_looked_at(size):
    own = layer()
    rows, columns = (own.hole > 0).nonzero().unbind(1)
    inner = tuple(int(c.float().mean() * s / f) for c, s, f in zip((rows, columns), size, (40, 50), strict=True))
    corner = broken(size, (0, 0), (size[0] - 1, 3))
    new = exchange.take([scene(own)], "background", corner).layer
    inside = new.hole > 0
    assert new.sampled and torch.allclose(new.pixels[inside], torch.tensor(0.25), atol=1e-6)
    assert torch.equal(new.pixels[~inside], own.pixels[~inside])
    with pytest.raises(ValueError, match="image: in the layer's hole there are pixels that are not numbers"):
        exchange.take([scene(own)], "background", broken(size, inner))


def test_broken_pixels_beside_the_hole_do_not_get_into_it():
    own = layer()
    around = (torch.nn.functional.max_pool2d((own.hole > 0).float()[None, None], 3, 1, 1)[0, 0] > 0) & (own.hole <= 0)
    for times in (1, 2, 3):
        picture = torch.full((40, 50, 3), 0.25)
        picture[around] = float("nan")
        picture = picture.repeat_interleave(times, 0).repeat_interleave(times, 1)
        new = exchange.take([scene(own)], "background", picture).layer
        assert torch.allclose(new.pixels[own.hole > 0], torch.tensor(0.25), atol=1e-6)


def test_no_hole_nothing_to_do():
    own = layer(hole=torch.zeros(40, 50))
    taken = exchange.take([scene(own)], "background", torch.zeros(9, 9, 1))
    assert taken.layer is own and taken.scenes[0].layers == (own,)
