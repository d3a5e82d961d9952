"""What a hole leaves of somebody, and what it takes too much: `uv run benchmarks/quality/rims.py --limit 60`

Nothing is painted: a hole filled with the truth itself shows what the hole alone spoils. Composed scenes with soft rims
(soft_scenes.py; truth exact), with masks as given, eroded, dilated and, if its weights can be had, SAM 2's from true
boxes (`--sam N` scenes); and, with `--data DIR`, the frames of fixed cameras. Growth that follows each rim beside the
same growth all around, on the same scenes; the difference is paired.

through  grey levels of the person that shine through, summed across the rim, mean along it (a hard line of one pixel
         that differs by 20 levels counts 20): what the hole's soft edge leaves included
ring     mean difference from the truth in the 2 px just outside the hole, grey levels
left     share of the rim along which something that can be seen (VISIBLE levels) is left, %
over     width of the hole beyond what the people changed, mean along the rim, px
"""

import argparse
import math
import runpy
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared import ours, scenes, soft_scenes, weights
from mild.benchmarks.shared.machine import machine
from mild.benchmarks.shared.metrics import hole_psnr, mean_with_interval, paired_table, perceptual
from mild.benchmarks.shared.rivals import CACHE, Unavailable
from mild.mild_core.find.finders.sam2_onnx import Sam2Onnx
from mild.mild_core.find.sam_prompts import Prompt
from mild.mild_core.image import boxes
from mild.mild_core.layers.decompose import SplitOptions, decompose
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.selection import choose
from mild.mild_core.scene import BACKGROUND, Scene

SETTINGS = {
    "same growth all around": SplitOptions(follow=False, spare=False),
    "follows each rim": SplitOptions(),
    "no growth": SplitOptions(grow=0),
}
OLD, NEW, _ = SETTINGS
NEAR = 16  # px from the people within which something of them may be left
VISIBLE = 12  # grey levels, mean of the channels
UNCHANGED = 3  # grey levels: below, nothing of a person was there

Area = NDArray[np.bool_]
Picture = NDArray[np.float32]


class Case(NamedTuple):
    """One photo with known truth. H x W pixels, N people."""

    name: str
    photo: Picture  # [H, W, 3], 0..1
    masks: Area  # [N, H, W]
    changed: Area  # [H, W]: where anything of a person is
    apart: NDArray[np.float32]  # [H, W]: difference between photo and truth, grey levels
    counted: Area  # [H, W]: where figures are taken


class Figures(NamedTuple):
    through: float
    ring: float
    left: float
    over: float


def composed_case(scene: soft_scenes.SoftScene) -> Case:
    apart = np.abs(scene.photo - scene.truth).mean(-1) * 255
    touched = scene.alpha > soft_scenes.TOUCHED
    return Case(scene.name, scene.photo, scene.masks, touched | (apart > UNCHANGED), apart, near(touched))


def real_case(scene: scenes.Scene) -> Case:
    """Shadows and reflections are no part of a rim, and noise is no part of a person."""
    apart = np.abs(scene.photo - scene.truth).mean(-1) * 255
    far = cv2.distanceTransform(1 - scene.union.astype(np.uint8), cv2.DIST_L2, 5) > scenes.FAR
    apart = np.maximum(0, apart - float(np.percentile(apart[far], 90))).astype(np.float32)
    effect = cv2.dilate(scene.effect.astype(np.uint8), np.ones((9, 9))) > 0
    return Case(
        scene.name, scene.photo, scene.masks, scene.union | (apart > UNCHANGED), apart, near(scene.union) & ~effect
    )


def near(people: Area) -> Area:
    return cv2.distanceTransform(1 - people.astype(np.uint8), cv2.DIST_L2, 5) <= NEAR


def layers_of(photo: Picture, masks: Area, options: SplitOptions) -> Scene:
    """Everyone goes."""
    people = [person_from_mask(torch.from_numpy(mask).float()) for mask in masks]
    chosen = choose(numbered([person for person in people if person is not None]), "all")
    return decompose(torch.from_numpy(photo)[None], chosen, options=options)[0]


def split(photo: Picture, masks: Area, options: SplitOptions) -> NDArray[np.float32]:
    """Opacity [H, W] of all holes of the background, as they are blended into the photo."""
    scene = layers_of(photo, masks, options)
    opacity = torch.zeros(photo.shape[:2])
    for layer in scene.layers:
        if layer.domain == BACKGROUND:
            here = boxes.cut(opacity, layer.box)
            torch.maximum(here, layer.hole, out=here)
    return opacity.numpy()


