"""Joints that somebody erased hides are inferred; nothing else is touched."""

import pytest
import torch

from mild.mild_core.body.body_shape import LIMBS, body_height
from mild.mild_core.body.hidden_joints import BETWEEN, DOUBTFUL, MOST_CONFIDENCE, with_hidden_joints
from mild.mild_core.body.poses import (
    JOINTS,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_WRIST,
    NECK,
    R_ANKLE,
    R_ELBOW,
    R_KNEE,
    R_WRIST,
    SEEN,
)
from mild.mild_core.body.standing_poses import poses

SIZE = (400, 300)
WHOLE = (0, 0, 300, 400)
MIRRORED = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]


def standing(height=300.0, middle=(150.0, 200.0), confidence=0.9):
    """Somebody upright, seen from the front, arms a little away from the body: drawn by hand."""
    x = [0, 0, -0.11, -0.15, -0.17, 0.11, 0.15, 0.17, -0.07, -0.07, -0.07, 0.07, 0.07, 0.07, -0.02, 0.02, -0.04, 0.04]
    arm, leg = [-0.2, -0.02, 0.12], [0.1, 0.33, 0.55]
    y = [-0.31, -0.2, *arm, *arm, *leg, *leg, -0.33, -0.33, -0.32, -0.32]
    places = torch.tensor([x, y]).T * height + torch.tensor(middle)
    return torch.cat([places, torch.full((JOINTS, 1), confidence)], 1)


def without(joints, *missing):
    joints = joints.clone()
    joints[list(missing)] = 0
    return joints


