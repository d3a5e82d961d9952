"""Which segment of the body each pixel of a person's layer is."""

import pytest
import torch

from mild.mild_core import scene
from mild.mild_core.morphology.layer_segments import segments_of
from mild.mild_core.morphology.parts import PARTS, SEGMENTS
from mild.tests.unit.test_found import standing

SIZE = (400, 300)
BOX = (60, 21, 243, 398)  # the layer's crop, of odd size
HEIGHT, WIDTH = BOX[3] - BOX[1], BOX[2] - BOX[0]
LEFT_WRIST, LEFT_ELBOW = 7, 6


def joints_at(x=150, y=40, tall=330):
    return standing(x, y, tall).joints


def layer(hole=None, likely=None, alpha=None):
    """A person's layer at BOX: she fills the crop unless told otherwise; hole [h, w]: nothing by default."""
    hole = torch.zeros(HEIGHT, WIDTH) if hole is None else hole
    alpha = torch.ones(HEIGHT, WIDTH) * (hole <= 0) if alpha is None else alpha
    return scene.Layer(
        id="1/person-1",
        name="Ada",
        photo=0,
        domain=scene.PERSON,
        number=1,
        box=BOX,
        pixels=torch.zeros(HEIGHT, WIDTH, 3),
        hole=hole,
        allowed=hole <= 0,
        alpha=alpha,
        rank=0.0,
        size_mode="balanced",
        likely=torch.ones(HEIGHT, WIDTH) if likely is None else likely,
    )


def body(joints=None, parts=None, sure=None, parts_box=(0, 0, 300, 400)):
    mask = torch.ones(SIZE)
    return scene.Body(
        1,
        "Ada",
        False,
        (0, 0, SIZE[1], SIZE[0]),
        mask,
        joints=joints,
        parts=parts,
        parts_box=None if parts is None else parts_box,
        parts_sure=sure,
    )


def at(segments, joint):
    """The segment at a place in pixels of the photo."""
    return SEGMENTS[int(segments[int(joint[1]) - BOX[1], int(joint[0]) - BOX[0]])]


def middle(joints, one, other, share=0.5):
    return joints[one, :2] * (1 - share) + joints[other, :2] * share


def test_every_label_is_understood():
    joints = joints_at()
    for label, name in enumerate(PARTS):
        found = segments_of(layer(), body(joints, torch.full(SIZE, label, dtype=torch.uint8)))
        assert found is not None, name
    worn = {"hair": "head", "left shoe": "foot", "belt": "torso"}
    for name, segment in worn.items():
        found = segments_of(layer(), body(joints, torch.full(SIZE, PARTS.index(name), dtype=torch.uint8)))
        assert (found == SEGMENTS.index(segment)).all()


def test_without_parsing_the_nearest_limb_tells():
    joints = joints_at()
    found = segments_of(layer(), body(joints))
    assert found.shape == (HEIGHT, WIDTH) and found.dtype == torch.uint8
    assert at(found, joints[0]) == "head"
    assert at(found, middle(joints, 5, 6, 0.6)) == "upper arm" and at(found, middle(joints, 6, 7)) == "lower arm"
    assert at(found, middle(joints, 8, 9, 0.6)) == "upper leg" and at(found, middle(joints, 9, 10)) == "lower leg"
    assert at(found, joints[10, :2] + torch.tensor([0, 12.0])) == "foot"
    assert at(found, (joints[1, :2] + (joints[8, :2] + joints[11, :2]) / 2) / 2) == "torso"
    assert found[0, 0] == 0  # far from every limb


def test_left_is_what_right_is():
    joints = joints_at()
    mirrored = joints.clone()
    mirrored[:, 0] = 300 - joints[:, 0]
    first, second = segments_of(layer(), body(joints)), segments_of(layer(), body(mirrored))
    flipped = torch.zeros_like(first)
    for x in range(WIDTH):  # the photo is mirrored about x = 150; the crop is not
        other = 299 - (x + BOX[0]) - BOX[0]
        if 0 <= other < WIDTH:
            flipped[:, x] = second[:, other]
    inside = flipped > 0
    assert (first == flipped)[inside].float().mean() > 0.97