def figures(case: Case, opacity: NDArray[np.float32]) -> Figures:
    hole = opacity > 0
    line = case.masks.any(0)
    rim = line & ~(cv2.erode(line.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
    length = max(1, int(rim.sum()))
    through = (1 - opacity) * case.apart * case.counted
    outside = cv2.distanceTransform(1 - hole.astype(np.uint8), cv2.DIST_L2, 5)
    ring = (outside > 0) & (outside <= 2) & case.counted
    # Places of the outline with something visible near them.
    seen = cv2.dilate((through > VISIBLE).astype(np.uint8), np.ones((NEAR + 1, NEAR + 1))) > 0
    return Figures(
        float(through.sum()) / length,
        float(case.apart[ring].mean()) if ring.any() else math.nan,
        100 * float(seen[rim].mean()),
        float((hole & ~case.changed & case.counted).sum()) / length,
    )


def variants(case: Case, sam: Sam2Onnx | None) -> dict[str, Area]:
    found = {"given": case.masks}
    found |= {f"eroded {pixels}": scenes.eroded(case.masks, pixels) for pixels in (1, 2, 4)}
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    found["dilated 2"] = np.stack([cv2.dilate(mask.astype(np.uint8), disc) > 0 for mask in case.masks])
    if sam is not None:
        found["SAM 2"] = sam_masks(case, sam)
    return found


def sam_masks(case: Case, sam: Sam2Onnx) -> Area:
    """Its masks from the true boxes, kept in the cache folder: a photo takes seconds."""
    kept = CACHE / "rims" / (case.name.replace("/", "_") + f"_{case.photo.shape[1]}_{int(case.masks.sum())}.npz")
    if kept.is_file():
        return np.load(kept)["masks"]
    prompts = []
    for mask in case.masks:
        ys, xs = np.nonzero(mask)
        box = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
        prompts.append(Prompt(torch.tensor([box[:2], box[2:]]), torch.tensor([2, 3]), box))
    masks = np.zeros(case.masks.shape, bool)
    for own, (found, box) in zip(masks, sam.masks(torch.from_numpy(case.photo), prompts, lambda: None), strict=True):
        own |= (boxes.placed(found, tuple(box), boxes.whole(own.shape)) > 0.5).numpy()
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(kept, masks=masks)
    return masks


def tables(results: dict[str, dict[str, list[Figures]]], title: str) -> None:
    for variant, rows in results.items():
        print(paired_table(f"{title}, masks {variant}", rows, OLD, NEW, 2))


def measured(cases: list[Case], sam: Sam2Onnx | None, few: int) -> dict[str, dict[str, list[Figures]]]:
    results: dict[str, dict[str, list[Figures]]] = {}
    for number, case in enumerate(cases):
        for variant, masks in variants(case, sam if number < few else None).items():
            if not masks.any((1, 2)).all():
                continue  # found nobody
            rows = results.setdefault(variant, {name: [] for name in SETTINGS})
            for name, options in SETTINGS.items():
                rows[name].append(figures(case, split(case.photo, masks, options)))
    return results


class Painted(NamedTuple):
    lpips: float
    psnr: float


def painted(limit: int) -> dict[str, list[Painted]]:
    """The first composed scenes with hard rims and exact masks, painted."""
    results: dict[str, list[Painted]] = {name: [] for name in SETTINGS}
    for scene in scenes.composed_scenes(limit=limit):
        for name, options in SETTINGS.items():
            picture = ours.paint([layers_of(scene.photo, scene.masks, options)])
            results[name].append(
                Painted(perceptual(picture, scene.truth, scene.union), hole_psnr(picture, scene.truth, scene.union))
            )
            print(f"{scene.name}, {name}: LPIPS* {results[name][-1].lpips:.3f}", flush=True)
    return results


def sam2() -> Sam2Onnx | None:
    try:
        return Sam2Onnx(weights.weights(weights.SAM2_ENCODER), weights.weights(weights.SAM2_DECODER))
    except (Unavailable, ValueError) as why:
        print(f"without SAM 2: {why}")
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=60, metavar="N", help="composed scenes (default 60)")
    parser.add_argument("--sam", type=int, default=0, metavar="N", help="composed scenes with SAM 2's masks, too")
    parser.add_argument("--data", type=Path, metavar="DIR", help="real frames with NAME_inst.png and their plates")
    parser.add_argument("--plates", type=Path, metavar="DIR", help="photos without people instead of the corpus's")
    parser.add_argument("--cutouts", type=Path, metavar="DIR", help="RGBA cut-outs of people instead of the corpus's")
    parser.add_argument("--paint", type=int, metavar="N", help="nothing but this: paint N composed scenes, exact masks")
    given = parser.parse_args()
    print(machine(torch.device("cpu")))
    if given.paint:
        print(paired_table("composed, hard rims, exact masks, painted", painted(given.paint), OLD, NEW, 3))
        return
    sam = sam2() if given.sam else None
    composed = soft_scenes.soft_scenes(given.limit, False, given.plates, given.cutouts)
    found = measured([composed_case(scene) for scene in composed], sam, given.sam)
    tables(found, "composed")
    if given.data:
        real, left_out = scenes.real_scenes(given.data)
        for name, residual in left_out:
            print(f"left out: {name} differs from its plate by {residual:.1f} grey levels away from people")
        tables(measured([real_case(scene) for scene in real], sam, len(real)), "real")
    means = {
        (variant, name): mean_with_interval([one.through for one in own]).value
        for variant, rows in found.items()
        for name, own in rows.items()
    }
    print()
    print(
        " ".join(
            f"{v.replace(' ', '')}_through_{k}={means[v, n]:.2f}"
            for v in found
            for k, n in (("old", OLD), ("new", NEW))
        )
    )


if __name__ == "__main__":
    main()
