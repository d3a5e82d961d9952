"""Every attention of a network is announced once in each call, with its block's name, kind, and what its tokens are."""

import comfy.ldm.modules.attention
import comfy.model_patcher
import comfy.supported_models
import pytest
import torch

from mild.mild_core.comfy import layouts
from mild.mild_core.comfy.attention import catch
from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.comfy.families import layout_of
from mild.tests.helpers.attention import TRANSFORMERS, UNETS, Noting, counting_calls, sampled
from mild.tests.helpers.tiny_models import make, randomize


def kinds(spans):
    return [(span.kind, span.length, span.grid) for span in spans]


def announced(tiny, model=None, **settings):
    """A handler that went through a sampling, and how many calls of the network that took."""
    handler = Noting()
    model, calls = counting_calls(model or tiny.model)
    sampled(tiny, catch.put(model, handler, "test"), **settings)
    assert handler.sites
    for site, (_, queries, keys) in zip(handler.sites, handler.sizes, strict=True):
        for spans, tokens in ((site.spans, queries), (site.keys, keys)):
            assert [span.start for span in spans] == [sum(s.length for s in spans[:n]) for n in range(len(spans))]
            assert sum(span.length for span in spans) == tokens
            assert all(span.grid is None or span.grid[0] * span.grid[1] == span.length for span in spans)
    return handler, len(calls)


@pytest.mark.parametrize("family", UNETS)
def test_names_and_kinds_are_those_that_a_unets_patches_see(family):
    tiny, seen = make(family), []

    def patch(kind):
        def note(q, k, v, extra):
            seen.append(((*extra["block"], extra["block_index"]), kind, tuple(extra["activations_shape"][-2:])))
            return q, k, v

        return note

    model = tiny.model.clone()
    model.set_model_attn1_patch(patch("self"))
    model.set_model_attn2_patch(patch("cross"))
    handler, _ = announced(tiny, model, height=19, width=13, batch=2)
    assert [(site.block, site.kind, site.spans[0].grid) for site in handler.sites] == seen


@pytest.mark.parametrize("family", UNETS)
def test_each_of_a_unets_attentions_once_per_call(family):
    tiny = make(family)
    handler, calls = announced(tiny)
    modules = [type(module) for module in tiny.model.model.diffusion_model.modules()]
    attentions = modules.count(comfy.ldm.modules.attention.CrossAttention)
    assert len(handler.sites) == attentions * calls
    assert len({(site.block, site.kind) for site in handler.sites}) == attentions


@pytest.mark.parametrize("family", ["flux", "flux_fill", "flux2", "chroma", "chroma_radiance"])
def test_names_and_text_are_those_that_fluxs_patches_see(family):
    tiny, seen = make(family), []

    def note(q, k, v, extra_options, **kwargs):
        seen.append(((extra_options["block_type"], extra_options["block_index"]), extra_options["img_slice"]))
        return {}

    model = tiny.model.clone()
    model.set_model_attn1_patch(note)
    handler, calls = announced(tiny, model, height=5, width=9, batch=2)
    places = [[site.spans[0].length, site.spans[0].length + site.spans[1].length] for site in handler.sites]
    assert list(zip([site.block for site in handler.sites], places, strict=True)) == seen
    assert {site.kind for site in handler.sites} == {"joint"} and len(handler.sites) == 4 * calls


@pytest.mark.parametrize(("family", "blocks"), [
    ("sd3", {(("joint", 0), "joint"), (("joint", 1), "joint")}),
    ("qwen_image", {(("double", 0), "joint"), (("double", 1), "joint")}),
    ("lumina2", {(("refiner", 0), "self"), (("joint", 0), "joint"), (("joint", 1), "joint")}),
])  # fmt: skip
def test_other_transformers(family, blocks):
    handler, calls = announced(make(family), height=5, width=9, batch=2)
    assert {(site.block, site.kind) for site in handler.sites} == blocks
    assert len(handler.sites) == len(blocks) * calls
    assert {span.kind for site in handler.sites for span in site.spans} == {"text", "image"}


