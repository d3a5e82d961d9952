"""Speed and memory of the built-in model through our nodes: `uv run benchmarks/cost/exemplar.py [PART ...]`

frame   the shipped photo, everybody erased: seconds of painting, memory above idle ComfyUI
draft   the same in both qualities: how many times less painting costs in draft
large   the same hole with the same surroundings in a photo of 6000 x 4000 px: how many times as long it takes
huge    a hole of 1,500 x 3,000 px in a photo of 6000 x 4000 px: seconds, memory, sharpness

The large photos are made of the shipped one. Idle is this process with ComfyUI, our nodes and the photo loaded.
"""

import argparse
import os
import platform
import runpy
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.cost.peak import Peak
from mild.benchmarks.shared import metrics, ours
from mild.mild_core.example_photo import load_example
from mild.mild_core.exemplar import NORMAL, QUALITIES
from mild.tools.erase_graph import erasing_graph

LARGE = (4000, 6000)  # height, width
HUGE_HOLE = (3000, 1500)
DRAFT_RUNS = 2
GIGABYTE = 2**30


class Run(NamedTuple):
    """One run through the nodes."""

    picture: NDArray[np.float32]  # [H, W, 3]
    split: float  # s, People from Masks to Split into Layers
    painting: float  # s, Sample Layers
    joining: float  # s, Recompose Photo
    cpu: float  # s of all cores together while painting: what a busy machine cannot stretch
    memory: float  # bytes, most above idle

    @property
    def total(self) -> float:
        return self.split + self.painting + self.joining

    @property
    def costs(self) -> str:
        return (
            f"{self.painting:.1f} s painting ({self.cpu:.1f} s of CPU), {self.total:.1f} s in all, "
            f"{self.memory / GIGABYTE:.2f} GB above idle"
        )


def erase(photo: NDArray[np.float32], masks: NDArray[np.float32], quality: str = NORMAL) -> Run:
    """photo [H, W, 3] without the people of masks [N, H, W], timed step by step (ComfyUI's cache keeps each step)."""
    with ours.load_nodes().InProcess() as comfy:
        values = torch.from_numpy(photo)[None], torch.from_numpy(masks)
        image, people = (("TEST_Give", {"key": comfy.give(value)}, 0) for value in values)
        graph = erasing_graph(image, [people], ours.inputs_of)
        graph["model"]["inputs"]["quality"] = quality
        comfy.run_graph(graph, wanted=["photo", "masks-1", "model"])
        seconds, cpu = [], []
        with Peak() as peak:
            for step in ("layers", "sample", "recompose"):
                start, worked = time.perf_counter(), time.process_time()
                outputs = comfy.run_graph(graph, wanted=[step]).outputs
                seconds.append(time.perf_counter() - start)
                cpu.append(time.process_time() - worked)
        return Run(outputs["recompose"][0][0].numpy(), *seconds, cpu[1], peak.above)


