"""The shipped photo: its files belong together, and its background is empty where and only where people stand."""

import torch

from mild.mild_core.body.poses import R_ELBOW, R_WRIST, joints_in_frames, seen
from mild.mild_core.example_photo import FOLDER, load_example


def test_shapes_and_ranges():
    example = load_example()
    height, width = example.photo.shape[1:3]
    assert example.photo.shape == example.background.shape == (1, height, width, 3)
    assert example.masks.shape[1:] == (height, width)
    for tensor in example[:4]:
        assert tensor.dtype == torch.float32 and 0 <= tensor.min() and tensor.max() <= 1


def test_people_are_apart_and_ordered_from_left_to_right():
    masks = load_example().masks
    assert len(masks) >= 5
    assert masks.sum(0).max() == 1  # nobody's pixel is somebody else's
    lefts = [int(mask.any(0).nonzero().min()) for mask in masks]
    assert lefts == sorted(lefts)
    grown = torch.nn.functional.max_pool2d(masks[:, None], 3, 1, 1)[:, 0]
    assert (grown.sum(0) > 1).any()  # two people touch: that is what the pack is for


def test_background_shows_the_place_without_people():
    example = load_example()
    difference = (example.photo - example.background).abs().mean(-1)[0]
    union = example.masks.amax(0)
    around = torch.nn.functional.max_pool2d(union[None, None], 61, 1, 30)[0, 0] > 0
    assert difference[union > 0].mean() > 0.1
    assert difference[~around].max() <= 2 / 255  # away from people the very same picture


def test_the_hidden_part_is_on_the_second_person_beside_the_third():
    example = load_example()
    hidden = example.hidden[0]
    assert example.hidden.shape == (1, *example.photo.shape[1:3]) and hidden.sum() > 300
    assert (hidden <= example.masks[1]).all()
    beside = torch.nn.functional.max_pool2d(hidden[None, None], 7, 1, 3)[0, 0]
    assert (beside * example.masks[2]).any()


def test_each_pose_lies_on_its_mask():
    example = load_example()
    (joints,) = joints_in_frames(example.poses, [example.photo.shape[1:3]])
    assert len(joints) == len(example.masks)
    near = torch.nn.functional.max_pool2d(example.masks[:, None], 7, 1, 3)[:, 0]
    for one, mask in zip(joints, near, strict=True):
        x, y = one[seen(one), :2].round().long().T
        assert len(x) >= 12 and mask[y, x].all()


def test_the_hidden_arm_has_no_joints():
    example = load_example()
    (joints,) = joints_in_frames(example.poses, [example.photo.shape[1:3]])
    assert not seen(joints[2])[[R_ELBOW, R_WRIST]].any()


def test_all_files_are_small():
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) < 1_500_000
