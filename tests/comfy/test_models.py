"""The small random models are real models: they sample, and their autoencoders have the right shapes."""

import comfy.model_base
import comfy.sample
import pytest
import torch

from mild.tests.helpers.tiny_models import FAMILIES, make


@pytest.fixture(params=FAMILIES, scope="module")
def tiny(request):
    return make(request.param)


def sample(tiny, latent, seed=1):
    noise = comfy.sample.prepare_noise(latent, seed)
    return comfy.sample.sample(
        tiny.model, noise, 2, 1.5, "euler", "simple", tiny.positive, tiny.negative, latent, seed=seed
    )


def test_samples_by_seed_and_prompt(tiny):
    """What other tests take for granted: what they compare would be equal in a model that answers nothing."""
    latent = tiny.empty_latent(7, 11, batch=2)["samples"]
    result = sample(tiny, latent)
    assert result.shape == latent.shape
    assert torch.isfinite(result).all() and result.std() > 0
    assert torch.equal(result, sample(tiny, latent))
    assert not torch.equal(result, sample(tiny, latent, seed=2))
    assert not torch.equal(result, sample(tiny._replace(positive=tiny.negative), latent))


def test_vae_has_the_shape_of_the_latent(tiny):
    photos = 1 if tiny.frames else 2  # what has frames takes a batch of photos for one film
    pixels = torch.rand(photos, 48, 64, 3)
    latent = tiny.vae.encode(pixels)
    side = 16 if tiny.cell == 1 else tiny.cell
    assert latent.shape == tiny.shape(48 // side, 64 // side, photos)
    decoded = tiny.vae.decode(latent)
    assert decoded.shape == (photos, *([1] if tiny.frames else []), 48, 64, 3)
    assert torch.isfinite(decoded).all() and 0 <= decoded.min() <= decoded.max() <= 1


def test_stable_diffusion_2_predicts_v():
    kinds = [make(family).model.model.model_type for family in ("sd2", "sd2_inpaint")]
    assert kinds == [comfy.model_base.ModelType.V_PREDICTION, comfy.model_base.ModelType.EPS]


@pytest.mark.parametrize("family", ["sd15_inpaint", "sd2_inpaint", "sdxl_inpaint", "flux_fill"])
def test_inpaint_channels_reach_the_model(family):
    tiny = make(family)
    latent = tiny.empty_latent()["samples"]
    extra = {"concat_latent_image": torch.randn_like(latent), "concat_mask": torch.ones(1, 1, 64, 64)}
    with_picture = tiny._replace(positive=[[tiny.positive[0][0], {**tiny.positive[0][1], **extra}]])
    assert not torch.equal(sample(tiny, latent), sample(with_picture, latent))
