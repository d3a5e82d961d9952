"""Time and memory of taking a large photo apart and joining it again: `uv run benchmarks/cost/layers.py`

A photo of 6000 x 4000 px with 8 people in one row, and with 32 in three rows, as they stand in a group photo: about as
wide as they have room, neighbours overlapping; every second one, half a step in front, goes. Counted from MILD_PEOPLE
on, in fresh processes, the best of several runs. What paints in between is a stand-in (noise in the holes) and is not
counted; the layers that splitting made stay in memory while joining, as ComfyUI's cache keeps them, and are counted.
"""

import argparse
import os
import platform
import runpy
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.cost.peak import Peak
from mild.mild_core.image import boxes
from mild.mild_core.layers.decompose import SplitOptions, decompose
from mild.mild_core.layers.recompose import recompose
from mild.mild_core.preview.overlay import preview_layers
from mild.mild_core.scene import PERSON, Person, Scene

HEIGHT, WIDTH = 4000, 6000
MEGABYTE = 2**20


class Crowd(NamedTuple):
    """How people stand in the photo, front row last."""

    rows: tuple[int, ...]  # people in each row, back to front
    height: float  # of a person, as a share of the photo's height


CROWDS = {8: Crowd((8,), 0.42), 32: Crowd((10, 11, 11), 0.28)}
STEP = 60  # px by which the feet of those who go stand lower: they are in front of their neighbours


class Cost(NamedTuple):
    """One run. Seconds of the clock; bytes above what this process had with the photo and the people."""

    split: float
    preview: float
    recompose: float
    cpu: float  # s of all cores together, split and recompose
    memory: int
    layers: int  # how many
    held: int  # bytes of the tensors that the layers own

    @property
    def total(self) -> float:
        return self.split + self.recompose


def crowd(count: int) -> list[Person]:
    """Every second one of a row erased. Masks are cropped to their boxes, as MILD_PEOPLE holds them."""
    rows, share = CROWDS[count]
    tall = round(share * HEIGHT)
    drawn: list[tuple[boxes.Box, Tensor]] = []
    goes: list[bool] = []
    for row, many in enumerate(rows):
        pitch = WIDTH / (many + 0.3)
        wide = round(1.12 * pitch)
        for place in sorted(range(many), key=lambda place: place % 2):
            feet = HEIGHT - 150 - round((len(rows) - 1 - row) * 0.45 * tall) + STEP * (place % 2)
            x0 = round(place * pitch)
            box = (x0, feet - tall, min(x0 + wide, WIDTH), feet)
            goes.append(place % 2 == 1)
            shape = figure(wide, tall)[:, : boxes.width(box)]
            for other, seen in drawn:  # whoever is in front hides what is behind
                shared = boxes.intersection(box, other)
                if boxes.area(shared):
                    boxes.cut(seen, boxes.inside(shared, other)).logical_and_(
                        ~boxes.cut(shape, boxes.inside(shared, box))
                    )
            drawn.append((box, shape))
    people = []
    for number, ((box, seen), erased) in enumerate(zip(drawn, goes, strict=True), 1):
        tight = boxes.tight_box(seen)
        assert tight is not None
        mask = boxes.cut(seen, tight).float()
        place = boxes.outside(tight, box)
        people.append(Person(f"Person {number}", number, 0, (HEIGHT, WIDTH), place, mask, erased))
    return people


def figure(wide: int, tall: int) -> Tensor:
    """Head, trunk, arms and legs, bool [tall, wide], with an edge as ragged as hair and cloth are."""
    y = (torch.arange(tall) / tall)[:, None]
    x = (torch.arange(wide) / wide - 0.5)[None]
    wave = 0.012 * torch.sin(y * 190) + 0.008 * torch.sin(y * 431 + 1)
    head = (x / 0.24) ** 2 + ((y - 0.09) / 0.09) ** 2 <= 1
    trunk = (x.abs() < 0.46 + wave) & (y > 0.17) & (y < 0.56)
    legs = (x.abs() < 0.32 + wave) & (x.abs() > 0.02) & (y >= 0.56)
    return head | trunk | legs


