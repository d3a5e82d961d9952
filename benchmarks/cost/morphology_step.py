"""What spatial body guidance adds to a step: part of benchmarks/cost/morphology.py.

A random model of ComfyUI's SDXL class and random guidance for it, every residual in use. Samplings with and without
take turns; a step is timed from one callback of the sampler to the next, with all that happens between, and the first
step of each sampling, in which the network runs, does not count. Each step is held against the same step of the
sampling beside it; the median of these ratios counts, and what the first step pays is told too. On a CPU it is the
processor's time that is taken, of all threads: other programs' work is not in it.
"""

import statistics
import time
from typing import Any

import torch

from mild.benchmarks.shared import random_models

STEPS = 6
SIDE = 1024
"""Pixels at full width; on a CPU half of it, as the model is narrow there too."""


def guided_prompts(random: random_models.RandomModel, side: int) -> tuple[list, list]:
    """Both prompts with guidance by maps that are sure everywhere."""
    import comfy.ops

    from mild.mild_core.comfy.families import body_config_of
    from mild.mild_core.comfy.guidance.body_control import MorphologyControl
    from mild.mild_core.comfy.guidance.load import patcher_for
    from mild.mild_core.guidance.maps import CHANNELS
    from mild.mild_core.guidance.network import CONFIDENCE, MorphologyGuidance

    config = body_config_of(random.model.model)
    assert config is not None, random.words
    network = MorphologyGuidance(config, comfy.ops.manual_cast).requires_grad_(False)
    random_models.randomize(network, 5)
    for parameter in network.leave.parameters():
        parameter.data.mul_(0.1)
    control = MorphologyControl(network, patcher_for(network, random.model.load_device))
    maps = torch.rand(1, len(CHANNELS), side // 4, side // 4, generator=torch.Generator().manual_seed(6))
    maps[:, CONFIDENCE] = 1
    control.set_cond_hint(maps)
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    print(f"step: {random.words}; guidance of {millions:.1f} M parameters; {side} px, cfg on")
    positive, negative = (
        [[text, {**values, "control": control}] for text, values in prompt]
        for prompt in (random.positive, random.negative)
    )
    return positive, negative


def steps_of(random: random_models.RandomModel, prompts: tuple[list, list], side: int) -> list[float]:
    """Seconds of each step of one sampling."""
    import comfy.model_management
    import comfy.sample

    latent = torch.zeros(1, 4, side // 8, side // 8)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
    on_cpu = random.model.load_device.type == "cpu"
    stamps: list[float] = []

    def stamp(*_: Any) -> None:
        if not on_cpu:
            torch.cuda.synchronize()
        stamps.append(time.process_time() if on_cpu else time.perf_counter())

    comfy.model_management.load_models_gpu([random.model])
    stamp()
    comfy.sample.sample(
        random.model, noise, STEPS, 7.0, "euler", "normal", *prompts, latent, seed=1, callback=stamp, disable_pbar=True,
    )  # fmt: skip
    return [end - start for start, end in zip(stamps, stamps[1:], strict=False)]


def step_row(runs: int, device: str = "auto") -> dict[str, float]:
    """Print the row; step_overhead (share of a step that guidance adds after the first) by name."""
    found = random_models.start_comfyui(device)
    on_cpu = found.type == "cpu"
    random = random_models.make("sdxl", 0.2 if on_cpu else 1.0)
    side = SIDE // 2 if on_cpu else SIDE
    guided = guided_prompts(random, side)
    plain = random.positive, random.negative
    ratios, firsts, seconds = [], [], []
    with torch.inference_mode():
        for turn in range(runs + 1):
            order = (plain, guided) if turn % 2 else (guided, plain)
            took = {prompts is guided: steps_of(random, prompts, side) for prompts in order}
            if turn:  # the first loads and warms up
                ratios += [mine / theirs for mine, theirs in zip(took[True][1:], took[False][1:], strict=True)]
                firsts.append(took[True][0] - took[False][0])
                seconds += took[False][1:]
    middle, quarter = statistics.median(ratios), statistics.quantiles(ratios, n=4)
    print(
        f"  {len(ratios)} steps of {statistics.median(seconds):.3f} s: with guidance over without {middle:.4f} (half "
        f"of them {quarter[0]:.4f} to {quarter[2]:.4f}); once for a sampling {statistics.median(firsts):.3f} s",
        flush=True,
    )
    return {"step_overhead": middle - 1}
