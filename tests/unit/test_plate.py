"""The plate as far as it is painted: what people who are completed are put on."""

import torch

from mild.mild_core.layers.painted import plate_under
from mild.mild_core.scene import BACKGROUND, PERSON, Layer, Scene


def layer(box, hole_box, colour, domain=BACKGROUND, sampled=True):
    """A layer whose hole (in the photo's frame) is painted in one colour."""
    hole = torch.zeros(30, 40)
    hole[hole_box[1] : hole_box[3], hole_box[0] : hole_box[2]] = 1
    hole = hole[box[1] : box[3], box[0] : box[2]]
    pixels = torch.full((*hole.shape, 3), float(colour))
    return Layer("1/x", "X", 0, domain, None, box, pixels, hole, hole <= 0, hole, -1.0, "balanced", sampled)


def test_painted_holes_show_and_nothing_else():
    photo = torch.rand(30, 40, 3)
    scene = Scene(
        photo,
        (
            layer((0, 0, 20, 30), (5, 5, 15, 25), 0.25),
            layer((20, 0, 40, 30), (25, 5, 30, 9), 0.75),
            layer((0, 0, 40, 30), (0, 0, 40, 30), 0.0, PERSON),
        ),
    )
    expected = photo.clone()
    expected[5:25, 5:15] = 0.25
    expected[5:9, 25:30] = 0.75
    assert torch.equal(plate_under(scene, (0, 0, 40, 30)), expected)
    assert torch.equal(plate_under(scene, (10, 3, 33, 29)), expected[3:29, 10:33])
    assert torch.equal(photo[5:25, 5:15], scene.photo[5:25, 5:15]) and not torch.equal(photo, expected)


def test_one_channel_and_soft_holes():
    soft = layer((0, 0, 40, 30), (5, 5, 15, 25), 1.0)
    soft = soft._replace(hole=soft.hole * 0.5)
    plate = plate_under(Scene(torch.zeros(30, 40, 1), (soft,)), (0, 0, 40, 30))
    assert plate.shape == (30, 40, 3) and (plate[5:25, 5:15] == 0.5).all() and (plate[:5] == 0).all()


def test_unpainted_holes_are_no_plate():
    """But those that lie elsewhere do not matter."""
    scene = Scene(torch.rand(30, 40, 3), (layer((0, 0, 20, 30), (5, 5, 15, 25), 0.25, sampled=False),))
    assert plate_under(scene, (2, 2, 38, 28)) is None
    assert torch.equal(plate_under(scene, (22, 2, 38, 28)), scene.photo[2:28, 22:38])
