"""What the built-in model says of its work: before it begins, and while it is at it."""

import pytest
import torch

from mild.mild_core.exemplar import denoise, denoiser, inwards, planned_work, search, shape_of
from mild.mild_core.exemplar.effort import MATRIX_PAIR
from mild.mild_core.exemplar.level import Level
from mild.tests.unit.test_exemplar import box_hole, planks, seeded

SIGMAS = [6.0, 0.6, 0.2, 0.1, 0.03]


@pytest.fixture
def compared(monkeypatch):
    """A list of how many comparisons of patches each call makes, in the unit of `effort`; "tick" where it may stop."""
    noted = []
    distance_to, search_everywhere = Level.distance_to, search.search_everywhere

    def one_by_one(self, weighted, roots, targets, source):
        noted.append(len(targets))
        return distance_to(self, weighted, roots, targets, source)

    def with_each(level, picture, *spent):
        noted.append(len(level.targets) * int(level.valid.sum()) * MATRIX_PAIR)
        return search_everywhere(level, picture, *spent)

    monkeypatch.setattr(Level, "distance_to", one_by_one)
    monkeypatch.setattr(denoiser, "search_everywhere", with_each)
    monkeypatch.setattr(inwards, "search_everywhere", with_each)
    return noted


@pytest.mark.parametrize("quality", denoiser.QUALITIES.values(), ids=list(denoiser.QUALITIES))
@pytest.mark.parametrize("box", [(70, 20, 110, 100), (8, 45, 170, 58)], ids=["tall", "flat"])
def test_the_work_of_each_step_is_known_before(compared, box, quality):
    """Its share in all steps is the share that is counted in targets times candidates."""
    clean, hole = planks(120, 180), box_hole(120, 180, box)
    shape = shape_of(hole[0, 0], 1 - hole[0, 0])
    planned, counted = [], []
    for sigma in SIGMAS:
        planned.append(planned_work(sigma, shape, quality))
        compared.clear()
        noisy = clean + sigma * torch.randn(clean.shape, generator=seeded(1))
        denoise(noisy, torch.tensor([sigma]), clean, hole, quality=quality)
        counted.append(sum(compared))
    before, after = torch.tensor(planned).cumsum(0), torch.tensor(counted).cumsum(0)
    assert (before / before[-1] - after / after[-1]).abs().max() < 0.12
    assert counted[-1] > 1.5 * counted[1]  # or there would be nothing to tell


@pytest.mark.parametrize("sigma", [6.0, 0.3, 0.05])
def test_the_share_that_is_done_rises_from_nothing_to_all(sigma):
    clean = torch.cat([planks(120, 160, seed=1), planks(120, 160, seed=2)])
    hole = torch.cat([box_hole(120, 160, (60, 20, 100, 90)), box_hole(120, 160, (5, 5, 30, 30))])
    shares = []
    x = clean + sigma * torch.randn(clean.shape, generator=seeded(1))
    denoise(x, torch.full((2,), sigma), clean, hole, tick=shares.append)
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert max(after - before for before, after in zip(shares, shares[1:], strict=False)) < 0.3


def test_it_can_be_stopped_between_any_two_comparisons_of_all_targets(compared, monkeypatch):
    """No stretch of code compares more than one candidate with every target, or one chunk of the exhaustive search."""
    monkeypatch.setattr(search, "CHUNK", 200_000)
    clean, hole = planks(160, 240), box_hole(160, 240, (90, 30, 140, 130))
    chunks = []
    addmm = torch.addmm

    def chunk(constant, left, right):
        chunks.append(left.shape[0] * right.shape[1])
        compared.append(0)
        return addmm(constant, left, right)

    monkeypatch.setattr(torch, "addmm", chunk)
    monkeypatch.setattr(denoiser, "search_everywhere", search.search_everywhere)
    targets = []
    built = denoiser.build_level
    monkeypatch.setattr(denoiser, "build_level", lambda *a: targets.append(len((level := built(*a)).targets)) or level)
    noisy = clean + 0.03 * torch.randn(clean.shape, generator=seeded(1))
    denoise(noisy, torch.tensor([0.03]), clean, hole, tick=lambda share: compared.append("tick"))
    stretches = [[]]
    for work in compared:
        stretches.append([]) if work == "tick" else stretches[-1].append(work)
    assert max(chunks) <= 200_000 and len(chunks) > 8
    assert max(stretch.count(0) for stretch in stretches) <= 1
    assert max(sum(stretch) for stretch in stretches) <= 2 * max(targets)


def test_a_larger_crop_of_the_same_shape_is_as_much_more_work():
    hole = torch.zeros(60, 90)
    hole[20:40, 30:60] = 1
    small, large = shape_of(hole, 1 - hole), shape_of(hole, 1 - hole, (120, 180))
    double = hole.repeat_interleave(2, 0).repeat_interleave(2, 1)
    whole = shape_of(double, 1 - double)
    assert large.size == whole.size and large[1:] == pytest.approx(whole[1:], rel=0.05)
    assert planned_work(0.03, large) > 2 * planned_work(0.03, small)
