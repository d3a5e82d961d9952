"""Split into layers with what is known of bodies: joints, and refusals in the artist's words."""

import pytest
import torch

from mild.mild_core.body.poses import Pose
from mild.mild_core.body.read_bodies import read_bodies
from mild.mild_core.image import boxes
from mild.mild_core.layers.decompose import SplitOptions, decompose
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.selection import choose
from mild.mild_core.scene import BACKGROUND, PERSON

SIZE = (241, 301)


def joints_at(left, top=30.0, tall=180.0):
    """OpenPose joints [18, 3] of somebody upright."""
    x = [0, 0, -0.1, -0.12, -0.13, 0.1, 0.12, 0.13, -0.06, -0.06, -0.06, 0.06, 0.06, 0.06, -0.02, 0.02, -0.04, 0.04]
    arm, leg = [0.18, 0.35, 0.49], [0.53, 0.75, 0.95]
    y = [0.08, 0.18, *arm, *arm, *leg, *leg, 0.07, 0.07, 0.08, 0.08]
    places = torch.tensor([x, y]).T * tall + torch.tensor([left, top])
    return torch.cat([places, torch.ones(18, 1)], 1)


def figure(left, top=30, tall=180):
    """A person's mask [241, 301]: head, trunk with arms, legs."""
    y = (torch.arange(SIZE[0]).float()[:, None] + 0.5 - top) / tall
    x = (torch.arange(SIZE[1]).float()[None] + 0.5 - left) / tall
    head = (x / 0.06) ** 2 + ((y - 0.075) / 0.075) ** 2 < 1
    body = (x.abs() < 0.16) & (y > 0.13) & (y < 0.55)
    legs = ((x.abs() - 0.065).abs() < 0.05) & (y >= 0.5) & (y < 1)
    return (head | body | legs).float()


def scene_of(count=1, who="2"):
    """A photo in which Person 2, nearer, hides one side of Person 1; both have poses, of what is seen of them."""
    near = figure(150, 40, 190)
    far = figure(100) * (near == 0)
    people = []
    for photo in range(count):
        people += [person_from_mask(far, photo), person_from_mask(near, photo)]
    people = choose(numbered(people), who)
    hidden = joints_at(100)
    covered = near[hidden[:, 1].long(), hidden[:, 0].long()] > 0
    hidden[covered] = 0
    poses = [[Pose(hidden, None, None), Pose(joints_at(150, 40.0, 190.0), None, None)] for _ in range(count)]
    photos = torch.rand(count, *SIZE, 3, generator=torch.Generator().manual_seed(1))
    return photos, people, read_bodies(people, [SIZE] * count, poses), covered


def split(photos, people, morphology=None, **options):
    return decompose(photos, people, options=SplitOptions(snap=False, **options), morphology=morphology)


@pytest.mark.parametrize("count", [1, 2])
def test_bodies_reach_scenes(count):
    photos, people, morphology, _ = scene_of(count)
    for photo, scene in enumerate(split(photos, people, morphology)):
        assert scene.morphology is morphology[photo]
        assert [layer.domain for layer in scene.layers] == [BACKGROUND, PERSON]


def test_hidden_joints_are_inferred_and_make_room():
    photos, people, morphology, covered = scene_of()
    body = morphology[0].bodies[0]
    assert covered.any() and body.inferred.any() and not (body.inferred & ~covered).any()
    plain, known = (split(photos, people, given)[0].layers[-1] for given in (None, morphology))
    assert known.id == plain.id
    frame = boxes.whole(SIZE)
    holes = [boxes.placed(layer.hole, layer.box, frame) > 0 for layer in (plain, known)]
    assert (holes[0] <= holes[1]).all()
    for x, y in body.joints[body.inferred, :2].long().tolist():
        assert holes[1][y, x]


def test_joints_of_the_morphology_win_over_the_peoples_own():
    photos, people, morphology, _ = scene_of()
    wild = torch.rand(18, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([300.0, 240.0, 1.0])
    strange = [person._replace(joints=wild) for person in people]
    one, other = (split(photos, given, morphology)[0].layers for given in (people, strange))
    for first, second in zip(one, other, strict=True):
        assert first.box == second.box and torch.equal(first.hole, second.hole)


def test_without_poses_nothing_changes_but_the_scene():
    photos, people, _, _ = scene_of()
    morphology = read_bodies(people, [SIZE])
    plain, known = (split(photos, people, given)[0] for given in (None, morphology))
    assert plain.morphology is None and known.morphology is morphology[0]
    for first, second in zip(plain.layers, known.layers, strict=True):
        assert first.box == second.box
        for field in ("pixels", "hole", "allowed", "alpha"):
            assert torch.equal(getattr(first, field), getattr(second, field))


def test_full_plate_and_nobody_going():
    photos, people, morphology, _ = scene_of(who="none")
    scene = split(photos, people, morphology, full_plate=True)[0]
    assert [layer.domain for layer in scene.layers].count(PERSON) == 2
    assert split(photos, people, morphology)[0].layers == ()


def another_size(morphology, people):
    return [morphology[0]._replace(size=(240, 301))], people


def two_photos(morphology, people):
    return morphology * 2, people


def a_stranger(morphology, people):
    return morphology, [*people[:1], people[1]._replace(number=3)]


def one_less(morphology, people):
    return morphology, people[1:]


def another_choice(morphology, people):
    return morphology, [person._replace(erased=not person.erased) for person in people]


def elsewhere(morphology, people):
    body = morphology[0].bodies[0]
    return [morphology[0]._replace(bodies=(body._replace(box=(0, 0, 9, 9)), *morphology[0].bodies[1:]))], people


@pytest.mark.parametrize(
    "change,words",
    [
        (another_size, "301 x 240"),
        (two_photos, "2 photos"),
        (a_stranger, "person 2"),
        (one_less, "person 1"),
        (another_choice, "Choose People"),
        (elsewhere, "stands elsewhere"),
    ],
)
def test_bodies_of_something_else_are_refused(change, words):
    photos, people, morphology, _ = scene_of()
    morphology, people = change(morphology, people)
    with pytest.raises(ValueError, match=f"^morphology: .*{words}"):
        split(photos, people, morphology)
