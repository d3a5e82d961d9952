"""What `agree` of Sample Layers is worth: `uv run benchmarks/quality/joint.py --data ../shared/data/pairs --limit 40`

Scenes of occlusion.py, the front person moved sideways: somebody who stays is completed, and the place behind is
painted, by the Built-in Model, with the same seed, each layer by itself and then told of the other at its seams. Scenes
without a hidden part to complete have no layers that meet, and are left out.

ring       mean absolute error within 3 px of the hole's border, inside; grey levels
outline    the same within 3 px of the true outline of the hidden part: where person and plate meet
LPIPS      ST-LPIPS in the hole; `completed`, `plate`: in what is hidden of the person, and in the rest
IoU        of the completed outline and the true one

`--results FILE` keeps every figure as soon as it is there; run again with it, the script goes on where it was stopped.
"""

import argparse
import json
import os
import runpy
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import cv2
import numpy as np

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.quality import occlusion
from mild.benchmarks.quality.occlusion import Occlusion, Painted, Picture
from mild.benchmarks.shared import metrics, ours
from mild.mild_core.scene import PERSON

OUTLINE = 3  # px on either side of where person and plate meet


class Scores(NamedTuple):
    """One result on one scene."""

    ring: float
    outline: float
    lpips: float
    completed_lpips: float
    plate_lpips: float
    psnr: float
    completed_iou: float
    seconds: float


def result(scene: Occlusion, agree: float, until: float, quality: str) -> tuple[Scores, Picture] | None:
    """Through the nodes, every other widget as it stands; None where nobody is completed."""
    start = perf_counter()
    widgets = {"agree": agree, "agree_until": until}
    outputs = ours.run_erasing(scene.photo, scene.masks, str(scene.front + 1), quality=quality, sampling=widgets)
    seconds = perf_counter() - start
    layers = outputs["sample"][0]
    if not any(layer.domain == PERSON for layer in layers[0].layers):
        return None
    picture = outputs["recompose"][0][0].float().numpy()
    hole = scene.masks[scene.front]
    own = occlusion.score(scene, Painted(picture, occlusion.alpha_of_back(scene, layers)))
    return Scores(
        metrics.ring_error(picture, scene.truth, hole),
        outline_error(picture, scene),
        metrics.perceptual(picture, scene.truth, hole),
        own.completed_lpips,
        own.plate_lpips,
        metrics.hole_psnr(picture, scene.truth, hole),
        own.completed_iou,
        seconds,
    ), picture


def outline_error(picture: Picture, scene: Occlusion) -> float:
    """Mean absolute error near the hidden part's true outline against the place, grey levels; NaN where none is."""
    square = np.ones((2 * OUTLINE + 1,) * 2, np.uint8)
    person, place = (cv2.dilate(part.astype(np.uint8), square) > 0 for part in (scene.completed, scene.plate))
    near = person & place & (scene.completed | scene.plate)
    return float(np.abs(picture - scene.truth)[near].mean() * 255) if near.any() else float("nan")


def interleaved(scenes: list[Occlusion]) -> list[Occlusion]:
    """In an order in which the first few are of all frames."""
    return sorted(scenes, key=lambda scene: scenes.index(scene) * 7 % len(scenes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="frames with NAME_inst.png")
    parser.add_argument("--limit", type=int, metavar="N", help="scenes (default: all)")
    parser.add_argument("--camera", metavar="NAME", help="scenes of one camera only")
    parser.add_argument("--quality", default="draft", help="of the Built-in Model (default: draft)")
    parser.add_argument("--agree", type=float, default=1.0)
    parser.add_argument("--until", type=float, default=0.6)
    parser.add_argument("--results", type=Path, metavar="FILE", help="keep figures here, and go on from there")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write without, with and the truth side by side")
    given = parser.parse_args()
    scenes = [scene for scene in occlusion.occlusion_scenes(given.data, True) if given.camera in (None, scene.camera)]
    known: dict[str, dict[str, list[float] | None]] = {}
    if given.results and given.results.is_file():
        known = json.loads(given.results.read_text(encoding="utf-8"))
    for scene in interleaved(scenes)[: given.limit]:
        pictures = []
        for agree in (0.0, given.agree):
            key = f"{given.quality} {agree:g} {given.until:g}" if agree else given.quality
            if scene.name in known.setdefault(key, {}):
                continue
            found = result(scene, agree, given.until, given.quality)
            known[key][scene.name] = found and list(found[0])
            if given.results:
                given.results.write_text(json.dumps(known), encoding="utf-8")
            if found is None:
                known.setdefault(f"{given.quality} {given.agree:g} {given.until:g}", {})[scene.name] = None
                continue
            pictures.append(found[1])
        if given.pictures and len(pictures) == 2:
            given.pictures.mkdir(parents=True, exist_ok=True)
            strip = np.hstack([scene.photo, *pictures, scene.truth])[..., ::-1]
            name = scene.name.replace("/", "-").replace(" ", "_")
            cv2.imwrite(str(given.pictures / f"{name}.png"), np.round(strip.clip(0, 1) * 255).astype(np.uint8))
        print(f"\r{sum(value is not None for value in known[key].values())} scenes ", end="", flush=True)
    without, with_ = known[given.quality], known[f"{given.quality} {given.agree:g} {given.until:g}"]
    names = [name for name, values in without.items() if values and with_.get(name)]
    rows = {name: [Scores(*each[one]) for one in names] for name, each in (("apart", without), ("agree", with_))}
    print(f"\n{os.cpu_count()} cores, quality {given.quality}, agree {given.agree:g} until {given.until:g}")
    print(metrics.paired_table("layers that meet", rows, "apart", "agree", 3))
    pairs = list(zip(rows["apart"], rows["agree"], strict=True))
    for field in ("ring", "lpips"):
        mean = metrics.mean_with_interval([getattr(b, field) - getattr(a, field) for a, b in pairs])
        print(f"{field}_difference={mean.value:.4f}±{mean.half:.4f}", end=" ")
    print(f"n={len(pairs)}")


if __name__ == "__main__":
    main()
