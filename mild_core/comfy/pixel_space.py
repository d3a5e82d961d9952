"""MODELs that sample pixels in place of latents: they need no VAE, and stock nodes want one all the same."""

import comfy.model_patcher
import comfy.sd
import torch


def is_pixel_space(model: comfy.model_patcher.ModelPatcher) -> bool:
    """Whether the MODEL samples pixels rather than latents."""
    latent_format = model.get_model_object("latent_format")
    return latent_format.spacial_downscale_ratio == 1 and latent_format.latent_channels == 3


def pixel_vae() -> comfy.sd.VAE:
    """ComfyUI's own `pixel_space` VAE as Load VAE makes it, but in float32: bfloat16 would round the colours."""
    return comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)}, dtype=torch.float32)
