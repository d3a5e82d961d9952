"""People, poses and label maps become one Morphology for each photo."""

import pytest
import torch

from mild.mild_core.body.body_parts import PARTS
from mild.mild_core.body.parsers.parsed import Parsed
from mild.mild_core.body.poses import L_ELBOW, L_WRIST, Pose
from mild.mild_core.body.read_bodies import read_bodies
from mild.mild_core.body.relations import OWN, PAIRS
from mild.mild_core.people.from_masks import person_from_mask
from mild.tests.helpers.bodies import mask_of, standing

SIZE = (240, 400)


def occluded(erased=True, rank=True):
    """A kept person whose left arm somebody (a post, as wide as the arm) hides, and the joints that are seen."""
    joints = standing(120)
    post = torch.zeros(SIZE)
    post[30:235, 133:165] = 1
    kept = person_from_mask(mask_of(joints, SIZE) * (1 - post))._replace(number=1, name="Ada")
    hiding = person_from_mask(post)._replace(number=2, name="Post", erased=erased)
    if rank:
        kept, hiding = kept._replace(rank=0.0), hiding._replace(rank=1.0)
    x, y = joints[:, 0].long(), joints[:, 1].long()
    joints[post[y, x] > 0, 2] = 0
    return kept, hiding, joints


def test_an_arm_behind_somebody_erased_is_inferred():
    kept, hiding, joints = occluded()
    (morphology,) = read_bodies([kept, hiding], [SIZE], [[Pose(joints)]])
    ada, post = morphology.bodies
    assert ada.inferred[[L_ELBOW, L_WRIST]].all() and post.joints is None
    assert (ada.joints[ada.inferred, 2] <= 0.5).all() and (ada.joints[ada.inferred, 2] > 0).all()
    seen = joints[:, 2] > 0
    assert not ada.inferred[seen].any()
    assert torch.equal(ada.joints[seen, :2], joints[seen, :2])
    assert float(morphology.own[0, OWN.index("hidden share")]) > 0
    assert float(morphology.pairs[0, 1, PAIRS.index("other erased")]) == 1
    assert float(morphology.pairs[0, 1, PAIRS.index("in front")]) == -1


def test_nothing_is_inferred_behind_those_who_stay_or_stand_farther():
    kept, hiding, joints = occluded(erased=False)
    assert not read_bodies([kept, hiding], [SIZE], [[Pose(joints)]])[0].bodies[0].inferred.any()
    kept, hiding, joints = occluded()
    people = [kept._replace(rank=1.0), hiding._replace(rank=0.0)]
    assert not read_bodies(people, [SIZE], [[Pose(joints)]])[0].bodies[0].inferred.any()


def test_without_anything_connected_bodies_have_their_places():
    kept, hiding, joints = occluded(rank=False)
    (morphology,) = read_bodies([hiding, kept._replace(joints=joints)], [SIZE])
    assert [body.number for body in morphology.bodies] == [1, 2]
    assert morphology.bodies[0].mask is kept.mask and morphology.bodies[0].parts is None
    assert morphology.bodies[0].joints is not None and morphology.bodies[1].joints is None
    assert morphology.size == SIZE and morphology.nobody == ()
    assert morphology.own.shape == (2, len(OWN)) and morphology.pairs.shape == (2, 2, len(PAIRS))


def test_photos_of_a_batch_are_kept_apart():
    first, second = standing(100), standing(300)
    people = [
        person_from_mask(mask_of(first, SIZE), 0)._replace(number=1),
        person_from_mask(mask_of(second, SIZE), 1)._replace(number=1),
    ]
    read = read_bodies(people, [SIZE, SIZE, SIZE], [[Pose(first)], [Pose(first), Pose(second)], [Pose(first)]])
    assert [one.photo for one in read] == [0, 1, 2]
    assert [len(one.bodies) for one in read] == [1, 1, 0]
    assert [len(one.nobody) for one in read] == [0, 1, 1]
    assert torch.equal(read[1].bodies[0].joints[:, :2], second[:, :2])
    assert torch.equal(read[1].nobody[0], first) and read[2].own.shape == (0, len(OWN))


def test_people_found_at_another_size_are_brought_to_the_photo():
    joints = standing(100)
    person = person_from_mask(mask_of(joints, SIZE))._replace(number=1, joints=joints)
    twice = (2 * SIZE[0], 2 * SIZE[1])
    (morphology,) = read_bodies([person], [twice])
    assert morphology.bodies[0].box == tuple(2 * side for side in person.box)
    assert torch.allclose(morphology.bodies[0].joints[:, :2], 2 * joints[:, :2])


