"""Depth for each layer: who goes is gone from it, who stays keeps their depth, and so does the hidden part."""

import pytest
import torch

from mild.mild_core.guidance import depth_picture
from mild.mild_core.guidance.depth_picture import FARTHEST, HORIZON, NEAREST, NEAREST_GROUND
from mild.tests.helpers.bodies import morphology
from mild.tests.helpers.layers import background, person

PHOTO = (120, 180)
KEPT, GONE, OTHER = (40, 30, 80, 110), (70, 20, 110, 115), (140, 30, 170, 100)
HOLE = (68, 18, 112, 117)


def people(**changes):
    """The first stays, partly behind the second, who goes; the third stays elsewhere."""
    visible = (KEPT[0], KEPT[1], GONE[0], KEPT[3])
    given = morphology(PHOTO, [visible, GONE, OTHER], erased=(2,), joints=[None] * 3)
    own = given.own.clone()
    own[:, 7] = torch.tensor([1 / 3, 1.0, 2 / 3])
    return given._replace(own=own, bodies=tuple(body._replace(**changes) for body in given.bodies))


def layers():
    photo = torch.rand(*PHOTO, 3)
    behind = background(photo, HOLE)
    hidden = (GONE[0], KEPT[1], KEPT[2], KEPT[3])
    front = person(photo, 1, (KEPT[0], KEPT[1], GONE[0], KEPT[3]), (GONE[0], GONE[1], 100, GONE[3]), (30, 10, 120, 118))
    likely = torch.zeros(PHOTO)
    likely[hidden[1] : hidden[3], hidden[0] : hidden[2]] = 1
    return [behind, front._replace(likely=likely[10:118, 30:120])]


def measured():
    """A sloping ground, and everybody at a depth of their own."""
    depth = torch.linspace(0.1, 0.4, PHOTO[0])[:, None].repeat(1, PHOTO[1])
    for box, value in ((KEPT, 0.6), (OTHER, 0.8), (GONE, 0.95)):
        depth[box[1] : box[3], box[0] : box[2]] = value
    return depth


def depth_pictures(*given):
    return list(depth_picture.depth_pictures(*given))


def under(picture, box):
    return picture[box[1] : box[3], box[0] : box[2]]


@pytest.mark.parametrize("scale", [1, 2])
def test_who_goes_is_gone_and_the_ground_goes_on(scale):
    size = (PHOTO[0] * scale, PHOTO[1] * scale)
    given = torch.nn.functional.interpolate(measured()[None, None], size)[0, 0]
    picture = depth_pictures(layers(), PHOTO, people(), size, given)[0]
    slope = torch.linspace(0.1, 0.4, size[0])[:, None].expand(size)
    hole = [value * scale for value in HOLE]
    assert float((under(picture, hole) - under(slope, hole)).abs().max()) < 0.1  # far from 0.6, 0.8 and 0.95
    for box in ((40, 32, 66, 108), OTHER, (0, 0, 30, 120), (120, 0, 135, 120)):
        box = [value * scale for value in box]
        assert torch.equal(under(picture, box), under(given, box))


def test_a_person_stands_alone_at_the_own_depth_hidden_part_too():
    picture = depth_pictures(layers(), PHOTO, people(), PHOTO, measured())[1]
    assert torch.allclose(under(picture, KEPT), torch.tensor(0.6), atol=1e-3)  # 70..80 is hidden behind who goes
    slope = torch.linspace(0.1, 0.4, PHOTO[0])[:, None].expand(PHOTO)
    for box in ((84, 20, 110, 115), OTHER):
        assert float((under(picture, box) - under(slope, box)).abs().max()) < 0.1


def test_a_skeleton_shows_where_somebody_is_hidden():
    arm = torch.zeros(18, 3)
    arm[2], arm[3] = torch.tensor([60.0, 60.0, 0.9]), torch.tensor([100.0, 60.0, 0.3])
    everyone = people()
    everyone = everyone._replace(bodies=(everyone.bodies[0]._replace(joints=arm), *everyone.bodies[1:]))
    plain = [layers()[0], layers()[1]._replace(likely=None)]
    for depth in (measured(), None):
        with_arm = depth_pictures(plain, PHOTO, everyone, PHOTO, depth)[1]
        without = depth_pictures(plain, PHOTO, people(), PHOTO, depth)[1]
        assert torch.allclose(with_arm[60, 72:95], with_arm[60, 60].expand(23), atol=1e-3)
        assert float(without[60, 85]) < 0.4 and torch.equal(with_arm[:25], without[:25])


def test_shapes_alone_where_no_depth_is_known():
    behind, front = depth_pictures(layers(), PHOTO, people(), PHOTO)
    ground = HORIZON + (NEAREST_GROUND - HORIZON) * (torch.arange(PHOTO[0]) + 0.5) / PHOTO[0]
    ground = ground[:, None].expand(PHOTO)
    assert bool((ground[1:] > ground[:-1]).all()) and NEAREST_GROUND < FARTHEST
    assert torch.allclose(under(behind, HOLE), under(ground, HOLE))  # nobody in the hole
    for box, share in (((40, 30, 66, 110), 1 / 3), (OTHER, 2 / 3)):
        assert torch.allclose(under(behind, box), torch.tensor(FARTHEST + (NEAREST - FARTHEST) * share))
    assert torch.allclose(under(front, KEPT), torch.tensor(FARTHEST + (NEAREST - FARTHEST) / 3))
    assert torch.allclose(under(front, OTHER), under(ground, OTHER))


@pytest.mark.parametrize("size", [(60, 90), (37, 55), (1, 1), (120, 180)])
def test_any_size_and_range(size):
    for depth in (None, measured(), measured()[::3, ::3], measured() * 40 - 3):
        for picture in depth_pictures(layers(), PHOTO, people(), size, depth):
            assert picture.shape == size and 0 <= picture.min() and picture.max() <= 1
            assert torch.isfinite(picture).all()


def test_masks_that_are_empty_or_full():
    nothing = people()
    nothing = nothing._replace(bodies=tuple(one._replace(mask=torch.zeros_like(one.mask)) for one in nothing.bodies))
    everything = people(box=(0, 0, 180, 120), mask=torch.ones(PHOTO))
    whole = [layer._replace(hole=torch.ones_like(layer.hole)) for layer in layers()]
    for everyone in (nothing, everything, people()._replace(bodies=())):
        for depth in (None, measured()):
            for picture in depth_pictures(whole, PHOTO, everyone, (60, 90), depth):
                assert torch.isfinite(picture).all()
    # Where nothing but people is seen there is no ground to go on: the plain one takes its place.
    behind = depth_pictures(whole, PHOTO, everything, PHOTO, measured())[0]
    assert torch.equal(behind, depth_pictures(whole, PHOTO, nothing._replace(bodies=()), PHOTO)[0])
