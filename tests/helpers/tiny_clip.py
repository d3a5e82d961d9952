"""Small random CLIPs of ComfyUI's real classes, with the real tokenizers, whose texts the small models read.

    clip = make_clip("sdxl")
    run_node("CLIPTextEncode", clip=clip, text="a street")

Widths of the text are those of real checkpoints (768, 1024, 2048, 4096): models are small inside, never in what they
read.
"""

import mild.tests.helpers.in_process  # noqa: F401 (puts ComfyUI in place, so it stands first)

# isort: split
import comfy.sd
import comfy.sd1_clip
import comfy.sdxl_clip
import comfy.supported_models_base
import comfy.text_encoders.flux
import comfy.text_encoders.sd2_clip
import comfy.text_encoders.sd3_clip
import torch

_CLIP_L = {"num_hidden_layers": 1, "intermediate_size": 32}
_T5 = {"num_layers": 1, "d_ff": 32, "num_heads": 1}
# SD2, SDXL and SD3 read the last layer but one of their CLIPs, so three it must be.
_TWO_CLIPS = {"clip_l": {**_CLIP_L, "num_hidden_layers": 3}, "clip_g": {**_CLIP_L, "num_hidden_layers": 3}}

_TARGETS = {
    "sd15": (comfy.sd1_clip.SD1Tokenizer, comfy.sd1_clip.SD1ClipModel, {"clip_l": _CLIP_L}),
    "sd2": (comfy.text_encoders.sd2_clip.SD2Tokenizer, comfy.text_encoders.sd2_clip.SD2ClipModel,
            {"clip_h": {**_CLIP_L, "num_hidden_layers": 3}}),
    "sdxl": (comfy.sdxl_clip.SDXLTokenizer, comfy.sdxl_clip.SDXLClipModel, _TWO_CLIPS),
    "flux": (comfy.text_encoders.flux.FluxTokenizer, comfy.text_encoders.flux.FluxClipModel,
             {"clip_l": _CLIP_L, "t5xxl": _T5}),
    "sd3": (comfy.text_encoders.sd3_clip.SD3Tokenizer, comfy.text_encoders.sd3_clip.sd3_clip(t5=False), _TWO_CLIPS),
}  # fmt: skip
CLIPS = tuple(_TARGETS)


def make_clip(family: str, seed: int = 0) -> comfy.sd.CLIP:
    """Build a CLIP of CLIPS; equal seeds give equal weights."""
    tokenizer, model, configs = _TARGETS[family]
    options = {"dtype": torch.float32} | {f"{name}_model_config": config for name, config in configs.items()}
    clip = comfy.sd.CLIP(comfy.supported_models_base.ClipTarget(tokenizer, model), model_options=options)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in clip.cond_stage_model.named_parameters():
        parameter.data = _random(name, parameter, generator)
    return clip


def _random(name: str, parameter: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Norms 1, biases 0, and matrices whose rows overlap in memory: 49,408 words then take kilobytes, not 250 MB."""
    if parameter.ndim < 2:
        return torch.full_like(parameter, 0.0 if name.endswith("bias") else 1.0)
    rows, columns = parameter.shape
    deviation = 1.0 if "embed" in name or "shared" in name else columns**-0.5
    numbers = torch.randn(rows + columns, generator=generator) * deviation
    return numbers.as_strided((rows, columns), (1, 1))
