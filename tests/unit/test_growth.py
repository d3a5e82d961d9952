"""Growth, feather and contact band against distances computed pair by pair."""

import pytest
import torch

from mild.mild_core.image.growth import EXACT_REACH, contact_band, distance, feathered, grow, growth_pixels


def pairwise(mask):
    """Distance of every pixel to the nearest marked one, the slow way."""
    marked = mask.nonzero().float()
    every = torch.ones_like(mask).nonzero().float()
    return torch.cdist(every, marked, compute_mode="donot_use_mm_for_euclid_dist").amin(1).view(mask.shape)


def random_mask(shape, share=0.02, seed=0):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share
    mask[shape[0] // 2, shape[1] // 2] = True
    return mask


@pytest.mark.parametrize("shape", [(1, 1), (1, 33), (29, 1), (40, 57)])
@pytest.mark.parametrize("reach", [1, 2.5, 7, EXACT_REACH])
def test_distance_is_euclidean_within_its_reach(shape, reach):
    mask = random_mask(shape)
    true = pairwise(mask)
    near = true <= reach
    measured = distance(mask, reach)
    assert torch.allclose(measured[near], true[near], atol=1e-4)
    assert (measured[~near] > reach).all()


@pytest.mark.parametrize("reach", [30.0, 75.0])
def test_far_distances_are_right_within_a_tenth(reach):
    mask = torch.zeros(301, 403, dtype=torch.bool)
    mask[140:161, 180:203] = True
    true = pairwise(mask)
    grown = grow(mask, reach)
    assert (true[grown] <= 1.1 * reach + 1).all()
    assert grown[true <= 0.9 * reach - 1].all()
    assert grown[mask].all()


def test_grow_by_nothing_is_the_mask():
    mask = random_mask((20, 30))
    assert torch.equal(grow(mask, 0), mask)
    assert not grow(torch.zeros(4, 5, dtype=torch.bool), 3).any()


def test_growth_follows_size_and_stops_in_small_photos():
    small = growth_pixels((0, 0, 30, 80), (576, 768), 0.02)
    large = growth_pixels((0, 0, 300, 800), (4000, 6000), 0.02)
    assert 4 < small < 8 < large
    assert growth_pixels((0, 0, 300, 300), (320, 320), 0.02) <= 0.025 * 320
    assert growth_pixels((0, 0, 300, 300), (320, 320), 0.0) == 0


@pytest.mark.parametrize("pixels", [0, 0.5, 3, 8])
def test_feather_lies_inside(pixels):
    hole = torch.zeros(40, 50, dtype=torch.bool)
    hole[10:31, 12:40] = True
    core = torch.zeros_like(hole)
    core[10:14, 20:25] = True  # somebody seen right up to the hole's edge
    soft = feathered(hole, core, pixels)
    assert (soft[~hole] == 0).all() and (soft[hole] > 0).all()
    assert (soft[core] == 1).all()
    assert float(soft.max()) <= 1
    assert float(soft[20, 26]) == 1  # deep inside
    row = soft[25, 12:26]
    assert (row[1:] >= row[:-1]).all()
    if pixels >= 3:
        assert float(row[0]) < 0.5


def test_the_border_of_the_photo_is_no_edge():
    hole = torch.zeros(20, 30, dtype=torch.bool)
    hole[:, :15] = True
    soft = feathered(hole, torch.zeros_like(hole), 5)
    assert (soft[:, :9] == 1).all() and float(soft[10, 14]) < 0.5
    assert (feathered(torch.ones_like(hole), torch.zeros_like(hole), 5) == 1).all()


@pytest.mark.parametrize("pixels", [0, 1, 2])
def test_contact_band_is_only_where_they_touch(pixels):
    erased = torch.zeros(20, 30, dtype=torch.bool)
    erased[:, 5:10] = True
    kept = torch.zeros_like(erased)
    kept[:, 10:20] = True
    band = contact_band(erased, kept, pixels)
    assert torch.equal(band.nonzero()[:, 1].unique(), torch.arange(10, 10 + pixels))
    far = torch.zeros_like(erased)
    far[:, 15:20] = True
    assert not contact_band(erased, far, pixels).any()
    assert not contact_band(kept, kept, pixels).any()  # somebody wholly inside a kept mask has no rim of their own


def test_the_feather_ends_where_somebody_is_seen():
    """With a pixel between the hole's edge and the core, that pixel is half the one and half the other."""
    hole = torch.zeros(20, 30, dtype=torch.bool)
    hole[5:15, 5:25] = True
    core = torch.zeros_like(hole)
    core[6:14, 6:24] = True
    soft = feathered(hole, core, 3)
    assert (soft[core] == 1).all() and (soft[~hole] == 0).all()
    assert torch.allclose(soft[5, 6:24], torch.tensor(0.5))
