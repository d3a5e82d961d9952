"""Where in a model body guidance adds its residuals, and the usual size of its network there."""

from typing import Any

from ..guidance.config import GuidanceConfig

CHANNEL_DIVISOR = 8
"""A UNet's guidance has an eighth of the model's channels: the network of SD1.5 stays at 3.6 million parameters."""

TRANSFORMER_CHANNELS = 256
"""Channels of a transformer's guidance: it has one level only."""

BLOCK_STRIDE = 2
"""Flux gets residuals behind every second double block."""


def of_sd15(model: Any) -> GuidanceConfig:
    """For a BaseModel of SD1.5; inpaint variants are like their base."""
    return _of_unet("sd15", model.model_config)


def of_sd2(model: Any) -> GuidanceConfig:
    """For a BaseModel of SD2."""
    return _of_unet("sd2", model.model_config)


def of_sdxl(model: Any) -> GuidanceConfig:
    """For a BaseModel of SDXL."""
    return _of_unet("sdxl", model.model_config)


def of_flux(model: Any) -> GuidanceConfig | None:
    """For a BaseModel of Flux or Flux 2; None where its network has no double blocks."""
    if not hasattr(model.diffusion_model, "double_blocks"):
        return None
    config = model.model_config
    unet = config.unet_config
    places = tuple(range(0, blocks_of(model), BLOCK_STRIDE))
    widths, cell = (unet["hidden_size"],) * len(places), config.latent_format.spacial_downscale_ratio
    family, inner = unet["image_model"], (TRANSFORMER_CHANNELS,)
    return GuidanceConfig(family, widths, places, inner, unet["context_in_dim"], cell, unet["patch_size"])


def blocks_of(model: Any) -> int:
    """How many double blocks a BaseModel of Flux has."""
    return len(model.diffusion_model.double_blocks)


def _of_unet(family: str, config: Any) -> GuidanceConfig:
    unet = config.unet_config
    widths = tuple(unet["model_channels"] * factor for factor in unet["channel_mult"])
    counts = unet["num_res_blocks"]
    blocks, last = [], -1
    for count in [counts] * len(widths) if isinstance(counts, int) else counts:
        last += 1 + count  # conv_in or a downsampling, and the level's blocks
        blocks.append(last)
    inner = tuple(max(width // CHANNEL_DIVISOR, 8) for width in widths)
    cell = config.latent_format.spacial_downscale_ratio
    return GuidanceConfig(family, widths, tuple(blocks), inner, unet["context_dim"], cell)
