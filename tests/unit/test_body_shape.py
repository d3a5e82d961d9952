"""The body drawn around a skeleton."""

import pytest
import torch

from mild.mild_core.body.body_shape import body_height, body_shape
from mild.mild_core.body.poses import L_HIP, NECK, R_HIP
from mild.mild_core.image import boxes
from mild.mild_core.people import from_masks as people
from mild.mild_core.scene import Person
from mild.tests.unit.test_found import standing

SIZE = (400, 300)


def full(joints, size=SIZE):
    mask, box = body_shape(joints, size)
    return people.union_mask([Person("", 1, 0, size, box, mask)], size)


def test_it_covers_every_joint_and_stays_near_them():
    joints = standing(150, 40, 300).joints
    mask = full(joints)
    assert (mask[joints[:, 1].long(), joints[:, 0].long()] > 0.9).all()
    assert 0.03 < mask.mean() < 0.3
    y, x = mask.nonzero().unbind(1)
    distance = (torch.stack([x, y], -1)[:, None] - joints[None, :, :2]).norm(dim=-1).amin(1)
    assert distance.max() < 0.2 * 300


def test_the_height_is_read_from_the_limbs():
    assert body_height(standing(0, 0, 300).joints) == pytest.approx(300, rel=0.15)
    foreshortened = standing(0, 0, 300).joints
    foreshortened[:, 0] = 0  # turned to the side: what was wide is gone, what is long tells
    assert body_height(foreshortened) == pytest.approx(300, rel=0.2)
    assert body_height(torch.zeros(18, 3)) == 1


def test_it_moves_grows_and_mirrors_with_the_person():
    mask = full(standing(150, 40, 300).joints)
    moved = full(standing(160, 60, 300).joints)
    assert torch.equal(moved[20:, 10:], mask[:-20, :-10])
    large = full(standing(300, 80, 600).joints, (800, 600))
    assert large.mean() == pytest.approx(float(mask.mean()), rel=0.03)
    mirrored = standing(150, 40, 300).joints
    mirrored[:, 0] = SIZE[1] - mirrored[:, 0]
    assert torch.allclose(full(mirrored), mask.flip(1), atol=1e-3)


def test_missing_joints_draw_nothing():
    joints = standing(150, 40, 300).joints
    without_legs = joints.clone()
    without_legs[[9, 10, 12, 13]] = 0
    less, whole_body = full(without_legs), full(joints)
    assert (less <= whole_body + 1e-5).all() and less[330:].sum() == 0 and whole_body[300:].sum() > 0
    only = torch.zeros(18, 3)
    only[0] = joints[0]
    assert full(only).sum() > 0
    one_side = joints.clone()
    one_side[[2, R_HIP, NECK]] = 0
    assert full(one_side)[int(joints[L_HIP, 1]) - 40, int(joints[L_HIP, 0])] > 0.9


def test_nobody_in_the_photo():
    assert body_shape(torch.zeros(18, 3), SIZE) is None
    assert body_shape(standing(900, 40, 300).joints, SIZE) is None


def test_at_the_border_and_very_small():
    mask, box = body_shape(standing(0, -100, 300).joints, SIZE)
    assert boxes.intersection(box, boxes.whole(SIZE)) == box and mask.shape == (boxes.height(box), boxes.width(box))
    mask, box = body_shape(standing(20, 20, 2).joints, SIZE)
    assert mask.max() > 0.5 and boxes.area(box) < 60
