"""Maps of a layer: every channel lies where the photo has it, at any size, and nothing unsure is let through."""

import pytest
import torch

from mild.mild_core.body.body_parts import PARTS
from mild.mild_core.guidance.maps import CHANNELS, maps
from mild.mild_core.image.area_shares import area_shares
from mild.mild_core.image.fill import area_resize
from mild.tests.helpers.bodies import morphology

PHOTO = (211, 333)
FRAME = (0, 0, 333, 211)
BOXES = [(30, 40, 110, 200), (90, 35, 190, 205), (180, 20, 300, 190)]
PART_CHANNELS = slice(3, 3 + len(PARTS) - 1)


def blob(box, seed):
    """A soft mask of the box's size, unlike any other."""
    coarse = torch.rand(1, 1, 9, 7, generator=torch.Generator().manual_seed(seed))
    size = (box[3] - box[1], box[2] - box[0])
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)[0, 0]


def scene(**changes):
    """Three people, the second erased and before the first; changes: of everybody's Body."""
    given = morphology(PHOTO, BOXES, erased=(2,))
    bodies = []
    for seed, body in enumerate(given.bodies):
        labels = (blob(body.box, 7 + seed) * 5).long()
        parts = torch.tensor([0, 2, 5, 9, 14, 20], dtype=torch.uint8)[labels]
        body = body._replace(mask=(blob(body.box, seed) > 0.4).float(), parts=parts, parts_box=body.box)
        bodies.append(body._replace(**changes))
    own = given.own.clone()
    own[:, 7] = torch.tensor([1 / 3, 2 / 3, 1.0])
    return given._replace(bodies=tuple(bodies), own=own)


def of(result, name):
    return result[CHANNELS.index(name)]


def full_size(body):
    canvas = torch.zeros(PHOTO)
    x0, y0, x1, y1 = body.box
    canvas[y0:y1, x0:x1] = body.mask
    return canvas


def centre_in_photo(channel, crop):
    """The centre of mass of a channel [h, w] of the crop, in pixels of the photo."""
    height, width = channel.shape
    x = crop[0] + (torch.arange(width) + 0.5) * (crop[2] - crop[0]) / width
    y = crop[1] + (torch.arange(height) + 0.5) * (crop[3] - crop[1]) / height
    return torch.stack([(channel.sum(0) * x).sum(), (channel.sum(1) * y).sum()]) / channel.sum()


@pytest.mark.parametrize(
    ("place", "crop", "size"),
    [
        ((10, 10, 33, 47), (0, 0, 60, 60), (7, 9)),
        ((10, 10, 33, 47), (15, 20, 30, 40), (50, 33)),
        ((10, 10, 33, 47), (15, 20, 30, 40), (5, 3)),
        ((-5, 10, 60, 47), (3, -7, 30, 40), (41, 30)),
        ((0, 0, 46, 74), (0, 0, 46, 74), (74, 46)),
        ((0, 0, 23, 37), (20, 35, 50, 60), (25, 30)),
    ],
)
def test_area_shares_are_areas(place, crop, size):
    """Against weights from a double loop over the edges of pixels and cells."""
    piece = torch.rand(37, 23, generator=torch.Generator().manual_seed(4))

    def weights(low, high, count, crop_low, crop_high, cells):
        table = torch.zeros(cells, count)
        cell, pixel = (crop_high - crop_low) / cells, (high - low) / count
        for c in range(cells):
            for p in range(count):
                first = max(crop_low + c * cell, low + p * pixel)
                last = min(crop_low + (c + 1) * cell, low + (p + 1) * pixel)
                table[c, p] = max(last - first, 0) / cell
        return table

    down = weights(place[1], place[3], 37, crop[1], crop[3], size[0])
    across = weights(place[0], place[2], 23, crop[0], crop[2], size[1])
    assert torch.allclose(area_shares(piece, place, crop, size), down @ piece @ across.T, atol=1e-5)


def test_a_piece_that_lies_elsewhere_leaves_nothing():
    piece = torch.ones(4, 4)
    for place in ((50, 0, 54, 4), (0, 50, 4, 54), (-9, -9, -5, -5), (20, 0, 24, 4)):
        assert not area_shares(piece, place, (0, 0, 20, 20), (7, 7)).any()
    assert torch.equal(area_shares(piece, (0, 0, 4, 4), (0, 0, 4, 4), (4, 4)), piece)


@pytest.mark.parametrize("number", [None, 1, 3])
def test_channels_and_range(number):
    for size in ((53, 84), (7, 5), (1, 1), (211, 333)):
        result = maps(scene(), number, (20, 11, 317, 203), size)
        assert result.shape == (len(CHANNELS), *size) and result.dtype == torch.float32
        assert torch.isfinite(result).all() and 0 <= result.min() and result.max() <= 1


