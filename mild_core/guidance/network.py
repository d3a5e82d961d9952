"""The network of body guidance: it turns maps of people into residuals of a model's features, all zero before training.

Maps (see maps.py) are folded onto the grid of the model's latent (pixel unshuffle), pass a pyramid of a few residual
blocks for each level, and leave through a 1 x 1 convolution that starts at zero, one for each place in the model: the
end of each level of a UNet's input blocks, as T2I-Adapter has it (Mou et al. 2023, arXiv 2302.08453, section 3.2), or
the image tokens behind some of Flux's double blocks. Starting at zero is ControlNet's idea (Zhang et al. 2023, arXiv
2302.05543, section 3.1).

The network does not see the noisy picture, so it runs once for a sampling. It has no norms: its output at one place
depends on the neighbourhood alone. The maps' confidence multiplies what is added, pixel by pixel: where it is 0,
nothing is added, bit for bit, whatever the weights are.

The relations between the people go another way, through the text: see relation_tokens.py, whose network is a part of
this one.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from .config import GuidanceConfig, check
from .maps import CHANNELS
from .relation_tokens import RelationTokens

CONFIDENCE = CHANNELS.index("confidence")


class MorphologyGuidance(torch.nn.Module):
    """The network of one GuidanceConfig.

    operations: where its layers come from, `torch.nn` or a namespace of the same classes (ComfyUI's `comfy.ops`).
    Raises ValueError for a configuration that contradicts itself.
    """

    def __init__(self, config: GuidanceConfig, operations: Any = torch.nn):
        super().__init__()
        check(config)
        self.config = config
        self.fold = config.map_cell * config.patch
        self.enter = operations.Conv2d(len(CHANNELS) * self.fold**2, config.inner[0], 3, padding=1)
        self.levels = torch.nn.ModuleList(
            torch.nn.Sequential(*(_Residual(width, operations) for _ in range(config.depth))) for width in config.inner
        )
        # As a UNet's own: the same cells come together.
        self.down = torch.nn.ModuleList(
            operations.Conv2d(wide, narrow, 3, stride=2, padding=1)
            for wide, narrow in zip(config.inner, config.inner[1:], strict=False)
        )
        inner = config.inner if config.is_unet else config.inner * len(config.widths)
        self.leave = torch.nn.ModuleList(
            _zeroed(operations.Conv2d(own, theirs, 1)) for own, theirs in zip(inner, config.widths, strict=True)
        )
        self.tokens = RelationTokens(
            config.context, config.token_width, config.token_layers, config.token_heads, operations
        )

    def forward(self, maps: Tensor) -> list[Tensor]:
        """What to add at each of config.blocks, for maps [B, len(CHANNELS), H, W], 0..1.

        H and W are the latent's height and width times config.map_cell. UNet: [B, width, h, w] at the size of that
        level; Flux: [B, tokens, width], one token for each config.patch latent cells, begun ones included.
        """
        gate = maps[:, CONFIDENCE : CONFIDENCE + 1]
        missing = [-size % self.fold for size in maps.shape[-2:]]
        if any(missing):
            maps = F.pad(maps, (0, missing[1], 0, missing[0]), mode="replicate")
        features = self.enter(F.pixel_unshuffle(maps, self.fold))
        gate = _gathered(gate, self.fold)
        if not self.config.is_unet:
            features = self.levels[0](features)
            return [_tokens(_gated(leave(features), gate)) for leave in self.leave]
        residuals = []
        for number, (level, leave) in enumerate(zip(self.levels, self.leave, strict=True)):
            if number:
                features, gate = self.down[number - 1](features), _gathered(gate, 2)
            features = level(features)
            residuals.append(_gated(leave(features), gate))
        return residuals


class _Residual(torch.nn.Module):
    """x + conv(silu(conv(silu(x))))."""

    def __init__(self, width: int, operations: Any):
        super().__init__()
        self.first = operations.Conv2d(width, width, 3, padding=1)
        self.second = operations.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


def _zeroed(layer: torch.nn.Module) -> torch.nn.Module:
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    return layer


def _gathered(gate: Tensor, factor: int) -> Tensor:
    """Means over squares of factor x factor; over what there is of them at the right and the lower edge."""
    return F.avg_pool2d(gate, factor, ceil_mode=True, count_include_pad=False) if factor > 1 else gate


def _gated(residual: Tensor, gate: Tensor) -> Tensor:
    """Exactly 0 where the gate is, even if the residual is no number."""
    return torch.where(gate > 0, residual * gate, 0.0)


def _tokens(picture: Tensor) -> Tensor:
    """[B, C, h, w] -> [B, h * w, C], row by row."""
    return picture.flatten(2).transpose(1, 2)


def save_guidance(path: str | Path, module: torch.nn.Module, config: GuidanceConfig) -> None:
    """Write a module's weights as a file that Load Body Guidance reads: safetensors, all of it in one file.

    Layout: tensors under the names of MorphologyGuidance's state dict (`enter.*`, `levels.N.M.first.*`, `down.N.*`,
    `leave.N.*`, `tokens.*`), in the type they have (float32, float16, bfloat16 or float8). Metadata, all strings:
    `format` ("mild-body-guidance"), `labels` (the label set), `maps` and `relations` (versions of what goes in), and
    every field of GuidanceConfig under its name, tuples as numbers with commas between.
    """
    check(config)
    weights = {name: value.detach().contiguous().cpu() for name, value in module.state_dict().items()}
    save_file(weights, path, metadata=config.metadata())
