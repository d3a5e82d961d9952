"""Skeletons of every format become OpenPose's 18 joints in pixels of the photo."""

import pytest
import torch

from mild.mild_core.body import poses
from mild.mild_core.body.poses import L_SHOULDER, L_WRIST, NECK, NOSE, R_ANKLE, R_SHOULDER
from mild.tests.helpers.bodies import pose_frame

SIZE = (200, 300)


def skeleton(seed=0):
    """[18, 3] with every joint somewhere inside SIZE."""
    random = torch.rand(18, 3, generator=torch.Generator().manual_seed(seed))
    return random * torch.tensor([280.0, 180.0, 0.4]) + torch.tensor([10.0, 10.0, 0.5])


def frame(*people, height=SIZE[0], width=SIZE[1]):
    return pose_frame(*people, size=(height, width))


def test_coco_17_and_its_neck():
    points = torch.arange(51.0).reshape(17, 3)
    joints = poses.from_coco_17(points)
    assert torch.equal(joints[NOSE], points[0]) and torch.equal(joints[L_SHOULDER], points[5])
    assert torch.equal(joints[R_ANKLE], points[16]) and torch.equal(joints[L_WRIST], points[9])
    assert torch.equal(joints[NECK, :2], (points[5, :2] + points[6, :2]) / 2)
    assert joints[NECK, 2] == points[5, 2]  # no surer than the less sure shoulder


def test_a_neck_needs_both_shoulders():
    points = torch.ones(17, 3)
    points[6, 2] = 0
    assert not poses.seen(poses.from_coco_17(points))[NECK]


def test_every_landmark_of_mediapipe_lands_on_one_joint():
    points = torch.arange(99.0).reshape(33, 3)
    joints = poses.from_blazepose(points)
    others = [joint for joint in range(18) if joint != NECK]
    assert len({float(value) for value in joints[others, 0]}) == 17
    assert torch.equal(joints[R_SHOULDER], points[12]) and torch.equal(joints[R_ANKLE], points[28])


def test_body_25_is_understood():
    joints = skeleton()
    long = torch.cat([joints[:8], torch.full((1, 3), 7.0), joints[8:], torch.full((6, 3), 5.0)])
    assert torch.allclose(poses.joints_in_frames([frame(long)], [SIZE])[0][0], joints)


def test_shares_pixels_and_other_canvases_are_one_pose():
    joints = skeleton()
    shares = joints / torch.tensor([SIZE[1], SIZE[0], 1.0])
    double = joints * torch.tensor([2.0, 2.0, 1.0])
    for given in (
        frame(joints),
        frame(shares),
        frame(double, height=400, width=600),
        frame(shares, height=768, width=512),
    ):
        (read,) = poses.joints_in_frames([given], [SIZE])[0]
        assert torch.allclose(read, joints, atol=1e-3)


def test_frames_without_people_or_joints():
    empty = torch.zeros(18, 3)
    nothing = {"pose_keypoints_2d": None}
    frames = [frame(), frame(empty), {"canvas_width": 9, "canvas_height": 9, "people": [nothing, {}]}, {"people": None}]
    assert poses.joints_in_frames(frames, [SIZE] * 4) == [[], [], [], []]
    assert poses.joints_in_frames([], [SIZE] * 2) == [[], []]


def test_missing_joints_are_not_seen_and_the_others_stay():
    joints = skeleton()
    joints[3], joints[7] = 0, torch.tensor([-1.0, -1.0, 0.9])
    joints[9, 2] = float("nan")
    (read,) = poses.joints_in_frames([frame(joints)], [SIZE])[0]
    unseen = [3, 7, 9]
    assert not poses.seen(read)[unseen].any() and int(poses.seen(read).sum()) == 15


def test_one_frame_alone_is_understood():
    assert len(poses.joints_in_frames(frame(skeleton(), skeleton(1)), [SIZE])[0]) == 2


@pytest.mark.parametrize("given", ["text", [[1, 2]], [frame(torch.zeros(5, 3))], [frame()] * 3])
def test_what_is_no_pose_is_refused(given):
    with pytest.raises(ValueError, match="^poses: "):
        poses.joints_in_frames(given, [SIZE])


def test_the_box_of_a_pose_holds_its_joints():
    joints = skeleton()
    joints[4, 2] = 0
    x0, y0, x1, y1 = poses.pose_box(joints)
    known = joints[poses.seen(joints)]
    assert x0 < known[:, 0].min() and known[:, 0].max() < x1 and y0 < known[:, 1].min() and known[:, 1].max() < y1
    assert poses.pose_box(torch.zeros(18, 3)) is None and poses.pose_score(torch.zeros(18, 3)) == 0


def test_hands_and_faces_are_read_at_the_same_scale():
    joints = skeleton()
    hand, face = torch.rand(21, 3) + 3, torch.rand(68, 3) + 5
    person = {
        "pose_keypoints_2d": (joints * torch.tensor([2.0, 2.0, 1.0])).flatten().tolist(),
        "hand_left_keypoints_2d": (hand * torch.tensor([2.0, 2.0, 0.1])).flatten().tolist(),
        "hand_right_keypoints_2d": None,
        "face_keypoints_2d": (face * torch.tensor([2.0, 2.0, 0.1])).flatten().tolist(),
    }
    given = {"canvas_width": 2 * SIZE[1], "canvas_height": 2 * SIZE[0], "people": [person]}
    (pose,) = poses.poses_in_frames([given], [SIZE])[0]
    assert torch.allclose(pose.hands[0, :, :2], hand[:, :2]) and not pose.hands[1].any()
    assert pose.face.shape == (70, 3) and torch.allclose(pose.face[:68, :2], face[:, :2])
    assert not pose.face[68:].any()
    assert torch.equal(poses.joints_in_frames([given], [SIZE])[0][0], pose.joints)


def test_hands_of_an_unknown_kind_are_left_out():
    joints = skeleton().flatten().tolist()
    for odd in ([1.0] * 7, [1.0] * 60, "hand", [None] * 63, [0.0] * 63, 5):
        person = {"pose_keypoints_2d": joints, "hand_left_keypoints_2d": odd, "face_keypoints_2d": odd}
        given = {"canvas_width": SIZE[1], "canvas_height": SIZE[0], "people": [person]}
        (pose,) = poses.poses_in_frames([given], [SIZE])[0]
        assert pose.hands is None and pose.face is None
