"""How well people are erased, against the truth: `uv run benchmarks/quality/erase_quality.py --limit 200 --jobs 2`

Two sets. *Composed*: people pasted onto photos without any, so that the truth is exact. *Real* (`--data DIR`): frames
of fixed cameras with people, their shadows included, and the empty place. What the columns mean stands in metrics.py.
Our method gets the masks as they are and grows them itself. The others get them as suits them best, see `rival_hole`.
"""

import argparse
import math
import os
import runpy
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.quality import occlusion
from mild.benchmarks.shared import metrics, rivals, scenes
from mild.benchmarks.shared.metrics import Mean, Scores, mean_with_interval

OURS = "ours"
COLUMNS = {  # of the tables: heading, field of Scores, digits
    "LPIPS*": ("perceptual", 3),
    "PSNR": ("psnr", 2),
    "sharpness": ("sharpness", 2),
    "ring": ("ring", 1),
    "effect": ("effect", 1),
    "seconds": ("seconds", 1),
    "changed": ("outside", 0),
}
RIVAL_GROWTH = {  # px that a mask grows by before a rival gets it, (exact masks, others): each where its LPIPS* is best
    "ring mean": (0, 2),
    "Telea": (0, 2),
    "MI-GAN": (2, 6),
    "MI-GAN blurred": (2, 6),
}
WORST = 10


class Result(NamedTuple):
    """One row on one scene with one kind of masks."""

    camera: str
    scene: str
    variant: str
    row: str
    scores: Scores
    picture: bytes | None  # PNG of our result with the given masks, for the sheet


def rival_hole(row: str, variant: str, scene: scenes.Scene, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The hole [H, W] that a rival gets: masks [N, H, W] united and grown as suits it."""
    exact = scene.camera == "composed" and variant != "eroded"
    reach = RIVAL_GROWTH[row][0 if exact else 1]
    hole = masks.any(0).astype(np.uint8)
    if reach:
        hole = cv2.dilate(hole, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    return hole > 0


def run_scene(scene: scenes.Scene, variants: list[str], rows: list[str]) -> list[Result]:
    """All rows and mask variants on one scene."""
    from mild.benchmarks.shared.ours import erase, load_nodes  # here: the first process needs no ComfyUI

    load_nodes()  # before the clock runs
    results = []
    for variant in variants:
        masks = scenes.VARIANTS[variant](scene.masks)
        given = masks.any(0)
        area = scene.union | given  # where figures are taken: wherever a person was or the masks say so
        pictures: dict[str, NDArray[np.float32]] = {}
        for row in rows:
            start = perf_counter()
            if row == OURS:
                picture = erase(scene.photo, masks)
            elif row == "MI-GAN blurred" and "MI-GAN" in pictures:  # not worked out twice
                picture = rivals.blurred(pictures["MI-GAN"], rival_hole(row, variant, scene, masks))
            else:
                picture = rivals.RIVALS[row](scene.photo, rival_hole(row, variant, scene, masks))
            seconds = perf_counter() - start
            pictures[row] = picture
            scores = metrics.score(picture, scene.photo, scene.truth, area, given, scene.effect, seconds)
            kept = metrics.save_png(picture) if row == OURS and variant == variants[0] else None
            results.append(Result(scene.camera, scene.name, variant, row, scores, kept))
    return results


def run_all(
    everything: list[scenes.Scene], variants: list[str], rows: list[str], jobs: int, others: int | None
) -> Iterator[list[Result]]:
    """run_scene over all scenes in `jobs` processes, in whatever order they end.

    others: on how many composed scenes every variant is tried; the rest get the first one only (None: all get all).
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by the children when they import torch and onnxruntime
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = []
        for number, scene in enumerate(everything):
            short = others is not None and number >= others and scene.camera == "composed"
            waiting.append(pool.submit(run_scene, scene, variants[:1] if short else variants, rows))
        try:
            for future in as_completed(waiting):
                yield future.result()
        except KeyboardInterrupt:
            print("\nstopped: the tables show what was done", file=sys.stderr)
            pool.shutdown(wait=False, cancel_futures=True)


def table(results: list[Result], rows: list[str]) -> str:
    """Rows against columns, means with 95 % intervals over photos; changed pixels are a sum."""
    lines = ["| row | " + " | ".join(COLUMNS) + " |", "|" + "---|" * (len(COLUMNS) + 1)]
    for row in rows:
        own = [result.scores for result in results if result.row == row]
        cells = [f"{mean_of(own, field).text(digits)}" for field, digits in COLUMNS.values() if field != "outside"]
        lines.append(f"| {row} | " + " | ".join(cells) + f" | {sum(int(s.outside) for s in own)} |")
    return "\n".join(lines)


def mean_of(scores: list[Scores], field: str) -> Mean:
    return mean_with_interval([getattr(one, field) for one in scores])


def last_line(results: list[Result], variants: list[str]) -> str:
    """The figures that the project is judged by: composed scenes, and changed pixels over everything."""

    def mean(row: str, field: str, variant: str = "given") -> float:
        chosen = [r.scores for r in results if (r.camera, r.row, r.variant) == ("composed", row, variant)]
        return mean_of(chosen, field).value if chosen else math.nan

    outside = sum(int(r.scores.outside) for r in results if r.row == OURS)
    return (
        f"ours_lpips={mean(OURS, 'perceptual'):.4f} migan_lpips={mean('MI-GAN', 'perceptual'):.4f} "
        f"telea_lpips={mean('Telea', 'perceptual'):.4f} ours_psnr={mean(OURS, 'psnr'):.2f} "
        f"migan_psnr={mean('MI-GAN', 'psnr'):.2f} sharpness={mean(OURS, 'sharpness'):.3f} "
        f"eroded_lpips={mean(OURS, 'perceptual', 'eroded'):.4f} boxes_lpips={mean(OURS, 'perceptual', 'boxes'):.4f} "
        f"outside_changed={outside}"
    )


def write_sheet(path: Path, results: list[Result], everything: list[scenes.Scene]) -> None:
    """The worst scenes by perceptual distance, worst first: photo, holes, ours, truth side by side."""
    by_name = {scene.name: scene for scene in everything if scene.camera == "composed"}
    own = [r for r in results if r.camera == "composed" and r.picture is not None]
    worst = sorted(own, key=lambda r: -r.scores.perceptual)[:WORST]
    strips = []
    for result in worst:
        scene = by_name[result.scene]
        marked = scene.photo.copy()
        marked[scene.union] = (1.0, 0.0, 0.5)
        ours = metrics.read_png(result.picture).astype(np.float32) / 255
        pictures = [scene.photo, marked, ours, scene.truth]
        strip = np.hstack([np.pad(fit(p, 320), ((2, 2), (2, 2), (0, 0))) for p in pictures])
        label = np.full((22, strip.shape[1], 3), 30, np.uint8)
        text = f"{result.scene}  LPIPS* {result.scores.perceptual:.3f}  PSNR {result.scores.psnr:.1f}"
        cv2.putText(label, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        strips.append(np.vstack([label, strip]))
    wide = max(strip.shape[1] for strip in strips)
    sheet = np.vstack([np.pad(strip, ((0, 0), (0, wide - strip.shape[1]), (0, 0))) for strip in strips])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())


def fit(picture: NDArray[np.float32], height: int) -> NDArray[np.uint8]:
    """8-bit copy of picture [H, W, 3] at that height."""
    wide = round(picture.shape[1] * height / picture.shape[0])
    return np.round(cv2.resize(picture, (wide, height), interpolation=cv2.INTER_AREA) * 255).astype(np.uint8)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=200, metavar="N", help="composed scenes (default 200)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="real frames with NAME_inst.png and their plates")
    parser.add_argument("--plates", type=Path, metavar="DIR", help="photos without people instead of the corpus's")
    parser.add_argument("--cutouts", type=Path, metavar="DIR", help="RGBA cut-outs of people instead of the corpus's")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help=f"write the {WORST} worst composed scenes here")
    parser.add_argument("--jobs", type=int, default=1, help="processes; they share the cores, so seconds grow")
    parser.add_argument("--masks", default=",".join(scenes.VARIANTS), help="kinds of masks (default: all three)")
    parser.add_argument("--others", type=int, metavar="N", help="composed scenes for all but the first kind of masks")
    parser.add_argument("--rows", help="names of rows, e.g. ours,Telea (default: all)")
    parser.add_argument(
        "--occlusion", action="store_true", help="instead: people who stay and were hidden (needs --data; occlusion.py)"
    )
    parser.add_argument("--shifted", action="store_true", help="--occlusion with the front person moved sideways")
    parser.add_argument("--grounds", help="--occlusion with a row for each of these grounds, e.g. neutral,plate")
    given = parser.parse_args()
    if given.occlusion and given.data is None:
        parser.error("--occlusion needs --data DIR: frames of fixed cameras with NAME_inst.png")
    unknown = set(given.masks.split(",")) - set(scenes.VARIANTS)
    if unknown:
        parser.error(f"--masks: {', '.join(sorted(unknown))} is none of {', '.join(scenes.VARIANTS)}")
    if not (given.occlusion or given.plates or given.cutouts or scenes.CORPUS.is_dir()):
        parser.error("the corpus is not beside this repository: give --plates DIR and --cutouts DIR")
    return given