def painted(scenes: list[Scene]) -> list[Scene]:
    """A stand-in for the model: every hole full of fine noise, darker than the photo, a person wherever `likely` says.

    So both the level and the grain have to be matched.
    """
    done = []
    for scene in scenes:
        layers = []
        for layer in scene.layers:
            open_ = layer.hole > 0
            pixels = layer.pixels.clone()
            pixels[open_] = torch.randn(int(open_.sum()), 3) / 255 + 0.45
            alpha = layer.alpha
            if layer.domain == PERSON:
                own = open_ if layer.likely is None else open_ & (layer.likely > 0.5)
                alpha = torch.maximum(alpha, own.float())
            layers.append(layer._replace(pixels=pixels, alpha=alpha, sampled=True))
        done.append(scene._replace(layers=tuple(layers)))
    return done


def measured(count: int, full_plate: bool) -> Cost:
    """One run, in this process."""
    photo = (torch.randint(124, 133, (1, HEIGHT, WIDTH, 3), dtype=torch.uint8)).float() / 255
    people = crowd(count)
    options = SplitOptions(full_plate=full_plate)
    recompose(painted(decompose(photo[:, ::8, ::8], people, options=options)))  # what loads once is loaded

    worked = time.process_time()
    scenes, split, most, held = timed(lambda: decompose(photo, people, options=options))
    cpu = time.process_time() - worked
    _, preview, _, _ = timed(lambda: preview_layers(scenes, people))
    layers = painted(scenes)
    worked = time.process_time()
    result, joined, more, _ = timed(lambda: recompose(layers))
    cpu += time.process_time() - worked
    assert result.outside == 0 and not result.unsampled
    known = [layer for scene in scenes for layer in scene.layers]
    own = sum(bytes_of(value, photo) for layer in known for value in layer if isinstance(value, Tensor))
    return Cost(split, preview, joined, cpu, max(most, held + more), len(known), own)


def timed(work: Callable) -> tuple:
    """What work() returns, seconds, most bytes above before while it ran, bytes above before afterwards."""
    with Peak(0.002) as peak:
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        held = peak.held
    return result, seconds, peak.above, held


def bytes_of(value: Tensor, photo: Tensor) -> int:
    """Memory behind a tensor, none for a view of the photo."""
    storage = value.untyped_storage()
    return 0 if storage.data_ptr() == photo.untyped_storage().data_ptr() else storage.nbytes()


def best(count: int, full_plate: bool, runs: int) -> Cost:
    """The best of several runs, each in a process of its own (for memory: the worst)."""
    costs = []
    for _ in range(runs):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            costs.append(pool.submit(measured, count, full_plate).result())
    fastest = min(costs, key=lambda cost: cost.total)
    return fastest._replace(preview=min(c.preview for c in costs), memory=max(c.memory for c in costs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="runs of which the best counts (default 3)")
    runs = parser.parse_args().runs
    photo = HEIGHT * WIDTH * 3 * 4
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"photo of {WIDTH} x {HEIGHT}: {photo / MEGABYTE:.0f} MB as floats; every second person erased")
    found = {}
    for full_plate in (False, True):
        for count in CROWDS:
            cost = found[full_plate, count] = best(count, full_plate, runs)
            print(
                f"{count:2d} people, {'full plate' if full_plate else 'erased only'}: split {cost.split:.2f} s, "
                f"recompose {cost.recompose:.2f} s (CPU of both {cost.cpu:.2f} s), preview {cost.preview:.2f} s; "
                f"{cost.layers} layers of {cost.held / MEGABYTE:.0f} MB, {cost.memory / photo:.2f} x the photo at most"
            )
    few, many = found[False, 8], found[False, 32]
    print(
        f"split_s={few.split:.2f} recompose_s={few.recompose:.2f} total_s={few.total:.2f} "
        f"memory_x={few.memory / photo:.2f} people32_over_8={many.total / few.total:.2f} preview_s={few.preview:.2f}"
    )


if __name__ == "__main__":
    main()