def test_masks_are_area_shares_of_the_photo():
    everyone = scene()
    result = maps(everyone, 1, FRAME, (53, 83))
    cell = PHOTO[0] * PHOTO[1] / (53 * 83)
    for name, body in zip(("this", "erased", "kept"), everyone.bodies, strict=True):
        assert float(of(result, name).sum()) * cell == pytest.approx(float(body.mask.sum()), rel=1e-4)
    exact = maps(everyone, 1, (0, 0, 330, 210), (70, 110))  # whole cells of 3 x 3 pixels
    expected = area_resize(full_size(everyone.bodies[1])[None, None, :210, :330], (70, 110))[0, 0]
    assert torch.allclose(of(exact, "erased"), expected, atol=1e-5)


@pytest.mark.parametrize("number", [None, 1, 2, 3])
def test_a_crop_shows_the_whole_photos_cells(number):
    """Cells of 3 x 3 pixels, once of the whole photo and once of a crop that goes on beyond it: all channels agree."""
    everyone = scene()
    whole = maps(everyone, number, (0, 0, 330, 210), (70, 110))
    crop = (27, 30, 351, 240)
    part = maps(everyone, number, crop, (70, 108))
    names = [
        name for name in CHANNELS if name not in ("red", "green", "blue")
    ]  # limbs are as thick as the map is large
    inner = slice(0, 60), slice(0, 101)
    for name in names:
        same = of(whole, name)[10:70, 9:110]
        assert torch.allclose(of(part, name)[inner], same, atol=2e-3), name


@pytest.mark.parametrize("size", [(211, 333), (97, 131), (41, 67), (33, 29)])
@pytest.mark.parametrize("crop", [FRAME, (13, 9, 321, 207), (20, -15, 330, 260)])
def test_everything_lies_where_the_photo_has_it(crop, size):
    """Centres of mass in the photo's pixels: of masks, parts and skeleton."""
    everyone = scene()
    body = everyone.bodies[0]
    joints = torch.zeros(18, 3)
    joints[0] = torch.tensor([67.3, 120.9, 1.0])
    body = body._replace(joints=joints, parts_sure=torch.ones_like(body.mask))
    everyone = everyone._replace(bodies=(body, *everyone.bodies[1:]))
    result = maps(everyone, 1, crop, size)
    cell = max((crop[2] - crop[0]) / size[1], (crop[3] - crop[1]) / size[0])
    truth = centre_in_photo(full_size(body), FRAME)
    assert torch.allclose(centre_in_photo(of(result, "this"), crop), truth, atol=0.02 * cell)
    assert torch.allclose(centre_in_photo(of(result, "red"), crop), joints[0, :2], atol=0.1 * cell)
    hair = torch.zeros(PHOTO)
    hair[body.box[1] : body.box[3], body.box[0] : body.box[2]] = body.parts == PARTS.index("hair")
    truth = centre_in_photo(hair, FRAME)
    assert torch.allclose(centre_in_photo(of(result, "hair"), crop), truth, atol=0.1 * cell)