def main() -> None:
    given = arguments()
    if given.occlusion:
        grounds = given.grounds.split(",") if given.grounds else None
        occlusion.report(given.data, given.shifted, given.limit, grounds, given.sheet)
        return
    variants = given.masks.split(",")
    rows = [OURS, *rivals.available()]
    if given.rows:
        rows = [row for row in rows if row in given.rows.split(",")]
    everything = scenes.composed_scenes(given.plates, given.cutouts, given.limit)
    cameras = ["composed"]
    if given.data:
        real, left_out = scenes.real_scenes(given.data)
        everything += real
        cameras += sorted({scene.camera for scene in real})
        for name, residual in left_out:
            print(f"left out: {name} differs from its plate by {residual:.1f} grey levels away from people")
    results: list[Result] = []
    start = perf_counter()
    for done, new in enumerate(run_all(everything, variants, rows, given.jobs, given.others), 1):
        results += new
        spent = perf_counter() - start
        left = spent / done * (len(everything) - done)
        print(f"\r{done}/{len(everything)} scenes, {left / 60:.0f} min left ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print("LPIPS*: ST-LPIPS (AlexNet) averaged over the hole. ±: half the 95 % interval over photos.")
    print(f"{os.cpu_count()} cores, {given.jobs} processes at once: seconds are comparable within a table only.")
    for camera in cameras:
        for variant in variants:
            chosen = [r for r in results if r.camera == camera and r.variant == variant]
            count = len({r.scene for r in chosen})
            flat = sum(math.isnan(r.scores.sharpness) for r in chosen if r.row == rows[0])
            note = f"; sharpness without {flat} whose truth is flat" if flat else ""
            print(f"\n## {camera}, masks {variant}, n = {count}{note}\n\n{table(chosen, rows)}")
    if given.sheet:
        write_sheet(given.sheet, results, everything)
        print(f"\nworst scenes: {given.sheet}")
    print()
    print(last_line(results, variants))


if __name__ == "__main__":
    main()
