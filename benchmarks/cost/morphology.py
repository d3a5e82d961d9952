"""What knowing bodies costs: `uv run benchmarks/cost/morphology.py`, or some rows of it: `--rows maps,step,tokens`

maps: the maps of the background and of each of 8 people of a photo of 6000 x 4000 px (benchmarks/cost/layers.py), with
joints and parsing, on a crop with context, at a quarter of the size at which an SDXL-class model paints it in detail
(its full million pixels). In this process, the best of several runs.

step, tokens: see benchmarks/cost/morphology_step.py and benchmarks/cost/morphology_tokens.py.
"""

import argparse
import os
import runpy
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.cost.layers import HEIGHT, WIDTH, crowd
from mild.benchmarks.cost.morphology_step import step_row
from mild.benchmarks.cost.morphology_tokens import tokens_row
from mild.benchmarks.shared.machine import machine
from mild.mild_core.body.body_parts import PARTS
from mild.mild_core.body.relations import relations
from mild.mild_core.guidance.maps import CHANNELS, maps
from mild.mild_core.image import boxes
from mild.mild_core.layers.work_size import DETAIL, work_size
from mild.mild_core.scene import Body, Morphology, Person

NATIVE = 1024 * 1024
SHARE = 4  # the maps' sides are this share of the size at which a layer is painted
CONTEXT = 1.5  # a layer's crop is about so many times as high as the person in it

# Joints of somebody who stands and faces us, in OpenPose's order: shares of the box, which figure() in layers.py fills.
STANDING = (
    *((0.50, 0.10), (0.50, 0.18), (0.16, 0.20), (0.10, 0.36), (0.12, 0.50), (0.84, 0.20), (0.90, 0.36), (0.88, 0.50)),
    *((0.32, 0.52), (0.32, 0.75), (0.32, 0.96), (0.68, 0.52), (0.68, 0.75), (0.68, 0.96)),
    *((0.46, 0.08), (0.54, 0.08), (0.38, 0.09), (0.62, 0.09)),
)
# Parts from top to bottom, with the share of the height at which each begins.
BANDS = ((0.0, "hair"), (0.05, "face"), (0.17, "upper clothes"), (0.5, "trousers"), (0.93, "left shoe"))


def body_of(person: Person) -> Body:
    """The person with joints and parsing that fit the figure."""
    box = person.box
    corner, sides = torch.tensor(box[:2]), torch.tensor([boxes.width(box), boxes.height(box)])
    joints = torch.cat([torch.tensor(STANDING) * sides + corner, torch.full((18, 1), 0.9)], 1)
    rows = torch.zeros(boxes.height(box), 1, dtype=torch.uint8)
    for begin, name in BANDS:
        rows[round(begin * len(rows)) :] = PARTS.index(name)
    return Body(
        person.number,
        person.name,
        person.erased,
        box,
        person.mask,
        joints=joints,
        parts=rows * (person.mask > 0.5),
        parts_box=box,
        parts_sure=torch.full_like(person.mask, 0.8),
    )


def people_of_the_photo() -> Morphology:
    """The crowd with its joints, parsing and relations; every second one goes."""
    people = crowd(8)
    own, pairs = relations(people)
    return Morphology(0, (HEIGHT, WIDTH), tuple(map(body_of, people)), own, pairs)


def crops(morphology: Morphology) -> list[tuple[int | None, boxes.Box, tuple[int, int]]]:
    """Whose layer, its box and the size of its maps: everybody with what is around them, and the background whole."""
    size = morphology.size
    found: list[tuple[int | None, boxes.Box]] = [(None, boxes.whole(size))]
    for body in morphology.bodies:
        margin = (1 - 1 / CONTEXT) / 2 * boxes.height(body.box)
        found.append((body.number, boxes.grown(body.box, margin, margin, size)))
    result = []
    for number, box in found:
        painted = work_size((boxes.height(box), boxes.width(box)), 64, NATIVE, 16, DETAIL)
        result.append((number, box, (painted[0] // SHARE, painted[1] // SHARE)))
    return result


def maps_row(runs: int) -> dict[str, float]:
    morphology = people_of_the_photo()
    todo = crops(morphology)

    def draw() -> list[Tensor]:
        return [maps(morphology, number, box, size) for number, box, size in todo]

    seconds = best_of(runs, draw)
    cells = sum(size[0] * size[1] for _, _, size in todo) / len(todo)
    print(
        f"maps: {len(CHANNELS)} channels for {len(morphology.bodies)} people and the background of a photo of "
        f"{WIDTH} x {HEIGHT}, {cells / 1000:.0f} thousand cells each: {seconds:.3f} s"
    )
    return {"maps_s": seconds}


def best_of(runs: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of `runs` calls, after one that does not count."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


ROWS: dict[str, Callable[[int], dict[str, float]]] = {
    "maps": maps_row,
    "step": step_row,
    "tokens": lambda runs: tokens_row(runs, people_of_the_photo()),
}
"""Each prints its table and returns its figures by name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)} (default all)")
    parser.add_argument("--runs", type=int, default=5, help="runs of which the best counts (default 5)")
    given = parser.parse_args()
    rows = given.rows.split(",")
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        parser.error(f"--rows: {', '.join(unknown)} is none of {', '.join(ROWS)}")
    torch.set_num_threads(os.cpu_count() or 1)  # also where the environment says less
    print(f"{machine(torch.device('cpu'))}, torch {torch.__version__}")
    figures: dict[str, float] = {}
    for row in rows:
        figures |= ROWS[row](given.runs)
    print(" ".join(f"{name}={value:.3f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
