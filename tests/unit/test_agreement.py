"""Layers that are painted at the same time: who takes part, on which crop, and what each is told of the others."""

import pytest
import torch

from mild.mild_core.image import boxes
from mild.mild_core.layers import agreement
from mild.mild_core.layers.agreement import agreed, band, blurred, seen, told
from mild.mild_core.layers.common_frame import frame_of, framed, meeting, started
from mild.mild_core.scene import Scene
from mild.tests.helpers.layers import GREY, background, person, picture

SPREAD = 2.0
FULL = torch.ones(2, 1, 1, 1)


def pair(height=40, width=60):
    """A background with a hole, and a person who goes on in its left half."""
    photo = picture(height, width)
    whole = (0, 0, width, height)
    likely = torch.zeros(height, width)
    likely[:, : width // 2] = 1
    one = person(photo, 2, (0, 10, 12, 30), (12, 10, 50, 30), whole, likely=likely)
    return photo, [background(photo, (12, 10, 50, 30)), one]


def holes(layers):
    return torch.stack([(layer.hole > 0).float()[None] for layer in layers])


def test_who_is_seen_where():
    _, layers = pair()
    shown = seen(layers, (40, 60))
    assert torch.allclose(shown.sum(0), torch.ones(1, 40, 60))
    assert shown[1, 0, 20, 5] == 1 and shown[1, 0, 20, 20] == 1  # the visible person, and where they go on
    assert shown[0, 0, 20, 40] == 1 and shown[0, 0, 2, 2] == 1
    in_front = layers[1]._replace(id="1/person-3", rank=1.0, likely=torch.full((40, 60), 0.25))
    behind, front = seen([*layers, in_front], (40, 60))[1:]
    assert behind[0, 20, 20] == 0.75 and front[0, 20, 20] == 0.25
    shuffled = seen([in_front, layers[1], layers[0]], (40, 60))
    assert torch.equal(shuffled[2], seen([*layers, in_front], (40, 60))[0])


def test_people_without_a_background_are_told_of_one_another_only():
    _, (_, one) = pair()
    likely = torch.zeros(40, 60)
    likely[:, 26:40] = 1
    other = one._replace(id="1/person-3", rank=1.0, alpha=torch.zeros(40, 60), likely=likely)
    layers = [one, other]
    shown = seen(layers, (40, 60))
    assert shown[:, :, 20, 45].sum() == 0 and shown[0, 0, 20, 20] == 1 and shown[1, 0, 20, 28] == 1
    x = torch.stack([torch.full((3, 40, 60), 0.1), torch.full((3, 40, 60), 0.5)])
    after = agreed(x, x, holes(layers), shown, SPREAD, FULL)
    assert (after[0, :, 20, 26] > 0.35).all() and (after[1, :, 20, 25] < 0.25).all()
    assert torch.equal(after[:, :, :, 40:], x[:, :, :, 40:])  # nobody is there


def test_each_piece_of_a_background_has_its_own_hole():
    photo, layers = pair()
    left, right = background(photo, (2, 2, 8, 8)), background(photo, (40, 2, 50, 8), tail="-2")
    shown = seen([left, right], (40, 60))
    assert shown[0, 0, 4, 4] == 1 and shown[1, 0, 4, 45] == 1 and shown[0, 0, 30, 30] == 1


def test_a_constant_difference_goes_at_the_seam_and_nowhere_else():
    _, layers = pair()
    hole, shown = holes(layers), seen(layers, (40, 60))
    x = torch.stack([torch.full((3, 40, 60), 0.1), torch.full((3, 40, 60), 0.5)])
    after = agreed(x, x, hole, shown, SPREAD, FULL)
    # Beside the seam, which is at column 30, each takes on what the other shows on the other's side.
    middle = slice(16, 24)
    assert (after[0, :, middle, 29] > 0.4).all() and (after[1, :, middle, 30] < 0.2).all()
    # On its own side a layer stays as it is; so does everything that is known, and what is far from the seam.
    assert torch.equal(after[0, :, :, 30:], x[0, :, :, 30:]) and torch.equal(after[1, :, :, :30], x[1, :, :, :30])
    outside = (hole == 0).expand_as(x)
    assert torch.equal(after[outside], x[outside])
    assert torch.equal(after[1, :, :, 40:], x[1, :, :, 40:])
    half = agreed(x, x, hole, shown, SPREAD, FULL / 2)
    assert torch.allclose(half - x, (after - x) / 2, atol=1e-6)


def test_a_full_plate_is_not_told_of_people_who_are_seen():
    _, (ground, one) = pair()
    visible = (one.alpha > 0) & (one.hole == 0)
    plate = ground._replace(hole=torch.maximum(ground.hole, visible.float()), reveal=ground.hole)
    layers = [plate, one]
    x = torch.rand(2, 3, 40, 60)
    weight = told(layers, (40, 60))
    after = agreed(x, x, holes(layers), seen(layers, (40, 60)), SPREAD, weight)
    changed = (after != x).any(1)
    assert not changed[0][visible].any() and changed[0][one.hole > 0].any() and changed[1].any()
    assert torch.equal(told([ground, one], (40, 60)), torch.ones(2, 1, 40, 60))


def test_detail_of_a_layer_is_its_own():
    """What changes sign from cell to cell is no low frequency: it neither moves nor is taken over."""
    _, layers = pair()
    hole, shown = holes(layers), seen(layers, (40, 60))
    checks = ((torch.arange(40)[:, None] + torch.arange(60)) % 2).float() - 0.5
    x = torch.stack([torch.zeros(3, 40, 60), checks.expand(3, 40, 60)])
    assert (agreed(x, x, hole, shown, SPREAD, FULL) - x).abs().max() < 0.05


def test_layers_that_agree_stay_as_they_are():
    _, layers = pair()
    hole, shown = holes(layers), seen(layers, (40, 60))
    same = torch.rand(1, 4, 40, 60).expand(2, -1, -1, -1)
    assert torch.allclose(agreed(same, same, hole, shown, SPREAD, FULL), same, atol=1e-6)
    apart = torch.rand(2, 4, 40, 60)
    assert torch.equal(agreed(apart, apart, hole, shown, SPREAD, FULL * 0), apart)
    alone = shown.clone()
    alone[0], alone[1] = 1, 0
    assert torch.equal(agreed(apart, apart, hole, alone, SPREAD, FULL), apart)


def test_outside_its_hole_a_layer_is_what_is_known_of_it():
    """Models predict anything there; the others are told what the photo shows."""
    _, layers = pair()
    hole, shown = holes(layers), seen(layers, (40, 60))
    known = torch.rand(2, 3, 40, 60)
    x = torch.where(hole > 0, known, torch.full_like(known, 9.0))
    after = agreed(x, known, hole, shown, SPREAD, FULL)
    inside = (hole > 0).expand_as(x)
    assert torch.equal(after[inside], agreed(known, known, hole, shown, SPREAD, FULL)[inside])
    assert after[inside].max() <= 1.5


def test_the_band_falls_from_the_seam_on():
    _, layers = pair()
    strength = band(holes(layers), seen(layers, (40, 60)), SPREAD)[1, 0, 20]
    assert strength[:30].max() == 0 and strength[30] > 0.7 and strength[36:].max() < 1e-2
    assert (strength[30:36].diff() <= 0).all()


def test_a_blur_keeps_what_is_even():
    even = torch.full((2, 3, 7, 5), 0.3)
    assert torch.allclose(blurred(even, 4.0), even)
    single = torch.rand(1, 1, 1, 1)
    assert torch.allclose(blurred(single, 1.0), single)


def dense_blur(whole, spread):
    """The same by dense matrices: Gaussian weights of every cell for every other, which add up to one."""
    for along in (-2, -1):
        at = torch.arange(whole.shape[along], dtype=torch.float32)
        weights = torch.exp(-(at[:, None] - at).square() / (2 * spread**2))
        weights[(at[:, None] - at).abs() > max(1, round(3 * spread))] = 0
        weights /= weights.sum(1, keepdim=True)
        whole = weights @ whole if along == -2 else whole @ weights.mT
    return whole


@pytest.fixture
def worked_on(monkeypatch):
    """Height and width of each picture that is gone through."""
    sizes, real = [], agreement._blurred_along

    def noted(whole, *args):
        sizes.append(tuple(whole.shape[-2:]))
        return real(whole, *args)

    monkeypatch.setattr(agreement, "_blurred_along", noted)
    return sizes


def step(height, width):
    """Noise on two halves, with the sharp edge that a seam is."""
    whole = torch.rand(2, 3, height, width) * 0.2
    whole[..., width // 3 :] += 0.8
    return whole


@pytest.mark.parametrize("spread", [1.0, 2.0, 7.9])
def test_small_spreads_are_blurred_exactly(worked_on, spread):
    whole = step(45, 62)
    assert torch.allclose(blurred(whole, spread), dense_blur(whole, spread), atol=1e-5)
    assert set(worked_on) == {(45, 62)}


@pytest.mark.parametrize(("height", "width"), [(200, 304), (197, 303), (40, 40)])
def test_large_spreads_are_blurred_on_few_cells(worked_on, height, width):
    """Close to the exact blur all the same, as far as the border."""
    whole = step(height, width)
    assert (blurred(whole, 16.0) - dense_blur(whole, 16.0)).abs().max() < 0.03
    assert set(worked_on) == {(-(-height // 4), -(-width // 4))}


def test_layers_agree_on_few_cells_as_on_all(monkeypatch):
    _, layers = pair(200, 300)
    layers = [layer._replace(hole=torch.zeros(200, 300)) for layer in layers]
    for layer in layers:
        layer.hole[50:150, 60:250] = 1
    hole, shown = holes(layers), seen(layers, (200, 300))
    x = torch.rand(2, 3, 200, 300) * 0.2 + torch.tensor([0.0, 0.8])[:, None, None, None]
    after = agreed(x, x, hole, shown, 16.0, FULL)
    unchanged = after == x
    with monkeypatch.context() as patched:
        patched.setattr(agreement, "_coarser", lambda size, spread: size)
        exact = agreed(x, x, hole, shown, 16.0, FULL)
    assert (after - exact).abs().max() < 0.03 < 0.3 < (exact - x).abs().max()
    assert unchanged[(hole == 0).expand_as(x)].all() and unchanged[0, :, :, 150:].all()


def test_layers_whose_holes_overlap_meet():
    photo, (ground, one) = pair()
    far = background(photo, (52, 32, 58, 38), tail="-2")
    other_photo = background(photo, (12, 10, 50, 30), index=1)
    touching = background(photo, (50, 10, 58, 30), tail="-3")  # beside the hole, not in it
    assert meeting([ground, far, one, other_photo, touching]) == [[ground, one]]
    assert meeting([ground]) == [] and meeting([far, touching]) == []
    second = one._replace(id="2/person-2", photo=1)
    assert meeting([ground, other_photo, one, second]) == [[ground, one], [other_photo, second]]


def test_a_larger_crop_shows_nobody_who_is_erased():
    photo = picture(40, 60)
    box = (20, 5, 45, 35)
    ground = background(photo, (28, 12, 40, 30), box)
    other = background(photo, (4, 4, 12, 20), (0, 0, 20, 30), tail="-2")
    one = person(photo, 2, (22, 10, 28, 30), (28, 12, 40, 30), (22, 8, 42, 33), likely=torch.rand(25, 20))
    scene = Scene(photo, (ground, other, one))
    frame = frame_of(scene.layers)
    assert frame == (0, 0, 45, 35)
    for layer in scene.layers:
        wide = framed(layer, frame, scene)
        here = boxes.inside(layer.box, frame)
        for name in ("pixels", "hole", "allowed", "alpha"):
            piece = getattr(wide, name)
            assert piece.shape[:2] == (35, 45) and torch.equal(boxes.cut(piece, here), getattr(layer, name))
        assert (wide.hole > 0).sum() == (layer.hole > 0).sum() and (wide.allowed > 0).sum() == (layer.allowed > 0).sum()
    wide = framed(ground, frame, scene)
    erased = boxes.cut(photo, frame)[4:20, 4:12]
    recoloured = photo.clone()
    recoloured[4:20, 4:12] = torch.tensor([1.0, 0.0, 0.0])
    assert not torch.equal(wide.pixels[4:20, 4:12], erased)
    assert torch.equal(framed(ground, frame, scene._replace(photo=recoloured)).pixels, wide.pixels)
    wide = framed(one, frame, scene)
    assert torch.equal(wide.pixels[0, 0], torch.tensor(GREY))
    assert torch.equal(boxes.cut(wide.likely, boxes.inside(one.box, frame)), one.likely)
    assert framed(one, one.box, scene) is one


def test_a_person_starts_as_alone():
    photo = picture(40, 60)
    one = person(photo, 2, (22, 10, 28, 30), (28, 12, 40, 30), (22, 8, 42, 33))
    wide = framed(one, (0, 0, 60, 40), Scene(photo, (one,)))
    own = torch.rand(25, 20, 3)
    for plate in (None, torch.rand(40, 60, 3)):
        start = started(own, one, wide, plate)
        assert torch.equal(start[8:33, 22:42], own)
        assert torch.equal(start[0], (wide.pixels if plate is None else plate)[0])