def test_parts_connected_count_before_those_of_a_parser():
    joints = standing(100)
    mask = mask_of(joints, SIZE)
    person = person_from_mask(mask)._replace(number=1)
    shirt, clothes = PARTS.index("upper clothes"), PARTS.index("clothes")
    upper = (mask * shirt).to(torch.uint8)
    upper[120:] = 0
    own = (person.mask * clothes).to(torch.uint8)
    parsed = Parsed(person.box, own, person.mask * 0.8, joints)
    (morphology,) = read_bodies([person], [SIZE], parsing=upper[None], parsed=[parsed])
    body = morphology.bodies[0]
    x0, y0, x1, y1 = body.parts_box
    assert body.parts_box == person.box
    assert torch.equal(body.parts == shirt, upper[y0:y1, x0:x1] == shirt)
    assert set(body.parts.unique().tolist()) == {0, shirt, clothes}
    assert torch.equal(body.parts_sure > 0, body.parts > 0)
    assert torch.equal(body.joints[:, :2], joints[:, :2])  # the parser's
    theirs = read_bodies([person._replace(joints=joints + 1)], [SIZE], parsed=[parsed])[0].bodies[0]
    assert torch.equal(theirs.joints[:, :2], joints[:, :2] + 1)  # Find People's stay


def test_hands_and_face_come_along():
    joints = standing(100)
    hands = torch.tensor([100.0, 120.0, 0.8]).repeat(2, 21, 1)
    hands[1, 5] = torch.tensor([1e9, float("nan"), 1.0])
    face = torch.tensor([100.0, 65.0, 0.7]).repeat(70, 1)
    person = person_from_mask(mask_of(joints, SIZE))._replace(number=1)
    body = read_bodies([person], [SIZE], [[Pose(joints, hands, face)]])[0].bodies[0]
    assert body.hands.isfinite().all() and body.hands[1, 5, 2] == 0 and body.hands[0, 0, 2] > 0.5
    assert body.face.shape == (70, 3) and (body.face[:, 2] > 0.5).all()


def test_a_filled_box_is_less_sure_than_an_outline():
    person = person_from_mask(mask_of(standing(100), SIZE))._replace(number=1)
    boxed = person._replace(mask=torch.ones_like(person.mask))
    (one,), (other,) = (read_bodies([who], [SIZE])[0].bodies for who in (person, boxed))
    assert other.sure < one.sure == 1


def test_nobody_in_nothing():
    (morphology,) = read_bodies([], [SIZE], [[]], torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4))
    assert morphology.bodies == () and morphology.nobody == ()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (41, 60), (301, 77)])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e9, 1e9, -1.0, 0.0])
def test_wild_joints_of_ragged_masks_stay_finite_and_in_bounds(size, value):
    random = torch.Generator().manual_seed(size[0])
    people, poses = [], []
    for number in range(1, 5):
        joints = torch.rand(18, 3, generator=random) * torch.tensor([size[1] * 1.5, size[0] * 1.5, 1.2])
        joints[torch.rand(18, 3, generator=random) > 0.7] = value
        poses.append(Pose(joints, torch.full((2, 21, 3), value), torch.full((70, 3), value)))
        mask = (torch.rand(size, generator=random) > 0.3).float()
        mask[-1, -1] = 1
        own = joints.flip(0) if number % 2 else None
        people.append(person_from_mask(mask)._replace(number=number, erased=number == 2, joints=own))
    parsing = torch.randint(0, len(PARTS), (1, 17, 33), generator=random, dtype=torch.uint8)
    (morphology,) = read_bodies(people, [size], [poses], parsing, torch.full((1, 5, 5), value))
    assert morphology.own.isfinite().all() and morphology.pairs.isfinite().all()
    for joints in morphology.nobody:
        assert joints.isfinite().all()
    for body in morphology.bodies:
        for values in (body.joints, body.hands, body.face, body.parts_sure):
            assert values is None or (values.isfinite().all() and (values[..., -1] >= 0).all())
        if body.joints is not None:
            place, sure = body.joints[:, :2], body.joints[:, 2]
            assert (sure <= 1).all() and (place >= 0).all()
            assert (place[:, 0] < size[1]).all() and (place[:, 1] < size[0]).all()


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"sizes": []}, "people"),
        ({"poses": [[], []]}, "poses"),
        ({"depth": torch.zeros(3, 4, 4)}, "depth"),
        ({"parsing": torch.zeros(3, 4, 4, dtype=torch.uint8)}, "parsing"),
    ],
)
def test_counts_that_do_not_fit_are_refused_in_the_sockets_words(given, word):
    person = person_from_mask(mask_of(standing(100), SIZE))._replace(number=1)
    with pytest.raises(ValueError, match=f"^{word}: "):
        read_bodies(**({"people": [person], "sizes": [SIZE]} | given))
