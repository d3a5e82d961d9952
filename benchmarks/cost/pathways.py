"""Time and memory of painting four layers, against stock inpainting: `uv run benchmarks/cost/pathways.py`

A photo of 1,024 x 768 px; the background's crop of 768 x 640 and those of three people of 384 x 512 (width x height),
sampled at these very sizes by a 4-channel model; 20 steps, cfg 7, euler, latent2rgb previews. Random models of
ComfyUI's classes, loaded and warm. Rows of one run take turns:

ours         the four layers through Sample Layers, from noise (so that no exemplar fill is timed)
full frame   Load Image -> VAE Encode -> Set Latent Noise Mask -> KSampler -> VAE Decode, the whole photo once
per layer    the same once for each layer
same crops   the same on each layer's crop, one after another

Each row counts from pixels to pixels: encoding, sampling, decoding, and in ours what is done to a layer before and
after. overhead is the share of ours in which neither the UNet nor the VAE is at work.

A GPU runs this at full width. On a CPU that would take days, so there the models have a fifth of the channels (and the
prompt too) and the photo half of its sides: what attention costs beside everything else, and so each ratio, then stays
about what it is at full width; with narrow models on the full photo attention would be nearly all, and flatter us.
On a GPU two lines on memory follow: four layers predicted from one and measured, and "save memory".

With its defaults it takes about 18 minutes on two idle cores. On a busy machine go by the ratios of CPU time.

The last line is that of the model named last.
"""

import argparse
import runpy
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared import random_models
from mild.benchmarks.shared.machine import machine
from mild.benchmarks.shared.random_models import RandomModel
from mild.mild_core.image import boxes
from mild.mild_core.scene import Box, Scene
from mild.tests.helpers.layers import background, person

PHOTO = (768, 1024)  # height, width
CANVAS = 1024
"""Sides of the photo that our layers lie in, the stock rows' being part of it: at a megapixel, for which the models
were made, crops are sampled at their own size.
"""
BACKGROUND_BOX: Box = (64, 64, 832, 704)
PERSON_BOXES: tuple[Box, ...] = ((0, 128, 384, 640), (320, 192, 704, 704), (640, 64, 1024, 576))
CFG, SAMPLER, SCHEDULER = 7.0, "euler", "normal"
GIGABYTE = 2**30


class Cost(NamedTuple):
    """One row, once. Seconds."""

    total: float
    unet: float
    vae: float
    cpu: float  # of all cores together: what a busy machine cannot stretch; on a GPU it says nothing

    @property
    def outside(self) -> float:
        """The share in which no network works."""
        return 1 - (self.unet + self.vae) / self.total


class Job(NamedTuple):
    """What is painted, with what."""

    model: RandomModel
    scene: Scene
    scale: float
    steps: int


def picture(side: int) -> Tensor:
    """A smooth random photo [side, side, 3], 0..1."""
    coarse = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return smooth[0].movedim(0, -1).contiguous()


def part(box: Box, share: tuple[float, float, float, float]) -> Box:
    """What lies between shares of the box's sides (left, top, right, bottom)."""
    x0, y0 = box[:2]
    wide, tall = boxes.width(box), boxes.height(box)
    left, top, right, bottom = share
    return x0 + round(left * wide), y0 + round(top * tall), x0 + round(right * wide), y0 + round(bottom * tall)


def make_scene(scale: float, people: tuple[Box, ...] = PERSON_BOXES, plate: bool = True) -> Scene:
    """The layers as Split into Layers makes them; each person goes on behind somebody erased at the right.

    plate: with a background layer.
    """
    photo = picture(CANVAS)
    layers = []
    if plate:
        box = scaled(BACKGROUND_BOX, scale)
        layers.append(background(photo, part(box, (0.25, 0.2, 0.75, 0.9)), box))
    for number, box in enumerate((scaled(box, scale) for box in people), 1):
        body, hole = part(box, (0.05, 0.1, 0.4, 0.9)), part(box, (0.4, 0.1, 0.95, 0.9))
        layer = person(photo, number, body, hole, box, rank=float(number))
        layers.append(layer._replace(likely=layer.alpha + 0.6 * layer.hole))
    return Scene(photo, tuple(layers))


def scaled(box: Box, scale: float) -> Box:
    x0, y0, x1, y1 = (round(side * scale) for side in box)
    return x0, y0, x1, y1


# ------------------------------------------------------------------------------------------------------- the rows


def ours(job: Job, memory: str = "automatic") -> None:
    """As the node does it."""
    from mild.mild_core.comfy.sampling.prompts import Prompts
    from mild.mild_core.comfy.sampling.sample_layers import Options, SamplerSettings, sample_layers
    from mild.mild_core.comfy.sampling.start import NOISE

    model = job.model
    sample_layers(
        model.model,
        [job.scene],
        SamplerSettings(1, job.steps, CFG, SAMPLER, SCHEDULER, 1.0),
        model.vae,
        Prompts(model.model, model.positive, model.negative),
        Options(start=NOISE, memory=memory),
    )


