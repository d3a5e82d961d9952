"""Further photos of the same place: found, exposed alike, and used."""

import pytest
import torch
import torch.nn.functional as F

from mild.mild_core.exemplar import denoise, register
from mild.mild_core.image.fill import area_resize


def place(height=120, width=180, seed=0):
    """A place with structure at all scales [1, 3, H, W] in -1..1, wider than any frame of it."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.zeros(1, 3, height, width)
    for cell in (60, 30, 12, 5, 2):
        noise = torch.randn(1, 3, height // cell + 2, width // cell + 2, generator=generator)
        picture += F.interpolate(noise, size=(height, width), mode="bicubic") * cell**0.5
    return (picture / picture.abs().max() * 1.2).clamp(-1, 1)


def hole_in(picture, box):
    hole = torch.zeros_like(picture[:, :1])
    hole[..., box[1] : box[3], box[0] : box[2]] = 1
    return hole


def decibels(one, two, hole):
    inside = (hole > 0).expand_as(one)
    return float(-10 * torch.log10((one - two)[inside].square().mean() / 4))


def test_the_same_frame_is_not_resampled():
    clean = place()
    known = 1 - hole_in(clean, (60, 30, 100, 90))
    found = register(clean[0], torch.where(known > 0, clean, 0.0), known)
    assert found.in_place and bool(found.covered.all())
    assert torch.allclose(found.picture, clean, atol=1e-4)


@pytest.mark.parametrize("shift", [(7, -11), (-20, 16)])
def test_a_moved_frame_is_found(shift):
    wide = place(200, 280)
    clean = wide[..., 40:160, 50:230]
    other = wide[..., 40 + shift[0] : 160 + shift[0], 50 + shift[1] : 230 + shift[1]]
    known = 1 - hole_in(clean, (70, 30, 110, 90))
    found = register(other[0], clean * known, known)
    assert found.in_place
    covered = found.covered.expand_as(clean) > 0
    assert (found.picture - clean)[covered].abs().mean() < 0.02


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_another_size_is_found(factor):
    clean = place()
    known = 1 - hole_in(clean, (60, 30, 100, 90))
    other = area_resize(clean, (round(120 * factor), round(180 * factor)))
    found = register(other[0], clean * known, known)
    assert found.in_place
    assert (found.picture - clean).abs().mean() < 0.05


def test_exposure_is_matched_and_whoever_moved_does_not_disturb_it():
    clean = place()
    known = 1 - hole_in(clean, (60, 30, 100, 90))
    gain, offset = torch.tensor([0.7, 0.8, 0.6]).view(1, 3, 1, 1), torch.tensor([0.1, -0.1, 0.0]).view(1, 3, 1, 1)
    other = clean * gain + offset
    other[..., 10:60, 130:150] = 0.9  # somebody stands there in the reference alone
    found = register(other[0], clean * known, known)
    away = torch.ones_like(clean, dtype=torch.bool)
    away[..., 10:60, 130:150] = False
    assert (found.picture - clean)[away].abs().mean() < 0.03


def test_another_place_is_not_taken_for_this_one():
    clean, known = place(seed=1), 1 - hole_in(place(), (60, 30, 100, 90))
    found = register(place(90, 90, seed=2)[0], clean * known, known)
    assert not found.in_place
    assert found.picture.shape == clean.shape and torch.isfinite(found.picture).all()


def test_a_tiny_or_flat_reference_harms_nothing():
    clean = place()
    known = 1 - hole_in(clean, (60, 30, 100, 90))
    for other in (torch.zeros(3, 1, 1), torch.full((3, 40, 60), 0.3)):
        found = register(other, clean * known, known)
        assert not found.in_place and torch.isfinite(found.picture).all()


@pytest.mark.parametrize("sigma", [3.0, 0.5, 0.03])
def test_the_hole_is_recovered_from_a_frame_without_the_person(sigma):
    """Within 1 dB of the best aligned copy, the camera's own noise being all that differs."""
    clean = place()
    hole = hole_in(clean, (60, 20, 110, 110))
    generator = torch.Generator().manual_seed(3)
    other = (clean + 0.03 * torch.randn(clean.shape, generator=generator)) * 0.8 - 0.1
    found = register(other[0], clean * (1 - hole), 1 - hole)
    x = clean + sigma * torch.randn(clean.shape, generator=generator)
    x0 = denoise(x, torch.tensor([sigma]), clean * (1 - hole), hole, references=[found])
    if sigma == 0.03:
        assert decibels(x0, clean, hole) > decibels(found.picture, clean, hole) - 1
    else:  # coarse levels: at least nothing else than this place
        small = (30, 45)
        error = (area_resize(x0, small) - area_resize(clean, small)).abs().mean()
        assert error < 0.1
