"""Which guidance a MODEL takes: its family, and where in it residuals go."""

from typing import Any

import comfy.supported_models

from ..morphology.guidance_config import GuidanceConfig

SHARE = 8
"""A UNet's guidance has an eighth of the model's channels: the network of SD1.5 stays at 3.6 million parameters."""

TOKENS_INNER = 256
"""Channels of a transformer's guidance: it has one level only."""

EVERY = 2
"""Flux gets residuals behind every second double block."""

UNETS = {
    "sdxl": comfy.supported_models.SDXL,
    "sd2": comfy.supported_models.SD20,
    "sd15": comfy.supported_models.SD15,
}


def config_of(model: Any) -> GuidanceConfig | None:
    """Guidance for this BaseModel, with the usual size of the network; None for families that take none.

    Inpaint variants are like their base.
    """
    config = model.model_config
    for family, kind in UNETS.items():
        if isinstance(config, kind):
            return _of_unet(family, config)
    if config.unet_config.get("image_model") in ("flux", "flux2") and hasattr(model.diffusion_model, "double_blocks"):
        return _of_flux(config.unet_config["image_model"], config, _blocks(model))
    return None


def fits(config: GuidanceConfig, model: Any) -> bool:
    """Whether guidance of this configuration can be added to this BaseModel."""
    theirs = config_of(model)
    if theirs is None:
        return False
    if not config.is_unet:
        theirs = theirs._replace(widths=theirs.widths[:1] * len(config.blocks))
    same = ("family", "widths", "context", "cell", "patch")
    if any(getattr(config, name) != getattr(theirs, name) for name in same):
        return False
    return config.blocks == theirs.blocks if config.is_unet else config.blocks[-1] < _blocks(model)


def words_of(model: Any) -> str:
    """For a sentence to the artist: what kind of model this is."""
    config = config_of(model)
    return type(model.model_config).__name__ if config is None else config.words()


def _blocks(model: Any) -> int:
    return len(model.diffusion_model.double_blocks)


def _of_unet(family: str, config: Any) -> GuidanceConfig:
    unet = config.unet_config
    widths = tuple(unet["model_channels"] * factor for factor in unet["channel_mult"])
    counts = unet["num_res_blocks"]
    blocks, last = [], -1
    for count in [counts] * len(widths) if isinstance(counts, int) else counts:
        last += 1 + count  # conv_in or a downsampling, and the level's blocks
        blocks.append(last)
    inner = tuple(max(width // SHARE, 8) for width in widths)
    cell = config.latent_format.spacial_downscale_ratio
    return GuidanceConfig(family, widths, tuple(blocks), inner, unet["context_dim"], cell)


def _of_flux(family: str, config: Any, blocks: int) -> GuidanceConfig:
    unet = config.unet_config
    places = tuple(range(0, blocks, EVERY))
    widths, cell = (unet["hidden_size"],) * len(places), config.latent_format.spacial_downscale_ratio
    return GuidanceConfig(family, widths, places, (TOKENS_INNER,), unet["context_in_dim"], cell, unet["patch_size"])
