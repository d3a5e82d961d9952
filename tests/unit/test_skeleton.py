"""Skeletons look as pose ControlNets know them, and lie to a fraction of a pixel where the joints are."""

import colorsys
import math

import pytest
import torch

from mild.mild_core.guidance.skeleton import (
    BONES,
    COLOURS,
    DARKENED,
    LIMBS,
    REACH,
    STICK,
    draw_face,
    draw_hands,
    placed_joints,
    skeletons,
    stick_of,
)

SIZE = (512, 512)
FRAME = (0, 0, 512, 512)


def spread(confidence=0.9):
    """Joints on a circle, so that none lies on another."""
    turn = torch.arange(18) * (2 * math.pi / 18)
    places = torch.stack([256 + 200 * turn.cos(), 256 + 200 * turn.sin()], 1)
    return torch.cat([places, torch.full((18, 1), confidence)], 1)


def only(joints, *kept):
    kept = torch.tensor([joint in kept for joint in range(len(joints))])
    return torch.cat([joints[:, :2], (joints[:, 2] * kept)[:, None]], 1)


def colour_at(picture, point):
    return picture[:, int(point[1]), int(point[0])]


def centre_of_mass(picture):
    """x, y in pixels of picture [h, w]."""
    total = picture.sum()
    x = (picture.sum(0) * (torch.arange(picture.shape[1]) + 0.5)).sum() / total
    y = (picture.sum(1) * (torch.arange(picture.shape[0]) + 0.5)).sum() / total
    return torch.stack([x, y])


def test_the_public_layout():
    """OpenPose's 17 limbs, counted from 1 as it is published, and a wheel of colours in steps of 20 degrees."""
    neck_out = [(2, 3), (2, 6), (3, 4), (4, 5), (6, 7), (7, 8), (2, 9), (9, 10), (10, 11), (2, 12), (12, 13), (13, 14)]
    assert [(a + 1, b + 1) for a, b in LIMBS] == [*neck_out, (2, 1), (1, 15), (15, 17), (1, 16), (16, 18)]
    for place, colour in enumerate(COLOURS):
        assert colour == pytest.approx(colorsys.hsv_to_rgb(place / 18, 1, 1), abs=1 / 255)
    assert stick_of(SIZE) == 512 * STICK == 4.5
    assert len(BONES) == 20 and {end for bone in BONES for end in bone} == set(range(21))


@pytest.mark.parametrize("limb", range(len(LIMBS)))
def test_each_limb_is_dark_and_its_joints_are_bright(limb):
    start, end = LIMBS[limb]
    joints = only(spread(), start, end)
    picture = skeletons([joints], FRAME, SIZE)
    middle = (joints[start, :2] + joints[end, :2]) / 2
    assert torch.allclose(colour_at(picture, middle), torch.tensor(COLOURS[limb]) * DARKENED)
    for joint in (start, end):
        assert torch.allclose(colour_at(picture, joints[joint]), torch.tensor(COLOURS[joint]))


def test_a_limb_is_an_ellipse():
    """Its area is pi times both half axes, and its ends are pointed."""
    joints = torch.zeros(18, 3)
    joints[2], joints[3] = torch.tensor([100.3, 200.7, 1.0]), torch.tensor([300.3, 250.7, 1.0])
    picture = skeletons([joints], FRAME, SIZE)
    discs = skeletons([only(joints, 2)], FRAME, SIZE) + skeletons([only(joints, 3)], FRAME, SIZE)
    limb = (picture * (discs.sum(0) == 0)).sum(0) / (sum(COLOURS[2]) * DARKENED)
    length = math.hypot(200, 50)
    assert float(limb.sum()) == pytest.approx(math.pi * 4.5 * length / 2, rel=0.03)
    assert torch.allclose(centre_of_mass(limb), torch.tensor([200.3, 225.7]), atol=0.1)


def test_what_was_not_seen_is_not_drawn():
    unseen = 0.05
    assert not skeletons([spread(unseen)], FRAME, SIZE).any()
    assert not skeletons([], FRAME, SIZE).any()
    joints = spread()
    joints[3, 2] = unseen  # the right elbow, and with it two limbs
    without = skeletons([joints], FRAME, SIZE)
    assert not colour_at(without, joints[3]).any()
    for other in (2, 4):
        assert not colour_at(without, (joints[3, :2] * 0.4 + joints[other, :2] * 0.6)).equal(
            torch.tensor(COLOURS[other]) * DARKENED
        )
        assert colour_at(without, joints[other]).any()


