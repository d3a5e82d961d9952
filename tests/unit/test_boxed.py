"""A box becomes the person in it where the photo separates person and surroundings, and stays a box where not."""

import pytest
import torch

from mild.mild_core.image.growth import grow
from mild.mild_core.layers.box_masks import is_box, person_in_box, surroundings_of
from mild.mild_core.layers.holes import outlined

SIZE = (260, 240)
BOX = (80, 40, 160, 220)


def figure():
    """Head, body with arms, two legs; touches all sides of BOX."""
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[40:75, 105:135] = True
    mask[75:150, 95:145] = True
    mask[85:100, 80:160] = True
    mask[150:220, 95:115] = True
    mask[150:220, 125:145] = True
    return mask


def photo_of(person, seed=0, ground=((0.3, 0.5, 0.6), (0.5, 0.6, 0.3)), colours=((0.8, 0.6, 0.5), (0.6, 0.1, 0.2))):
    rows = torch.arange(SIZE[0])[:, None, None]
    scene = torch.where(rows < 170, torch.tensor(ground[0]), torch.tensor(ground[1])).expand(*SIZE, 3)
    clothes = torch.where(rows < 75, torch.tensor(colours[0]), torch.tensor(colours[1])).expand(*SIZE, 3)
    picture = torch.where(person[..., None], clothes, scene)
    return (picture + 0.03 * torch.randn(*SIZE, 3, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)


def boxed():
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
    return mask


def test_what_is_a_box():
    assert is_box(torch.ones(20, 30, dtype=torch.bool))
    assert not is_box(torch.ones(4, 30, dtype=torch.bool))  # too small to hold anybody
    assert not is_box(torch.ones(40, 40, dtype=torch.bool).tril())
    spoiled = torch.ones(40, 40, dtype=torch.bool)
    spoiled[0, :20] = False
    assert is_box(spoiled)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_person_is_found_whole_and_much_of_the_ground_is_spared(seed, dtype):
    person = figure()
    found = person_in_box(photo_of(person, seed).to(dtype), BOX, boxed())
    assert found is not None and found.dtype == torch.bool and found.shape == SIZE
    assert not (found & ~boxed()).any()
    assert not (person & ~grow(found, 2)).any()
    assert int(found.sum()) < int(person.sum()) + 0.7 * int((boxed() & ~person).sum())


def test_without_anything_to_tell_the_box_stays():
    alike = photo_of(torch.zeros(SIZE, dtype=torch.bool))
    assert person_in_box(alike, BOX, boxed()) is None
    noise = torch.rand(*SIZE, 3, generator=torch.Generator().manual_seed(0))
    assert person_in_box(noise, BOX, boxed()) is None
    own = boxed()[BOX[1] : BOX[3], BOX[0] : BOX[2]]
    place, kept = outlined(noise, BOX, own, boxed())
    assert place == BOX and torch.equal(kept, own)


def test_without_surroundings_the_box_stays():
    photo = photo_of(figure())
    assert person_in_box(photo, (0, 0, SIZE[1], SIZE[0]), torch.ones(SIZE, dtype=torch.bool)) is None
    assert person_in_box(photo, BOX, torch.ones(SIZE, dtype=torch.bool)) is None  # others everywhere around


def test_a_hole_in_a_person_is_not_cut_out():
    """A patch of the ground's colour inside the clothes is not connected to the ground."""
    person = figure()
    seen = person.clone()
    seen[105:125, 110:130] = False
    found = person_in_box(photo_of(seen), BOX, boxed())
    assert found is not None and found[105:125, 110:130].all()


def test_outlined_narrows_boxes_only_if_asked():
    person = figure()
    photo = photo_of(person)
    own = boxed()[BOX[1] : BOX[3], BOX[0] : BOX[2]]
    inside = person[BOX[1] : BOX[3], BOX[0] : BOX[2]]
    place, found = outlined(photo, BOX, own, boxed())
    assert place == BOX and (found >= inside).all() and not found.all()
    place, found = outlined(photo, BOX, own, boxed(), unbox=False)
    assert place == BOX and found.all()


def test_a_box_at_the_border_of_a_large_photo():
    person = figure()
    photo = photo_of(person)[:220, 80:].repeat_interleave(6, 0).repeat_interleave(6, 1)
    box = (0, 40 * 6, 80 * 6, 220 * 6)
    others = torch.zeros(photo.shape[:2], dtype=torch.bool)
    found = person_in_box(photo, box, others)
    assert found is not None
    large = person[:220, 80:].repeat_interleave(6, 0).repeat_interleave(6, 1)
    assert not (large & ~grow(found, 12)).any()
    assert surroundings_of(box) < 6 * surroundings_of(BOX) + 6