def test_parsing_overrules_the_skeleton_where_she_is_seen():
    joints = joints_at()
    parts = torch.zeros(SIZE, dtype=torch.uint8)
    parts[:, :] = PARTS.index("hair")
    found = segments_of(layer(), body(joints, parts))
    assert (found == SEGMENTS.index("head")).all()
    hole = torch.zeros(HEIGHT, WIDTH)
    hole[:, WIDTH // 2 :] = 1
    partly = segments_of(layer(hole), body(joints, parts))
    assert (partly[:, : WIDTH // 2] == SEGMENTS.index("head")).all()
    limb = segments_of(layer(), body(joints))
    near = (hole > 0) & (limb > 0)
    assert near.any() and torch.equal(partly[near], limb[near])
    unsure = segments_of(layer(), body(joints, parts, torch.full(SIZE, 0.1)))
    assert torch.equal(unsure, segments_of(layer(), body(joints)))


def test_a_sleeve_is_divided_from_the_coat_by_the_skeleton():
    joints = joints_at()
    parts = torch.full(SIZE, PARTS.index("coat"), dtype=torch.uint8)
    found = segments_of(layer(), body(joints, parts))
    assert at(found, middle(joints, 5, 6, 0.6)) == "upper arm" and at(found, middle(joints, 6, 7, 0.6)) == "lower arm"
    assert at(found, (joints[1, :2] + (joints[8, :2] + joints[11, :2]) / 2) / 2) == "torso"
    assert at(found, joints[0]) != "head"  # a coat is none
    assert at(segments_of(layer(), body(None, parts)), joints[0]) == "torso"


def test_a_parsing_of_less_than_the_photo_lies_where_its_box_says():
    parts = torch.full((50, 40), PARTS.index("face"), dtype=torch.uint8)
    found = segments_of(layer(), body(None, parts, parts_box=(100, 30, 140, 80)))
    expected = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    expected[30 - BOX[1] : 80 - BOX[1], 100 - BOX[0] : 140 - BOX[0]] = SEGMENTS.index("head")
    assert torch.equal(found, expected)


def test_hidden_parts_follow_the_completed_skeleton_else_what_is_beside():
    joints = joints_at()
    hole = torch.zeros(HEIGHT, WIDTH)
    hole[:, 93:] = 1  # her left half is hidden
    whole = segments_of(layer(hole), body(joints))
    assert at(whole, middle(joints, LEFT_ELBOW, LEFT_WRIST)) == "lower arm"

    parts = torch.full(SIZE, PARTS.index("torso"), dtype=torch.uint8)
    parts[200:] = PARTS.index("left upper leg")
    beside = segments_of(layer(hole), body(None, parts))
    assert (beside[:175, 93:105] == SEGMENTS.index("torso")).all()
    assert (beside[185:, 93:105] == SEGMENTS.index("upper leg")).all()


def test_what_is_hardly_hers_is_unknown():
    hole = torch.ones(HEIGHT, WIDTH)
    likely = torch.zeros(HEIGHT, WIDTH)
    likely[100:200] = 0.9
    found = segments_of(layer(hole, likely), body(joints_at()))
    assert (found[likely < 0.5] == 0).all() and (found[likely > 0.5] > 0).any()
    alpha = torch.zeros(HEIGHT, WIDTH)
    alpha[100:150] = 1
    found = segments_of(layer(alpha=alpha), body(joints_at()))
    assert (found[alpha == 0] == 0).all() and (found[alpha > 0] > 0).any()


@pytest.mark.parametrize("x, y, tall", [(5000, -9000, 300), (-700, 40, 330), (150, 40, 0.5)])
def test_wild_skeletons_tell_nothing_or_little(x, y, tall):
    found = segments_of(layer(), body(joints_at(x, y, tall)))
    assert found is None or (found > 0).float().mean() < 0.05


def test_nothing_known_is_none():
    assert segments_of(layer(), body()) is None
    assert segments_of(layer(), body(torch.zeros(18, 3))) is None
    assert segments_of(layer(), body(None, torch.zeros(SIZE, dtype=torch.uint8))) is None