def large_photo(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """small [h, w, 3] enlarged to LARGE, with small's finest detail at full size (mirrored side by side) on top.

    Whole grey levels, as photos have them.
    """
    coarse = cv2.resize(small, LARGE[::-1], interpolation=cv2.INTER_CUBIC)
    detail = small - cv2.GaussianBlur(small, (0, 0), 3)
    return np.round(np.clip(coarse + around(detail), 0, 1) * 255) / np.float32(255)


def around(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """small [h, w, ...] in the middle of LARGE, mirrored outwards."""
    top, left = (LARGE[0] - small.shape[0]) // 2, (LARGE[1] - small.shape[1]) // 2
    rows = mirrored(LARGE[0], small.shape[0], top)
    columns = mirrored(LARGE[1], small.shape[1], left)
    return np.ascontiguousarray(small[rows][:, columns])


def mirrored(length: int, small: int, start: int) -> NDArray[np.int64]:
    index = (np.arange(length) - start) % (2 * small)
    return np.where(index < small, index, 2 * small - 1 - index)


def frame() -> None:
    example = load_example()
    result = erase(example.photo[0].numpy(), example.masks.numpy())
    print(f"frame: {example.photo.shape[2]} x {example.photo.shape[1]}, {len(example.masks)} people: {result.costs}")


def draft() -> None:
    """Both qualities in turn: the least CPU time of each counts, because other work can only add to it."""
    example = load_example()
    runs: dict[str, list[Run]] = {quality: [] for quality in QUALITIES}
    for _ in range(DRAFT_RUNS):
        for quality, done in runs.items():
            done.append(erase(example.photo[0].numpy(), example.masks.numpy(), quality))
    best = {quality: min(done, key=lambda run: run.cpu) for quality, done in runs.items()}
    for quality, run in best.items():
        print(f"draft: {quality}: {run.costs}, the best of {DRAFT_RUNS}")
    print(f"draft: draft_over_normal={best['draft'].cpu / best[NORMAL].cpu:.3f} (CPU time of painting)")


def large() -> None:
    """Two people who stand so far from the border that the small photo does not cut their surroundings."""
    example = load_example()
    photo, masks = example.photo[0].numpy(), example.masks[3:5].numpy()
    small = erase(photo, masks)
    big_masks = np.zeros((len(masks), *LARGE), np.float32)
    top, left = (LARGE[0] - photo.shape[0]) // 2, (LARGE[1] - photo.shape[1]) // 2
    big_masks[:, top : top + photo.shape[0], left : left + photo.shape[1]] = masks
    big = erase(around(photo), big_masks)
    print(
        f"large: {photo.shape[1]} x {photo.shape[0]}: {small.costs}; {LARGE[1]} x {LARGE[0]}: {big.costs}; "
        f"ratio of painting {big.painting / small.painting:.2f} (of its CPU time {big.cpu / small.cpu:.2f}), "
        f"with taking apart and joining {big.total / small.total:.2f}"
    )


class HugeScene(NamedTuple):
    """A large photo with one large hole."""

    photo: NDArray[np.float32]  # [H, W, 3], black where the hole is
    truth: NDArray[np.float32]
    mask: NDArray[np.float32]  # [H, W], 0 or 1


def huge_scene() -> HugeScene:
    """The mask of the man in black, enlarged to HUGE_HOLE, in the photo without anybody, enlarged to LARGE."""
    example = load_example()
    truth = large_photo(example.background[0].numpy())
    own = example.masks[5].numpy()
    ys, xs = np.nonzero(own)
    own = own[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    mask = np.zeros(LARGE, np.float32)
    top, left = LARGE[0] // 6, LARGE[1] * 3 // 10
    mask[top : top + HUGE_HOLE[0], left : left + HUGE_HOLE[1]] = cv2.resize(own, HUGE_HOLE[::-1]) > 0.5
    return HugeScene(np.where(mask[..., None] > 0, np.float32(0), truth), truth, mask)


def huge() -> None:
    """How long a hole of HUGE_HOLE takes, and how sharp it becomes."""
    photo, truth, mask = huge_scene()
    result = erase(photo, mask[None])
    hole = mask > 0
    changed = metrics.changed_outside(result.picture, photo, hole, reach=160)
    sharpness = metrics.sharpness(result.picture, truth, hole)
    print(
        f"huge: a hole of {HUGE_HOLE[1]} x {HUGE_HOLE[0]} in {LARGE[1]} x {LARGE[0]}: {result.costs}, "
        f"sharpness {sharpness:.2f}, {changed} pixels changed more than 160 px from it"
    )


PARTS = {"frame": frame, "draft": draft, "large": large, "huge": huge}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="what to measure (default: everything)")
    parts = parser.parse_args().parts or list(PARTS)
    ours.load_nodes()
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for part in parts:
        PARTS[part]()


if __name__ == "__main__":
    main()