def rectangle(x0, y0, x1, y1, size=SIZE):
    mask = torch.zeros(size)
    mask[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = 1
    return (0, 0, size[1], size[0]), mask


def around(joints, *which, reach=30):
    """A mask of the photo that covers these joints."""
    low, high = joints[list(which), :2].amin(0) - reach, joints[list(which), :2].amax(0) + reach
    return rectangle(*low.int().tolist(), *high.int().tolist())


NOTHING = (WHOLE, torch.zeros(SIZE))


def check(given, visible, hiding, size=SIZE):
    """What always holds; returns joints and which are inferred."""
    before = given.clone()
    joints, inferred = with_hidden_joints(given, visible, hiding, size)
    assert torch.equal(given, before) or given.isnan().any()
    assert joints.shape == (JOINTS, 3) and joints.dtype == given.dtype
    assert inferred.shape == (JOINTS,) and inferred.dtype == torch.bool
    kept = ~inferred
    assert torch.equal(joints[kept].nan_to_num(-7), given[kept].nan_to_num(-7))
    for joint in inferred.nonzero()[:, 0].tolist():
        x, y, confidence = joints[joint].tolist()
        assert SEEN < confidence <= MOST_CONFIDENCE
        assert 0 <= x < size[1] and 0 <= y < size[0]

        def on(area, column=int(x), row=int(y)):
            (x0, y0, x1, y1), mask = area
            return x0 <= column < x1 and y0 <= row < y1 and float(mask[row - y0, column - x0]) > 0.5

        if on(visible):
            assert joint in BETWEEN and inferred[BETWEEN[joint][1]]
        else:
            assert any(on(area) for area in hiding)
    return joints, inferred


@pytest.mark.parametrize(
    "missing", [(R_ELBOW, R_WRIST), (L_WRIST,), (L_KNEE, L_ANKLE), (R_ANKLE,), (NECK,), (R_WRIST, L_ANKLE)]
)
def test_hidden_joints_are_found_where_they_are(missing):
    truth = standing()
    joints, inferred = check(without(truth, *missing), NOTHING, [around(truth, *missing)])
    assert inferred.nonzero()[:, 0].tolist() == sorted(missing)
    error = (joints[list(missing), :2] - truth[list(missing), :2]).norm(dim=1) / 300
    assert float(error.max()) < 0.1


def test_raised_arms_are_inferred_raised():
    """The seen arm, mirrored, and the seen part of the hidden one both count: not where arms hang."""
    truth, hanging = standing(), standing()
    for wrist, elbow, side in ((R_WRIST, R_ELBOW, -1), (L_WRIST, L_ELBOW, 1)):
        truth[elbow, :2] = torch.tensor([150 + side * 85.0, 130.0])
        truth[wrist, :2] = torch.tensor([150 + side * 125.0, 110.0])
    everywhere = [(WHOLE, torch.ones(SIZE))]
    for missing, share in (((R_ELBOW, R_WRIST), 0.85), ((R_WRIST,), 0.5)):
        joints, inferred = check(without(truth, *missing), NOTHING, everywhere)
        for joint in missing:
            assert inferred[joint]
            off = (joints[joint, :2] - truth[joint, :2]).norm()
            assert off < share * (hanging[joint, :2] - truth[joint, :2]).norm()


def test_masks_say_on_which_side_a_wrist_is():
    truth = standing()
    given = without(truth, R_WRIST)
    x, y = truth[R_WRIST, :2].int().tolist()
    left, _ = check(given, NOTHING, [rectangle(x - 60, y - 60, x - 8, y + 60)])
    right, _ = check(given, NOTHING, [rectangle(x + 8, y - 60, x + 60, y + 60)])
    assert left[R_WRIST, 0] < x - 8 and right[R_WRIST, 0] >= x + 8


def test_nobody_erased_nothing_inferred():
    given = without(standing(), R_WRIST, L_ANKLE)
    for hiding in ([], [((5, 5, 5, 5), torch.zeros(0, 0))], [NOTHING], [rectangle(0, 0, 20, 20)]):
        joints, inferred = check(given, NOTHING, hiding)
        assert torch.equal(joints, given) and not inferred.any()


def test_a_joint_on_the_own_body_or_outside_the_photo_is_not_hidden():
    truth = standing()
    given = without(truth, R_WRIST)
    place = around(truth, R_WRIST)
    assert check(given, NOTHING, [place])[1].any()
    _, inferred = check(given, (WHOLE, place[1].clone()), [place])  # the person is seen all over there
    assert not inferred.any()
    low = standing(middle=(150.0, 300.0))  # feet below the lower edge
    _, inferred = check(without(low, R_ANKLE, L_ANKLE), NOTHING, [rectangle(100, 380, 200, 400)])
    assert not inferred.any()


def test_an_elbow_missed_on_the_own_body_leads_to_the_hidden_wrist():
    truth = standing()
    given = without(truth, R_ELBOW, R_WRIST)
    own = around(truth, R_ELBOW, reach=25)
    joints, inferred = check(given, own, [around(truth, R_WRIST)])
    assert inferred.nonzero()[:, 0].tolist() == [R_ELBOW, R_WRIST]
    assert float((joints[R_ELBOW, :2] - truth[R_ELBOW, :2]).norm()) < 30
    assert joints[R_ELBOW, 2] <= joints[R_WRIST, 2]
    _, neither = check(given, own, [around(truth, L_ANKLE)])
    assert not neither.any()  # without a hidden wrist there is nothing that it would lead to


def test_people_without_a_pose_or_with_next_to_none():
    hiding = [(WHOLE, torch.ones(SIZE))]
    for given in (torch.zeros(JOINTS, 3), without(standing(), *range(3, JOINTS)), torch.full((JOINTS, 3), torch.nan)):
        joints, inferred = check(given, NOTHING, hiding)
        assert not inferred.any() and torch.equal(joints.nan_to_num(), given.nan_to_num())


def test_a_doubtful_joint_on_who_goes_is_guessed_anew_and_a_sure_one_stays():
    truth = standing()
    given = truth.clone()
    given[R_WRIST] = torch.tensor([110.0, 330.0, DOUBTFUL - 0.05])  # a knee of the person who goes
    hiding = [rectangle(60, 180, 130, 345)]
    joints, inferred = check(given, NOTHING, hiding)
    assert inferred[R_WRIST]
    assert (joints[R_WRIST] - truth[R_WRIST])[:2].norm() < 0.5 * (given[R_WRIST] - truth[R_WRIST])[:2].norm()
    given[R_WRIST, 2] = DOUBTFUL + 0.05
    joints, inferred = check(given, NOTHING, hiding)
    assert not inferred[R_WRIST]


def test_confidence_falls_with_what_is_guessed():
    truth = standing()
    everywhere = [(WHOLE, torch.ones(SIZE))]
    few, _ = check(without(truth, R_WRIST), NOTHING, everywhere)
    many, _ = check(without(truth, R_ELBOW, R_WRIST, L_ELBOW, L_WRIST), NOTHING, everywhere)
    unsure, _ = check(without(standing(confidence=0.4), R_WRIST), NOTHING, everywhere)
    assert many[R_WRIST, 2] < few[R_WRIST, 2]
    assert unsure[R_WRIST, 2] < few[R_WRIST, 2]


@pytest.mark.parametrize("scale", [0.2, 3.0])
def test_size_and_place_do_not_matter(scale):
    truth = standing()
    given = without(truth, R_ELBOW, R_WRIST, L_ANKLE)
    box, mask = around(truth, R_ELBOW, R_WRIST, L_ANKLE)
    joints, inferred = check(given, NOTHING, [(box, mask)])
    size = (round(400 * scale), round(300 * scale))
    larger = torch.nn.functional.interpolate(mask[None, None], size=size, mode="nearest")[0, 0]
    scaled = given * torch.tensor([scale, scale, 1.0])
    frame = (0, 0, size[1], size[0])
    again, too = check(scaled, (frame, torch.zeros(size)), [(frame, larger)], size)
    assert torch.equal(inferred, too)
    assert (again[inferred, :2] / scale - joints[inferred, :2]).abs().max() < 0.02 * 300


def test_mirror_images_are_inferred_alike():
    truth = standing()
    truth[L_WRIST, :2] = torch.tensor([190.0, 120.0])
    given = without(truth, R_ELBOW, R_WRIST)
    box, mask = around(truth, R_ELBOW, R_WRIST)
    joints, inferred = check(given, NOTHING, [(box, mask)])
    other = given[MIRRORED].clone()
    seen = other[:, 2] > 0
    other[seen, 0] = 300 - other[seen, 0]
    again, too = check(other, NOTHING, [(box, mask.flip(1))])
    assert torch.equal(inferred, too[MIRRORED])
    back = again[MIRRORED][inferred, :2]
    assert (300 - back[:, 0] - joints[inferred, 0]).abs().max() < 2
    assert (back[:, 1] - joints[inferred, 1]).abs().max() < 2


def test_somebody_lying_is_turned_upright():
    truth = standing(200.0, (150.0, 200.0))
    turned = truth.clone()
    turned[:, 0], turned[:, 1] = 150 - (truth[:, 1] - 200), 200 + (truth[:, 0] - 150)
    everywhere = [(WHOLE, torch.ones(SIZE))]
    joints, inferred = check(without(turned, L_KNEE, L_ANKLE), NOTHING, everywhere)
    assert inferred[[L_KNEE, L_ANKLE]].all()
    assert (joints[[L_KNEE, L_ANKLE], :2] - turned[[L_KNEE, L_ANKLE], :2]).norm(dim=1).max() < 0.1 * 200


def test_limbs_are_no_longer_than_they_can_be():
    truth = standing()
    far = rectangle(0, 0, 40, 400)  # the only place where somebody hides is far from the arm
    joints, inferred = check(without(truth, R_ELBOW, R_WRIST, R_KNEE, R_ANKLE), NOTHING, [far])
    height = body_height(truth)
    for start, end, share, _, _ in LIMBS:
        if inferred[end]:
            assert (joints[start, :2] - joints[end, :2]).norm() <= 1.3 * share * height


def test_masks_in_their_boxes_of_any_kind():
    """Bool or float, cropped or whole: the same answer."""
    truth = standing()
    given = without(truth, R_ELBOW, R_WRIST)
    box, mask = around(truth, R_ELBOW, R_WRIST)
    ys, xs = mask.nonzero().unbind(1)
    tight = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    cropped = mask[tight[1] : tight[3], tight[0] : tight[2]]
    expected = check(given, NOTHING, [(box, mask)])
    for hiding in ([(tight, cropped)], [(tight, cropped > 0)], [(tight, cropped), NOTHING], [(box, mask), (box, mask)]):
        again = check(given, NOTHING, hiding)
        assert torch.equal(again[0], expected[0]) and torch.equal(again[1], expected[1])


@pytest.mark.parametrize("seed", range(12))
def test_wild_joints(seed):
    """Joints far outside, all in one place, not finite, of tiny confidence: never an error, always within the masks."""
    random = torch.Generator().manual_seed(seed)
    given = torch.rand(JOINTS, 3, generator=random) * torch.tensor([900.0, 900.0, 1.0]) - torch.tensor([300.0, 300, 0])
    if seed % 4 == 1:
        given[:, :2] = 77.0
    if seed % 4 == 2:
        given[torch.rand(JOINTS, generator=random) < 0.3, 0] = [torch.nan, torch.inf, -1e30][seed % 3]
    if seed % 4 == 3:
        given[:, :2] *= 1e6
    given[torch.rand(JOINTS, generator=random) < 0.4, 2] = 0
    hiding = [(WHOLE, (torch.rand(SIZE, generator=random) < 0.5).float()), rectangle(20, 30, 200, 300)]
    check(given, rectangle(100, 100, 220, 300), hiding)


def test_the_statistics_are_symmetric_and_sound():
    model = poses()
    assert model.mean.shape == (2, JOINTS) and model.covariance.shape == (2, JOINTS, JOINTS)
    assert model.mean[0].abs().max() < 1e-3  # seen from all sides: nobody's left is left
    assert torch.allclose(model.mean[1], model.mean[1][MIRRORED], atol=1e-3)
    for table in model.covariance:
        assert torch.allclose(table, table.T, atol=1e-6)
        assert torch.allclose(table, table[MIRRORED][:, MIRRORED], atol=1e-3)
        assert torch.linalg.eigvalsh(table).min() > -1e-5
    assert model.mean[1, L_ANKLE] > model.mean[1, L_HIP] > model.mean[1, NECK]
