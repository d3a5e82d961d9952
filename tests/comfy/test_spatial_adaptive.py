"""Adaptive strength follows what was measured, within bounds, and less of what must not be looked at comes across."""

import math

import comfy.sample
import pytest
import torch
import torch.nn.functional as F

from mild.mild_core.attention.layer_regions import Maps
from mild.mild_core.comfy.attention import catch
from mild.mild_core.comfy.attention.adaptive import BOUNDS, MOST_STEP, Adaptive, next_factor
from mild.mild_core.comfy.attention.spatial import SpatialSettings, keep_apart, rules_of
from mild.tests.helpers.attention import Noting, sampled
from mild.tests.helpers.tiny_models import make

HOLE, PEOPLE = torch.zeros(2, 1, 64, 64)
HOLE[:, :, :24] = 1
PEOPLE[:, :, 40:] = 1
MAPS = Maps.of_mask(HOLE, PEOPLE)


def test_at_the_target_nothing_moves():
    for target in (0.0, 0.9, 0.98):
        foreign = (1 - target) / 2
        assert next_factor(1.3, 1 - foreign, foreign, 8.0, target) == pytest.approx(1.3)


def test_more_leakage_more_strength_within_bounds():
    shares = (0.0, 1e-4, 0.01, 0.1, 0.5, 0.9, 1.0)
    after = [next_factor(1.0, 1 - foreign, foreign, 2.0, 0.98) for foreign in shares]
    assert after == sorted(after) and after[0] < 1 < after[-1]
    assert all(abs(factor - 1) <= MOST_STEP for factor in after)
    for foreign in shares:
        factor = 1.0
        for _ in range(30):
            factor = next_factor(factor, 1 - foreign, foreign, 0.1, 0.98)
            assert BOUNDS[0] <= factor <= BOUNDS[1]


def test_it_settles_at_the_target():
    """Where a factor m divides the odds by e^(m l), as a bias does for one query."""
    odds, lever, target, factor = 3.0, 4.0, 0.9, 1.0
    for _ in range(20):
        foreign = odds * math.exp(-factor * lever)
        factor = next_factor(factor, 1 / (1 + foreign), foreign / (1 + foreign), lever, target)
    foreign = odds * math.exp(-factor * lever)
    assert (1 - foreign) / (1 + foreign) == pytest.approx(target, abs=1e-3)


class Kept(Adaptive):
    """Keeps what it knew at the end."""

    def end(self):
        self.last = dict(self.factors)
        super().end()


@pytest.mark.parametrize("family", ["sd15", "flux"])
@pytest.mark.parametrize(("strength", "target"), [(0.6, 0.98), (1.0, 0.5)])
def test_each_block_by_itself(family, strength, target):
    """Too weak a start is made up for, too strong a one taken back; each block and picture has its own."""
    tiny = make(family)
    handler = Kept(MAPS, rules_of(MAPS), strength=strength, target=target)
    sampled(tiny, catch.put(tiny.model, handler, "test"), steps=4, batch=2)
    blocks = {"sd15": 15, "flux": 4}[family]  # the UNet's innermost token is the whole picture
    assert {row for row, _ in handler.last} == {0, 1} and len(handler.last) == 2 * blocks
    assert all(BOUNDS[0] <= factor <= BOUNDS[1] for factor in handler.last.values())
    assert all((factor > 1) == (strength < 1) for factor in handler.last.values())
    assert len(set(handler.last.values())) > blocks / 2 and not handler.factors


def test_only_the_positive_prompt_is_measured():
    """Another negative prompt does not change how strongly the positive one's attention is held."""
    tiny, last = make("flux"), []
    for negative in (tiny.negative, tiny.positive):
        handler = Kept(MAPS, rules_of(MAPS), strength=0.3)
        sampled(tiny._replace(negative=negative), catch.put(tiny.model, handler, "test"), steps=2, cfg=1.0001)
        last.append(handler.last)
    assert last[0] == pytest.approx(last[1], abs=1e-3) and len(last[0]) == 4


def leakage(tiny, model, steps=6):
    """How far the hole moves when what it must not look at is repainted."""
    results = []
    hole = F.interpolate(HOLE[None], size=(8, 8))
    for seed in (7, 8):
        latent = torch.randn(tiny.shape(), generator=torch.Generator().manual_seed(5))
        other = torch.randn(tiny.shape(), generator=torch.Generator().manual_seed(seed)) * 2
        latent[..., 5:] = other[..., 5:]
        noise = comfy.sample.prepare_noise(latent, 1)
        with torch.inference_mode():
            result = comfy.sample.sample(
                model, noise, steps, 1.0, "euler", "simple", tiny.positive, tiny.negative, latent, seed=1,
                noise_mask=hole[0], disable_pbar=True,
            )  # fmt: skip
        results.append(result[..., :3])
    return float((results[0] - results[1]).abs().mean() / results[0].std())


def test_adaptive_lowers_causal_leakage():
    """Not only the gap, which a bias raises by definition."""
    tiny = make("flux")

    def with_rule(**settings):
        return leakage(tiny, keep_apart(tiny.model, MAPS, SpatialSettings(**settings))[0])

    plain, weak, adaptive = leakage(tiny, tiny.model), with_rule(strength=0.2), with_rule(strength=0.2, adaptive=True)
    assert adaptive < 0.85 * weak < 0.85 * plain
    assert with_rule(adaptive=True, target=0.5) < plain


def let_through(tiny, settings):
    """How far each attention's result moves in the hole when what stands in PEOPLE is replaced, on the average; nothing
    that convolutions and norms of a UNet carry across.
    """
    moves = []

    def repainted(inner, site, q, k, v, heads, *args, **kwargs):
        result = inner(q, k, v, heads, *args, **kwargs)
        grid = site.spans[0].grid
        hole, people = (F.adaptive_avg_pool2d(mask, grid).flatten() == 1 for mask in (HOLE, PEOPLE))
        if site.kind == "self" and hole.any() and people.any():
            generator = torch.Generator().manual_seed(len(moves))
            others = [torch.randn(part[:, people].shape, generator=generator) * part.std() for part in (k, v)]
            k, v = k.clone(), v.clone()
            k[:, people], v[:, people] = others
            moved = inner(q, k, v, heads, *args, **kwargs) - result
            moves.append(float(moved[:, hole].norm() / result[:, hole].norm()))
        return result

    model = catch.put(tiny.model, Noting(change=repainted), "repainted")
    model = model if settings is None else keep_apart(model, MAPS, settings)[0]
    sampled(tiny, model, steps=4, cfg=1.0)
    return sum(moves) / len(moves)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_adaptive_lowers_what_a_unets_attention_lets_through(family):
    tiny = make(family)
    weak, adaptive = SpatialSettings(strength=0.3), SpatialSettings(strength=0.3, adaptive=True)
    assert let_through(tiny, adaptive) < 0.8 * let_through(tiny, weak) < 0.8 * let_through(tiny, None)


def test_words_carry_looks_along():
    tiny = make("flux2")
    plain, without, words = (
        leakage(tiny, model)
        for model in (tiny.model, *(keep_apart(tiny.model, MAPS, SpatialSettings(words=w))[0] for w in (False, True)))
    )
    assert words < 0.5 * min(plain, without)