def test_inferred_joints_are_drawn_as_seen_ones_or_as_bright_as_they_are_sure():
    full = skeletons([spread(1.0)], FRAME, SIZE)
    assert torch.equal(skeletons([spread(0.2)], FRAME, SIZE), full)
    assert torch.equal(skeletons([spread(1.0)], FRAME, SIZE, dimmed=True), full)
    alone = only(spread(0.2), 2)
    assert torch.allclose(
        skeletons([alone], FRAME, SIZE, dimmed=True).amax(), 0.2 * skeletons([alone], FRAME, SIZE).amax()
    )
    unsure = spread(1.0)
    unsure[3, 2] = 0.25
    middle = (unsure[2, :2] + unsure[3, :2]) / 2
    dimmed = colour_at(skeletons([only(unsure, 2, 3)], FRAME, SIZE, dimmed=True), middle)
    assert torch.allclose(dimmed, 0.25 * DARKENED * torch.tensor(COLOURS[2]))


@pytest.mark.parametrize("size", [(97, 131), (333, 250), (64, 63), (1001, 77)])
@pytest.mark.parametrize("crop", [(0, 0, 601, 433), (37, 51, 402, 377), (-80, 20, 500, 700)])
def test_a_disc_lies_on_its_joint_at_any_scale(crop, size):
    joints = torch.zeros(18, 3)
    joints[7] = torch.tensor([211.37, 150.81, 0.9])
    picture = skeletons([joints], crop, size, stick=5.0).sum(0)
    scale = torch.tensor([size[1] / (crop[2] - crop[0]), size[0] / (crop[3] - crop[1])])
    expected = (joints[7, :2] - torch.tensor(crop[:2])) * scale
    assert torch.allclose(centre_of_mass(picture), expected, atol=0.03)


@pytest.mark.parametrize("radius", [0.2, 0.5, 1.0, 3.3, 9.0])
def test_thin_things_cover_their_true_area(radius):
    joints = torch.zeros(18, 3)
    joints[0] = torch.tensor([256.31, 255.77, 1.0])  # red: one channel of full strength
    drawn = skeletons([joints], FRAME, SIZE, stick=radius)[0].sum()
    assert float(drawn) == pytest.approx(math.pi * radius**2, rel=0.06)


def test_a_crop_shows_what_the_whole_picture_shows_there():
    whole = skeletons([spread()], FRAME, SIZE)
    crop = (101, 57, 431, 402)
    part = skeletons([spread()], crop, (345, 330), stick=stick_of(SIZE))
    assert torch.allclose(part, whole[:, crop[1] : crop[3], crop[0] : crop[2]], atol=1e-4)


def test_several_people_on_one_picture():
    second = spread() * torch.tensor([0.2, 0.2, 1.0])
    both = skeletons([spread(), second], FRAME, SIZE)
    single = skeletons([spread()], FRAME, SIZE) + skeletons([second], FRAME, SIZE)
    assert torch.allclose(both, single, atol=1e-6)  # they do not touch


def test_wild_joints_fade_out_and_never_raise():
    nan, inf = float("nan"), float("inf")
    wild = spread()
    wild[0], wild[1] = torch.tensor([nan, 20.0, 0.9]), torch.tensor([inf, -inf, 0.9])
    wild[2], wild[3] = torch.tensor([1e30, 3.0, 0.9]), torch.tensor([200.0, 200.0, nan])
    placed = placed_joints(wild, SIZE)
    assert torch.equal(placed[:4], torch.zeros(4, 3)) and torch.allclose(placed[4:], wild[4:])
    picture = skeletons([placed], FRAME, SIZE)
    assert torch.isfinite(picture).all() and torch.equal(
        picture, skeletons([only(spread(), *range(4, 18))], FRAME, SIZE)
    )
    # Beyond the edge of the photo less and less is believed.
    outside = torch.tensor([[512.0 + share * REACH * 512, 100.0, 0.8] for share in (-0.1, 0.0, 0.5, 1.0, 2.0)])
    assert torch.allclose(placed_joints(outside, SIZE)[:, 2], torch.tensor([0.8, 0.8, 0.4, 0.0, 0.0]))


def test_hands_and_faces():
    generator = torch.Generator().manual_seed(2)
    points = torch.rand(21, 3, generator=generator) * torch.tensor([400.0, 400.0, 0.5]) + torch.tensor([50.0, 50, 0.5])
    canvas = torch.zeros(3, *SIZE)
    draw_hands(canvas, points, FRAME, 4.5)
    for point in points:
        assert torch.equal(colour_at(canvas, point), torch.tensor([0.0, 0.0, 1.0]))
    assert canvas[0].any() and canvas[1].any()  # fingers have all colours
    face = torch.zeros(3, *SIZE)
    points[5:, 2] = 0.0
    draw_face(face, points, FRAME, 4.5)
    assert float(face[0].sum()) == pytest.approx(5 * math.pi * (0.75 * 4.5) ** 2, rel=0.05)
    assert torch.equal(face[0], face[1]) and torch.equal(face[0], face[2])
    unseen = torch.zeros(3, *SIZE)
    draw_hands(unseen, points * 0, FRAME, 4.5)
    assert not unseen.any()
