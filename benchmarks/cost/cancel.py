"""How long Cancel may have to wait: `uv run benchmarks/cost/cancel.py [frame] [huge]`

ComfyUI stops where somebody asks it whether Cancel was pressed: before each node, and wherever a node asks. This runs
the graph that erases people and prints, for each node, the longest stretch without such a question and where it began
and ended, by the clock and by the main thread's own time, which a busy machine cannot stretch.

frame   the shipped photo, everybody erased
huge    a photo of 6000 x 4000 px with one hole of 1,500 x 3,000 px
"""

import argparse
import os
import platform
import runpy
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from numpy.typing import NDArray

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.cost.exemplar import huge_scene
from mild.benchmarks.shared import ours
from mild.mild_core.example_photo import load_example
from mild.tools.erase_graph import erasing_graph

STEPS = ("people-1", "choose", "layers", "sample", "recompose")
ROOT = Path(__file__).resolve().parents[2]


class Stretch(NamedTuple):
    """From one question to the next."""

    seconds: float  # of the clock
    own: float  # of the main thread
    begin: str  # file and line
    end: str

    @property
    def text(self) -> str:
        return f"{self.own:.2f} s ({self.seconds:.2f} s by the clock), {self.begin} to {self.end}"


class Asked:
    """Notes when ComfyUI asks whether it was interrupted, in place of its own function while a `with` block runs."""

    def __enter__(self) -> "Asked":
        import comfy.model_management as management

        self._management = management
        self._ask = management.throw_exception_if_processing_interrupted
        management.throw_exception_if_processing_interrupted = self._note(self._ask)
        self.stretches: list[Stretch] = []
        self._last = time.perf_counter(), time.thread_time(), "the start"
        return self

    def __exit__(self, *_: object) -> None:
        self._management.throw_exception_if_processing_interrupted = self._ask
        self._add("the end")

    def _note(self, ask: Callable[[], None]) -> Callable[[], None]:
        def asked() -> None:
            self._add(place())
            ask()

        return asked

    def _add(self, here: str) -> None:
        now = time.perf_counter(), time.thread_time()
        before, own, begin = self._last
        self.stretches.append(Stretch(now[0] - before, now[1] - own, begin, here))
        self._last = (*now, here)


def place() -> str:
    """The innermost line of this pack that is running, this file left out."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT / "mild_core") or path.is_relative_to(ROOT / "nodes"):
            return f"{path.stem}.py:{frame.lineno}"
    return "ComfyUI"


def measure(name: str, photo: NDArray, masks: NDArray) -> float:
    """Print the longest stretch of each node; returns the longest of all in seconds of the main thread."""
    with ours.load_nodes().InProcess() as comfy:
        values = torch.from_numpy(photo)[None], torch.from_numpy(masks)
        image, people = (("TEST_Give", {"key": comfy.give(value)}, 0) for value in values)
        graph = erasing_graph(image, [people], ours.inputs_of)
        comfy.run_graph(graph, wanted=["photo", "masks-1", "model"])
        most = 0.0
        print(f"{name}: {photo.shape[1]} x {photo.shape[0]}, {len(masks)} people")
        for step in STEPS:
            with Asked() as asked:
                comfy.run_graph(graph, wanted=[step])
            longest = max(asked.stretches, key=lambda stretch: stretch.own)
            print(f"  {step}: asked {len(asked.stretches) - 1} times, longest {longest.text}", flush=True)
            most = max(most, longest.own)
    return most


def frame() -> float:
    example = load_example()
    return measure("frame", example.photo[0].numpy(), example.masks.numpy())


def huge() -> float:
    scene = huge_scene()
    return measure("huge", scene.photo, scene.mask[None])


PARTS = {"frame": frame, "huge": huge}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="what to measure (default: everything)")
    parts = parser.parse_args().parts or list(PARTS)
    ours.load_nodes()
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(" ".join(f"{part}_longest={PARTS[part]():.2f}" for part in parts))


if __name__ == "__main__":
    main()
