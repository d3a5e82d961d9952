"""What a special model needs is attached to its MODEL, wherever that goes, and is all that samplers and nodes ask."""

import inspect

import comfy.sd
import pytest
import torch
from comfy.model_patcher import ModelPatcher

from mild.mild_core.attention.layer_regions import Maps
from mild.mild_core.comfy.attention.spatial import SpatialSettings, keep_apart
from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.comfy.erasers.eraser import ORDINARY, Eraser, attach, eraser_of
from mild.mild_core.comfy.sampling.encode import latent_space
from mild.mild_core.comfy.sampling.start import EXEMPLAR, NOISE, decided
from mild.mild_core.exemplar import QUALITIES
from mild.mild_core.scene import Scene
from mild.tests.helpers.attention import noting_calls
from mild.tests.helpers.layers import background, check, layers_of, picture
from mild.tests.helpers.tiny_models import FAMILIES


@pytest.fixture(scope="module")
def pair():
    """Two crops of 40 x 40 pixels."""
    photo = picture()
    holes = (background(photo, (20, 10, 30, 30), box=(0, 2, 40, 42)),
             background(photo, (60, 20, 70, 41), box=(43, 9, 83, 49), tail="-2"))  # fmt: skip
    return [Scene(photo, holes)]


class Special(Eraser):
    """As an eraser of the literature would be: another size, values of the layer, by itself."""

    name = "the Special Model"
    fills_itself = True
    row_by_row = True
    keeps_apart = True

    def native_pixels(self, model):
        return 64 * 64

    def multiple(self, model):
        return 32

    def layer_values(self, layer, hole, plate):
        return {"mild_special": torch.full((1,), float(layer.box[0])), "mild_cells": hole.shape}


@pytest.fixture
def special(tiny):
    model = tiny("sd15").model.clone()
    attach(model, Special())
    return model


WAYS = {
    "clone": lambda model: model.clone(),
    "clone of a clone": lambda model: model.clone().clone(),
    "for hooks": lambda model: model.clone(disable_dynamic=True, force_deepcopy=True),
    "for another GPU": lambda model: model.deepclone_multigpu(torch.device("cpu")),
    "loaded anew": lambda model: model.cached_patcher_init[0](*model.cached_patcher_init[1]),
    "loaded anew for hooks": lambda model: model.cached_patcher_init[0](
        *model.cached_patcher_init[1], disable_dynamic=True
    ),
    "with a LoRA": lambda model: comfy.sd.load_lora_for_models(model, None, {}, 1.0, 0.0)[0],
}


@pytest.mark.parametrize("way", WAYS)
def test_the_built_in_model_stays_one_wherever_comfyui_takes_it(way):
    if way == "for hooks" and "force_deepcopy" not in inspect.signature(ModelPatcher.clone).parameters:
        pytest.skip("ComfyUI 0.24 makes no such copy")
    model = WAYS[way](builtin.load_model(quality="draft"))
    assert isinstance(eraser_of(model), builtin.Builtin)
    assert eraser_of(model).quality == model.model.diffusion_model.quality == QUALITIES["draft"]
    assert model.model.diffusion_model is not None and latent_space(model, None).multiple == 1


def test_stock_nodes_hand_it_on(run_node):
    (model,) = run_node("RescaleCFG", model=builtin.load_model(), multiplier=0.5)
    assert isinstance(eraser_of(model), builtin.Builtin)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_other_model_is_an_ordinary_checkpoint(tiny, family):
    assert eraser_of(tiny(family).model) is ORDINARY


def test_a_model_made_into_an_eraser_leaves_the_one_it_came_from(special, tiny):
    assert isinstance(eraser_of(special.clone()), Special)
    assert eraser_of(tiny("sd15").model) is ORDINARY


def test_the_sampler_asks_for_size_values_and_batches(sample, tiny, special, pair):
    sd15 = tiny("sd15")

    def sampled(model):
        received = []

        def extra_conds(**kwargs):
            received.append((kwargs.get("mild_special"), kwargs.get("mild_cells")))
            return model.model.__class__.extra_conds(model.model, **kwargs)

        model, calls = noting_calls(model, lambda x, *_, **__: tuple(x.shape))
        model.add_object_patch("extra_conds", extra_conds)
        settings = {"positive": sd15.positive, "negative": sd15.negative, "cfg": 1.0, "start": "noise"}
        result = sample(pair, sd15, model=model, **settings)
        check(pair, result)
        return set(calls), received, result

    calls, received, result = sampled(special)
    assert calls == {(1, 4, 8, 8)}  # 64 px, each alone
    given = {float(value): cells for value, cells in received if value is not None}
    assert given == {0.0: (1, 1, 8, 8), 43.0: (1, 1, 8, 8)}
    plain, received, _ = sampled(sd15.model)
    assert {shape[0] for shape in plain} == {2} and plain != calls
    assert all(value is None for value, _ in received)
    assert layers_of(result).keys() == layers_of(pair).keys()


def test_the_start_follows_from_what_it_makes_by_itself(tiny, special, pair):
    sd15, layer = tiny("sd15"), pair[0].layers[0]
    own, plain = latent_space(special, sd15.vae), latent_space(sd15.model, sd15.vae)
    assert (
        decided("automatic", 1.0, layer, own).how == NOISE and decided("automatic", 1.0, layer, plain).how == EXEMPLAR
    )
    assert decided(EXEMPLAR, 1.0, layer, own).how == NOISE and decided(EXEMPLAR, 1.0, layer, plain).how == EXEMPLAR


def test_attention_is_left_alone_where_it_keeps_apart_by_itself(tiny, special, pair):
    maps = Maps.of(pair)
    same, text = keep_apart(special, maps, SpatialSettings())
    assert same is special and text.startswith("The Special Model looks at nobody")
    other, text = keep_apart(tiny("sd15").model, maps, SpatialSettings())
    assert other is not tiny("sd15").model and text.startswith("Held apart")
