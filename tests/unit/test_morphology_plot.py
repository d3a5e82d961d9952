"""Previews of bodies: the right size, signs where they belong, hidden joints other than seen ones, a legend of what
occurs and of nothing else.
"""

import pytest
import torch

from mild.mild_core.body.body_parts import PART_COLOURS, PARTS
from mild.mild_core.body.parsers.parsed import Parsed
from mild.mild_core.body.poses import L_ELBOW, L_SHOULDER, L_WRIST, Pose
from mild.mild_core.body.read_bodies import read_bodies
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.preview import morphology_legend, morphology_plot, skeleton_marks
from mild.mild_core.preview.morphology_legend import Signs, legend
from mild.mild_core.preview.morphology_plot import preview_morphology
from mild.mild_core.preview.overlay import LONGEST
from mild.tests.unit.test_found import standing

SIZE = (300, 400)


def person(box, size=SIZE, erased=False, photo=0):
    mask = torch.zeros(size)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return person_from_mask(mask, photo)._replace(erased=erased)


def couple():
    return numbered([person((80, 30, 190, 280), erased=True), person((180, 40, 290, 290))])


def read(people, size=SIZE, poses=(), parsed=None):
    return read_bodies(people, [size], [[Pose(joints, None, None) for joints in poses]], parsed=parsed)


