"""Where a kept person goes on behind erased ones: the silhouette, completed."""

import pytest
import torch

from mild.mild_core.image import boxes
from mild.mild_core.image.growth import VISIBLE
from mild.mild_core.layers.amodal_extent import hidden_extent
from mild.mild_core.layers.holes import Piece
from mild.mild_core.people.from_masks import person_from_mask


def figure(height=120, width=90, left=30, top=12, tall=96):
    """Somebody who stands, drawn by hand: head, body, two legs, bool [height, width]."""
    y = (torch.arange(height).float()[:, None] + 0.5 - top) / tall
    x = (torch.arange(width).float()[None] + 0.5 - left - 0.17 * tall) / tall
    head = (x / 0.06) ** 2 + ((y - 0.075) / 0.075) ** 2 < 1
    body = (x.abs() < 0.13) & (y > 0.16) & (y < 0.55)
    neck = (x.abs() < 0.035) & (y > 0.1) & (y < 0.2)
    legs = ((x.abs() - 0.065).abs() < 0.05) & (y >= 0.5) & (y < 1)
    return head | body | neck | legs


def piece(mask, depth=9.0):
    box = boxes.tight_box(mask)
    own = boxes.cut(mask, box).clone()
    return Piece(box, own, own, depth)


def hide(whole, erased):
    """The person behind what is erased, and the piece of it."""
    return person_from_mask((whole & ~erased).float()), piece(erased)


def full(box, likely, size):
    return boxes.placed(likely, box, boxes.whole(size))


def check(person, pieces, size, **options):
    """What always holds; returns the probability in the photo's frame."""
    box, likely = hidden_extent(size, person, pieces, **options)
    assert boxes.intersection(box, boxes.whole(size)) == box
    assert likely.shape == (boxes.height(box), boxes.width(box))
    assert torch.isfinite(likely).all() and likely.min() >= 0 and likely.max() <= 1
    result = full(box, likely, size)
    seen = full(person.box, person.mask > VISIBLE, size)
    erased = torch.zeros_like(seen)
    for one in pieces:
        erased |= full(one.box, one.hole, size)
    assert (result[seen] == 1).all()
    assert (result[~seen & ~erased] == 0).all()
    assert torch.equal(likely, hidden_extent(size, person, pieces, **options)[1])
    return result


@pytest.mark.parametrize("part", ["right half", "legs", "head", "belly"])
def test_a_hidden_part_is_found(part):
    whole = figure()
    erased = torch.zeros_like(whole)
    place = {
        "right half": (slice(5, 115), slice(48, 80)),
        "legs": (slice(62, 118), slice(20, 80)),
        "head": (slice(2, 32), slice(25, 70)),
        "belly": (slice(40, 70), slice(20, 80)),
    }[part]
    erased[place] = True
    person, front = hide(whole, erased)
    likely = check(person, [front], (120, 90))
    guessed, true = (likely > 0.5) & erased, whole & erased
    assert (guessed & true).sum() / (guessed | true).sum() > 0.45


@pytest.mark.parametrize("scale", [1, 3, 7])
def test_size_does_not_matter(scale):
    whole = figure(120 * scale, 90 * scale, 30 * scale, 12 * scale, 96 * scale)
    erased = torch.zeros_like(whole)
    erased[10 * scale : 116 * scale, 48 * scale : 78 * scale] = True
    person, front = hide(whole, erased)
    likely = check(person, [front], tuple(whole.shape))
    guessed, true = (likely > 0.5) & erased, whole & erased
    assert (guessed & true).sum() / (guessed | true).sum() > 0.45


def test_mirror_images_are_completed_alike():
    whole = figure(width=94)
    erased = torch.zeros_like(whole)
    erased[10:116, 50:80] = True
    one = check(*(lambda p, f: (p, [f]))(*hide(whole, erased)), (120, 94))
    other = check(*(lambda p, f: (p, [f]))(*hide(whole.flip(1), erased.flip(1))), (120, 94))
    assert (one - other.flip(1)).abs().mean() < 0.02


def test_nobody_in_front():
    person = person_from_mask(figure().float())
    box, likely = hidden_extent((120, 90), person, [])
    assert box == person.box and torch.equal(likely, (person.mask > VISIBLE).float())
    far = torch.zeros(120, 400, dtype=torch.bool)
    far[20:60, 350:390] = True
    person = person_from_mask(torch.nn.functional.pad(figure().float(), (0, 310)))
    assert (check(person, [piece(far)], (120, 400)) > 0).sum() == (person.mask > VISIBLE).sum()


@pytest.mark.parametrize("left,top,tall", [(-12, 10, 96), (50, 40, 140), (30, -30, 120), (10, -40, 300)])
def test_people_at_the_border(left, top, tall):
    whole = figure(91, 67, left, top, tall)
    erased = torch.zeros_like(whole)
    erased[30:91, 20:50] = True
    person, front = hide(whole, erased)
    check(person, [front], (91, 67))


def test_what_is_no_person_goes_on_as_it_does():
    """A long low thing: its outline goes on a little, and no body grows out of it."""
    whole = torch.zeros(100, 200, dtype=torch.bool)
    whole[60:80, 20:150] = True
    erased = torch.zeros_like(whole)
    erased[10:95, 100:140] = True
    person, front = hide(whole, erased)
    likely = check(person, [front], (100, 200))
    assert (likely[64:76, 102:110] > 0.5).all()
    assert (likely[10:40] < 0.1).all()


def test_two_pixels_are_enough():
    mask = torch.zeros(40, 50)
    mask[20, 20:22] = 1
    erased = torch.zeros(40, 50, dtype=torch.bool)
    erased[10:40, 22:40] = True
    check(person_from_mask(mask), [piece(erased)], (40, 50))