def test_sd35_medium_has_a_second_attention_in_its_blocks():
    """The picture's own, after the one it shares with the text."""
    tiny = make("sd3")
    config = comfy.supported_models.SD3(tiny.model.model.model_config.unet_config | {"x_block_self_attn_layers": [0]})
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, device=torch.device("cpu")).eval()
    randomize(model.diffusion_model, 0)
    patcher = comfy.model_patcher.CoreModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
    handler, _ = announced(tiny, patcher, height=19, width=13, cfg=1.0, steps=1)
    assert [(site.block, site.kind, kinds(site.spans)) for site in handler.sites] == [
        (("joint", 0), "joint", [("text", 77, None), ("image", 70, (10, 7))]),
        (("joint", 0), "self", [("image", 70, (10, 7))]),
        (("joint", 1), "joint", [("text", 77, None), ("image", 70, (10, 7))]),
    ]


def test_grids_of_odd_latents():
    def grids(family):
        handler, _ = announced(make(family), height=19, width=13, steps=1)
        return {span.grid for site in handler.sites for span in site.spans if span.kind == "image"}

    assert grids("sd15") == {(19, 13), (10, 7), (5, 4), (3, 2)}
    assert grids("sdxl") == {(10, 7), (5, 4)}
    assert grids("flux") == grids("sd3") == grids("qwen_image") == grids("lumina2") == {(10, 7)}
    assert grids("flux2") == {(19, 13)}


def test_self_and_cross_attention_with_equally_many_tokens():
    """224 x 352 px, with SD1.5 448 x 704: 7 x 11 tokens in the middle, and 77 of text."""
    handler, _ = announced(make("sdxl"), height=28, width=44, steps=1, cfg=1.0)
    middle = [site for site in handler.sites if site.block == ("middle", 0, 0)]
    assert [(site.kind, kinds(site.spans), kinds(site.keys)) for site in middle] == [
        ("self", [("image", 77, (7, 11))], [("image", 77, (7, 11))]),
        ("cross", [("image", 77, (7, 11))], [("text", 77, None)]),
    ]


@pytest.mark.parametrize("family", ["flux", "flux2", "qwen_image"])
def test_reference_latents_come_after_the_picture(run_node, family):
    tiny = make(family)
    positive = tiny.positive
    for height, width in ((6, 11), (5, 8)):
        latent = {"samples": torch.ones(tiny.shape(height, width))}
        (positive,) = run_node("ReferenceLatent", conditioning=positive, latent=latent)
    handler, _ = announced(tiny, positive=positive, height=4, width=6, cfg=1.0)
    cell = 1 if family == "flux2" else 2
    grids = [(-(-h // cell), -(-w // cell)) for h, w in ((4, 6), (6, 11), (5, 8))]
    for site in handler.sites:
        assert [span.kind for span in site.spans] == ["text", "image", "reference", "reference"]
        assert [span.grid for span in site.spans[1:]] == grids


@pytest.mark.parametrize("family", ["sd15", "flux", "sd3", "qwen_image", "lumina2"])
@pytest.mark.parametrize("tokens", [5, 154])
def test_texts_of_other_lengths(family, tokens):
    tiny = make(family)
    width = tiny.positive[0][0].shape[-1]
    extra = {key: value for key, value in tiny.positive[0][1].items() if key != "attention_mask"}
    handler, _ = announced(tiny, positive=[[torch.randn(1, tokens, width), extra]], cfg=1.0)
    texts = {span.length for site in handler.sites for span in site.keys if span.kind == "text"}
    assert texts == {tokens}


def test_z_image_fills_up_its_tokens():
    handler, _ = announced(make("z_image"), height=19, width=13, cfg=1.0, steps=1)
    filled = [("text", 77, None), ("padding", 19, None), ("image", 70, (10, 7)), ("padding", 26, None)]
    assert [kinds(site.spans) for site in handler.sites] == [filled[2:], filled, filled]


def test_a_family_without_hooks_says_so():
    with pytest.raises(ValueError, match="no hooks for this model family yet") as error:
        catch.put(builtin.load_model(), Noting(), "test")
    assert "\n" not in str(error.value)


def test_every_tiny_family_has_hooks():
    for family in UNETS + TRANSFORMERS:
        network = make(family).model.model.diffusion_model
        assert layout_of(network).attentions(network)


def test_several_frames_at_once_are_refused():
    tiny = make("qwen_image")
    network = tiny.model.model.diffusion_model
    with pytest.raises(ValueError, match="3 frames"):
        layout_of(network).spans(
            network, "joint", (None, torch.zeros(1, 7, 64)), {}, layouts.Sizes((1, 16, 3, 8, 8), (), 7)
        )
