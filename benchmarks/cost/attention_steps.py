"""What rules of attention add to a whole step of a UNet: part of benchmarks/cost/attention.py.

Random models of ComfyUI's real classes, a photo with a hole and with people whom the hole must not look at, a step with
both halves of cfg. Every self-attention has its rule. Samplings of a few steps take turns: plain, with spatially-
modulated attention (SMA), with SMA that adapts, which measures the gap in every attention, with self-rectifying
attention, and with AdaEraser, which calls the model a second time in each step.
"""

import statistics
from typing import Any, NamedTuple

import torch

from mild.benchmarks.shared import random_models

PLAIN, SMA, ADAPTIVE, SRA, ADAERASER = "plain", "sma", "adaptive", "self-rectifying", "adaeraser"
STEPS = 3
SIZES = {"sd15": 512, "sdxl": 1024}
"""Pixels of a side at full width; on a CPU half of it, as the models are narrow there too."""


class Case(NamedTuple):
    """One kind of model."""

    random: random_models.RandomModel
    models: dict[str, Any]  # MODEL by row
    latent: torch.Tensor
    mask: torch.Tensor  # [1, 1, h, w]


def regions(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A hole in the middle and two people beside it, [1, side, side] each."""
    hole, people = torch.zeros(1, side, side), torch.zeros(1, side, side)
    low, high = side // 4, 3 * side // 4
    hole[:, low:high, int(side * 0.38) : int(side * 0.6)] = 1
    people[:, low:high, int(side * 0.2) : int(side * 0.38)] = 1
    people[:, low:high, int(side * 0.6) : int(side * 0.75)] = 1
    return hole, people


def make_case(kind: str, device: torch.device, width: float, share: float) -> Case:
    """A loaded model of the kind and its clones with rules."""
    from mild.mild_core.attention.layer_regions import Maps
    from mild.mild_core.comfy.attention.adaeraser import AdaEraser, soften
    from mild.mild_core.comfy.attention.erase import SelfRectifying, rectify
    from mild.mild_core.comfy.attention.spatial import SpatialSettings, keep_apart

    random = random_models.make(kind, width)
    side = int(SIZES[kind] * share) // 64 * 64
    hole, people = regions(side)
    maps = Maps.of_mask(hole, people)
    models = {
        PLAIN: random.model,
        SMA: keep_apart(random.model, maps, SpatialSettings())[0],
        ADAPTIVE: keep_apart(random.model, maps, SpatialSettings(adaptive=True))[0],
        SRA: rectify(random.model, Maps.of_mask(hole), SelfRectifying()),
        ADAERASER: soften(random.model, Maps.of_mask(hole), AdaEraser()),
    }
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(1, 4, side // 8, side // 8, generator=generator)
    return Case(random, models, latent, torch.nn.functional.max_pool2d(hole[None], 8))


def sampling(case: Case, row: str) -> float:
    """Seconds in the model's calls of one sampling."""
    import comfy.sample

    case.random.calls.reset()
    comfy.sample.sample(
        case.models[row], torch.randn(case.latent.shape), STEPS, 7.0, "euler", "normal", case.random.positive,
        case.random.negative, case.latent, noise_mask=case.mask, seed=1,
    )  # fmt: skip
    return case.random.calls.seconds()


def compare(kinds: list[str], device: str, repeats: int) -> dict[str, float]:
    """Print every kind's rows; median ratio of SMA over plain by kind. A CPU runs a fifth of the real channels."""
    found = random_models.start_comfyui(device)
    on_cpu = found.type == "cpu"
    width, share = (0.2, 0.5) if on_cpu else (1.0, 1.0)
    ratios = {}
    for kind in kinds:
        case = make_case(kind, found, width, share)
        took: dict[str, list[float]] = {row: [] for row in case.models}
        for turn in range(repeats + 1):
            for row in case.models:
                seconds = sampling(case, row)
                if turn:  # the first one loads and warms up
                    took[row].append(seconds)
        print(f"{kind}: {case.random.words}; {case.latent.shape[-1] * 8} px, {STEPS} steps, {repeats} runs")
        for row in (SMA, ADAPTIVE, SRA, ADAERASER):
            each = [mine / plain for mine, plain in zip(took[row], took[PLAIN], strict=True)]
            middle = statistics.median(each)
            print(f"  step with {row} over plain: {middle:.3f} ({min(each):.3f} to {max(each):.3f})", flush=True)
            if row == SMA:
                ratios[kind] = middle
    return ratios
