"""Small random ControlNets of ComfyUI's real classes, for the models of tiny_models.

    tiny = make("sd15")
    net = make_controlnet("controlnet", tiny)
    positive, negative = run_node("ControlNetApplyAdvanced", control_net=net, image=picture, ...)

What holds for a real one (its class, how it takes its picture, what it adds to the model) holds for these.
"""

import mild.tests.helpers.in_process  # noqa: F401 (puts ComfyUI in place, so it stands first)
from mild.tests.helpers.tiny_models import TinyModel, randomize

# isort: split
import comfy.cldm.cldm
import comfy.cldm.mmdit
import comfy.controlnet
import comfy.latent_formats
import comfy.ldm.flux.controlnet
import comfy.ldm.qwen_image.controlnet
import comfy.model_management
import comfy.ops
import comfy.t2i_adapter.adapter
import torch

KINDS = {
    "controlnet": "sd15",
    "control_lora": "sd15",
    "t2i": "sd15",
    "flux_pixels": "flux",  # XLabs' architecture: reads pixels
    "flux_latents": "flux",  # InstantX': reads what a VAE makes of them
    "flux_inpaint": "flux",  # the same with one more channel, an inpaint mask
    "sd3": "sd3",
    "qwen": "qwen_image",  # its VAE is one for video
}
"""Every kind, and the family of tiny_models it is for."""

SPAN = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0}


def apply(run_node, tiny, control, image, positive=None, negative=None, **changes):
    """Positive and negative (default the model's own) with a ControlNet on them, by the stock node; changes: SPAN."""
    inputs = {"positive": positive or tiny.positive, "negative": negative or tiny.negative, **SPAN, **changes}
    return run_node("ControlNetApplyAdvanced", control_net=control, image=image, **inputs)


def make_controlnet(kind: str, tiny: TinyModel, seed: int = 10) -> comfy.controlnet.ControlBase:
    """Build one of KINDS; equal seeds give equal weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # plain torch layers (T2I adapters') draw their weights from here
        return _MAKERS[kind](dict(tiny.model.model.model_config.unet_config), seed)


def _unet_controlnet(config: dict) -> comfy.cldm.cldm.ControlNet:
    config.pop("out_channels")
    operations = comfy.ops.disable_weight_init
    network = comfy.cldm.cldm.ControlNet(**config | {"hint_channels": 3, "dtype": torch.float32}, operations=operations)
    return network


def _controlnet(config: dict, seed: int) -> comfy.controlnet.ControlNet:
    return _on_pixels(_unet_controlnet(config), seed)


def _control_lora(config: dict, seed: int) -> comfy.controlnet.ControlLora:
    """Holds the layers that read its picture and those that hand on; the rest it takes from the model."""
    weights = randomize(_unet_controlnet(config), seed).state_dict()
    own = ("input_hint_block", "zero_convs", "middle_block_out")
    return comfy.controlnet.ControlLora({name: value for name, value in weights.items() if name.startswith(own)})


def _t2i(config: dict, seed: int) -> comfy.controlnet.T2IAdapter:
    width = config["model_channels"]
    channels = [width * factor for factor in config["channel_mult"]]
    adapter = comfy.t2i_adapter.adapter.Adapter(
        channels, nums_rb=2, cin=3 * 8 * 8, ksize=1, sk=True, use_conv=False, xl=False
    )
    return comfy.controlnet.T2IAdapter(adapter.eval(), adapter.input_channels, 8, "nearest-exact")


def _flux(config: dict, seed: int, **kind) -> comfy.controlnet.ControlNet:
    network = comfy.ldm.flux.controlnet.ControlNetFlux(
        **config | kind | {"dtype": torch.float32}, operations=comfy.ops.disable_weight_init
    )
    if not kind:
        return _on_pixels(network, seed, extra_conds=["y", "guidance"])
    masked = kind["control_latent_channels"] == 17
    latents = comfy.latent_formats.Flux()
    return _on_latents(network, seed, latents, extra_conds=["y", "guidance"], concat_mask=masked)


def _flux_latents(config: dict, seed: int) -> comfy.controlnet.ControlNet:
    return _flux(config, seed, latent_input=True, control_latent_channels=16)


def _flux_inpaint(config: dict, seed: int) -> comfy.controlnet.ControlNet:
    return _flux(config, seed, latent_input=True, control_latent_channels=17)


def _sd3(config: dict, seed: int) -> comfy.controlnet.ControlNet:
    network = comfy.cldm.mmdit.ControlNet(
        **config | {"num_blocks": 1, "control_latent_channels": 16, "dtype": torch.float32},
        operations=comfy.ops.disable_weight_init,
    )
    return _on_latents(network, seed, comfy.latent_formats.SD3())


def _qwen(config: dict, seed: int) -> comfy.controlnet.ControlNet:
    network = comfy.ldm.qwen_image.controlnet.QwenImageControlNetModel(
        **config | {"dtype": torch.float32}, operations=comfy.ops.disable_weight_init
    )
    return _on_latents(network, seed, comfy.latent_formats.Wan21(), extra_conds=[])


def _on_pixels(network: torch.nn.Module, seed: int, **settings) -> comfy.controlnet.ControlNet:
    device = comfy.model_management.get_torch_device()
    return comfy.controlnet.ControlNet(randomize(network.eval(), seed), load_device=device, **settings)


def _on_latents(
    network: torch.nn.Module, seed: int, latents: comfy.latent_formats.LatentFormat, **settings
) -> comfy.controlnet.ControlNet:
    """It reads what a VAE makes of its picture."""
    return _on_pixels(network, seed, compression_ratio=1, latent_format=latents, **settings)


_MAKERS = {
    "controlnet": _controlnet,
    "control_lora": _control_lora,
    "t2i": _t2i,
    "flux_pixels": _flux,
    "flux_latents": _flux_latents,
    "flux_inpaint": _flux_inpaint,
    "sd3": _sd3,
    "qwen": _qwen,
}
