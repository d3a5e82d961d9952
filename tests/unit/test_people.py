"""Masks become people, whatever their size, softness and number."""

import pytest
import torch

from mild.mild_core.people.from_masks import (
    cleaned_person,
    fitted,
    numbered,
    on_device,
    people_from_blobs,
    person_from_mask,
    photo_size,
    resize_mask,
    stretched_people,
    union_mask,
)


def square(size, box, value=1.0):
    mask = torch.zeros(size)
    mask[box[1] : box[3], box[0] : box[2]] = value
    return mask


def test_a_person_holds_their_crop_only():
    mask = square((71, 93), (11, 7, 31, 52))
    person = person_from_mask(mask, photo=2)
    assert (person.box, person.photo, person.size) == ((11, 7, 31, 52), 2, (71, 93))
    assert person.mask.shape == (45, 20)
    assert person.mask.untyped_storage().nbytes() == 45 * 20 * 4
    assert torch.equal(union_mask([person], (71, 93)), mask)


def test_empty_and_nearly_empty_masks_are_nobody():
    assert person_from_mask(torch.zeros(5, 7)) is None
    assert person_from_mask(torch.full((5, 7), 0.02)) is None


@pytest.mark.parametrize("value", [0.3, 0.5, 1.0])
def test_soft_and_full_masks_keep_their_values(value):
    person = person_from_mask(torch.full((6, 9), value))
    assert person.box == (0, 0, 9, 6)
    assert torch.allclose(person.mask, torch.tensor(value))


def test_one_pixel_photo():
    person = person_from_mask(torch.ones(1, 1))
    assert person.box == (0, 0, 1, 1)
    people, specks = people_from_blobs(torch.ones(1, 1))
    assert len(people) == 1 and specks == 0


def test_blobs_are_people_and_specks_are_not():
    mask = square((400, 600), (10, 10, 60, 200)) + square((400, 600), (300, 50, 350, 300)) * 0.6
    mask[5, 5] = 1
    mask[390, 590] = 1
    people, specks = people_from_blobs(mask, photo=1)
    assert {person.box for person in people} == {(10, 10, 60, 200), (300, 50, 350, 300)}
    assert specks == 2
    assert all(person.photo == 1 for person in people)
    assert torch.allclose(union_mask(people, (400, 600))[300 - 1, 300], torch.tensor(0.6))


def test_a_blob_does_not_take_its_neighbour_along():
    mask = torch.zeros(50, 50)
    mask[10, 10:40] = 1
    mask[10:40, 10] = 1  # an L ...
    mask[30:38, 30:38] = 1  # ... with a square inside its box
    large, small = people_from_blobs(mask)[0]
    assert small.box == (30, 30, 38, 38) or large.box == (30, 30, 38, 38)
    assert sum(float(person.mask.sum()) for person in (large, small)) == float(mask.sum())


def test_a_stray_pixel_does_not_belong_to_the_person():
    """It made the crop the whole photo, and a hole where it is."""
    mask = square((400, 600), (50, 50, 120, 300), 0.7)
    mask[80, 60] = 0.05  # softer than what is seen, but inside
    person, specks = cleaned_person(mask, 1)
    assert specks == 0 and torch.equal(union_mask([person], (400, 600)), mask) and person.photo == 1
    stray = mask.clone()
    stray[5, 590] = 1
    person, specks = cleaned_person(stray, 1)
    assert specks == 1 and person.box == (50, 50, 120, 300)
    assert torch.equal(union_mask([person], (400, 600)), mask)


def test_a_stray_pixel_between_two_parts_of_a_person_goes_too():
    mask = square((400, 600), (50, 50, 120, 300)) + square((400, 600), (400, 50, 480, 300))
    stray = mask.clone()
    stray[170, 260] = 1
    person, specks = cleaned_person(stray)
    assert specks == 1 and torch.equal(union_mask([person], (400, 600)), mask)


def test_masks_of_another_shape_are_named():
    people = numbered([person_from_mask(square((60, 100), (x, 5, x + 8, 30)), photo) for x, photo in ((1, 0), (20, 1))])
    assert stretched_people(people, [(120, 200), (61, 100)]) == []
    assert stretched_people(people[:1], [(100, 60), (1, 1)])[0].startswith("mask of person 1 in photo 1: 100 x 60 px")
    assert "turned by 90 degrees" in stretched_people(people[:1], [(100, 60)])[0]
    both = [people[0], people[1]._replace(photo=0, number=2)]
    assert [line[:26] for line in stretched_people(both, [(50, 50)])] == ["masks of people 1-2: 100 x"]