def test_the_artists_word_is_taken():
    whole = figure()
    erased = torch.zeros_like(whole)
    erased[5:115, 48:80] = True
    person, front = hide(whole, erased)
    stated = torch.zeros(20, 30)
    stated[5:15] = 0.8
    person = person._replace(hidden=stated, hidden_box=(50, 30, 80, 50))
    likely = check(person, [front], (120, 90))
    expected = torch.zeros(120, 90)
    expected[35:45, 50:80] = 0.8
    expected = torch.where(full(person.box, person.mask > VISIBLE, (120, 90)), 1.0, expected * erased)
    assert torch.equal(likely, expected)


def test_limbs_reach_where_joints_say():
    whole = figure(width=140)
    erased = torch.zeros_like(whole)
    erased[20:80, 62:135] = True
    person, front = hide(whole, erased)
    joints = torch.zeros(18, 3)
    joints[1], joints[5], joints[6], joints[7] = (
        torch.tensor(value) for value in ((46.0, 32.0, 1.0), (58.0, 34.0, 1.0), (80.0, 40.0, 1.0), (100.0, 40.0, 1.0))
    )
    before = check(person, [front], (120, 140))
    after = check(person._replace(joints=joints), [front], (120, 140))
    assert (after >= before - 1e-6).all()
    assert after[40, 75:95].min() > 0.5 > before[40, 95]
    unsure = joints.clone()
    unsure[:, 2] = 0
    assert torch.equal(check(person._replace(joints=unsure), [front], (120, 140)), before)


def test_behind_somebody_who_stays_nothing_is_known():
    """A kept neighbour in front is no proof that the person ends there."""
    whole = figure()
    erased = torch.zeros_like(whole)
    erased[62:118, 48:80] = True
    kept = torch.zeros_like(whole)
    kept[62:118, 20:48] = True
    person = person_from_mask((whole & ~erased & ~kept).float())
    other = person_from_mask(kept.float())
    free = check(person, [piece(erased)], (120, 90))
    covered = check(person, [piece(erased)], (120, 90), covered=[other])
    true = whole & erased
    assert covered[true].mean() > free[true].mean()


def joints_of_figure(left=30, top=12, tall=96):
    """OpenPose joints [18, 3] of `figure`."""
    x = [0, 0, -0.1, -0.11, -0.11, 0.1, 0.11, 0.11, -0.06, -0.06, -0.06, 0.06, 0.06, 0.06, -0.02, 0.02, -0.04, 0.04]
    y = [0.08, 0.18, 0.18, 0.35, 0.5, 0.18, 0.35, 0.5, 0.53, 0.75, 0.95, 0.53, 0.75, 0.95, 0.07, 0.07, 0.08, 0.08]
    places = torch.tensor([x, y]).T * tall + torch.tensor([left + 0.17 * tall, float(top)])
    return torch.cat([places, torch.ones(18, 1)], 1)


def lying():
    """Somebody who lies, bool [100, 200], and the joints: the silhouettes know no such people."""
    mask = torch.zeros(100, 200, dtype=torch.bool)
    mask[62:80, 20:38] = True  # head
    mask[58:82, 38:100] = True  # trunk
    mask[62:80, 100:176] = True  # legs
    arm, leg = ([46, 70, 94], [66, 66, 66]), ([96, 132, 168], [72, 72, 72])
    x = [30, 46, *arm[0], *arm[0], *leg[0], *leg[0], 28, 28, 30, 30]
    y = [68, 70, *arm[1], *arm[1], *leg[1], *leg[1], 66, 72, 64, 76]
    return mask, torch.tensor([x, y, [1] * 18]).T.float()


def test_who_lies_goes_on_along_the_joints():
    whole, joints = lying()
    erased = torch.zeros_like(whole)
    erased[10:95, 110:190] = True
    person, front = hide(whole, erased)
    truth = whole & erased
    joints[[9, 10, 12, 13], 2] = 0.4
    more = check(person._replace(joints=joints), [front], (100, 200)) - check(person, [front], (100, 200))
    assert float(more[truth].mean()) > 0.2
    assert float(more[truth].mean()) > 2 * float(more[erased & ~whole].mean())


def test_a_hidden_limb_has_room_however_unsure():
    """A raised arm of which only an inferred wrist is known: the hole reaches there, and nobody is sure of it."""
    whole, joints = figure(), joints_of_figure()
    erased = torch.zeros_like(whole)
    erased[5:60, 60:88] = True
    person, front = hide(whole, erased)
    joints[6] = torch.tensor([64.0, 30.0, 0.4])
    joints[7] = torch.tensor([76.0, 16.0, 0.3])
    likely = check(person._replace(joints=joints), [front], (120, 90))
    assert 0.2 < float(likely[24, 70]) < 0.5
    assert float(likely[24, 70]) > float(check(person, [front], (120, 90))[24, 70])


def test_wild_joints_do_no_harm():
    whole = lying()[0]
    erased = torch.zeros_like(whole)
    erased[10:95, 110:190] = True
    person, front = hide(whole, erased)
    for seed in range(4):
        random = torch.Generator().manual_seed(seed)
        wild = torch.rand(18, 3, generator=random) * torch.tensor([600.0, 500.0, 1.0]) - 200
        wild[:, 2] = wild[:, 2].clamp(0, 1) + 0.3
        check(person._replace(joints=wild), [front], (100, 200))
    check(person._replace(joints=torch.zeros(18, 3)), [front], (100, 200))
