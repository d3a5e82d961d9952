"""Sleeve from sleeve: the exemplar prior under a soft rule between regions."""

import math

import pytest
import torch

from mild.mild_core.exemplar import denoise
from mild.mild_core.exemplar.level import build_level
from mild.mild_core.exemplar.search import improve, search_everywhere
from mild.mild_core.exemplar.segments import MOST_CELLS, at_size, charges
from mild.mild_core.fill import push_pull
from mild.mild_core.morphology.parts import SEGMENTS
from mild.mild_core.morphology.same_part import NEIGHBOURS, same_part

TABLE = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.3], [0.0, 0.3, 0.0]])
SIZES = [(33, 47), (41, 29)]


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def noise(size, seed=0, channels=3):
    return torch.rand(1, channels, *size, generator=seeded(seed))


def between(size):
    """Red to the left, green to the right, a hole between them that lies as near to either -> clean, hole."""
    height, width = size
    clean = 0.05 * (noise(size) - 0.5)
    clean[:, 0, :, : width // 2] += 0.3
    clean[:, 1, :, -(width // 2) :] += 0.3
    hole = torch.zeros(1, 1, *size)
    third = width // 3
    hole[..., third : width - third] = 1
    return clean, hole


def sides(size, inside):
    """1 to the left, 2 to the right, `inside` in the hole of `between`."""
    width = size[1]
    labels = torch.ones(1, 1, *size)
    labels[..., -(width // 3) :] = 2
    labels[..., width // 3 : width - width // 3] = inside
    return labels


def sampled(clean, hole, steps=6, **more):
    """Euler from pure noise, known pixels imposed as ComfyUI imposes them."""
    unit = torch.randn(clean.shape, generator=seeded(5))
    sigmas = torch.linspace(math.log(6), math.log(0.03), steps).exp()
    x = unit * sigmas[0]
    for sigma, after in zip(sigmas, [*sigmas[1:], torch.tensor(0.0)], strict=True):
        x = torch.where(hole > 0, x, clean + sigma * unit)
        x0 = denoise(x, sigma.expand(len(x)), clean, hole, **more)
        x = x0 + (x - x0) * after / sigma
    return x


def level_of(clean, hole, labels=None, table=TABLE):
    known = 1 - hole
    smooth = push_pull(clean * known, known)
    size = (clean.shape[2], clean.shape[3])
    apart = None if labels is None else charges(labels, table)
    return build_level(size, clean, known, hole, smooth, [(clean, known)], apart=apart)


def redness(picture, hole):
    inside = (hole > 0)[0, 0]
    return float((picture[0, 0][inside] > picture[0, 1][inside]).float().mean())


@pytest.mark.parametrize("sigma", [6.0, 0.3])
@pytest.mark.parametrize("size", SIZES)
def test_without_anything_to_tell_nothing_changes(size, sigma):
    clean, hole = between(size)
    x = clean + sigma * torch.randn(clean.shape, generator=seeded(2))
    arguments = x, torch.tensor([sigma]), clean, hole
    plain = denoise(*arguments)
    labels = sides(size, 1)
    assert torch.equal(plain, denoise(*arguments, segments=torch.zeros_like(labels), table=TABLE))
    assert torch.equal(plain, denoise(*arguments, segments=torch.ones_like(labels), table=TABLE))
    assert torch.equal(plain, denoise(*arguments, segments=labels, table=torch.zeros(3, 3)))
    assert torch.equal(plain, denoise(*arguments, segments=labels))
    assert torch.equal(plain, denoise(*arguments, table=TABLE))


@pytest.mark.parametrize("size", SIZES)
def test_of_two_textures_as_near_the_same_region_wins(size):
    clean, hole = between(size)
    plain = redness(sampled(clean, hole), hole)
    red = redness(sampled(clean, hole, segments=sides(size, 1), table=TABLE), hole)
    green = redness(sampled(clean, hole, segments=sides(size, 2), table=TABLE), hole)
    assert 0.2 < plain < 0.8
    assert red > 0.75 and green < 0.25  # patches of either side reach three pixels into the hole


def test_it_is_a_soft_rule():
    size = SIZES[0]
    clean, hole = between(size)
    green = (sides(size, 2) == 2).float() * (1 - hole)
    result = sampled(clean, hole, allowed=green, segments=sides(size, 1), table=TABLE)
    assert torch.isfinite(result).all() and redness(result, hole) < 0.05  # other patches there are none
    weak = redness(sampled(clean, hole, segments=sides(size, 1), table=TABLE * 1e-4), hole)
    assert abs(weak - redness(sampled(clean, hole), hole)) < 0.2


@pytest.mark.parametrize("size", SIZES)
def test_what_is_forbidden_stays_forbidden(size):
    clean, hole = between(size)
    labels = sides(size, 1)
    allowed = 1 - hole
    allowed[..., : size[0] // 2, : size[1] // 3] = 0
    for colour in (-1.0, 1.0):
        clean[..., : size[0] // 2, : size[1] // 3] = colour
        x = clean + 0.2 * torch.randn(clean.shape, generator=seeded(3))
        result = denoise(x, torch.tensor([0.2]), clean, hole, allowed, segments=labels, table=TABLE)
        if colour < 0:
            first = result
    inside = (hole > 0).expand_as(first)
    noisy = torch.where(allowed > 0, 0.0, (first - result).abs())
    assert torch.equal(first[inside], result[inside]) and noisy.max() > 0


def test_rows_are_worked_on_alone():
    size = SIZES[0]
    clean, hole = between(size)
    labels = torch.cat([sides(size, 1), sides(size, 2), torch.zeros(1, 1, *size)])
    three = [clean.expand(3, -1, -1, -1).contiguous(), hole.expand(3, -1, -1, -1).contiguous()]
    x, sigma = three[0] + 0.5 * torch.randn(three[0].shape, generator=seeded(1)), torch.full((3,), 0.5)
    together = denoise(x, sigma, *three, segments=labels, table=TABLE)
    for row in range(3):
        own = slice(row, row + 1)
        alone = denoise(x[own], sigma[own], clean, hole, segments=labels[own], table=TABLE)
        assert torch.equal(together[own], alone)
    assert not torch.equal(together[0], together[1])


def test_exhaustive_search_finds_what_distances_say():
    size = (25, 31)
    clean, hole = noise(size, 4) * 2 - 1, (noise(size, 6, 1) < 0.02).float()
    labels = (noise(size, 7, 1) * 3).floor()
    level = level_of(clean, hole, labels)
    sources = level.valid.nonzero()
    patches = level.target_patches(level.smooth)
    dense = torch.stack([level.distance(patches, one.expand(len(patches), 3)) for one in sources], 1)
    found = search_everywhere(level, level.smooth)
    assert torch.allclose(level.distance(patches, found), dense.amin(1), atol=1e-5)

    roots = level.roots()
    colour = level_of(clean, hole).distance(patches, found)
    targets = labels[0, 0][level.targets[:, 0], level.targets[:, 1]].long()
    shown = labels[0, 0][found[:, 1], found[:, 2]].long()
    assert torch.allclose(level.distance(patches, found) - colour, TABLE[targets, shown], atol=1e-5)
    closest, distance = improve(level, level.smooth, found, 2, 8, seeded())
    again = level.distance_to(patches * roots, roots, level.targets, closest)
    assert torch.allclose(distance, again, atol=1e-5) and (distance <= dense.amin(1) + 1e-5).all()


def test_a_reference_costs_what_the_photo_costs_in_the_mean():
    size = SIZES[0]
    labels = sides(size, 1)
    labels[..., :5, :] = 0
    rule = at_size(charges(labels, TABLE), size)
    sources = torch.tensor([[0, 10, size[1] - 5], [0, 10, 2], [0, 2, size[1] - 5], [1, 10, size[1] - 5], [2, 3, 4]])
    target = torch.tensor([[10, size[1] // 2]]).expand(len(sources), -1)
    green = float((labels == 2).sum() / (labels > 0).sum())
    costs = (rule.of_targets(target) * rule.of_sources(sources)).sum(1).tolist()
    assert costs == pytest.approx([0.3, 0.0, 0.0, 0.3 * green, 0.3 * green], abs=1e-5)


def test_membership_is_soft_on_coarse_levels_and_kept_small():
    labels = torch.zeros(1, 1, 900, 700)
    labels[..., 350:] = 1
    rule = charges(labels, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert rule.shown.shape[2] * rule.shown.shape[3] <= 1.01 * MOST_CELLS
    small = at_size(rule, (9, 7))
    assert torch.allclose(small.shown.sum(1), torch.ones(63), atol=1e-5)
    assert small.shown[3].tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    assert torch.allclose(small.asked, small.shown.flip(1), atol=1e-5)


def test_the_table_of_body_segments():
    table = same_part(2.0)
    assert table.shape == (len(SEGMENTS), len(SEGMENTS)) and torch.equal(table, table.T)
    assert (table.diagonal() == 0).all() and (table[0] == 0).all()
    for one, other in NEIGHBOURS:
        assert 0 < table[SEGMENTS.index(one), SEGMENTS.index(other)] < 1
    assert table[SEGMENTS.index("head"), SEGMENTS.index("foot")] == 2
    assert not same_part(0).any()