def halves(one):
    high, wide = one.mask.shape
    parts = torch.full((high, wide), PARTS.index("face"), dtype=torch.uint8)
    parts[high // 2 :] = PARTS.index("left lower leg")
    return Parsed(one.box, parts, torch.ones(high, wide), None)


def scaled(x, y, preview, size=SIZE):
    """A place of the photo in pixels of its preview, whose width it fills."""
    scale = preview.shape[2] / size[1]
    return int(x * scale), int(y * scale)


def changed(first, second):
    """[h, w] bool: where two pictures differ; the legends left away."""
    rows = min(first.shape[1], second.shape[1])
    return (first[0, :rows] - second[0, :rows]).abs().amax(-1) > 0.02


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 200), (301, 407), (900, 7), (2600, 1700)])
def test_sizes_and_channels(size, channels):
    left = size[1] // 3
    people = numbered(
        [person((left, size[0] // 5, left + max(size[1] // 3, 1), size[0] // 5 + max(size[0] // 2, 1)), size)]
    )
    photo = torch.full((*size, channels), 0.5)
    given = photo.clone()
    preview = preview_morphology(read(people, size, parsed=[halves(people[0])]), [photo])
    assert preview.shape[0] == 1 and preview.shape[3] == 3 and preview.dtype == torch.float32
    high = max(1, round(size[0] * LONGEST / max(size)))
    assert preview.shape[2] == max(morphology_plot.NARROWEST, round(size[1] * LONGEST / max(size)))
    assert high < preview.shape[1] < high + 400
    assert 0 <= float(preview.min()) and float(preview.max()) <= 1 and torch.equal(photo, given)


def test_nobody_and_no_photo():
    photo = torch.rand(*SIZE, 3)
    empty = preview_morphology(read([]), [photo])
    assert empty.shape == (1, LONGEST * 3 // 4, LONGEST, 3)  # nothing is to be explained
    grey = preview_morphology(read(couple()), [])
    assert grey.shape[2] == LONGEST and float((grey[0, 5, 5] - grey[0, 5, 5].mean()).abs().max()) == 0


def test_parts_are_coloured_and_nothing_beside_them():
    people = couple()
    photo = torch.full((*SIZE, 3), 0.5)
    without = preview_morphology(read(people), [photo])
    with_parts = preview_morphology(read(people, parsed=[halves(people[0]), None]), [photo])
    where = changed(without, with_parts)
    x0, y0 = scaled(*people[0].box[:2], without)
    x1, y1 = scaled(*people[0].box[2:], without)
    rows = LONGEST * 3 // 4  # below them the legend begins
    assert not where[:rows, : x0 - 2].any() and not where[:rows, x1 + 2 :].any() and not where[: y0 - 2].any()
    for y, part in ((60, "face"), (260, "left lower leg")):
        column, row = scaled(100, y, without)
        colour = torch.tensor(PART_COLOURS[PARTS.index(part)]) / 255
        before, after = ((picture[0, row, column] - colour).norm() for picture in (without, with_parts))
        assert after < 0.6 * before


def test_what_is_less_sure_is_paler():
    people = couple()
    photo = torch.full((*SIZE, 3), 0.5)
    sure = halves(people[0])
    pictures = [
        preview_morphology(read(people, parsed=[sure._replace(sure=sure.sure * share), None]), [photo])
        for share in (1.0, 0.2)
    ]
    column, row = scaled(100, 60, pictures[0])
    colour = torch.tensor(PART_COLOURS[PARTS.index("face")]) / 255
    strong, weak = ((picture[0, row, column] - colour).norm() for picture in pictures)
    assert strong < weak


def test_skeletons_lie_on_their_joints():
    people = couple()
    pose = standing(235, 45, 235).joints
    photo = torch.full((*SIZE, 3), 0.5)
    morphologies = read(people, poses=[pose])
    assert morphologies[0].bodies[1].joints is not None and not morphologies[0].nobody
    with_pose, without = preview_morphology(morphologies, [photo]), preview_morphology(read(people), [photo])
    where = changed(with_pose, without)
    for joint in (L_SHOULDER, L_ELBOW, L_WRIST):
        x, y = scaled(*pose[joint, :2].tolist(), with_pose)
        assert where[y - 2 : y + 3, x - 2 : x + 3].all()
    x, y = scaled(20, 150, with_pose)
    assert not where[: LONGEST * 3 // 4, : x + 1].any()


def test_inferred_joints_are_hollow_and_their_limbs_dashed():
    people = couple()
    pose = standing(235, 45, 235).joints
    (one,) = read(people, poses=[pose])
    body = one.bodies[1]
    inferred = torch.zeros(18, dtype=torch.bool)
    inferred[L_WRIST] = True
    photo = torch.full((*SIZE, 3), 0.5)
    pictures = []
    for mark in (torch.zeros(18, dtype=torch.bool), inferred):
        bodies = (one.bodies[0], body._replace(inferred=mark, joints=body.joints))
        pictures.append(preview_morphology([one._replace(bodies=bodies)], [photo]))
    full, hollow = pictures
    x, y = scaled(*body.joints[L_WRIST, :2].tolist(), full)
    assert (hollow[0, y, x] > 0.95).all() and not (full[0, y, x] > 0.95).all()
    ends = body.joints[[L_ELBOW, L_WRIST], :2]
    line = [scaled(*(ends[0] + (ends[1] - ends[0]) * t).tolist(), full) for t in torch.linspace(0.1, 0.9, 60)]
    same = [bool((full[0, y, x] - hollow[0, y, x]).abs().max() < 0.02) for x, y in line]
    assert sum(a != b for a, b in zip(same, same[1:], strict=False)) >= 4  # dashes and gaps in turn


def test_poses_that_fit_nobody_are_grey():
    people = couple()
    stranger = standing(350, 60, 100).joints
    morphologies = read(people, poses=[stranger])
    assert len(morphologies[0].nobody) == 1
    photo = torch.full((*SIZE, 3), 0.5)
    where = changed(picture := preview_morphology(morphologies, [photo]), preview_morphology(read(people), [photo]))
    x0, x1 = scaled(310, 0, picture)[0], scaled(395, 0, picture)[0]
    rows = LONGEST * 3 // 4
    assert where[:rows, x0:x1].any() and not where[:rows, :x0].any()
    drawn = picture[0, :rows, x0:x1][where[:rows, x0:x1]]
    assert float((drawn.amax(-1) - drawn.amin(-1)).max()) < 0.05


def test_an_arrow_leads_from_who_is_in_front_to_who_is_hidden():
    people = couple()
    photo = torch.full((*SIZE, 3), 0.5)
    (one,) = read(people)
    areas = {body.number: morphology_plot._area(body, SIZE, SIZE) for body in one.bodies}
    ((front, back, tail, head),) = morphology_plot._arrows(one, areas)
    turned = one._replace(pairs=one.pairs.clone())
    turned.pairs[..., morphology_plot.IN_FRONT] *= -1
    ((other_front, other_back, other_tail, other_head),) = morphology_plot._arrows(turned, areas)
    assert (front, back) == (other_back, other_front) and {front, back} == {1, 2}
    assert (head[0] - tail[0]) * (other_head[0] - other_tail[0]) < 0
    assert (head[0] > tail[0]) == (front == 1)  # 1 stands at the left
    apart = one._replace(pairs=torch.zeros_like(one.pairs))
    assert morphology_plot._arrows(apart, areas) == []
    assert changed(preview_morphology([one], [photo]), preview_morphology([apart], [photo])).any()


def test_a_batch_is_one_image_with_one_legend():
    people = [*couple(), *numbered([person((10, 20, 90, 200), photo=1)])]
    morphologies = read_bodies(people, [SIZE, SIZE], parsed=[halves(one) for one in people])
    pictures = preview_morphology(morphologies, [torch.rand(*SIZE, 3), torch.rand(*SIZE, 3)])
    rows = LONGEST * 3 // 4
    assert pictures.shape[0] == 2 and torch.equal(pictures[0, rows:], pictures[1, rows:])
    assert not torch.equal(pictures[0, :rows], pictures[1, :rows])


def texts(monkeypatch, width, signs):
    """What the legend writes, and the rows it takes."""
    written = []
    real = morphology_legend.ImageDraw.ImageDraw.text

    def text(self, place, words, *more, **options):
        written.append((words, place))
        return real(self, place, words, *more, **options)

    monkeypatch.setattr(morphology_legend.ImageDraw.ImageDraw, "text", text)
    strip = legend(width, signs)
    return strip, written


def test_the_legend_names_what_occurs(monkeypatch):
    assert legend(500, Signs()).shape == (0, 500, 3)
    parts = tuple(PARTS.index(name) for name in ("face", "left hand", "right hand", "left shoe"))
    signs = Signs(kept=True, nobody=True, parts=parts)
    strip, written = texts(monkeypatch, 500, signs)
    words = [word for word, _ in written]
    assert words == ["stays", "pose that fits nobody", "face", "hand, left and right", "left shoe"]
    for part in parts:
        assert (strip == PART_COLOURS[part]).all(-1).any()


def test_no_legend_is_cut_off(monkeypatch):
    everything = Signs(True, True, True, True, True, True, tuple(range(1, len(PARTS))))
    letters = morphology_legend.marks.font(morphology_legend.TEXT)
    for width in (morphology_plot.NARROWEST, 777, LONGEST):
        with monkeypatch.context() as patch:
            strip, written = texts(patch, width, everything)
        assert strip.shape[1] == width
        for words, (x, y) in written:
            assert x + letters.getlength(words) <= width and y < strip.shape[0]


def test_wild_joints_are_not_drawn():
    joints = standing(235, 45, 235).joints
    joints[L_WRIST, :2] = torch.tensor([float("nan"), 5.0])
    joints[L_ELBOW, :2] = torch.tensor([1e9, -1e9])
    points = skeleton_marks.points_of(joints, SIZE, SIZE)
    assert not {L_WRIST, L_ELBOW} & set(points) and L_SHOULDER in points
