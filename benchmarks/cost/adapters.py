"""Time and memory of adapters routed by row: `OMP_NUM_THREADS=1 uv run benchmarks/cost/adapters.py`

A batch of four rows, one plate and three people, by euler; the plate's row gets one LoRA and the people's another.
Random models of ComfyUI's classes at full width. Rows of one run take turns:

plain        the batch without adapters
routed       rank 16 on the linear layers of all transformer blocks
convolved    rank 16 on these and on all convolutions
rank 128     rank 128 on the transformer blocks
hooks        rank 16 on the transformer blocks by ComfyUI's way: a LoRA hook on each of two conditionings, each of which
             is masked to its rows; twice as many steps, for they load weights at the first

Seconds are those of a step.
On a CPU what counts is CPU time, which a busy machine stretches less than the clock does; a ratio is the median of
those of the repeats. There pictures are 128 px wide, and SDXL has one transformer where it has two or ten; all widths
are the real ones, on which what a LoRA costs beside a layer depends most. (A larger picture adds attention, which costs
the same with and without.)

Memory: most bytes of tensors that one call of the model holds at once (what PyTorch's operations hold within themselves
is not counted), routed less plain, with one row and with four.
"""

import argparse
import runpy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared import random_models
from mild.benchmarks.shared.live import LiveBytes
from mild.benchmarks.shared.machine import machine
from mild.benchmarks.shared.random_models import RandomModel

ROWS = 4
PLATE = 1
"""Rows of the first adapter; the others are of the second."""
TARGETS = {"routed": 1.10, "convolved": 1.20, "rank 128": 1.35}


def lora(model: Any, rank: int, seed: int, convolutions: bool) -> dict[str, Tensor]:
    """A file on the linear layers of the transformer blocks, or on the convolutions too."""
    generator, weights = torch.Generator().manual_seed(seed), {}
    for key, weight in model.model.state_dict().items():
        path = key.removesuffix(".weight")
        linear = ".transformer_blocks." in key and weight.ndim == 2
        if key == path or not (linear or convolutions and weight.ndim == 4):
            continue
        inputs = weight.shape[1:]
        weights[f"{path}.lora_up.weight"] = torch.randn(weight.shape[0], rank, generator=generator) * rank**-0.5
        weights[f"{path}.lora_down.weight"] = torch.randn(rank, *inputs, generator=generator) * inputs.numel() ** -0.5
        weights[f"{path}.alpha"] = torch.tensor(0.5 * rank)
        if weight.ndim == 4:
            weights[f"{path}.lora_up.weight"] = weights[f"{path}.lora_up.weight"][:, :, None, None]
    return weights


def read(model: Any, name: str, weights: dict[str, Tensor]) -> Any:
    """The file as the pack has it."""
    import comfy.lora

    from mild.mild_core.comfy.adapters.adapter import Adapter

    return Adapter(name, comfy.lora.load_lora(weights, comfy.lora.model_lora_keys_unet(model.model, {})), {})


def routed(model: Any, files: list[dict[str, Tensor]], rows: int = ROWS) -> Any:
    """The plate's row gets the first, the people's the second."""
    from mild.mild_core.comfy.adapters.adapter import Given
    from mild.mild_core.comfy.adapters.route import route

    plate, person = (read(model, name, file) for name, file in zip(("plate", "person"), files, strict=True))
    strengths = [float(row < PLATE) for row in range(rows)]
    return route(model, [
        Given(plate, {str(row): strength for row, strength in enumerate(strengths)}),
        Given(person, {str(row): 1 - strength for row, strength in enumerate(strengths)}),
    ])  # fmt: skip


def hooked(made: RandomModel, files: list[dict[str, Tensor]], side: int) -> list:
    """Conditioning that does the same by ComfyUI's hooks."""
    import comfy.hooks

    conditioning = []
    for number, file in enumerate(files):
        mask = torch.zeros(ROWS, 8 * side, 8 * side)
        mask[slice(0, PLATE) if number == 0 else slice(PLATE, ROWS)] = 1
        own = [[text, {**extra, "mask": mask, "mask_strength": 1.0}] for text, extra in made.positive]
        conditioning += comfy.hooks.set_hooks_for_conditioning(own, comfy.hooks.create_hook_lora(file, 1.0, 0.0))
    return conditioning


def sample(made: RandomModel, model: Any, positive: list, side: int, steps: int, rows: int = ROWS) -> Tensor:
    import comfy.sample

    latent = torch.zeros(rows, 4, side, side)
    noise = torch.randn(ROWS, 4, side, side, generator=torch.Generator().manual_seed(0))[:rows]
    return comfy.sample.sample(
        model, noise, steps, 1.0, "euler", "normal", positive, made.negative, latent, disable_pbar=True, seed=0
    )


