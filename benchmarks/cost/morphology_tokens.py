"""What relations in the text add to a sampling: part of benchmarks/cost/morphology.py.

A random model of ComfyUI's SDXL class, a prompt and a negative prompt, both told of the people of the photo, as Guide
by Bodies does it: reading the people, and the network, once before sampling. Steps run the same calls on the same
shapes with and without, which is checked, so what is added is that once: it is held against a sampling of a few steps
with both halves of cfg. Both kinds of samplings take turns all the same; the fastest of each counts.
"""

import time
from typing import Any, NamedTuple

import torch

from mild.benchmarks.shared import random_models
from mild.mild_core.scene import Morphology

STEPS = 4
CFG = 7.0
SIDE = 1024
"""Pixels at full width; on a CPU half of it, as the model is narrow there too."""


def guidance_for(random: random_models.RandomModel) -> Any:
    """A patcher of random guidance for this model."""
    import comfy.ops

    from mild.mild_core.comfy.families import body_config_of
    from mild.mild_core.comfy.guidance.load import patcher_for
    from mild.mild_core.guidance.network import MorphologyGuidance

    config = body_config_of(random.model.model)
    if config is None:
        raise ValueError(f"There is no guidance for models such as this: {random.words}.")
    network = MorphologyGuidance(config, comfy.ops.manual_cast).requires_grad_(False)
    torch.nn.init.normal_(network.tokens.out.weight, std=0.02)
    return patcher_for(network, random.model.load_device)


class Sampled(NamedTuple):
    """One sampling."""

    seconds: float
    calls: int  # of the model
    shapes: set[tuple[int, ...]]  # that it was called with


def sampling(random: random_models.RandomModel, side: int, prompts: dict[str, list]) -> Sampled:
    import comfy.sample

    latent = torch.zeros(1, 4, side // 8, side // 8)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
    random.calls.reset()
    start = time.perf_counter()
    comfy.sample.sample(
        random.model, noise, STEPS, CFG, "euler", "normal", prompts["positive"], prompts["negative"], latent, seed=1,
        disable_pbar=True,
    )  # fmt: skip
    random.calls.seconds()  # waits for a GPU
    return Sampled(time.perf_counter() - start, random.calls.count, set(random.calls.shapes))


def tokens_row(runs: int, morphology: Morphology, device: str = "auto") -> dict[str, float]:
    """Print the row; token_overhead by name."""
    found = random_models.start_comfyui(device)

    from mild.mild_core.comfy.guidance.relation_text import mixed

    on_cpu = found.type == "cpu"
    random = random_models.make("sdxl", 0.2 if on_cpu else 1.0)
    side = SIDE // 2 if on_cpu else SIDE
    patcher = guidance_for(random)
    prompts = {"positive": random.positive, "negative": random.negative}
    told, telling = prompts, []
    took: dict[str, list[Sampled]] = {"without": [], "with": []}
    with torch.inference_mode():
        for turn in range(runs + 1):
            start = time.perf_counter()
            told = {name: mixed(text, patcher, [morphology], 1.0, name) for name, text in prompts.items()}
            telling.append(time.perf_counter() - start)
            for row in ("without", "with") if turn % 2 else ("with", "without"):
                took[row].append(sampling(random, side, told if row == "with" else prompts))
    if len({(one.calls, *one.shapes) for each in took.values() for one in each}) > 1:
        raise AssertionError(f"the model is called in another way with tokens than without: {took}")
    # The first of each loads and warms up.
    fastest = {row: min(one.seconds for one in each[1:]) for row, each in took.items()}
    once, one = min(telling[1:]), took["with"][0]
    print(
        f"tokens: {random.words}; {side} px, {STEPS} steps, {len(morphology.bodies)} people, {runs} runs\n"
        f"  calls of the model per step, with as without: {one.calls / STEPS:g}, on {one.shapes}\n"
        f"  sampled in {fastest['without']:.3f} s without, {fastest['with']:.3f} s with (ratio "
        f"{fastest['with'] / fastest['without']:.3f}, with the machine's noise); told before in {1000 * once:.1f} ms"
    )
    return {"token_overhead": 1 + once / fastest["without"]}
