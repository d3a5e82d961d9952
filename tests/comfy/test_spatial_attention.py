"""Attention is kept apart: each row by its own layer's regions, and nothing else changes."""

import pytest
import torch

from mild.mild_core.attention import rule
from mild.mild_core.attention.layer_regions import Maps
from mild.mild_core.comfy.attention import catch
from mild.mild_core.comfy.attention.steer import Steering
from mild.tests.helpers.attention import sampled
from mild.tests.helpers.tiny_models import make


def mask_of(height=64, width=64, box=(16, 16, 40, 48)):
    mask = torch.zeros(1, height, width)
    mask[:, box[1] : box[3], box[0] : box[2]] = 1
    return mask


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_a_rule_changes_what_its_table_says(family):
    tiny = make(family)
    plain = sampled(tiny)
    maps = Maps.of_mask(mask_of(), mask_of(box=(48, 8, 60, 60)))
    changed = sampled(tiny, catch.put(tiny.model, Steering(maps, lambda key, names: rule.sma(names)), "test"))
    assert not torch.allclose(changed, plain, atol=1e-3)
    zero = sampled(tiny, catch.put(tiny.model, Steering(maps, lambda key, names: rule.off(names)), "test"))
    assert torch.equal(zero, plain)
    empty = Steering(Maps.of_mask(mask_of() * 0), lambda key, names: rule.sma(names))
    assert torch.equal(sampled(tiny, catch.put(tiny.model, empty, "test")), plain)


@pytest.mark.usefixtures("small_native_size")
def test_layers_have_regions_of_their_own(sample, scenes):
    tiny, seen = make("sd15"), {}

    def rules(key, names):
        seen[key] = names
        return rule.sma(names, own="herself" if "person" in key else "rest")

    sample(scenes, tiny, model=catch.put(tiny.model, Steering(Maps.of(scenes), rules), "test"))
    assert seen["1/person-2"] == ("rest", "hole", "herself") and set(seen) == {layer.id for layer in scenes[0].layers}
