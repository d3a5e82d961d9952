"""Random models of ComfyUI's real classes at full width or a share of it: for time and memory, not for pictures.

Call start_comfyui() first: it imports ComfyUI with the arguments of a person's own start (GPU or --cpu).
"""

import atexit
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from mild.tools.find_comfyui import find_comfyui

KINDS = ("sd15", "sdxl")
CHANNELS = 320
"""Of the first block at full width, of both kinds; group norms need whole multiples of 32."""


def start_comfyui(device: str = "auto") -> torch.device:
    """Import ComfyUI for `device` (auto, cpu or cuda), with latent2rgb previews; return the device it computes on."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = tempfile.TemporaryDirectory(prefix="mild-benchmark-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    sys.path.insert(0, str(find_comfyui().path))
    given = sys.argv
    sys.argv = ["main.py", "--base-directory", folder.name, "--preview-method", "latent2rgb"]
    sys.argv += ["--cpu", "--use-pytorch-cross-attention"] if device == "cpu" else []
    try:
        import comfy.options

        comfy.options.enable_args_parsing()
        import comfy.model_management
        import comfy.utils
    finally:
        sys.argv = given
    comfy.utils.set_progress_bar_enabled(False)
    return comfy.model_management.get_torch_device()


class RandomModel(NamedTuple):
    """What a checkpoint loader and two prompts give."""

    kind: str
    model: Any  # ComfyUI's ModelPatcher, on its load device when it is used
    vae: Any  # TimedVAE
    positive: list  # CONDITIONING
    negative: list
    calls: "Clock"  # of the UNet
    words: str  # what it is, for whoever reads the figures


def make(kind: str, width: float = 1.0, depth: int | None = None) -> RandomModel:
    """A model of KINDS with `width` of its channels (rounded to what group norms need), weights random.

    depth: the most transformers one after another, where not as many as the kind has.
    """
    import comfy.model_management
    import comfy.model_patcher
    import comfy.patcher_extension

    config = settings(kind, width)
    if depth is not None:
        for name in ("transformer_depth", "transformer_depth_output"):
            config.unet_config[name] = [min(own, depth) for own in config.unet_config[name]]
        config.unet_config["transformer_depth_middle"] = min(config.unet_config["transformer_depth_middle"], depth)
    device = comfy.model_management.get_torch_device()
    types = config.supported_inference_dtypes
    dtype = comfy.model_management.unet_dtype(device=device, supported_dtypes=types)
    config.set_inference_dtype(dtype, comfy.model_management.unet_manual_cast(dtype, device, types))
    model = config.get_model({}, device=torch.device("cpu"))
    randomize(model.diffusion_model, 0)
    patcher = comfy.model_patcher.CoreModelPatcher(
        model.eval(), load_device=device, offload_device=comfy.model_management.unet_offload_device()
    )
    calls = Clock(device)
    apply_model = comfy.patcher_extension.WrappersMP.APPLY_MODEL
    patcher.add_wrapper_with_key(apply_model, "benchmark", lambda inner, *args, **kwargs: calls(inner, *args, **kwargs))
    vae = _vae(width)
    unet = config.unet_config
    words = (
        f"{type(config).__name__} configuration, {type(model).__name__}, {_millions(model.diffusion_model)} in the "
        f"UNet ({unet['model_channels']} channels, {100 * unet['model_channels'] / CHANNELS:.0f} % of the real width"
        f"{'' if depth is None else f', at most {depth} transformers one after another'}), "
        f"{str(dtype).removeprefix('torch.')}; {type(vae.first_stage_model).__name__}, "
        f"{_millions(vae.first_stage_model)}, {str(vae.vae_dtype).removeprefix('torch.')}"
    )
    return RandomModel(kind, patcher, vae, _conditioning(config, 1), _conditioning(config, 2), calls, words)


class Clock:
    """Adds up the time of the calls that go through it.

    On a GPU by events in its queue, so that nothing waits for the clock; seconds() waits until all is done.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.shapes: set[tuple[int, ...]] = set()  # of the first tensor of each call
        self.count = 0  # of calls since the last reset
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def __call__(self, work: Callable, *args: Any, **kwargs: Any) -> Any:
        self.shapes.add(tuple(args[0].shape))
        self.count += 1
        if self.device.type != "cuda":
            start = time.perf_counter()
            result = work(*args, **kwargs)
            self._seconds += time.perf_counter() - start
            return result
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        result = work(*args, **kwargs)
        end.record()
        self._events.append((start, end))
        return result

    def seconds(self) -> float:
        """Of all calls since the last reset."""
        if self._events:
            torch.cuda.synchronize(self.device)
        return self._seconds + sum(start.elapsed_time(end) for start, end in self._events) / 1000

    def reset(self) -> None:
        self._seconds = 0.0
        self.shapes.clear()
        self.count = 0
        self._events.clear()


