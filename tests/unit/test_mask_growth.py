"""Before an eraser hides what a mask covers, the mask grows."""

import pytest
import torch
import torch.nn.functional as F

from mild.mild_core.attention.mask_growth import SHARE_512, SHARE_1024, SIDE, grown


@pytest.mark.parametrize(
    ("side", "share", "pixels"), [(1024, SHARE_1024, 15), (512, SHARE_1024, 7), (512, SHARE_512, 1)]
)
def test_a_straight_edge_grows_as_published(side, share, pixels):
    """1.28 deviations: 15 pixels of 1024, 1 or 2 of 512."""
    mask = torch.zeros(1, side, side)
    mask[:, :, : side // 2] = 1
    row = grown(mask, share)[0, side // 2]
    assert row.sum() - side // 2 == pytest.approx(pixels, abs=1) and (row[:-1] >= row[1:]).all()


def test_the_published_kernel():
    """77 taps of a Gaussian, cut at a tenth, on a square of 1024: the same pixels, but for the picture's border."""
    mask = torch.zeros(1, 1024, 1024)
    mask[:, 300:420, 500:590] = 1
    steps = torch.arange(77) - 38.0
    kernel = torch.exp(-0.5 * (steps / 11.9) ** 2)
    kernel /= kernel.sum()
    blurred = F.conv2d(
        F.conv2d(mask, kernel[None, None, :, None], padding="same"), kernel[None, None, None], padding="same"
    )
    assert (grown(mask, SHARE_1024) != (blurred >= 0.1).float()).float().sum() <= 8  # at the rounding


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (701, 500), (3000, 2000)])
def test_any_size(size):
    """An empty and a full mask in one batch: each stays what it is."""
    for share in (0.0, SHARE_512, SHARE_1024, 0.2):
        empty, full = grown(torch.stack([torch.zeros(size), torch.ones(size)]), share)
        assert not empty.any() and (full == 1).all()
        assert full.numel() <= 1.01 * SIDE**2
        assert full.shape[-2] / full.shape[-1] == pytest.approx(size[0] / size[1], rel=0.01)


@pytest.mark.parametrize("side", [512, 2500])
def test_a_thin_line_stays(side):
    mask = torch.zeros(1, side, side)
    mask[:, side // 3] = 0.02
    for share in (0.0, SHARE_1024):
        assert grown(mask, share).sum(1).min() >= 1


def test_without_growth_it_is_what_is_touched():
    mask = (torch.rand(3, 60, 47, generator=torch.Generator().manual_seed(0)) > 0.9).float()
    assert torch.equal(grown(mask, 0.0), mask)