def test_numbers_run_left_to_right_and_go_on():
    size = (50, 90)
    places = ((60, 0), (3, 0), (30, 1), (31, 0))
    made = [person_from_mask(square(size, (x, 5, x + 8, 30)), photo) for x, photo in places]
    first = numbered(made)
    assert [(p.photo, p.number, p.box[0], p.name) for p in first] == [
        (0, 1, 3, "Person 1"),
        (0, 2, 31, "Person 2"),
        (0, 3, 60, "Person 3"),
        (1, 1, 30, "Person 1"),
    ]
    more = numbered([person_from_mask(square(size, (0, 0, 4, 4)))], first)
    assert more[:4] == first
    assert (more[4].number, more[4].name) == (4, "Person 4")
    # in a photo with fewer people, too: 2 would be said to be the one who is 2 in the first photo
    other = numbered([person_from_mask(square(size, (0, 0, 4, 4)), 1)], first)[4]
    assert (other.photo, other.number) == (1, 4)


@pytest.mark.parametrize("size", [(100, 140), (33, 47), (50, 70), (1, 1), (401, 563)])
@pytest.mark.parametrize("soft", [False, True])
def test_fitting_agrees_with_resizing_the_whole_mask(size, soft):
    mask = square((50, 70), (12, 6, 45, 41))
    if soft:
        mask = torch.nn.functional.avg_pool2d(mask[None, None], 5, 1, 2)[0, 0]
    person = fitted(person_from_mask(mask), size)
    assert person.size == size
    assert person.mask.shape == (person.box[3] - person.box[1], person.box[2] - person.box[0])
    assert 0 <= person.box[0] < person.box[2] <= size[1] and 0 <= person.box[1] < person.box[3] <= size[0]
    whole = resize_mask(mask[None], size)[0]
    drawn = union_mask([person], size)
    assert float((drawn - whole).abs().mean()) < (0.02 if min(size) > 1 else 0.6)
    if not soft:
        assert set(person.mask.unique().tolist()) <= {0.0, 1.0}


def test_fitting_to_the_own_size_changes_nothing():
    person = person_from_mask(square((50, 70), (12, 6, 45, 41)))
    assert fitted(person, (50, 70)) is person


@pytest.mark.parametrize("size", [(100, 140), (25, 35), (37, 211)])
def test_joints_and_the_hidden_part_come_along(size):
    joints = torch.rand(18, 3) * torch.tensor([70.0, 50.0, 1.0])
    person = person_from_mask(square((50, 70), (12, 6, 45, 41)))
    person = person._replace(joints=joints, hidden=torch.ones(10, 20), hidden_box=(40, 20, 60, 30))
    fit = fitted(person, size)
    assert torch.allclose(fit.joints, joints * torch.tensor([size[1] / 70, size[0] / 50, 1.0]))
    drawn = torch.zeros(size)
    x0, y0, x1, y1 = fit.hidden_box
    drawn[y0:y1, x0:x1] = fit.hidden
    assert fit.hidden.shape == (y1 - y0, x1 - x0)
    assert float((drawn - resize_mask(square((50, 70), (40, 20, 60, 30))[None], size)[0]).abs().mean()) < 0.01
    again = fitted(fit, (50, 70))
    assert torch.allclose(again.joints, joints, atol=1e-4)


def test_an_empty_hidden_part_stays_one():
    person = person_from_mask(square((50, 70), (12, 6, 45, 41)))
    fit = fitted(person._replace(hidden=torch.zeros(1, 1), hidden_box=(69, 49, 70, 50)), (201, 99))
    assert fit.hidden is not None and not fit.hidden.any()


def test_on_device_moves_every_tensor():
    person = person_from_mask(torch.ones(3, 4))._replace(joints=torch.ones(18, 3), hidden=torch.ones(1, 1))
    moved = on_device(person, torch.device("meta"))
    assert {moved.mask.device.type, moved.joints.device.type, moved.hidden.device.type} == {"meta"}
    assert moved.box == person.box and on_device(moved, torch.device("meta")).mask is moved.mask


def test_somebody_tiny_does_not_vanish_in_a_small_photo():
    person = fitted(person_from_mask(square((3000, 4000), (1001, 1501, 1003, 1504))), (30, 40))
    assert float(person.mask.sum()) >= 1


def test_resizing_keeps_hard_masks_hard():
    hard = (torch.rand(2, 31, 17) > 0.5).float()
    assert set(resize_mask(hard, (64, 50)).unique().tolist()) == {0.0, 1.0}
    soft = resize_mask(torch.rand(2, 31, 17), (64, 50))
    assert soft.shape == (2, 64, 50) and 0 <= float(soft.min()) and float(soft.max()) <= 1
    assert resize_mask(hard, (31, 17)) is hard


def test_photo_size_is_the_largest_mask():
    people = [person_from_mask(torch.ones(*size), photo) for size, photo in (((4, 5), 0), ((40, 50), 0), ((99, 99), 1))]
    assert photo_size(people, 0) == (40, 50)
    assert photo_size(people, 3) is None
