"""Body guidance for the small models, with random weights or as it is before training; and sampling with it."""

from pathlib import Path
from typing import Any

import mild.tests.helpers.in_process  # noqa: F401 (puts ComfyUI in place, so it stands first)

# isort: split
import comfy.model_management
import comfy.ops
import torch

from mild.mild_core.comfy.families import body_config_of
from mild.mild_core.comfy.guidance.body_control import MorphologyControl
from mild.mild_core.comfy.guidance.load import load_guidance, patcher_for
from mild.mild_core.guidance.maps import CHANNELS
from mild.mild_core.guidance.network import MorphologyGuidance, save_guidance
from mild.tests.helpers.attention import sampled
from mild.tests.helpers.tiny_models import TinyModel, randomize

ZERO_AT_FIRST = ("leave.", "tokens.out.")


def random_network(
    tiny: TinyModel, seed: int = 0, zero: bool = False, operations: Any = torch.nn, **changes
) -> MorphologyGuidance:
    """For this model. zero: what adds to the model is zero, as before training; all else is random. changes: of its
    GuidanceConfig.
    """
    network = randomize(MorphologyGuidance(body_config_of(tiny.model.model)._replace(**changes), operations), seed)
    for name, parameter in network.named_parameters():
        if zero and name.startswith(ZERO_AT_FIRST):
            parameter.data.zero_()
    return network


def make_guidance(tiny: TinyModel, seed: int | None = 0, dtype=None) -> MorphologyControl:
    """A CONTROL_NET for this model; seed None: what adds to the model is zero, all else is random as with seed 0."""
    network = random_network(tiny, seed or 0, seed is None, comfy.ops.manual_cast)
    network = network.eval().requires_grad_(False).to(dtype)
    return MorphologyControl(network, patcher_for(network, comfy.model_management.get_torch_device()))


def save_random(
    folder: Path, tiny: TinyModel, seed: int = 0, dtype=torch.float32, zero: bool = False, strength: float = 1.0,
    **changes,
) -> Path:  # fmt: skip
    """A file of body guidance with few tokens for this model. strength: of what its maps add; else: random_network."""
    network = random_network(tiny, seed, zero, token_width=16, token_heads=2, **changes)
    for parameter in network.leave.parameters():
        parameter.data.mul_(strength)
    path = folder / f"{tiny.family}-{seed}-{dtype}-{zero}.safetensors".replace("torch.", "")
    save_guidance(path, network.to(dtype), network.config)
    return path


def load_counting(path: Path) -> MorphologyControl:
    """A file of body guidance, loaded; its network.runs gets the shape of each picture that it reads."""
    control = load_guidance(path)
    control.network.runs = []
    control.network.register_forward_hook(lambda module, given, _: module.runs.append(tuple(given[0].shape)))
    return control


def random_maps(height, width, rows=1, seed=4):
    """IMAGE [B, H, W, len(CHANNELS)]."""
    return torch.rand(rows, height, width, len(CHANNELS), generator=torch.Generator().manual_seed(seed))


def ksampled(tiny, conds, model=None, **changes):
    """KSampler's result with these positive and negative."""
    return sampled(tiny._replace(negative=conds[1]), model, positive=conds[0], **changes)


def plain(tiny, **changes):
    """KSampler's result without guidance."""
    return ksampled(tiny, (tiny.positive, tiny.negative), **changes)