def stock(job: Job, pixels: Tensor, hole: Tensor) -> None:
    """pixels [h, w, 3] with hole [h, w] through ComfyUI's own nodes."""
    import nodes

    model = job.model
    (latent,) = nodes.VAEEncode().encode(model.vae, pixels[None])
    (latent,) = nodes.SetLatentNoiseMask().set_mask(latent, hole[None])
    (latent,) = nodes.KSampler().sample(
        model.model, 1, job.steps, CFG, SAMPLER, SCHEDULER, model.positive, model.negative, latent
    )
    nodes.VAEDecode().decode(model.vae, latent)


def full_frame(job: Job) -> None:
    height, width = (round(side * job.scale) for side in PHOTO)
    hole = torch.zeros(height, width)
    for layer in job.scene.layers:
        boxes.cut(hole, layer.box).copy_(torch.maximum(boxes.cut(hole, layer.box), layer.hole))
    stock(job, job.scene.photo[:height, :width], hole)


def same_crops(job: Job) -> None:
    for layer in job.scene.layers:
        stock(job, layer.pixels, layer.hole)


# ----------------------------------------------------------------------------------------------------- measuring


def measured(job: Job, row: Callable[[Job], None]) -> Cost:
    """One run of a row that has run before."""
    clocks = job.model.calls, job.model.vae.calls
    for clock in clocks:
        clock.reset()
    start, worked = time.perf_counter(), time.process_time()
    row(job)
    synchronize()
    total, cpu = time.perf_counter() - start, time.process_time() - worked
    unet, vae = (clock.seconds() for clock in clocks)
    return Cost(total, unet, vae, cpu)


def synchronize() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def sizes(job: Job, row: Callable[[Job], None]) -> list[tuple[int, int, int]]:
    """Run a row; batch (both halves of cfg), width and height in pixels of its UNet's calls, largest first."""
    job.model.calls.reset()
    row(job)
    shapes = job.model.calls.shapes
    return sorted(((shape[0], 8 * shape[3], 8 * shape[2]) for shape in shapes), key=lambda s: -s[1] * s[2])


def in_turns(job: Job, repeats: int, frames: int) -> dict[str, list[Cost]]:
    """Costs by row, and "per layer": the sum of a repeat's full frames, of which there are `frames`, as if of four."""
    rows: list[tuple[str, Callable[[Job], None]]] = [("ours", ours), ("same crops", same_crops)]
    for number in range(frames):
        rows.insert(2 * number + 1 if number < 2 else len(rows), ("full frame", full_frame))
    found: dict[str, list[Cost]] = {"ours": [], "full frame": [], "per layer": [], "same crops": []}
    for repeat in range(repeats):
        turn = repeat % len(rows)
        for name, row in rows[turn:] + rows[:turn]:
            found[name].append(measured(job, row))
        share = len(job.scene.layers) / frames
        last = found["full frame"][-frames:]
        found["per layer"].append(Cost(*(share * sum(values) for values in zip(*last, strict=True))))
    return found


def ratios(found: dict[str, list[Cost]], seconds: Callable[[Cost], float]) -> str:
    """Of the medians of `seconds`."""
    middle = {name: statistics.median(seconds(cost) for cost in costs) for name, costs in found.items()}
    return (
        f"layers_over_single={middle['ours'] / middle['full frame']:.2f} "
        f"stock_over_ours={middle['per layer'] / middle['ours']:.2f} "
        f"samecrops_over_ours={middle['same crops'] / middle['ours']:.2f}"
    )


def print_rows(found: dict[str, list[Cost]]) -> None:
    for name, costs in found.items():
        totals = [cost.total for cost in costs]
        unet, vae = (statistics.median(getattr(cost, part) for cost in costs) for part in ("unet", "vae"))
        outside = statistics.median(cost.outside for cost in costs)
        print(
            f"  {name:10s} {statistics.median(totals):8.3f} s ({min(totals):.3f} to {max(totals):.3f}, n={len(costs)}):"
            f" UNet {unet:.3f} s, VAE {vae:.3f} s, outside both {100 * outside:.1f} %",
            flush=True,
        )


def timed(job: Job, repeats: int, frames: int) -> str:
    """All rows on time; returns the line of ratios."""
    everyone = {"ours": ours, "full frame": full_frame, "same crops": same_crops}
    for name, row in everyone.items():  # what loads once is loaded
        seen = sizes(job._replace(steps=2), row)
        print(f"  {name}: UNet calls " + ", ".join(f"{batch} rows of {w} x {h}" for batch, w, h in seen), flush=True)
        if name != "full frame":
            wanted = {(boxes.width(layer.box), boxes.height(layer.box)) for layer in job.scene.layers}
            if {size[1:] for size in seen} != wanted:
                raise SystemExit(f"{name}: crops were to be sampled at {wanted}")
    found = in_turns(job, repeats, frames)
    print_rows(found)
    overheads = [cost.outside for cost in found["ours"]]
    print(f"  without the VAE: {ratios(found, lambda cost: cost.total - cost.vae)}")
    if job.model.calls.device.type == "cpu":
        print(f"  by CPU time: {ratios(found, lambda cost: cost.cpu)}")
    print(f"  overhead of ours {min(overheads):.3f} to {max(overheads):.3f}")
    return f"{ratios(found, lambda cost: cost.total)} overhead={statistics.median(overheads):.3f}"


