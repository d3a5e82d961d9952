"""Poses and parsing go to the people on whom they lie; what fits nobody is reported, invalid numbers count nothing."""

import random

import pytest
import torch

from mild.mild_core.body.assign_parsing import assign_parsing, maps_by_photo, merged, under_mask, with_confidences
from mild.mild_core.body.assign_poses import assign_poses, valid_points
from mild.mild_core.body.body_parts import PARTS
from mild.mild_core.body.poses import L_ELBOW, R_ELBOW, Pose
from mild.mild_core.people.from_masks import person_from_mask
from mild.mild_core.scene import Person
from mild.tests.helpers.bodies import mask_of, standing

SIZE = (240, 400)


def people_of(*skeletons, size=SIZE):
    """Those people from the farthest to the nearest, each with the visible mask."""
    masks = []
    for joints in skeletons:
        full = mask_of(joints, size)
        masks = [mask * (1 - full) for mask in masks] + [full]
    people = [person_from_mask(mask) for mask in masks]
    return [person._replace(number=number, name=str(number)) for number, person in enumerate(people, 1)]


def whose(matches):
    return [None if match is None else match.pose for match in matches]


@pytest.mark.parametrize("apart", [140.0, 60.0, 25.0])
def test_everybody_gets_their_own_pose_in_whatever_order(apart):
    skeletons = [standing(60 + apart * index, 200 + 10 * index) for index in range(3)]
    people = people_of(*skeletons)
    for seed in range(4):
        order = list(range(3))
        random.Random(seed).shuffle(order)
        matches, nobody = assign_poses(people, [Pose(skeletons[place]) for place in order])
        assert [order[place] for place in whose(matches)] == [0, 1, 2] and nobody == []


def test_boxes_as_masks_and_a_child_in_front_of_an_adult():
    mother, child = standing(150, 235, 220), standing(165, 235, 90)
    people = [person._replace(mask=torch.ones_like(person.mask)) for person in people_of(mother, child)]
    matches, nobody = assign_poses(people, [Pose(child), Pose(mother)])
    assert whose(matches) == [1, 0] and nobody == []


def test_a_pose_on_bare_ground_is_nobodys():
    people = people_of(standing(80))
    matches, nobody = assign_poses(people, [Pose(standing(300))])
    assert matches == [None] and nobody == [0]
    matches, nobody = assign_poses([], [Pose(standing(300)), Pose(torch.zeros(18, 3))])
    assert matches == [] and nobody == [0]


def test_two_poses_for_one_person_leave_one_over():
    matches, nobody = assign_poses(people_of(standing(80)), [Pose(standing(100)), Pose(standing(81))])
    assert whose(matches) == [1] and nobody == [0]


def test_a_clear_case_keeps_its_confidence_and_a_doubtful_one_loses():
    alone, _ = assign_poses(people_of(standing(80)), [Pose(standing(80))])
    assert alone[0].sure > 0.9
    # one pose between two people who both lack one
    people = people_of(standing(80), standing(130))
    (one, other), _ = assign_poses(people, [Pose(standing(104))])
    doubtful = one or other
    assert doubtful is None or doubtful.sure < 0.75


def test_hidden_joints_lie_on_somebody_else_and_are_believed_less():
    back, front = standing(100), standing(128)
    people = people_of(back, front)
    (match, _), _ = assign_poses(people, [Pose(back), Pose(front)])
    on_front = [joint for joint in range(18) if match.joints[joint, 2] < 0.7 * float(match.joints[:, 2].max())]
    assert L_ELBOW in on_front and R_ELBOW not in on_front
    assert torch.equal(match.joints[:, :2], back[:, :2])


