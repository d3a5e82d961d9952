"""Small random models of ComfyUI's real classes, with a VAE and conditioning that fit.

    tiny = make("sdxl")
    run_node("KSampler", model=tiny.model, positive=tiny.positive, negative=tiny.negative, latent_image=..., ...)

What holds for a real checkpoint (shapes, channels, hooks, sampling types, latent formats) holds for these; what a
picture looks like does not. 0.1 to 0.5 s for two steps on two cores.
"""

import functools
from typing import NamedTuple

import mild.tests.helpers.in_process  # noqa: F401 (puts ComfyUI in place, so it stands first)

# isort: split
import comfy.ldm.wan.vae
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.taesd.taesd
import torch

from mild.mild_core.comfy import families
from mild.tests.helpers.tiny_configs import CONFIGS, flux_config

FAMILIES = (
    "sd15",
    "sd15_inpaint",
    "sd2",
    "sd2_inpaint",
    "sdxl",
    "sdxl_inpaint",
    "sd3",
    "flux",
    "flux_fill",
    "flux2",
    "lumina2",
    "z_image",
    "qwen_image",
    "chroma",
    "chroma_radiance",
)


class TinyModel(NamedTuple):
    family: str
    model: comfy.model_patcher.ModelPatcher
    vae: comfy.sd.VAE
    positive: list  # CONDITIONING
    negative: list
    channels: int  # of the latent
    cell: int  # pixels a latent cell is wide: 8, 16 (Flux 2) or 1 (models that work on pixels)
    frames: bool  # whether latents have a dimension for them, as those of Qwen-Image

    def shape(self, height: int = 8, width: int = 8, batch: int = 1) -> tuple[int, ...]:
        """Of a latent; height and width in latent cells (in patches of 16 where cells are pixels)."""
        patch = 16 if self.cell == 1 else 1
        return (batch, self.channels, *([1] if self.frames else []), height * patch, width * patch)

    def empty_latent(self, height: int = 8, width: int = 8, batch: int = 1) -> dict:
        """A LATENT of zeros."""
        return {"samples": torch.zeros(self.shape(height, width, batch))}


def make(family: str, seed: int = 0, dtype: torch.dtype = torch.float32) -> TinyModel:
    """Build a model of FAMILIES; equal seeds give equal weights.

    dtype: in which they are stored. What is stored in float8 is computed in float32, as Load Diffusion Model has it.
    """
    config = CONFIGS[family]()
    config.set_inference_dtype(dtype, torch.float32 if dtype.itemsize == 1 else None)
    model = config.get_model(_SIGNS.get(family, {}), device=torch.device("cpu"))
    randomize(model.diffusion_model, seed)
    device = comfy.model_management.get_torch_device()
    patcher = comfy.model_patcher.CoreModelPatcher(model.eval(), load_device=device, offload_device=torch.device("cpu"))
    latents = config.latent_format
    return TinyModel(
        family,
        patcher,
        make_vae(latents.latent_channels, seed, latents.latent_dimensions == 3),
        _conditioning(family, config, seed + 1),
        _conditioning(family, config, seed + 2, tokens=70),
        latents.latent_channels,
        latents.spacial_downscale_ratio,
        latents.latent_dimensions == 3,
    )


def made_for(monkeypatch, pixels: int) -> None:
    """Let every family's native size be so many pixels: random models learn nothing from more."""
    small = tuple(family._replace(native_pixels=pixels) for family in families.FAMILIES)
    monkeypatch.setattr(families, "FAMILIES", small)