def equal(made: RandomModel, model: Any, files: list[dict[str, Tensor]], side: int) -> float:
    """Largest difference from rows sampled on merged models, in shares of the largest value."""
    import comfy.sd

    found, expected = sample(made, model, made.positive, side, 1), []
    for file in files:
        merged, _ = comfy.sd.load_lora_for_models(made.model, None, file, 1.0, 0.0)
        expected.append(sample(made, merged, made.positive, side, 1))
    wanted = torch.cat((expected[0][:PLATE], expected[1][PLATE:]))
    return float((found - wanted).abs().max() / wanted.abs().max())


def measured(work: Callable[[], Any], device: torch.device) -> float:
    """CPU seconds of all threads; on a GPU those of the clock."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    work()
    if device.type != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def kind_of(kind: str, options: argparse.Namespace, device: torch.device) -> str:
    """Everything for one kind of model; returns the line of ratios."""
    made = random_models.make(kind, options.width, depth=options.depth if kind == "sdxl" else None)
    side = options.side or (16 if device.type == "cpu" else {"sd15": 64, "sdxl": 128}[kind])
    print(f"{kind}: {made.words}")
    print(
        f"  {ROWS} rows of {8 * side} x {8 * side}, steps: {options.steps}, repeats: {options.repeats}",
        flush=True,
    )
    sixteen = [lora(made.model, 16, seed, False) for seed in (1, 2)]
    convolved = [lora(made.model, 16, seed, True) for seed in (1, 2)]
    wide = [lora(made.model, 128, seed, False) for seed in (1, 2)]
    everyone = {"routed": sixteen, "convolved": convolved, "rank 128": wide}
    models = {"plain": made.model, **{name: routed(made.model, files) for name, files in everyone.items()}}
    for name, files in everyone.items():
        count = len(files[0]) // 3
        print(f"  {name}: {count} layers, {equal(made, models[name], files, side):.1e} from merged ones", flush=True)
    rows: dict[str, Callable[[], Any]] = {
        name: lambda model=model: sample(made, model, made.positive, side, options.steps)
        for name, model in models.items()
    }
    conditioning = hooked(made, sixteen, side)
    rows["hooks"] = lambda: sample(made, made.model, conditioning, side, 2 * options.steps)
    found: dict[str, list[float]] = {name: [] for name in rows}
    for repeat in range(options.repeats + 1):  # the first loads what loads once
        names = list(rows)[:: 1 if repeat % 2 else -1]
        for name in names:
            if name == "hooks" and repeat > options.hooks:
                continue
            seconds = measured(rows[name], device)
            if repeat:
                found[name].append(seconds / options.steps / (2 if name == "hooks" else 1))
    ratios = {}
    for name, times in found.items():
        each = [own / plain for own, plain in zip(times, found["plain"], strict=False)]
        ratios[name] = statistics.median(each)
        target = f", at most {TARGETS[name]:.2f} wanted" if name in TARGETS else ""
        print(
            f"  {name:10s} {statistics.median(times):8.3f} s ({min(times):.3f} to {max(times):.3f}, n={len(times)}): "
            f"{ratios[name]:.3f} x plain ({min(each):.3f} to {max(each):.3f}){target}",
            flush=True,
        )
    over = statistics.median(hooks / own for hooks, own in zip(found["hooks"], found["routed"], strict=False))
    print_memory(made, everyone, side)
    return f"routed_over_plain={ratios['routed']:.3f} hooks_over_routed={over:.2f}"


def print_memory(made: RandomModel, everyone: dict[str, list[dict[str, Tensor]]], side: int) -> None:
    def most(model: Any, rows: int) -> float:
        live, model = LiveBytes(), model.clone()
        model.add_wrapper_with_key("apply_model", "live", live.around)
        sample(made, model, made.positive, side, 1, rows)
        return live.most / 2**20

    plain = {rows: most(made.model, rows) for rows in (1, ROWS)}
    for name, files in everyone.items():
        one, four = (most(routed(made.model, files, rows), rows) - plain[rows] for rows in (1, ROWS))
        print(
            f"  memory of a call, {name}: {one:.2f} MB more with one row, {four:.2f} MB with {ROWS} (plain "
            f"{plain[1]:.0f} and {plain[ROWS]:.0f} MB)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="sd15,sdxl", help="of sd15, sdxl; the last gives the last line")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--width", type=float, default=1.0, help="share of the real models' channels")
    parser.add_argument("--depth", type=int, help="transformers where SDXL has ten (CPU 1, GPU 10)")
    parser.add_argument("--side", type=int, help="of the latent, in cells (CPU 16; GPU 64 for sd15, 128 for sdxl)")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--hooks", type=int, default=4, help="repeats in which ComfyUI's hooks run too")
    options = parser.parse_args()
    device = random_models.start_comfyui(options.device)
    if options.depth is None:
        options.depth = 1 if device.type == "cpu" else 10

    import comfy.model_management

    print(f"{machine(device)}; torch {torch.__version__}")
    with torch.inference_mode():
        for kind in options.models.split(","):
            line = kind_of(kind.strip(), options, device)
            print(f"{kind}: {line}", flush=True)
            comfy.model_management.unload_all_models()
    print(line)


if __name__ == "__main__":
    main()