def test_wild_joints_fade_out():
    invalid = standing(80)
    invalid[3] = torch.tensor([float("nan"), 5.0, 0.9])
    invalid[4] = torch.tensor([1e9, 5.0, 0.9])
    invalid[7] = torch.tensor([-5.0, 100.0, 0.9])
    invalid[9, 2] = float("inf")
    invalid[10] = torch.tensor([395.0, 235.0, 0.9])  # in the photo, far from the person
    people = people_of(standing(80))
    for person in (people[0], people[0]._replace(joints=invalid)):
        poses = [] if person.joints is not None else [Pose(invalid)]
        (match,), nobody = assign_poses([person], poses)
        assert nobody == [] and match.joints.isfinite().all()
        assert not match.joints[[3, 4, 7, 9, 10], 2].any()
        assert (match.joints[[0, 1, 2, 5, 8, 11], 2] > 0.5).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e9, 1e9])
def test_nothing_but_wild_joints(value):
    people = people_of(standing(80))
    pose = Pose(torch.full((18, 3), value), torch.full((2, 21, 3), value), torch.full((70, 3), value))
    matches, nobody = assign_poses(people, [pose])
    assert matches == [None] and nobody == []
    matches, _ = assign_poses([people[0]._replace(joints=pose.joints)], [])
    assert matches == [None]
    assert not valid_points(pose.joints, SIZE).any()


def test_joints_of_find_people_stay_unless_more_are_seen():
    full = standing(80)
    half = full.clone()
    half[8:14, 2] = 0
    people = people_of(full)
    hands = torch.rand(2, 21, 3) * torch.tensor([20.0, 20.0, 1.0]) + torch.tensor([70.0, 140.0, 0.0])
    (match,), nobody = assign_poses([people[0]._replace(joints=half)], [Pose(full, hands)])
    assert match.pose == 0 and torch.equal(match.joints[:, :2], full[:, :2]) and nobody == []
    (match,), nobody = assign_poses([people[0]._replace(joints=full)], [Pose(half, hands)])
    assert match.pose is None and (match.joints[8:14, 2] > 0.5).all()
    assert nobody == [] and match.hands is not None  # the connected pose is this person's too, and brings the hands


def test_a_persons_own_joints_claim_the_pose():
    # Two in nearly the same place; only their own joints tell whose pose is whose.
    back, front = standing(100), standing(106)
    people = [person._replace(mask=torch.ones_like(person.mask)) for person in people_of(back, front)]
    claimed = [people[0]._replace(joints=front), people[1]._replace(joints=back)]
    matches, _ = assign_poses(claimed, [Pose(back, face=torch.rand(70, 3)), Pose(front)])
    assert matches[0].face is None and matches[1].face is not None


def test_tiny_people_and_many_of_them():
    people, poses = [], []
    for index in range(100):
        x, y = index % 10 * 3, index // 10 * 3
        people.append(Person(str(index), index, 0, (30, 30), (x, y, x + 2, y + 2), torch.ones(2, 2)))
        poses.append(Pose(torch.tensor([x + 1.0, y + 1.0, 0.9]).repeat(18, 1)))
    matches, nobody = assign_poses(people, poses)
    assert whose(matches) == list(range(100)) and nobody == []


# ------------------------------------------------------------------------------------------------------------ parsing