def make_vae(channels: int, seed: int = 0, frames: bool = False) -> comfy.sd.VAE:
    """A random autoencoder for latents of so many channels: TAESD's architecture with a quarter of its width (1/8 size,
    1/16 for Flux 2's 128 channels), Wan's where there are frames, ComfyUI's pixel_space for 3.
    """
    if channels == 3:
        return comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)}, dtype=torch.float32)
    if frames:
        module = comfy.ldm.wan.vae.WanVAE(
            dim=8,
            z_dim=channels,
            dim_mult=[1, 2, 4, 4],
            num_res_blocks=2,
            attn_scales=[],
            temperal_downsample=[False, True, True],
        )
        return comfy.sd.VAE(sd=randomize(module, seed).state_dict(), dtype=torch.float32)
    weights = comfy.taesd.taesd.TAESD(latent_channels=channels).state_dict()
    # A state dict does not tell that its 32 channels are Flux 2's 128, folded.
    vae = comfy.sd.VAE(sd=weights, metadata={"tae_latent_channels": channels})
    module = vae.first_stage_model
    for parameter in module.parameters():  # at full width it would take most of the time of sampling a layer
        parameter.data = torch.empty([n // 4 if n in _TAESD_WIDTHS else n for n in parameter.shape])
    randomize(module, seed)
    module.taesd_decoder[-1].bias.data.fill_(0.5)  # pictures around grey, or half of all values would be cut off at 0
    module.vae_scale.data.fill_(1.0)
    module.vae_shift.data.fill_(0.0)
    return vae


def flux_fill_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of a Flux Fill that is small in everything that ComfyUI reads from them (heads keep their 128 channels),
    so that its node Load Diffusion Model knows what they are.
    """
    config = comfy.supported_models.FluxInpaint(
        flux_config(96, hidden_size=128, num_heads=1, depth=1, depth_single_blocks=1, axes_dim=[16, 56, 56])
    )
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, device=torch.device("cpu"))
    return randomize(model.diffusion_model, seed).state_dict()


def randomize(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Fill every parameter: norms with 1, biases with 0, weights so that activations keep their size.

    ComfyUI leaves parameters uninitialised. Outputs that training starts at zero are
    filled as well: a model whose answer is zero would hide what its inputs do.
    """
    largest = max(parameter.numel() for parameter in module.parameters())
    numbers, taken = _normal(seed, max(2**22, largest)), 0

    def drawn(shape: torch.Size) -> torch.Tensor:
        nonlocal taken
        first = taken if taken + shape.numel() <= len(numbers) else 0
        taken = first + shape.numel()
        return numbers[first:taken].view(shape)

    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            filled = torch.full(parameter.shape, 1.0 if name.endswith(("weight", "scale")) else 0.0)
        else:
            filled = drawn(parameter.shape) * parameter[0].numel() ** -0.5
        parameter.data.copy_(filled)  # rounds to what the parameter is stored in
    for name, buffer in module.named_buffers():
        if name == "pos_embed":  # Stable Diffusion 3's places of tokens, which a checkpoint brings along
            buffer.data.copy_(drawn(buffer.shape) * buffer.shape[-1] ** -0.5)
    return module


@functools.lru_cache(maxsize=4)
def _normal(seed: int, count: int) -> torch.Tensor:
    """Numbers that models share, and that begin anew in larger ones: drawing them took half of the time of a make."""
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def _conditioning(family: str, config, seed: int, tokens: int = 77) -> list:
    generator = torch.Generator().manual_seed(seed)
    width, pooled = _TEXT[family]
    extra = {}
    if pooled:
        extra["pooled_output"] = torch.randn(1, pooled, generator=generator)
    if family in _PADDED:
        extra["attention_mask"] = torch.ones(1, tokens, dtype=torch.int)
        extra["attention_mask"][:, -9:] = 0
    return [[torch.randn(1, tokens, width, generator=generator), extra]]


_TAESD_WIDTHS = (64, 256)
"""Of its layers, and within a block of Flux 2's."""

_TEXT = {
    "sd15": (768, 0),
    "sd15_inpaint": (768, 0),
    "sd2": (1024, 0),
    "sd2_inpaint": (1024, 0),
    "sdxl": (2048, 1280),
    "sdxl_inpaint": (2048, 1280),
    "sd3": (4096, 2048),
    "flux": (4096, 768),
    "flux_fill": (4096, 768),
    "flux2": (7680, 0),
    "lumina2": (2304, 0),
    "z_image": (2560, 0),
    "qwen_image": (3584, 0),
    "chroma": (4096, 0),
    "chroma_radiance": (4096, 0),
}
"""Channels of a text token, and of the pooled text (0: none)."""

_PADDED = ("lumina2", "qwen_image")
"""Their text encoders say by an attention mask which tokens are padding."""

_SIGNS = {"sd2": {"output_blocks.11.1.transformer_blocks.0.norm1.bias": torch.linspace(-1, 1, 64)}}
"""What ComfyUI looks for in the weights: this makes Stable Diffusion 2 the kind that predicts v, made for 768 px."""