def settings(kind: str, width: float) -> Any:
    """The real settings of the kind with a share of the channels, of the prompt's too, and with so many fewer heads
    that a head keeps about its size.
    """
    import comfy.latent_formats
    import comfy.supported_models
    import comfy.supported_models_base

    channels = max(round(width * CHANNELS / 32), 1) * 32
    share = channels / CHANNELS
    shared = {
        "use_checkpoint": False, "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": channels,
        "use_spatial_transformer": True, "legacy": False, "use_temporal_attention": False,
        "use_temporal_resblock": False,
    }  # fmt: skip
    if kind == "sdxl":
        return comfy.supported_models.SDXL({
            **shared, "num_classes": "sequential", "adm_in_channels": 2816, "num_res_blocks": [2, 2, 2],
            "transformer_depth": [0, 0, 2, 2, 10, 10], "channel_mult": [1, 2, 4], "transformer_depth_middle": 10,
            "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "use_linear_in_transformer": True,
            "context_dim": round(2048 * share), "num_heads": -1, "num_head_channels": 64,
        })  # fmt: skip
    if kind != "sd15":
        raise ValueError(f"models: got '{kind}', expected one of {', '.join(KINDS)}.")
    heads = max(round(8 * share), 1)

    class SD15(comfy.supported_models_base.BASE):
        """SD1.5's settings in a configuration that our nodes take for a megapixel model's: a crop is never sampled
        larger than a model's native size, and the background's crop is larger than SD1.5's 512 x 512.
        """

        unet_extra_config = {"num_heads": heads, "num_head_channels": -1}
        latent_format = comfy.latent_formats.SD15
        memory_usage_factor = comfy.supported_models.SD15.memory_usage_factor

    return SD15({
        **shared, "adm_in_channels": None, "num_res_blocks": [2, 2, 2, 2],
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "channel_mult": [1, 2, 4, 4], "transformer_depth_middle": 1,
        "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], "use_linear_in_transformer": False,
        "context_dim": round(768 * share),
    })  # fmt: skip


def _vae(width: float) -> Any:
    """ComfyUI's AutoencoderKL, that of SD1.5 and SDXL; its calls are timed by vae.calls."""
    import comfy.ldm.models.autoencoder
    import comfy.model_management
    import comfy.sd

    class TimedVAE(comfy.sd.VAE):
        """Its network's calls go through a clock; all else (resizing, moving, loading) does not."""

        def __init__(self, **kwargs: Any):
            super().__init__(**kwargs)
            self.calls = Clock(self.device)
            network = self.first_stage_model
            encode, decode = network.encode, network.decode
            network.encode = lambda *args, **kwargs: self.calls(encode, *args, **kwargs)
            network.decode = lambda *args, **kwargs: self.calls(decode, *args, **kwargs)

    settings = {
        "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3,
        "ch": max(round(width * 128 / 32), 1) * 32, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2,
        "attn_resolutions": [], "dropout": 0.0,
    }  # fmt: skip
    parameters = {"ddconfig": settings, "embed_dim": 4}
    weights = randomize(comfy.ldm.models.autoencoder.AutoencoderKL(**parameters), 3).state_dict()
    return TimedVAE(sd=weights, config={"params": parameters})


def randomize(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Norms 1, biases 0, weights such that activations keep their size (ComfyUI leaves them uninitialised)."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            parameter.data.fill_(1.0 if name.endswith("weight") else 0.0)
        else:
            parameter.data.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
    return module


def _conditioning(config: Any, seed: int) -> list:
    """A prompt of 77 random tokens."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(1, 77, config.unet_config["context_dim"], generator=generator)
    pooled = config.unet_config["adm_in_channels"]
    return [[text, {"pooled_output": torch.randn(1, 1280, generator=generator)} if pooled else {}]]


def _millions(module: torch.nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in module.parameters()) / 1e6:.1f} M parameters"
