"""Everyone is found once, by boxes, by poses, in the whole photo or in its tiles."""

import pytest
import torch

from mild.mild_core.find import found
from mild.mild_core.find.detections_to_people import Limits, best_shape, everyone, found_by_pose, inside, person
from mild.mild_core.find.finders.tiles import find_in_tiles, tile_boxes
from mild.mild_core.find.found import Found
from mild.mild_core.image import boxes

SIZE = (400, 600)
STANDING = torch.tensor(
    # as OpenPose orders them: a person of height 1 at 0, 0, seen from the front
    [[0, 0.08], [0, 0.18], [-0.12, 0.18], [-0.14, 0.35], [-0.15, 0.5], [0.12, 0.18], [0.14, 0.35], [0.15, 0.5]]
    + [[-0.07, 0.5], [-0.07, 0.73], [-0.07, 0.95], [0.07, 0.5], [0.07, 0.73], [0.07, 0.95]]
    + [[-0.02, 0.07], [0.02, 0.07], [-0.04, 0.08], [0.04, 0.08]]
)


def standing(x, y, height, score=0.9):
    joints = torch.cat([STANDING * height + torch.tensor([x, y]), torch.full((18, 1), score)], 1)
    return found_by_pose(joints)


def test_one_box_given_twice_is_one_person():
    once = [Found((10, 10, 50, 90), 0.8), Found((12, 9, 51, 92), 0.9), Found((60, 10, 99, 90), 0.5)]
    kept = found.without_duplicates(once, 0.7)
    assert [one.score for one in kept] == [0.9, 0.5]
    assert len(found.without_duplicates(once, 1.0)) == 3


def test_two_who_embrace_stay_two():
    one, other = standing(200, 50, 300), standing(228, 50, 300)
    assert boxes.iou(one.box, other.box) > 0.5
    assert len(found.without_duplicates([one, other], 0.8)) == 2
    turned = standing(228, 50, 300)
    turned.joints[:, 0] = 456 - turned.joints[:, 0]  # right is left: the other one faces the camera
    assert len(found.without_duplicates([one, turned._replace(box=one.box)], 0.3)) == 2
    assert len(found.without_duplicates([one, standing(203, 51, 300, 0.5)], 0.9)) == 1


def test_a_pose_belongs_to_its_box():
    people = [standing(100, 50, 300), standing(300, 50, 300), standing(500, 60, 200)]
    boxed = [Found((220, 40, 380, 360), 0.9), Found((20, 40, 180, 360), 0.8), Found((400, 300, 450, 350), 0.7)]
    joined = found.with_joints(boxed, people)
    assert len(joined) == 4
    assert torch.equal(joined[0].joints, people[1].joints) and torch.equal(joined[1].joints, people[0].joints)
    assert joined[2].joints is None and joined[3] is people[2]
    assert [one.box for one in joined[:3]] == [one.box for one in boxed]


def test_a_child_in_front_of_an_adult_does_not_take_their_box():
    grown_up, child = Found((100, 10, 300, 390), 0.9), standing(200, 300, 80)
    joined = found.with_joints([grown_up], [child])
    assert joined == [grown_up, child]


def test_given_boxes_lead_and_the_detector_adds_who_is_missing():
    given = [Found((20, 40, 180, 360), 0.5)]
    detected = [standing(102, 50, 300), standing(400, 50, 300)]
    everybody = everyone(given, [], detected, 0.7)
    assert len(everybody) == 2
    assert everybody[0].box == given[0].box and torch.equal(everybody[0].joints, detected[0].joints)
    # poses given and detected again are the same people
    assert len(everyone([], [standing(100, 50, 300)], detected, 0.7)) == 2


def test_limits():
    crowd = [Found((6.0 * i, 10, 6.0 * i + 5, 30 + i), i / 100) for i in range(100)]
    kept, left_out = inside(crowd, SIZE, Limits(0.8, 0.0, 100))
    assert (len(kept), left_out) == (100, 0)
    kept, left_out = inside(crowd, SIZE, Limits(0.8, 0.0, 10))
    assert [one.score for one in kept] == [i / 100 for i in range(90, 100)] and left_out == 90
    kept, left_out = inside(crowd, SIZE, Limits(0.8, 0.2, 100))
    assert all(one.box[3] - one.box[1] >= 80 for one in kept) and len(kept) + left_out == 100