@pytest.mark.parametrize("scale", [1, 2, 5, 16])
def test_parts_keep_their_areas_though_not_every_pixel_is_looked_at(scale):
    body = scene().bodies[2]
    size = (PHOTO[0] // scale, PHOTO[1] // scale)
    result = maps(scene(), 3, FRAME, size)
    for label in body.parts.unique().tolist():
        if label:
            share = float((body.parts == label).sum())
            drawn = float(of(result, PARTS[label]).sum()) * PHOTO[0] * PHOTO[1] / (size[0] * size[1])
            assert drawn == pytest.approx(share, rel=0.03, abs=60)
    covered = area_shares((body.parts > 0).float(), body.box, FRAME, size)
    assert torch.allclose(result[PART_CHANNELS].sum(0), covered, atol=0.3)
    halved = maps(scene(parts_sure=None)._replace(bodies=tuple(half(one) for one in scene().bodies)), 3, FRAME, size)
    assert torch.allclose(halved[PART_CHANNELS], result[PART_CHANNELS] / 2, atol=1e-5)


def half(body):
    return body._replace(parts_sure=torch.full(body.parts.shape, 0.5))


def test_no_body_belongs_to_the_background():
    result = maps(scene(), None, FRAME, (70, 111))
    assert not result[:3].any() and not result[PART_CHANNELS].any() and not of(result, "this").any()
    assert of(result, "erased").any() and of(result, "kept").any()
    erased = of(result, "erased") > 0.9
    assert bool((of(result, "confidence")[erased] > 0.9).all())


def test_each_person_has_their_own():
    first, third = (maps(scene(), number, FRAME, (70, 111)) for number in (1, 3))
    assert torch.allclose(of(first, "this"), of(third, "kept") - of(third, "kept") * (of(third, "this") > 0), atol=1e-6)
    assert torch.equal(of(first, "erased"), of(third, "erased"))
    assert torch.equal(of(first, "rank"), of(third, "rank"))
    assert not torch.equal(first[:3], third[:3])


def test_overlap_is_where_somebody_else_is_seen_on_the_body():
    """The first person's skeleton reaches under the second's mask; the third one's touches nobody."""
    everyone = scene()
    arm = torch.zeros(18, 3)
    arm[2], arm[3] = torch.tensor([80.0, 100.0, 0.9]), torch.tensor([130.0, 100.0, 0.4])
    bodies = [everyone.bodies[0]._replace(joints=arm), *(body._replace(joints=None) for body in everyone.bodies[1:])]
    bodies = [body._replace(mask=torch.ones_like(body.mask)) for body in bodies]
    everyone = everyone._replace(bodies=tuple(bodies))
    for number in (1, None):
        overlap = of(maps(everyone, number, FRAME, PHOTO), "overlap")
        assert overlap[100, 120] > 0.9 and overlap[100, 105] > 0.9  # the arm is there; the mask ends at 110
        assert not overlap[:, :90].any() and not overlap[150:, 112:170].any()


def test_whoever_is_nearer_covers_the_others_rank():
    everyone = scene()
    everyone = everyone._replace(
        bodies=tuple(body._replace(mask=torch.ones_like(body.mask)) for body in everyone.bodies)
    )
    rank = of(maps(everyone, None, FRAME, PHOTO), "rank")
    expected = {(100, 60): 1 / 3, (100, 100): 2 / 3, (100, 150): 2 / 3, (100, 185): 1.0, (100, 250): 1.0, (10, 10): 0.0}
    for (y, x), value in expected.items():
        assert float(rank[y, x]) == pytest.approx(value, abs=1e-5)


def without(body, *, pose=False, parsing=False, mask=False):
    """The body with a confidence of 0 in these."""
    if pose:
        body = body._replace(joints=body.joints * torch.tensor([1.0, 1.0, 0.0]))
    if parsing:
        body = body._replace(parts_sure=torch.zeros(body.parts.shape))
    return body._replace(sure=0.0) if mask else body


def test_zero_confidence_lets_nothing_through():
    everyone = scene()
    unsure = everyone._replace(
        bodies=tuple(without(body, pose=True, parsing=True, mask=True) for body in everyone.bodies)
    )
    for number in (None, 1, 3):
        assert not of(maps(unsure, number, FRAME, (53, 83)), "confidence").any()
    # A person of confidence 0 counts for nothing on their own layer, whatever the pose shows.
    doubted = everyone._replace(bodies=(everyone.bodies[0]._replace(sure=0.0), *everyone.bodies[1:]))
    assert not of(maps(doubted, 1, FRAME, (53, 83)), "confidence").any()
    assert of(maps(doubted, 3, FRAME, (53, 83)), "confidence").any()
    assert not of(maps(everyone, 9, FRAME, (53, 83)), "confidence").any()  # nobody has that number


def test_confidence_is_that_of_what_is_known_there():
    everyone = scene()
    nobody = [body._replace(mask=torch.zeros_like(body.mask)) for body in everyone.bodies]
    arm = torch.zeros(18, 3)
    arm[2], arm[3] = torch.tensor([40.0, 100.0, 0.9]), torch.tensor([100.0, 100.0, 0.4])
    first = nobody[0]._replace(joints=arm, parts=None, parts_box=None)
    sure = of(maps(everyone._replace(bodies=(first, *nobody[1:])), 1, FRAME, PHOTO), "confidence")
    assert float(sure[100, 90]) == pytest.approx(0.4, abs=1e-4)  # a limb is as sure as its less sure end
    assert float(sure[100, 40]) == pytest.approx(0.9, abs=1e-4)
    assert float(sure[10, 300]) == 0 and sure[100, 100:].diff().max() <= 0
    parsed = nobody[0]._replace(joints=None, parts_sure=torch.full(nobody[0].parts.shape, 0.7))
    sure = of(maps(everyone._replace(bodies=(parsed, *nobody[1:])), 1, FRAME, PHOTO), "confidence")
    inside = torch.zeros(PHOTO)
    inside[40:200, 30:110] = (parsed.parts > 0) * 0.7
    assert torch.allclose(sure, inside, atol=1e-5)


def test_nobody_and_nowhere():
    empty = scene()._replace(bodies=(), own=torch.zeros(0, 11), pairs=torch.zeros(0, 0, 7))
    assert not maps(empty, None, FRAME, (20, 30)).any() and not maps(empty, 1, FRAME, (20, 30)).any()
    assert not maps(scene(), 1, (1000, 1000, 1100, 1050), (20, 30)).any()


def test_wild_joints_never_raise():
    nan, inf = float("nan"), float("inf")
    wild = torch.full((18, 3), 0.9)
    wild[:, 0] = torch.tensor([nan, inf, -inf, 1e30, -1e30, 1e9] * 3)
    wild[:9, 1] = 50.0
    everyone = scene(joints=wild)
    for number in (None, 1, 2, 3):
        result = maps(everyone, number, FRAME, (53, 83))
        calm = maps(scene(joints=None), number, FRAME, (53, 83))
        assert torch.equal(result, calm)
