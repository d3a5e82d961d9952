"""A rim moves outward to the photo's edges, no farther, and never where it must not."""

import pytest
import torch

from mild.mild_core.image.growth import VISIBLE, distance
from mild.mild_core.layers.holes import outlined
from mild.mild_core.layers.snapping import margin_of, reach_of, snapped

SIZE = (181, 203)
REACH = 6.0


def disc(radius, size=SIZE, middle=None):
    y, x = middle or (size[0] / 2, size[1] / 2)
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])[None]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def noise(size=SIZE, seed=0, strength=0.04):
    return strength * torch.randn(*size, 3, generator=torch.Generator().manual_seed(seed))


def photo_of(shape, colour=(0.7, 0.3, 0.2), ground=(0.3, 0.5, 0.6), seed=0):
    """Somebody of one colour on ground of another, both with grain."""
    picture = torch.where(shape[..., None], torch.tensor(colour), torch.tensor(ground))
    return (picture + noise(shape.shape, seed)).clamp(0, 1)


def apart(first, second):
    """How far the farthest pixel that only one of both masks has lies from the other mask, or from its rim."""
    worst = 0.0
    for one, other in ((first, second), (second, first), (~first, ~second), (~second, ~first)):
        away = distance(other, 20)[one]
        worst = max(worst, float(away.max()) if away.numel() else 0.0)
    return worst


@pytest.mark.parametrize("missing", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_rim_that_is_missing_comes_back(missing, seed):
    photo = photo_of(disc(50), seed=seed)
    found = snapped(photo, disc(50 - missing), REACH)
    assert apart(found, disc(50)) <= 1.5  # neighbours along a diagonal are 1.42 apart


def test_where_nothing_can_be_classified_the_rim_follows_the_rest():
    person = disc(50)
    photo = photo_of(person)
    photo[:, :60] = 0.5 + noise()[:, :60]  # here the person looks like the ground
    found = snapped(photo, disc(47), REACH)
    assert apart(found, person) <= 1.5


@pytest.mark.parametrize("strength", [0.0, 0.02, 0.2])
def test_without_edges_a_mask_stays(strength):
    photo = (0.5 + noise(strength=strength)).clamp(0, 1)
    mask = disc(50)
    found = snapped(photo, mask, REACH)
    assert (found >= mask).all()
    assert int(found.sum()) <= 1.05 * int(mask.sum())


def test_nothing_moves_farther_than_its_reach():
    photo = photo_of(disc(80))
    mask = disc(40)
    found = snapped(photo, mask, REACH)
    assert (found >= mask).all()
    assert float(distance(mask, 12)[found].max()) <= REACH


def test_a_barred_area_is_never_entered_and_its_colours_are_ground():
    person = disc(50)
    photo = photo_of(person)
    barred = torch.zeros(SIZE, dtype=torch.bool)
    barred[:, 140:] = True
    for mask in (disc(47), disc(47) & ~barred):
        found = snapped(photo, mask, REACH, barred=barred)
        assert torch.equal(found & barred, mask & barred)
        assert (found >= (person & ~barred & (distance(mask, 3) <= 2))).all()


def test_the_colours_of_others_are_nobodys_ground():
    """A neighbour in the same clothes must not make the person's own rim look like ground."""
    person, other = disc(40, middle=(90, 60)), disc(40, middle=(90, 145))
    photo = photo_of(person | other)
    found = snapped(photo, disc(37, middle=(90, 60)), REACH, others=disc(37, middle=(90, 145)))
    assert apart(found & ~other, person) <= 1.5


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 2), (33, 8)])
@pytest.mark.parametrize("kind", ["empty", "full", "pixel", "border"])
def test_awkward_masks(size, kind):
    mask = torch.zeros(size)
    if kind == "full":
        mask[:] = 1
    elif kind == "pixel":
        mask[size[0] // 2, size[1] // 2] = 1
    elif kind == "border":
        mask[:, 0] = mask[-1] = 1
    found = snapped(torch.rand(*size, 3, generator=torch.Generator().manual_seed(0)), mask, 3.0)
    assert found.shape == mask.shape and found.dtype == mask.dtype
    assert (found >= mask).all() and float(found.max()) <= 1
    assert found.any() == mask.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_kinds_of_photos_and_masks(dtype):
    person = disc(50)
    photo = photo_of(person).to(dtype)
    hard = snapped(photo, disc(48), REACH)
    assert hard.dtype == torch.bool
    as_float = snapped(photo, disc(48).float(), REACH)
    assert as_float.dtype == torch.float32
    assert torch.equal(as_float > VISIBLE, hard)
    assert ((as_float == 0) | (as_float == 1)).all()


def test_soft_masks_stay_soft():
    person = disc(50)
    soft = torch.nn.functional.avg_pool2d(disc(47)[None, None].float(), 5, 1, 2)[0, 0]
    found = snapped(photo_of(person), soft, REACH)
    assert (found >= soft).all() and float(found.max()) <= 1
    moved = found > soft
    assert moved.any() and (found[moved] > VISIBLE).all()
    assert ((found > 0) & (found < 1)).any()
    assert apart(found > VISIBLE, person) <= 1.5


def test_a_mask_at_the_photos_border():
    person = disc(50, middle=(90, 5))
    found = snapped(photo_of(person), disc(47, middle=(90, 5)), REACH)
    assert apart(found, person) <= 1.5


def test_large_people_are_looked_at_on_a_coarser_grid():
    size = (1201, 1003)
    person = disc(400, size)
    found = snapped(photo_of(person), disc(388, size), 24.0)
    assert apart(found, person) <= 5
    assert (found >= disc(388, size)).all()


def test_outlined_works_on_a_crop_of_the_photo():
    person = disc(30, middle=(60, 150))
    photo, seen = photo_of(person), disc(27, middle=(60, 150))
    box = (123, 33, 178, 88)
    own = seen[33:88, 123:178]
    assert int(own.sum()) == int(seen.sum())
    place, found = outlined(photo, box, own, seen)
    drawn = torch.zeros(SIZE, dtype=torch.bool)
    drawn[place[1] : place[3], place[0] : place[2]] = found
    assert apart(drawn, person) <= 1.5
    assert margin_of(reach_of(box, SIZE)) > reach_of(box, SIZE)
    kept = torch.zeros(SIZE, dtype=torch.bool)
    kept[:50] = True
    place, found = outlined(photo, box, own, seen, (kept, None))
    drawn[:] = False
    drawn[place[1] : place[3], place[0] : place[2]] = found
    assert torch.equal(drawn & kept, seen & kept)
