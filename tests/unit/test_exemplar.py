"""The exemplar prior: what must hold for any photo, hole and noise."""

import math

import pytest
import torch

from mild.mild_core.exemplar import copying, denoise, denoiser
from mild.mild_core.exemplar.level import build_level
from mild.mild_core.exemplar.search import carry_over, improve, search_everywhere
from mild.mild_core.exemplar.vote import level_shift, vote
from mild.mild_core.image.fill import push_pull


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def planks(height=64, width=96, seed=0):
    """A floor of boards with grain [1, 3, H, W] in -1..1: lines to continue, texture to keep."""
    noise = torch.nn.functional.avg_pool2d(torch.randn(1, 3, height, width + 14, generator=seeded(seed)), (1, 15), 1)
    rows = torch.arange(height)
    board = torch.where(rows % 16 < 2, -0.7, 0.15 * ((rows // 16) % 2)).view(1, 1, -1, 1)
    return (noise[..., :width] + board).clamp(-1, 1)


def box_hole(height, width, box):
    hole = torch.zeros(1, 1, height, width)
    hole[..., box[1] : box[3], box[0] : box[2]] = 1
    return hole


def sampled(clean, hole, steps=8, seed=0, allowed=None, references=None):
    """Euler from pure noise, known pixels imposed as ComfyUI imposes them."""
    noise = torch.randn(clean.shape, generator=seeded(seed))
    sigmas = torch.linspace(math.log(6), math.log(0.03), steps).exp()
    x = noise * sigmas[0]
    for sigma, after in zip(sigmas, [*sigmas[1:], torch.tensor(0.0)], strict=True):
        x = torch.where(hole > 0, x, clean + sigma * noise)
        x0 = denoise(x, sigma.expand(len(x)), clean, hole, allowed, references)
        x = x0 + (x - x0) * after / sigma
    return x


def level_of(clean, hole, allowed=None):
    known = 1 - hole
    allowed = known if allowed is None else allowed
    smooth = push_pull(clean * known, known)
    size = (clean.shape[2], clean.shape[3])
    return build_level(size, clean, known * allowed, hole, smooth, [(clean, allowed)])


@pytest.mark.parametrize("sigma", [6.0, 0.5, 0.03])
@pytest.mark.parametrize("size", [(33, 47), (64, 20), (5, 90)])
def test_known_pixels_come_back_exactly(size, sigma):
    clean = torch.rand(2, 3, *size, generator=seeded()) * 2 - 1
    hole = (torch.rand(2, 1, *size, generator=seeded(1)) < 0.3).float()
    x0 = denoise(clean + sigma * torch.randn(clean.shape, generator=seeded(2)), torch.full((2,), sigma), clean, hole)
    kept = (hole == 0).expand_as(clean)
    assert torch.equal(x0[kept], clean[kept])
    assert torch.isfinite(x0).all() and x0.abs().max() <= 1


def test_rows_are_worked_on_alone_and_chance_is_the_same_in_every_call():
    clean = torch.cat([planks(seed=1), planks(seed=2)])
    hole = torch.cat([box_hole(64, 96, (30, 10, 60, 40)), box_hole(64, 96, (0, 50, 20, 64))])
    x, sigma = clean + torch.randn(clean.shape, generator=seeded(3)) * 0.2, torch.tensor([0.2, 0.1])
    both = denoise(x, sigma, clean, hole)
    for row in range(2):
        own = slice(row, row + 1)
        assert torch.equal(both[own], denoise(x[own], sigma[own], clean[own], hole[own]))


def test_what_is_under_the_mask_never_matters():
    clean, hole = planks(), box_hole(64, 96, (30, 10, 60, 50))
    results = []
    for colour in (-1.0, 0.3):
        painted = torch.where(hole > 0, colour, clean)
        results.append(torch.where(hole > 0, sampled(painted, hole), 0.0))
    assert torch.equal(*results)


def test_what_may_not_be_looked_at_is_never_copied():
    clean, hole = planks(), box_hole(64, 96, (30, 10, 60, 50))
    forbidden = box_hole(64, 96, (60, 5, 80, 60))
    results = []
    for colour in (-1.0, 1.0):
        painted = torch.where(forbidden > 0, torch.tensor([1.0, -1.0, colour]).view(1, 3, 1, 1), clean)
        x0 = sampled(painted, hole, allowed=1 - forbidden)
        results.append(torch.where(hole > 0, x0, 0.0))
    assert torch.equal(*results)


def test_a_big_hole_becomes_sharp_and_lines_go_on():
    """A third of the frame: texture as strong as around it, and closer to the truth than the smooth fill."""
    clean, hole = planks(), box_hole(64, 96, (32, 0, 64, 64))
    result = sampled(clean, hole)
    inside = (hole > 0).expand_as(clean)

    def detail(picture):
        step = (picture[..., 1:-1, 1:-1] * 4 - picture[..., 1:-1, 2:] - picture[..., 1:-1, :-2]).sub(
            picture[..., 2:, 1:-1] + picture[..., :-2, 1:-1]
        )
        return step.abs()[inside[..., 1:-1, 1:-1]].mean()

    assert 0.7 < detail(result) / detail(clean) < 1.3
    lines = torch.arange(64) % 16 < 2
    contrast = [p[..., ~lines, 36:60].mean() - p[..., lines, 36:60].mean() for p in (result, clean)]
    assert contrast[0] > 0.5 * contrast[1]


def test_other_noise_gives_another_picture():
    clean = torch.rand(1, 3, 40, 40, generator=seeded()) * 2 - 1
    hole = box_hole(40, 40, (10, 10, 30, 30))
    one, other = sampled(clean, hole, seed=1), sampled(clean, hole, seed=2)
    assert torch.equal(one, sampled(clean, hole, seed=1))
    assert not torch.equal(one, other)


def test_a_hole_over_everything_resamples_the_picture():
    clean = planks()
    result = sampled(clean, torch.ones(1, 1, 64, 96))
    assert not torch.equal(result, clean)
    assert 0.4 * clean.std() < result.std() < 1.3 * clean.std()  # not one colour, not noise


def test_nothing_to_learn_from_is_said():
    clean, hole = planks(), box_hole(64, 96, (0, 0, 50, 64))
    with pytest.raises(ValueError, match="nothing is left to learn from"):
        denoise(clean, torch.tensor([1.0]), clean, hole, torch.zeros_like(hole))
    nothing = torch.zeros_like(hole)  # without a hole there is nothing to learn for either
    assert torch.equal(denoise(clean, torch.tensor([1.0]), clean, nothing, nothing), clean)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (64, 3), (2, 2)])
def test_tiny_pictures(size):
    clean = torch.rand(1, 3, *size, generator=seeded())
    hole = torch.zeros(1, 1, *size)
    assert torch.equal(denoise(clean, torch.tensor([0.5]), clean, hole), clean)
    hole[..., -1] = 1
    allowed = None if size != (1, 1) else torch.ones(1, 1, 1, 1)
    assert torch.isfinite(denoise(clean, torch.tensor([0.5]), clean, hole, allowed)).all()


def test_a_single_pixel_in_a_large_picture_is_filled():
    clean = planks(200, 300)
    hole = box_hole(200, 300, (150, 100, 151, 101))
    for sigma in (6.0, 0.03):
        x0 = denoise(clean, torch.tensor([sigma]), torch.where(hole > 0, 9.0, clean), hole)
        assert x0.abs().max() <= 1


def test_a_caller_can_stop_it():
    class Stop(Exception):
        pass

    def stop(share):
        raise Stop

    clean, hole = planks(), box_hole(64, 96, (30, 10, 60, 50))
    with pytest.raises(Stop):
        denoise(clean, torch.tensor([0.1]), clean, hole, tick=stop)


def test_the_exhaustive_search_finds_the_nearest():
    clean, hole = planks(24, 30), box_hole(24, 30, (10, 8, 20, 16))
    level = level_of(clean, hole)
    picture = torch.rand(3, 24, 30, generator=seeded(4))
    found = level.distance(level.target_patches(picture), search_everywhere(level, picture))
    patches = level.target_patches(picture)
    roots = level.weights.sqrt()[..., None]
    for source in level.valid.nonzero()[::7]:
        one = level.source_patches(source[None]).view(1, -1, 3)
        plain = ((patches.view(len(patches), -1, 3) - one) * roots).square().sum((1, 2))
        plain += level.locality * (source[1:] - level.targets).float().square().sum(1)
        assert torch.allclose(plain, level.distance(patches, source.expand(len(patches), 3)), atol=1e-5)
        assert (found <= plain + 1e-5).all()


def test_propagation_only_improves_and_stays_on_allowed_patches():
    clean, hole = planks(40, 60), box_hole(40, 60, (20, 10, 40, 30))
    level = level_of(clean, hole)
    sources = level.valid.nonzero()
    start = sources[torch.randint(len(sources), (len(level.targets),), generator=seeded())]
    picture = level.smooth
    before = level.distance(level.target_patches(picture), start)
    source, after = improve(level, picture, start, 3, 8, seeded(1))
    assert (after <= before).all() and after.mean() < 0.7 * before.mean()
    assert level.usable(source).all()
    assert torch.allclose(after, level.distance(level.target_patches(picture), source), atol=1e-6)


def test_the_vote_is_the_weighted_mean_of_all_patches_over_a_pixel():
    clean, hole = planks(20, 24), box_hole(20, 24, (9, 7, 14, 12))
    level = level_of(clean, hole)
    source = search_everywhere(level, level.smooth)
    distance = level.distance(level.target_patches(level.smooth), source)
    result = vote(level, level.smooth, source, distance)

    shift = level_shift(level, level.target_patches(level.smooth), source)
    weights = torch.exp(-distance / torch.quantile(distance, 0.75)) * level.confidence[tuple(level.targets.T)]
    total, mass = torch.zeros(20, 24, 3), torch.zeros(20, 24)
    reach = level.radius
    patches = level.source_patches(source).view(len(source), 2 * reach + 1, 2 * reach + 1, 3)
    for (y, x), patch, weight, move in zip(level.targets.tolist(), patches, weights, shift, strict=True):
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                if 0 <= y + dy < 20 and 0 <= x + dx < 24:
                    share = weight * math.exp(-(dy * dy + dx * dx) / (2 * reach * reach))
                    total[y + dy, x + dx] += share * (patch[dy + reach, dx + reach] + move)
                    mass[y + dy, x + dx] += share
    expected = (total / mass[..., None]).permute(2, 0, 1).clamp(-1, 1)
    inside = (hole[0] > 0).expand(3, -1, -1)
    assert torch.allclose(result[inside], expected[inside], atol=1e-5)
    assert torch.equal(result[~inside], level.smooth[~inside])


def test_sources_are_carried_to_a_finer_level():
    clean, hole = planks(80, 120), box_hole(80, 120, (40, 20, 80, 60))
    known = 1 - hole
    smooth = push_pull(clean * known, known)
    coarse = build_level((40, 60), clean, known, hole, smooth, [(clean, known)])
    fine = level_of(clean, hole)
    source = search_everywhere(coarse, coarse.smooth)
    carried = carry_over(coarse, source, fine, seeded())
    assert len(carried) == len(fine.targets) and fine.usable(carried).all()
    parent = {tuple(t): s for t, s in zip(coarse.targets.tolist(), source.tolist(), strict=True)}
    close = 0
    for target, found in zip(fine.targets.tolist(), carried.tolist(), strict=True):
        _, y, x = parent.get((target[0] // 2, target[1] // 2), (0, -99, -99))
        close += abs(found[1] / 2 - y) <= 2 and abs(found[2] / 2 - x) <= 2
    assert close > 0.9 * len(carried)


def test_detail_of_a_large_hole_is_copied_at_full_size(monkeypatch):
    """With a small budget of matches: still sharp, still nothing copied that may not be looked at."""
    few = denoiser.Quality(exhaustive_area=700, matched_targets=400, rounds=2)
    used = []
    monkeypatch.setattr(denoiser, "copy_full_size", lambda *a: used.append(1) or copying.copy_full_size(*a))
    clean, hole = planks(160, 240), box_hole(160, 240, (90, 30, 150, 130))
    forbidden = box_hole(160, 240, (150, 0, 190, 160))
    results = []
    for colour in (-1.0, 1.0):
        painted = torch.where(forbidden > 0, colour, clean)
        clean_, sigma = torch.where(hole > 0, 0.0, painted), torch.tensor([0.03])
        x0 = denoise(painted, sigma, clean_, hole, 1 - forbidden, quality=few)
        results.append(x0[..., 30:130, 90:150])
    assert len(used) == 2 and torch.equal(*results)
    inside = results[0]
    assert inside[..., 1:].sub(inside[..., :-1]).abs().mean() > 0.5 * clean[..., 1:].sub(clean[..., :-1]).abs().mean()
    kept = (hole == 0).expand_as(clean)
    assert torch.equal(x0[kept], painted[kept])


@pytest.mark.parametrize("sigma", [6.0, 1.0, 0.2, 0.03])
@pytest.mark.parametrize("size", [(320, 480), (40, 2000), (3000, 2000), (7, 9)])
def test_levels_go_from_coarse_to_fine(size, sigma):
    factors, finest = denoiser.level_factors(sigma, size, 0.2 * size[0] * size[1])
    assert finest >= 1 and factors[-1] >= finest - 1e-9
    assert all(before / after <= denoiser.STEP + 1e-6 for before, after in zip(factors, factors[1:], strict=False))
    height, width = denoiser.level_size(size, factors[0])
    assert height * width <= denoiser.QUALITIES["normal"].exhaustive_area * 1.1
