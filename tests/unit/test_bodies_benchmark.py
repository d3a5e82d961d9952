"""The benchmark of bodies counts what it says: its truth lies where it is drawn, and a wrong assignment is a miss."""

import numpy as np
import pytest
import torch

from mild.benchmarks.quality import bodies, crowds
from mild.benchmarks.shared import cutouts, scenes
from mild.mild_core.body.body_parts import PARTS
from mild.mild_core.body.parsers.parsed import Parsed

SIZE = (200, 300)


def column(x, wide=30):
    """Somebody [H, W] as a bar, and joints [18, 3] down its middle."""
    mask = np.zeros(SIZE, bool)
    mask[20:190, x - wide // 2 : x + wide // 2] = True
    joints = torch.stack([torch.full((18,), float(x)), torch.linspace(25, 185, 18), torch.ones(18)], 1)
    return mask, joints


def photo(*columns):
    masks, poses = zip(*columns, strict=True)
    return bodies.Photo("test", np.zeros((*SIZE, 3), np.float32), np.stack(masks), list(poses))


def test_everybody_with_her_own_pose_is_right_and_an_exchange_is_two_misses():
    left, right = column(60), column(200)
    count = bodies.true_poses([photo(left, right)], "given")
    assert (count.right, count.total) == (2, 2)
    crossed = bodies.true_poses([photo((left[0], right[1]), (right[0], left[1]))], "given")
    assert (crossed.right, crossed.total) == (0, 2) and len(crossed.misses) == 2


def test_detected_poses_are_judged_by_similarity_and_what_nobody_saw_is_no_miss():
    one, other = column(60), column(200)
    shaken = other[1] + torch.tensor([2.0, -2.0, 0.0])
    count = bodies.detected_poses([photo(one, other)], [[shaken]], "given")
    assert (count.right, count.total) == (1, 1) and "1 unseen" in count.notes[0]


def test_similarity_of_joints():
    _, joints = column(100)
    assert bodies.oks(joints, joints, 5000) == pytest.approx(1)
    near, far = (bodies.oks(joints, joints + torch.tensor([dx, 0.0, 0.0]), 5000) for dx in (5.0, 100.0))
    assert 0.3 < near < 1 and far < 0.05
    unseen = joints.clone()
    unseen[9:, 2] = 0
    assert bodies.oks(joints, unseen, 5000) == pytest.approx(8 / 17)  # the neck is not counted
    assert bodies.oks(torch.zeros(18, 3), joints, 5000) == 0


@pytest.mark.parametrize("x", [0.1, 0.5, 0.95])
def test_a_joint_of_a_cutout_moves_with_her(x):
    rgb, alpha = np.zeros((80, 40, 3), np.float32), np.ones((80, 40), np.float32)
    rgb[38:42, 18:22] = 1
    cutout = cutouts.Cutout(rgb, alpha)
    placement = scenes.Placement("cutout", x, 0.9, 0.6, False)
    place = scenes.place(cutout, placement, crowds.SIZE)
    rows, columns = np.nonzero(place[..., 0] > 0.5)
    moved = crowds.moved(torch.tensor([0.5, 0.5, 1.0]).expand(18, 3), cutout, placement)
    assert float(moved[0, 0]) == pytest.approx(columns.mean() + 0.5, abs=1)
    assert float(moved[0, 1]) == pytest.approx(rows.mean() + 0.5, abs=1)


def test_those_who_are_seen_enough_are_those_of_order():
    masks = [column(60, 30)[0], column(64, 34)[0], column(200)[0]]
    padded = [np.pad(mask, ((0, 280), (0, 420))) for mask in masks]
    assert crowds.seen_enough(padded) == [1, 2]
    assert np.array_equal(crowds.visible(padded), np.stack(padded[1:]))


def test_parsing_on_somebody_else_is_a_miss():
    scene = photo(column(60), column(200))
    part = PARTS.index("clothes")

    def parse_of(swapped):
        def parse(image, person):
            x0, y0, x1, y1 = person.box
            own = torch.full((y1 - y0, x1 - x0), part, dtype=torch.uint8)
            if swapped:
                x0, x1 = (185, 215) if x0 < 100 else (45, 75)
            return Parsed((x0, y0, x1, y1), own, torch.ones(own.shape))

        return parse

    right = bodies.on_her_joints([scene], parse_of(False), "test", "given")
    wrong = bodies.on_her_joints([scene], parse_of(True), "test", "given")
    assert (right.right, right.total) == (2, 2) and (wrong.right, wrong.total) == (0, 2)
    maps = bodies.shuffled_maps([scene], parse_of(False), "test", "boxes")
    assert (maps.right, maps.total) == (2, 2)


def test_misses_are_drawn():
    left, right = column(60), column(200)
    count = bodies.true_poses([photo((left[0], right[1]), (right[0], left[1]))], "given")
    assert np.asarray(bodies.sheet(count.misses)).max() > 100
