"""Holes follow how soft each rim is: what shows the person is in them whole, and sharp rims cost little ground."""

import pytest
import torch
import torch.nn.functional as F

from mild.mild_core.image import boxes
from mild.mild_core.image.growth import distance, growth_pixels
from mild.mild_core.layers import rims
from mild.mild_core.layers.decompose import SplitOptions, decompose
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.selection import choose

SIZE = (241, 263)
REACH = 7.0
COLOUR, GROUND = torch.tensor([0.75, 0.3, 0.2]), torch.tensor([0.3, 0.5, 0.6])


def disc(radius, size=SIZE):
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])[None]
    return (rows - size[0] / 2) ** 2 + (columns - size[1] / 2) ** 2 <= radius**2


def softened(shape, deviation):
    """Opacity [h, w] of a shape (bool) seen through a lens that blurs so."""
    reach = int(4 * deviation) + 1
    weights = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * deviation**2))
    weights = weights / weights.sum()
    wide = F.pad(shape[None, None].float(), (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(wide, weights[None, None, None]), weights[None, None, :, None])[0, 0]


def photo_of(alpha, seed=0, ground=GROUND):
    grain = 0.02 * torch.randn(*alpha.shape, 3, generator=torch.Generator().manual_seed(seed))
    return (alpha[..., None] * COLOUR + (1 - alpha[..., None]) * ground + grain).clamp(0, 1)


@pytest.mark.parametrize("deviation", [0.4, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("missing", [0, 2])
def test_what_shows_the_person_is_found_and_little_more(deviation, missing):
    alpha = softened(disc(60), deviation)
    mask = disc(60 - missing)
    found = rims.smeared(photo_of(alpha), mask, REACH, 1.0)
    assert (found >= mask).all()
    assert found[alpha > 0.15].float().mean() > 0.995
    beyond = distance(alpha > 0.02, 9)[found]
    assert float(beyond.max()) <= 2


def test_soft_and_sharp_rims_of_one_person_are_told_apart():
    left = torch.arange(SIZE[1])[None] < SIZE[1] // 2
    alpha = torch.where(left, softened(disc(60), 0.4), softened(disc(60), 2.2))
    found = rims.smeared(photo_of(alpha), disc(60), REACH, 1.0)
    away = distance(disc(60), 9)
    far = torch.arange(SIZE[1])[None]
    sharp, soft = found & (far < 100), found & (far > 163)
    assert float(away[sharp].max()) <= 2 < 3 <= float(away[soft].max())


def test_an_edge_of_the_ground_is_not_followed():
    """Beyond the rim the ground turns darker: that is no part of the person, who is dark, too."""
    away = distance(disc(60), 12)
    ground = torch.where((away > 4)[..., None], torch.tensor([0.5, 0.35, 0.3]), GROUND)
    found = rims.smeared(photo_of(softened(disc(60), 0.4), ground=ground), disc(60), REACH, 1.0)
    assert float(away[found].max()) <= 2


def test_where_nothing_can_be_read_the_usual_is_taken():
    plain = photo_of(torch.zeros(SIZE))
    away = distance(disc(60), 12)
    for unread in (0.0, 3.0):
        found = rims.smeared(plain, disc(60), REACH, unread)
        assert float(away[found].max()) <= max(unread, 1.5)
        assert found[away <= unread].float().mean() > 0.9


def test_large_reaches_are_looked_at_on_a_coarser_grid():
    size = (901, 933)
    alpha = softened(disc(300, size), 5.0)
    found = rims.smeared(photo_of(alpha), disc(300, size), 27.0, 3.0)
    assert found[alpha > 0.12].float().mean() > 0.99
    assert float(distance(alpha > 0.02, 20)[found].max()) <= 6


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (6, 1), (33, 8)])
@pytest.mark.parametrize("kind", ["pixel", "full", "border"])
def test_awkward_masks(size, kind):
    mask = torch.zeros(size, dtype=torch.bool)
    if kind == "pixel":
        mask[size[0] // 2, size[1] // 2] = True
    elif kind == "full":
        mask[:] = True
    else:
        mask[:, 0] = mask[-1] = True
    found = rims.smeared(torch.rand(*size, 3, generator=torch.Generator().manual_seed(0)), mask, 3.0, 1.0, ~mask)
    assert found.shape == mask.shape and (found >= mask).all()


def opacity_of(photo, mask, **options):
    people = choose(numbered([person_from_mask(mask.float())]), "all")
    (scene,) = decompose(photo[None], people, options=SplitOptions(**options))
    opacity = torch.zeros(mask.shape)
    for layer in scene.layers:
        boxes.cut(opacity, layer.box).add_(layer.hole)
    return opacity


@pytest.mark.parametrize("deviation", [0.8, 1.5])
def test_nothing_of_the_person_shines_through_a_holes_edge(deviation):
    """Blended over a soft rim, the feather would bring the person's outline back."""
    alpha = softened(disc(60), deviation)
    opacity = opacity_of(photo_of(alpha), disc(60))
    assert float(((1 - opacity) * alpha).max()) <= 0.15
    same = opacity_of(photo_of(alpha), disc(60), follow=False)
    assert float(((1 - same) * alpha).max()) > 0.15


def test_a_sharp_rim_costs_less_ground_than_the_same_growth_all_around():
    alpha = softened(disc(60), 0.4)
    follows, same = (int((opacity_of(photo_of(alpha), disc(60), follow=on) > 0).sum()) for on in (True, False))
    assert int(disc(60).sum()) < follows < same


def test_more_growth_is_added_all_around_and_none_is_the_mask():
    photo, mask = photo_of(softened(disc(60), 1.0)), disc(60)
    box = boxes.tight_box(mask)
    assert torch.equal(opacity_of(photo, mask, grow=0.0, snap=False) > 0, mask)
    usual = opacity_of(photo, mask) > 0
    for share in (0.016, 0.05):
        more = growth_pixels(box, SIZE, share) - growth_pixels(box, SIZE, SplitOptions().grow)
        large = opacity_of(photo, mask, grow=share) > 0
        assert (large >= usual).all()
        assert large[distance(mask, more) <= more].all()