# -------------------------------------------------------------------------------------------------------- memory


def peak(work: Callable[[], None], device: torch.device) -> int:
    """Bytes that torch had handed out at most while work() ran, weights included."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def learned(job: Job, size: tuple[int, int], rows: int) -> Any:
    """The Memory of a sampler node after a batch of `rows` layers of size (height, width)."""
    import nodes
    from mild.mild_core.comfy.sampling.memory import Memory

    model = job.model
    shape = (1, 4, size[0] // 8, size[1] // 8)
    memory = Memory(model.model)
    for _ in range(2):  # the first time loads what it needs
        memory.bytes_per_cell = None
        memory.watch()
        nodes.KSampler().sample(
            model.model, 1, 2, CFG, SAMPLER, SCHEDULER, model.positive, model.negative,
            {"samples": torch.zeros(rows, *shape[1:]), "noise_mask": torch.ones(rows, 1, *size)},
        )  # fmt: skip
        memory.learn(shape, rows)
    return memory


def print_memory(job: Job, device: torch.device) -> None:
    """GPU only: four layers of one size against one. Weights of UNet and VAE stay loaded throughout."""
    from mild.mild_core.comfy.sampling.memory import SAVE

    box = scaled(PERSON_BOXES[0], job.scale)
    size = (boxes.height(box), boxes.width(box))
    shape = (1, 4, size[0] // 8, size[1] // 8)
    after_one, after_four = (learned(job, size, rows) for rows in (1, 4))
    predicted, needed = (memory.predicted(shape, 4) for memory in (after_one, after_four))
    print(
        f"  memory of sampling beside the weights: 1 row {after_one.predicted(shape, 1) / GIGABYTE:.2f} GB; 4 rows "
        f"predicted {predicted / GIGABYTE:.2f} GB, measured {needed / GIGABYTE:.2f} GB: predicted / measured "
        f"{predicted / needed:.2f}"
    )
    one, four = (job._replace(scene=make_scene(job.scale, (PERSON_BOXES[0],) * n, plate=False)) for n in (1, 4))
    single, saving, usual = (
        peak(work, device) for work in (lambda: ours(one), lambda: ours(four, SAVE), lambda: ours(four))
    )
    print(
        f"  peak, weights and VAE included: 1 layer {single / GIGABYTE:.2f} GB; 4 layers {usual / GIGABYTE:.2f} GB, "
        f"saving memory {saving / GIGABYTE:.2f} GB: {saving / single:.2f} x one layer"
    )


# -------------------------------------------------------------------------------------------------------- running


class Browser:
    """Stands where the server does: previews become JPEGs in a thread of their own."""

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1)
        self.previews = 0

    def hook(self, value: float, total: float, preview: Any, prompt_id: Any = None, node_id: Any = None) -> None:
        if preview is not None:
            self.previews += 1
            self.thread.submit(lambda: preview[1].convert("RGB").save(BytesIO(), "JPEG", quality=95))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="sd15,sdxl", help="of sd15, sdxl; the last gives the last line")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--width", type=float, help="share of the real models' channels (CPU 0.2, GPU 1)")
    parser.add_argument("--scale", type=float, help="share of the sides of photo and crops (CPU 0.5, GPU 1)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument(
        "--frames",
        type=int,
        help="full frames run in a repeat, which per layer counts as four (CPU 1, GPU 4: each of them really run)",
    )
    options = parser.parse_args()
    device = random_models.start_comfyui(options.device)
    on_cpu = device.type == "cpu"
    width = options.width or (0.2 if on_cpu else 1.0)
    scale = options.scale or (0.5 if on_cpu else 1.0)
    frames = options.frames or (1 if on_cpu else len(PERSON_BOXES) + 1)

    import comfy.utils

    browser = Browser()
    comfy.utils.set_progress_bar_global_hook(browser.hook)
    print(f"{machine(device)}; torch {torch.__version__}")
    print(
        f"photo {round(PHOTO[1] * scale)} x {round(PHOTO[0] * scale)}; {options.steps} steps, cfg {CFG:g}, {SAMPLER}, "
        f"{SCHEDULER}, denoise 1, start noise, latent2rgb previews; {options.repeats} repeats, {frames} full frame"
        f"{'s' if frames > 1 else ''} in each; seconds are medians (least to most), ratios those of medians"
    )
    with torch.inference_mode():
        for kind in options.models.split(","):
            model = random_models.make(kind.strip(), width)
            print(f"{kind}: {model.words}", flush=True)
            job = Job(model, make_scene(scale), scale, options.steps)
            browser.previews = 0
            line = timed(job, options.repeats, frames)
            print(f"  {browser.previews} previews")
            if not on_cpu:
                print_memory(job, device)
            print(f"{kind}: {line}", flush=True)
            del model, job
            comfy.model_management.unload_all_models()
    print(line)


if __name__ == "__main__":
    main()
