"""Painted layers take on the level and the grain of the photo around them, and nothing else is touched."""

import pytest
import torch

from mild.mild_core.image import boxes
from mild.mild_core.layers import seams
from mild.mild_core.layers.decompose import SplitOptions, decompose
from mild.mild_core.layers.recompose import recompose
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.selection import choose
from mild.mild_core.scene import PERSON

SIZE = (230, 310)
LEVEL = 1 / 255


def figure(*box, size=SIZE):
    mask = torch.zeros(size)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return mask


ONE = [figure(100, 60, 180, 190)]
TWO = [figure(40, 60, 110, 190), figure(200, 50, 260, 200)]


def wall(noise=0.0, size=SIZE):
    """A photo [H, W, 3] of a wall that gets lighter to the right and darker downwards, with noise."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size[0]), torch.linspace(0, 1, size[1]), indexing="ij")
    clean = torch.stack([0.4 + 0.2 * x, 0.55 - 0.15 * y, 0.45 + 0.1 * x * y], -1)
    return clean, clean + noise * torch.randn(*size, 3, generator=torch.Generator().manual_seed(3))


def split(photo, masks=ONE, who="all", **options):
    people = choose(numbered([person_from_mask(mask) for mask in masks]), who)
    return decompose(photo[None], people, options=SplitOptions(**options))


def painted(scenes, truth, shift=lambda pixels, layer: pixels):
    """Every hole filled with the truth [H, W, 3], changed as a model might."""
    layers = []
    for layer in scenes[0].layers:
        inside = (layer.hole > 0)[..., None]
        new = shift(boxes.cut(truth, layer.box).float(), layer)
        pixels = torch.where(inside, new, layer.pixels.float()).to(layer.pixels)
        alpha = torch.maximum(layer.alpha, layer.hole) if layer.domain == PERSON else layer.alpha
        layers.append(layer._replace(pixels=pixels, alpha=alpha, sampled=True))
    return [scenes[0]._replace(layers=tuple(layers))]


def darker(pixels, layer):
    return pixels - torch.tensor([9.0, -6.0, 4.0]) * LEVEL


def from_side_to_side(pixels, layer):
    return pixels + torch.linspace(-12, 12, pixels.shape[1])[None, :, None] * LEVEL


def error(result, truth, masks=ONE):
    """Mean distance from the truth where people stood, in grey levels."""
    seen = torch.stack(masks).amax(0) > 0
    return float((result.image[0].float() - truth)[seen].abs().mean() / LEVEL)


@pytest.mark.parametrize("noise", [0.0, 2 * LEVEL])
@pytest.mark.parametrize("seam", ["mean", "gradient"])
def test_a_step_in_colour_is_taken_out(seam, noise):
    clean, photo = wall(noise)
    layers = painted(split(photo), clean, darker)
    assert error(recompose(layers, "none", False), clean) > 5
    assert error(recompose(layers, seam, False), clean) < 0.7


def test_every_hole_has_its_own_level():
    clean, photo = wall()

    def apart(pixels, layer):
        left = layer.box[0] + torch.arange(pixels.shape[1])[None, :, None] < 155
        return pixels + torch.where(left, 8 * LEVEL, -8 * LEVEL)

    layers = painted(split(photo, TWO), clean, apart)
    assert error(recompose(layers, "none", False), clean, TWO) > 5
    assert error(recompose(layers, "mean", False), clean, TWO) < 0.7


def test_gradient_follows_a_tint_that_mean_cannot():
    clean, photo = wall(LEVEL)
    layers = painted(split(photo), clean, from_side_to_side)
    before, mean, gradient = (error(recompose(layers, seam, False), clean) for seam in seams.SEAMS)
    assert gradient < 0.5 * mean and gradient < 0.5 * before


def test_what_fits_is_left_alone():
    clean, photo = wall(2 * LEVEL)
    layers = painted(split(photo), photo)
    as_painted = recompose(layers, "none", False).image
    for seam, most in (("mean", 0.3), ("gradient", 0.7)):
        moved = (recompose(layers, seam, True).image - as_painted).abs()
        assert float(moved.max() / LEVEL) < 3 * most and float(moved.mean() / LEVEL) < most


def test_an_edge_that_stops_at_the_hole_is_no_tint():
    """A dark post stands right beside the hole: half of one side disagrees, the level of the rest holds."""
    clean, photo = wall(LEVEL)
    post = photo.clone()
    post[60:130, 182:200] = 0.1
    layers = painted(split(post), clean, darker)
    assert error(recompose(layers, "mean", False), clean) < 1.5


@pytest.mark.parametrize("seam", seams.SEAMS)
@pytest.mark.parametrize("full_plate", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_outside_the_holes_nothing_changes(seam, full_plate, channels, dtype):
    clean, photo = wall(2 * LEVEL)
    photo = torch.cat([photo, torch.rand(*SIZE, 1)], -1)[..., :channels].to(dtype)
    layers = painted(split(photo, TWO, "2", full_plate=full_plate), clean, darker)
    source = photo.clone()
    result = recompose(layers, seam, True)
    assert result.outside == 0 and result.image.dtype == dtype and torch.equal(photo, source)
    holes = torch.zeros(SIZE, dtype=torch.bool)
    for layer in layers[0].layers:
        boxes.cut(holes, layer.box).logical_or_((layer.hole if layer.reveal is None else layer.reveal) > 0)
    assert torch.equal(result.image[0][~holes], source[~holes])
    assert torch.equal(result.changed[0] > 0, (result.image[0] != source).any(-1)) and result.changed.any()


@pytest.mark.parametrize("seam", seams.SEAMS)
def test_full_plate_with_nobody_erased_is_the_photo(seam):
    clean, photo = wall(2 * LEVEL)
    scenes = split(photo, TWO, "none", full_plate=True)
    assert scenes[0].layers
    result = recompose(painted(scenes, clean, darker), seam, True)
    assert torch.equal(result.image[0], photo) and not result.changed.any()


def grain_of(picture, mask):
    """Standard deviation of what is left of picture [H, W, 3] after smoothing, in mask [H, W], grey levels."""
    smooth = torch.nn.functional.avg_pool2d(picture.movedim(-1, 0)[None], 5, 1, 2)[0].movedim(0, -1)
    return float((picture - smooth)[mask].std() / LEVEL)


def inner(masks=ONE):
    shrunk = -torch.nn.functional.max_pool2d(-torch.stack(masks).amax(0)[None, None], 21, 1, 10)[0, 0]
    return shrunk > 0


@pytest.mark.parametrize("noise", [1.0, 2.0, 4.0])
def test_a_smooth_fill_gets_the_grain_of_its_surroundings(noise):
    clean, photo = wall(noise * LEVEL)
    layers = painted(split(photo), clean)
    beside = figure(5, 5, 90, 225) > 0
    around = grain_of(photo, beside)
    without, with_ = (grain_of(recompose(layers, "none", grain).image[0], inner()) for grain in (False, True))
    assert without < 0.2 * around
    assert 0.85 * around < with_ < 1.15 * around


def test_grain_is_the_same_each_time_and_differs_from_layer_to_layer():
    clean, photo = wall(3 * LEVEL)
    layers = painted(split(photo), clean)
    first, second = (recompose(layers, "none", True).image for _ in range(2))
    assert torch.equal(first, second)
    other = layers[0]._replace(layers=(layers[0].layers[0]._replace(id="1/another"),))
    assert not torch.equal(recompose([other], "none", True).image, first)


@pytest.mark.parametrize("case", ["grain is there", "more than enough", "a photo without"])
def test_no_grain_where_none_is_missing(case):
    clean, noisy = wall(3 * LEVEL)
    photo, fill = {
        "grain is there": (noisy, noisy.flip(0, 1)),
        "more than enough": (clean, noisy),
        "a photo without": (clean, clean),
    }[case]
    layers = painted(split(photo), fill)
    assert torch.equal(recompose(layers, "none", True).image, recompose(layers, "none", False).image)


def test_a_person_takes_on_their_own_level_not_the_grounds():
    """The person is completed too dark; the ground around, which is nothing of the photo, must not count."""
    behind, front = figure(60, 50, 150, 200), figure(120, 40, 200, 210)
    behind[front > 0] = 0
    photo = torch.full((*SIZE, 3), 0.3)
    photo[behind > 0] = torch.tensor([0.8, 0.5, 0.4])
    scenes = split(photo, [behind, front], "2")
    person = next(layer for layer in scenes[0].layers if layer.domain == PERSON)
    own = torch.zeros(boxes.height(person.box), boxes.width(person.box))
    boxes.cut(own, boxes.inside((60, 50, 170, 200), person.box)).fill_(1)
    inside = (person.hole > 0) & (own > 0)
    colour = torch.tensor([0.8, 0.5, 0.4]) - 10 * LEVEL
    done = person._replace(
        pixels=torch.where(inside[..., None], colour, person.pixels),
        alpha=torch.maximum(person.alpha, inside.float()),
        sampled=True,
    )
    part = boxes.tight_box(person.hole)
    offset = seams.match(done, part, "mean", False).offset
    assert offset is not None
    near = seams.cells(inside[..., None].float())[..., 0] > 0
    assert torch.allclose(offset[near], torch.tensor(-10 * LEVEL), atol=LEVEL)


def test_a_hole_without_anything_known_around_it_is_left_as_painted():
    clean, photo = wall()
    scenes = split(photo)
    nothing = scenes[0].layers[0]._replace(allowed=torch.zeros_like(scenes[0].layers[0].allowed))
    layers = painted([scenes[0]._replace(layers=(nothing,))], clean, darker)
    for seam in ("mean", "gradient"):
        assert torch.equal(recompose(layers, seam, True).image, recompose(layers, "none", False).image)


@pytest.mark.parametrize("size", [(1, 2), (3, 70), (9, 9), (131, 257)])
@pytest.mark.parametrize("seam", ["mean", "gradient"])
def test_any_size(size, seam):
    clean, photo = wall(LEVEL, size)
    mask = torch.zeros(size)
    mask[: size[0] // 3 + 1, : size[1] // 3 + 1] = 1
    layers = painted(split(photo, [mask]), clean, darker)
    result = recompose(layers, seam, True)
    assert result.image.isfinite().all() and result.outside == 0


def test_tiles_cover_a_part_once():
    marked = torch.zeros(300, 500)
    marked[5:299, 130:430] = 0.5
    covered = torch.zeros_like(marked)
    for tile in seams.tiles(marked, (130, 5, 430, 299)):
        boxes.cut(covered, tile).add_(1)
    assert covered.max() == 1 and (covered[marked > 0] == 1).all() and not covered[:, :128].any()
    near = {tile[:2] for tile in seams.tiles(marked, (122, 0, 438, 300), around=8)}
    assert near == {(left, top) for left in (0, 128, 256, 384) for top in (0, 128, 256)}
    assert list(seams.tiles(torch.zeros(40, 30), (0, 0, 30, 40))) == []


@pytest.mark.parametrize("seam", seams.SEAMS)
def test_tiles_leave_no_trace(seam, monkeypatch):
    clean, photo = wall(2 * LEVEL)
    layers = painted(split(photo, TWO), clean, from_side_to_side)
    as_is = recompose(layers, seam, False).image
    monkeypatch.setattr(seams, "TILE", 512)
    assert torch.allclose(recompose(layers, seam, False).image, as_is, atol=1e-5)


def test_a_seam_that_is_none_is_named():
    _, photo = wall()
    with pytest.raises(ValueError, match="seam: 'poisson' is none of none, mean, gradient"):
        recompose(painted(split(photo), photo), "poisson")
