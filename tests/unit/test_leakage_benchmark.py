"""The benchmark of leakage measures what it says: colours, scenes, what is repainted, correlations."""

import numpy as np
import pytest
import torch

from mild.benchmarks.quality import leakage


@pytest.mark.parametrize(("pixel", "expected"), [
    ((1, 1, 1), (100, 0, 0)), ((0, 0, 0), (0, 0, 0)), ((1, 0, 0), (53.24, 80.09, 67.20)),
    ((0, 1, 0), (87.73, -86.18, 83.18)), ((0.5, 0.5, 0.5), (53.39, 0, 0)),
])  # fmt: skip
def test_cielab(pixel, expected):
    assert leakage.lab(torch.tensor(pixel, dtype=torch.float32)).tolist() == pytest.approx(expected, abs=0.05)


def test_scenes_are_of_whole_cells_and_apart():
    scenes = leakage.scenes_of(None, 64, 6)
    assert len(scenes) >= 4
    for scene in scenes:
        assert scene.photo.shape == (64, 64, 3) and scene.people.any() and not (scene.people * scene.hole).any()
        assert (scene.hole >= scene.erased).all()
        for mask in (scene.hole, scene.people):
            cells = mask.unflatten(0, (8, 8)).unflatten(2, (8, 8))
            assert torch.equal(cells.amax((1, 3)), cells.amin((1, 3)))


def test_only_what_must_not_be_looked_at_is_repainted():
    one, other = leakage.scenes_of(None, 64, 2)
    neighbours, erased = leakage.repainted(one, other)
    for pictures, where in ((neighbours, one.people), (erased, one.hole)):
        assert torch.equal(pictures[0], one.photo)
        for picture in pictures[1:]:
            changed = (picture != one.photo).any(-1)
            assert changed.any() and not changed[where == 0].any()


def test_no_change_is_no_leakage():
    scene = leakage.scenes_of(None, 64, 1)[0]
    small = torch.rand(8, 8, 3)
    outside = torch.where(leakage.inside(small, scene.hole)[..., None], small, torch.rand(8, 8, 3))
    assert leakage.distance(small, outside, scene.hole) == 0
    assert leakage.distance(small, small + 3, scene.hole) == pytest.approx(3 * 3**0.5, rel=1e-5)
    scale, offset = leakage.spread(small, scene)
    hole = (small * scale + offset)[leakage.inside(small, scene.hole)]
    assert hole.mean(0).tolist() == pytest.approx([0.5] * 3) and hole.std(0).tolist() == pytest.approx([0.2] * 3)


def test_only_attention_is_left():
    """A change in one cell stays there, and activations neither grow nor vanish."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(4, 32, 3, padding=1, bias=False),
        torch.nn.GroupNorm(32, 32),
        torch.nn.Conv2d(32, 4, 3, padding=1),
    )
    x = torch.randn(1, 4, 6, 6)
    changed = x.clone()
    changed[..., 2, 3] += 1
    assert ((network(x) - network(changed)).abs().sum(1) > 1e-6).sum() > 9
    leakage.only_attention(network)
    assert ((network(x) - network(changed)).abs().sum(1) > 1e-6).sum() == 1
    assert 0.1 < network(x).std() < 10


@pytest.mark.parametrize("slope", [-1.0, 1.0])
def test_correlation(slope):
    generator = np.random.default_rng(1)
    rows = []
    for scene in range(12):
        for rule in range(5):
            noise = generator.normal(0, 0.05)
            # scenes differ by an offset that hides the rules' effect until it is taken out
            rows.append(leakage.Row(str(scene), str(rule), rule / 5, (slope * rule / 5 + scene + noise,)))
    r, low, high = leakage.correlation(rows, 0, "scene")
    assert low <= r <= high and slope * r > 0.9 and slope * low > 0 and slope * high > 0
    r, low, high = leakage.correlation(rows, 0)
    assert abs(r) < 0.5 and low <= r <= high
    nothing, _, _ = leakage.correlation([row._replace(moved=(0.0,)) for row in rows], 0)
    assert np.isnan(nothing)
