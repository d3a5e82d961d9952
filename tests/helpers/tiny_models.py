"""Small random models of ComfyUI's real classes, with a VAE and conditioning that fit.

    tiny = make("sdxl")
    run_node("KSampler", model=tiny.model, positive=tiny.positive, negative=tiny.negative, latent_image=..., ...)

What holds for a real checkpoint (shapes, channels, hooks, sampling types, latent formats) holds for these; what a
picture looks like does not. 0.1 to 0.5 s for two steps on two cores.
"""

from typing import NamedTuple

import mild.tests.helpers.in_process  # noqa: F401 (puts ComfyUI in place, so it stands first)

# isort: split
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.taesd.taesd
import torch

FAMILIES = ("sd15", "sd15_inpaint", "sdxl", "flux", "flux_fill")


class TinyModel(NamedTuple):
    family: str
    model: comfy.model_patcher.ModelPatcher
    vae: comfy.sd.VAE  # 1/8 size
    positive: list  # CONDITIONING
    negative: list
    channels: int  # of the latent

    def empty_latent(self, height: int = 8, width: int = 8, batch: int = 1) -> dict:
        """A LATENT of zeros; height and width in latent cells (8 px each)."""
        return {"samples": torch.zeros(batch, self.channels, height, width)}


def make(family: str, seed: int = 0) -> TinyModel:
    """Build a model of FAMILIES; equal seeds give equal weights."""
    config = _CONFIGS[family]()
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, device=torch.device("cpu"))
    randomize(model.diffusion_model, seed)
    device = comfy.model_management.get_torch_device()
    patcher = comfy.model_patcher.CoreModelPatcher(model.eval(), load_device=device, offload_device=torch.device("cpu"))
    channels = config.latent_format.latent_channels
    return TinyModel(family, patcher, make_vae(channels, seed), _conditioning(config, seed + 1),
                     _conditioning(config, seed + 2), channels)


def make_vae(channels: int, seed: int = 0) -> comfy.sd.VAE:
    """A random autoencoder (TAESD's architecture): [B,H,W,3] in 0..1 -> [B,channels,H/8,W/8] and back."""
    module = randomize(comfy.taesd.taesd.TAESD(latent_channels=channels), seed)
    module.vae_scale.data.fill_(1.0)
    module.vae_shift.data.fill_(0.0)
    return comfy.sd.VAE(sd=module.state_dict())


def randomize(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Fill every parameter: norms with 1, biases with 0, weights so that activations keep their size.

    ComfyUI leaves parameters uninitialised. Outputs that training starts at zero are
    filled as well: a model whose answer is zero would hide what its inputs do.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            parameter.data.fill_(1.0 if name.endswith(("weight", "scale")) else 0.0)
        else:
            deviation = parameter[0].numel() ** -0.5
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * deviation)
    return module


def _conditioning(config, seed: int, tokens: int = 77) -> list:
    generator = torch.Generator().manual_seed(seed)
    unet = config.unet_config
    width = unet.get("context_dim") or unet["context_in_dim"]
    pooled = 1280 if unet.get("adm_in_channels") else unet.get("vec_in_dim")  # SDXL; Flux; none for SD1.5
    extra = {"pooled_output": torch.randn(1, pooled, generator=generator)} if pooled else {}
    return [[torch.randn(1, tokens, width, generator=generator), extra]]


def _unet(channels: int = 4, **changes) -> dict:
    """Stable Diffusion 1.5's own settings, with 32 channels in place of 320."""
    return {
        "use_checkpoint": False, "image_size": 32, "out_channels": 4, "use_spatial_transformer": True, "legacy": False,
        "adm_in_channels": None, "in_channels": channels, "model_channels": 32, "num_res_blocks": [2, 2, 2, 2],
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "channel_mult": [1, 2, 4, 4], "transformer_depth_middle": 1,
        "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], "use_linear_in_transformer": False,
        "context_dim": 768, "num_heads": 8, "use_temporal_attention": False, "use_temporal_resblock": False, **changes,
    }


def _sd15():
    return comfy.supported_models.SD15(_unet())


def _sd15_inpaint():
    return comfy.supported_models.SD15(_unet(channels=9))


def _sdxl():
    """SDXL's settings; 64 channels to fill a head, and one transformer where SDXL has two or ten."""
    return comfy.supported_models.SDXL(_unet(
        model_channels=64, num_classes="sequential", adm_in_channels=2816, num_res_blocks=[2, 2, 2],
        transformer_depth=[0, 0, 1, 1, 1, 1], channel_mult=[1, 2, 4], transformer_depth_middle=1,
        transformer_depth_output=[0, 0, 0, 1, 1, 1, 1, 1, 1], use_linear_in_transformer=True, context_dim=2048,
        num_heads=-1, num_head_channels=64,
    ))


def _flux_config(channels: int = 16) -> dict:
    return {
        "image_model": "flux", "in_channels": channels, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 4096,
        "hidden_size": 64, "mlp_ratio": 4.0, "num_heads": 2, "depth": 2, "depth_single_blocks": 2,
        "axes_dim": [8, 12, 12], "theta": 10000, "patch_size": 2, "qkv_bias": True, "guidance_embed": True,
        "txt_ids_dims": [],
    }


def _flux():
    return comfy.supported_models.Flux(_flux_config())


def _flux_fill():
    """Flux Fill: 16 latent channels, 16 of the visible picture and 64 of the mask."""
    return comfy.supported_models.FluxInpaint(_flux_config(channels=96))


_CONFIGS = {"sd15": _sd15, "sd15_inpaint": _sd15_inpaint, "sdxl": _sdxl, "flux": _flux, "flux_fill": _flux_fill}
