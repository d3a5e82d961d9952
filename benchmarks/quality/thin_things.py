"""How much of a thin thing in front of somebody survives their hole: `uv run benchmarks/quality/thin_things.py`

Composed scenes with a drawn pole, tripod, wires or fence of 1.5 to 12 px in front of the people (soft_scenes.py), whose
masks end at the thing on both of its sides, as given and eroded. Nothing is painted. Things spared beside not spared,
on the same scenes; the difference is paired.

kept     pixels of the thing with somebody behind it that are in no hole, %
beside   the same where it runs on beside the people, within NEAR px of them, %
others   what rims.py prints as through, ring and over, away from the thing: sparing must not leave the person's rim
"""

import argparse
import math
import runpy
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.quality import rims
from mild.benchmarks.shared import scenes, soft_scenes
from mild.benchmarks.shared.machine import machine
from mild.benchmarks.shared.metrics import mean_with_interval, paired_table
from mild.mild_core.layers.decompose import SplitOptions

SETTINGS = {
    "as before": SplitOptions(follow=False, spare=False),
    "follows each rim": SplitOptions(spare=False),
    "thin things spared": SplitOptions(),
}
OLD, _, NEW = SETTINGS
NEAR = 12  # px


class Figures(NamedTuple):
    kept: float
    beside: float
    through: float
    ring: float
    over: float


def figures(scene: soft_scenes.SoftScene, masks: rims.Area, options: SplitOptions) -> Figures:
    opacity = rims.split(scene.photo, masks, options)
    front = scene.thing & scene.behind
    near = cv2.dilate(scene.behind.astype(np.uint8), np.ones((2 * NEAR + 1, 2 * NEAR + 1))) > 0
    beside = scene.thing & ~scene.behind & near
    around = cv2.dilate(scene.thing.astype(np.uint8), np.ones((5, 5))) > 0
    case = rims.composed_case(scene)
    own = rims.figures(case._replace(counted=case.counted & ~around), opacity)
    kept = [100 * float((opacity[part] == 0).mean()) if part.any() else math.nan for part in (front, beside)]
    return Figures(*kept, own.through, own.ring, own.over)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=60, metavar="N", help="composed scenes (default 60)")
    parser.add_argument("--plates", type=Path, metavar="DIR", help="photos without people instead of the corpus's")
    parser.add_argument("--cutouts", type=Path, metavar="DIR", help="RGBA cut-outs of people instead of the corpus's")
    given = parser.parse_args()
    print(machine(torch.device("cpu")))
    found: dict[str, dict[str, dict[str, list[Figures]]]] = {}
    for scene in soft_scenes.soft_scenes(given.limit, True, given.plates, given.cutouts):
        for variant in ("given", "eroded 1"):
            masks = scenes.eroded(scene.masks, 1) if variant == "eroded 1" else scene.masks
            for name, options in SETTINGS.items():
                one = figures(scene, masks, options)
                for kind in ("all", scene.kind.split(",")[0]):
                    rows = found.setdefault(variant, {}).setdefault(kind, {key: [] for key in SETTINGS})
                    rows[name].append(one)
    for variant, kinds in found.items():
        for kind, rows in kinds.items():
            print(paired_table(f"masks {variant}, {kind}", rows, OLD, NEW, 1))
    kept = {name: mean_with_interval([one.kept for one in found["given"]["all"][name]]).value for name in SETTINGS}
    print(f"\nkept_old={kept[OLD]:.1f} kept_new={kept[NEW]:.1f}")


if __name__ == "__main__":
    main()