def painted(skeletons, size=SIZE):
    """A label map [H, W] of the whole photo: the upper halves of all are clothes above, the lower ones trousers."""
    parts = torch.zeros(size, dtype=torch.uint8)
    for person in people_of(*skeletons, size=size):
        x0, y0, x1, y1 = person.box
        own = torch.full(person.mask.shape, PARTS.index("upper clothes"), dtype=torch.uint8)
        own[: int(0.22 * (y1 - y0))] = PARTS.index("face")
        own[(y1 - y0) // 2 :] = PARTS.index("trousers")
        parts[y0:y1, x0:x1] = torch.where(person.mask > 0, own, parts[y0:y1, x0:x1])
    return parts


def test_a_map_of_the_photo_is_cut_by_masks():
    skeletons = [standing(80), standing(120)]
    people = people_of(*skeletons)
    parts = painted(skeletons)
    found = assign_parsing(people, parts[None], skeletons)
    for person, own in zip(people, found, strict=True):
        x0, y0, x1, y1 = person.box
        assert own.box == person.box
        assert torch.equal(own.parts, parts[y0:y1, x0:x1] * (person.mask > 0.1))
        assert torch.equal(own.sure > 0, own.parts > 0) and float(own.sure.max()) > 0.7


def test_a_map_of_another_size_is_registered_to_the_pixel():
    skeletons = [standing(81)]
    people = people_of(*skeletons)
    parts = painted(skeletons)
    doubled = parts.repeat_interleave(2, 0).repeat_interleave(2, 1)
    same, twice = (assign_parsing(people, one[None], [None])[0] for one in (parts, doubled))
    assert torch.equal(same.parts, twice.parts)
    thin = assign_parsing(people, parts[None, ::5, ::7], [None])[0]
    assert float((thin.parts == same.parts).float().mean()) > 0.6


def test_maps_of_single_people_in_another_order():
    skeletons = [standing(60), standing(110), standing(250)]
    people = people_of(*skeletons)
    whole = painted(skeletons)
    single = []
    for person in people:
        own = torch.zeros_like(whole)
        x0, y0, x1, y1 = person.box
        own[y0:y1, x0:x1] = whole[y0:y1, x0:x1] * (person.mask > 0.1)
        single.append(own)
    right = assign_parsing(people, torch.stack(single), [None] * 3)
    mixed = assign_parsing(people, torch.stack([single[2], single[0], single[1]]), [None] * 3)
    assert all(torch.equal(a.parts, b.parts) and a.parts.any() for a, b in zip(right, mixed, strict=True))


def test_half_labelled_or_with_joints_on_wrong_parts_is_half_believed():
    joints = standing(80)
    (person,) = people_of(joints)
    parts = painted([joints])
    full = under_mask(person, parts, joints)
    half = parts.clone()
    half[:130] = 0
    upside_down = torch.where(parts > 0, PARTS.index("left shoe"), 0).to(torch.uint8)
    assert float(under_mask(person, half, joints).sure.max()) < 0.75 * float(full.sure.max())
    assert float(under_mask(person, upside_down, joints).sure.max()) < 0.4 * float(full.sure.max())
    assert under_mask(person, torch.zeros_like(parts), joints) is None
    assert under_mask(person, parts, torch.full((18, 3), float("nan"))) is not None


def test_what_one_does_not_label_comes_from_the_other():
    joints = standing(80)
    (person,) = people_of(joints)
    parts = painted([joints])
    top, clothes = parts.clone(), torch.where(parts > 0, PARTS.index("clothes"), 0).to(torch.uint8)
    top[130:] = 0
    first, second = under_mask(person, top, None), under_mask(person, clothes, None)
    both = merged(first, second)
    assert torch.equal(both.parts > 0, second.parts > 0)
    assert torch.equal(both.parts[first.parts > 0], first.parts[first.parts > 0])
    assert merged(None, second) is second and merged(first, None) is first
    assert with_confidences(second._replace(parts=torch.zeros_like(second.parts)), person, None) is None


def test_maps_are_dealt_to_photos_or_people():
    people = people_of(standing(60), standing(200))
    people.append(people[0]._replace(photo=1))
    maps = torch.arange(3, dtype=torch.uint8)[:, None, None].expand(3, 4, 4)
    assert [one.shape[0] for one in maps_by_photo(maps, people, 2)] == [2, 1]
    assert [int(one[0, 0, 0]) for one in maps_by_photo(maps[:2], people, 2)] == [0, 1]
    assert [int(one[0, 0, 0]) for one in maps_by_photo(maps[:1], people, 2)] == [0, 0]
    with pytest.raises(ValueError, match="^parsing: there are 3 label maps for 4 photos with 2 people"):
        maps_by_photo(maps, people[:2], 4)
