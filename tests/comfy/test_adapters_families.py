"""Adapters routed by row on every family: each row is what a MODEL with its adapter merged makes of it."""

import dataclasses

import pytest
import torch

from mild.mild_core.comfy.adapters.route import route
from mild.tests.helpers.adapters import given, make_adapter, merged
from mild.tests.helpers.attention import TRANSFORMERS, hooked, near, sampled
from mild.tests.helpers.tiny_models import make


@pytest.mark.parametrize("family", ("sd15_inpaint", "sd2", "sdxl", *TRANSFORMERS))
def test_every_module_of_every_family(family):
    """All linear and convolution layers, cond and uncond in one batch; two rows of one adapter, one of another."""
    tiny = make(family)
    plate, person = make_adapter(tiny.model, seed=1), make_adapter(tiny.model, seed=2)
    model = route(tiny.model, [given(plate, 0.8, 0, 0), given(person, 0, 1.0, 0.5)])
    rows, plain = sampled(tiny, model, batch=3, steps=1), sampled(tiny, batch=3, steps=1)
    for row, (adapter, strength) in enumerate([(plate, 0.8), (person, 1.0), (person, 0.5)]):
        alone = sampled(tiny, merged(tiny.model, (adapter, strength)), batch=3, steps=1)
        scale = float(alone[row].abs().max())
        assert torch.allclose(rows[row], alone[row], rtol=0, atol=1e-4 * scale)
        assert not torch.allclose(rows[row], plain[row], rtol=0, atol=0.05 * scale)
    assert not hooked(tiny.model)


def test_chroma_radiance_in_tiles():
    """It shows its last layers the patches of all pictures, so many at a time: a tile ends within a picture."""
    tiny = make("chroma_radiance")
    network = tiny.model.model.diffusion_model
    plate, person = make_adapter(tiny.model, among="nerf", seed=1), make_adapter(tiny.model, among="nerf", seed=2)
    model = route(tiny.model, [given(plate, 0.8, 0, 0), given(person, 0, 1.0, 0.5)])
    whole = sampled(tiny, model, batch=3, steps=2)
    tiles = []
    network.nerf_blocks[0].register_forward_pre_hook(lambda module, args: tiles.append(len(args[0])))
    for size, rows in ((25, [75, 75, 42]), (1, [3, 3, 3])):  # of 64 patches; a tile as long as the batch
        tiles.clear()
        network.params = dataclasses.replace(network.params, nerf_tile_size=size)
        assert near(sampled(tiny, model.clone(), batch=3, steps=2), whole)
        assert tiles[:3] == rows


@pytest.mark.parametrize("family", ["qwen_image", "flux2"])
def test_reference_latents_at_no_noise(family):
    """Some modules get the batch twice: at the noise level, then at none, which the reference is read at."""
    tiny = make(family)
    if family == "flux2":  # as Klein is; with a value of guidance ComfyUI itself takes a batch of one here
        network = tiny.model.model.diffusion_model
        network.params = dataclasses.replace(network.params, guidance_embed=False)
    reference = torch.randn(tiny.shape(), generator=torch.Generator().manual_seed(3))
    values = {"reference_latents": [reference], "reference_latents_method": "index_timestep_zero"}
    texts = {"positive": [[tokens, extra | values] for tokens, extra in tiny.positive], "steps": 1}
    plate, person = make_adapter(tiny.model, seed=1), make_adapter(tiny.model, seed=2)
    seen = set()

    def note(module, args):
        seen.add(len(args[0]))

    for name, module in tiny.model.model.diffusion_model.named_modules():
        if name.endswith(("img_mod.1", "time_in.in_layer")):
            module.register_forward_pre_hook(note)
    model = route(tiny.model, [given(plate, 0.8, 0, 0), given(person, 0, 1.0, 0.5)])
    rows, plain = sampled(tiny, model, batch=3, **texts), sampled(tiny, batch=3, **texts)
    assert 6 in seen
    for row, (adapter, strength) in enumerate([(plate, 0.8), (person, 1.0), (person, 0.5)]):
        alone = sampled(tiny, merged(tiny.model, (adapter, strength)), batch=3, **texts)
        assert near(rows[row], alone[row]) and not near(rows[row], plain[row], 0.05)