@pytest.mark.parametrize(
    "box",
    [(-50, -50, -1, -1), (600, 10, 700, 50), (10, 400, 20, 500), (-20, 10, 0, 50), (7, 7, 7, 7), (7, 7, 40, 7)],
)
def test_boxes_outside_of_the_photo_are_nobody(box):
    assert found.clipped(box, SIZE) is None and person(Found(box, 1.0), SIZE, 0) is None


@pytest.mark.parametrize("box", [(10.2, 20.7, 11.9, 22.1), (-5, -5, 1.5, 0.5), (599.5, 399.5, 650, 450)])
def test_tiny_people_and_people_at_the_border_keep_a_pixel(box):
    place = found.clipped(box, SIZE)
    assert boxes.area(place) >= 1 and boxes.intersection(place, boxes.whole(SIZE)) == place
    one = person(Found(box, 1.0), SIZE, 0)
    assert one.box == place and one.mask.shape == (boxes.height(place), boxes.width(place)) and one.mask.all()


def test_the_detectors_own_mask_comes_first_then_the_body_then_the_box():
    pose = standing(200, 50, 300)
    mask, box = best_shape(pose, SIZE)
    assert 0.1 < mask.mean() < 0.9
    own = torch.ones(3, 4)
    assert best_shape(pose._replace(mask=own, mask_box=(1, 2, 5, 5)), SIZE) == (own, (1, 2, 5, 5))
    # joints of a face in the box of a whole body: the body cannot be drawn
    face = pose.joints.clone()
    face[1:14] = 0
    mask, box = best_shape(pose._replace(joints=face), SIZE)
    assert mask.all() and box == found.clipped(pose.box, SIZE)


@pytest.mark.parametrize(
    ("size", "count"), [((400, 600), 1), ((400, 600), 2), ((37, 20), 3), ((1, 1), 4), ((2, 900), 6)]
)
def test_tiles_cover_the_photo(size, count):
    whole, *others = tile_boxes(size, count)
    assert whole == boxes.whole(size) and len(others) == (count * count if count > 1 else 0)
    covered = torch.zeros(size)
    for part in others:
        assert boxes.area(part) and boxes.intersection(part, whole) == part
        boxes.cut(covered, part).fill_(1)
    assert count == 1 or covered.all()


def test_small_people_are_found_in_tiles_and_nobody_twice():
    """A detector that sees whoever is at least a fifth of the picture it is shown, and shows it by a grey level."""
    photo = torch.zeros(*SIZE, 3)
    truth = {1: (20, 20, 260, 380), 2: (400, 30, 450, 120), 3: (280, 100, 330, 190), 4: (520, 300, 560, 395)}
    for level, (x0, y0, x1, y1) in truth.items():
        photo[y0:y1, x0:x1] = level

    def look(picture):
        seen = []
        for level in picture.unique():
            box = boxes.tight_box(picture[..., 0] == level)
            if level and max(boxes.height(box), boxes.width(box)) > picture.shape[0] * 0.26:
                seen.append(Found(tuple(float(edge) for edge in box), float(level)))
        return seen

    looks = []
    assert [one.score for one in find_in_tiles(photo, 1, look, 0.8, lambda: looks.append(1))] == [1]
    everybody = find_in_tiles(photo, 2, look, 0.8, lambda: looks.append(1))
    assert {int(one.score): one.box for one in everybody} == truth and len(everybody) == 4
    assert len(looks) == 1 + 5


def test_a_persons_box_is_tight_around_what_is_visible():
    soft = torch.zeros(20, 30)
    soft[5:15, 10:20], soft[4, 10] = 0.8, 0.05
    one = person(Found((100, 100, 130, 120), 0.5), SIZE, 2, soft, (100, 100, 130, 120))
    assert one.box == (110, 105, 120, 115) and one.photo == 2 and torch.equal(one.mask, soft[5:15, 10:20])
    assert person(Found((100, 100, 130, 120), 0.5), SIZE, 0, torch.zeros(20, 30), (100, 100, 130, 120)) is None
    for pose in (standing(20, 20, 2), standing(200, 50, 300), standing(599, 300, 300)):
        one = person(pose, SIZE, 0)
        assert boxes.tight_box(one.mask > 0.1) == (0, 0, boxes.width(one.box), boxes.height(one.box))
        assert boxes.intersection(one.box, boxes.whole(SIZE)) == one.box
