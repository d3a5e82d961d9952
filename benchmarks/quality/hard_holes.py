"""Does what Sample Layers says of a hard hole tell: `uv run benchmarks/quality/hard_holes.py --scenes 60 --keep DIR`

Composed scenes are erased with the built-in model. Printed is how well measures of the holes, taken before anything is
painted, separate the third of the results with the worst LPIPS* from the others (area under the ROC curve: 0.5 is
chance, 1 is certain) and their rank correlation with LPIPS*, with 95 % intervals over scenes; then what the sentence
would have said. `--keep` holds the scores of scenes that are done, so that a run can be taken up again; `--quality
draft` paints in draft.
"""

import argparse
import json
import math
import os
import platform
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared import metrics, ours, scenes
from mild.mild_core.exemplar import NORMAL, QUALITIES, TOO_UNLIKE, unlikeness
from mild.mild_core.image import boxes
from mild.mild_core.layers.decompose import decompose
from mild.mild_core.scene import Layer, Person

WORST = 1 / 3
DRAWS = 2000

MEASURES: dict[str, Callable[[Layer], float]] = {
    "unlike": lambda layer: unlikeness(layer.pixels, layer.hole, layer.allowed) or 0.0,
    "hole / crop": lambda layer: float((layer.hole > 0).float().mean()),
    "hole / looked at": lambda layer: float((layer.hole > 0).sum() / (layer.allowed > 0.5).sum().clamp_min(1)),
    "hole's short side / crop's": lambda layer: short_side(layer.hole > 0) / min(layer.hole.shape),
}


def short_side(hole: torch.Tensor) -> float:
    """Pixels of the shorter side of the box around hole [h, w]."""
    return float(min(hole.any(0).sum(), hole.any(1).sum()))


def measured(scene: scenes.Scene) -> dict[str, float]:
    """Each measure of the scene's worst hole."""
    people, size = [], (scene.union.shape[0], scene.union.shape[1])
    for number, seen in enumerate(scene.masks, 1):
        mask = torch.from_numpy(seen)
        box = boxes.tight_box(mask)
        if box is not None:
            own = boxes.cut(mask, box).float()
            people.append(Person(f"Person {number}", number, 0, size, box, own, erased=True))
    layers = decompose(torch.from_numpy(scene.photo)[None], people)[0].layers
    return {name: max(measure(layer) for layer in layers) for name, measure in MEASURES.items()}


def scored(number: int, scene: scenes.Scene, keep: Path | None, quality: str) -> float:
    """LPIPS* of our result, from `keep` where it was worked out before."""
    file = None if keep is None else keep / f"{quality}_{number:03d}.json"
    if file is not None and file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["scene"] == scene.name:
            return float(kept["lpips"])
    outputs = ours.run_erasing(scene.photo, scene.masks, "all", quality=quality)
    value = metrics.perceptual(outputs["recompose"][0][0].float().numpy(), scene.truth, scene.union)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"scene": scene.name, "lpips": value}), encoding="utf-8")
    return value


def auc(values: NDArray[np.float64], bad: NDArray[np.bool_]) -> float:
    """Probability that a bad one has the larger value; NaN where all are bad, or none is."""
    if bad.all() or not bad.any():
        return math.nan
    above = values[bad][:, None] - values[~bad][None]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def rank_correlation(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Spearman's."""
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (one, two)]
    return float(np.corrcoef(*ranks)[0, 1])


def interval(
    function: Callable[[NDArray, NDArray], float], one: NDArray[np.float64], two: NDArray
) -> tuple[float, float, float]:
    """The figure with its 95 % percentile-bootstrap interval over scenes."""
    rng = np.random.default_rng(0)
    drawn = [function(one[pick], two[pick]) for pick in rng.integers(0, len(one), (DRAWS, len(one)))]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return function(one, two), float(low), float(high)


def report(values: dict[str, NDArray[np.float64]], lpips: NDArray[np.float64]) -> None:
    """Print how well each measure tells, and what the sentence would have said."""
    bad = lpips > np.quantile(lpips, 1 - WORST)
    print(
        f"n = {len(lpips)} scenes, mean LPIPS* {lpips.mean():.3f}; bad: the {bad.sum()} above {lpips[~bad].max():.3f}"
    )
    for name, own in values.items():
        area = interval(auc, own, bad)
        correlation = interval(rank_correlation, own, lpips)
        print(
            f"  {name}: AUC {area[0]:.2f} ({area[1]:.2f} to {area[2]:.2f}), "
            f"rank correlation {correlation[0]:.2f} ({correlation[1]:.2f} to {correlation[2]:.2f})"
        )
    told = values["unlike"] > TOO_UNLIKE
    means = [f"{lpips[part].mean():.3f}" if part.any() else "-" for part in (told, ~told)]
    print(
        f"  told of {told.sum()} scenes, of which {(told & bad).sum()} are bad; mean LPIPS* {means[0]} where told, "
        f"{means[1]} elsewhere"
    )


def compare(keep: Path, quality: str) -> None:
    """Print how much worse a quality is than normal, scene by scene, where the scores of both are kept."""
    more = []
    for path in sorted(keep.glob(f"{quality}_*.json")):
        other = path.with_name(path.name.replace(quality, NORMAL, 1))
        if other.is_file():
            own, normal = (json.loads(file.read_text(encoding="utf-8")) for file in (path, other))
            if own["scene"] == normal["scene"]:
                more.append(own["lpips"] - normal["lpips"])
    if more:
        mean = metrics.mean_with_interval(more)
        print(f"  {quality} less {NORMAL}, scene by scene: LPIPS* {mean.text(3)}, n = {mean.n}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=60, metavar="N", help="composed scenes (default 60)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where scores of scenes that are done lie")
    parser.add_argument("--quality", choices=list(QUALITIES), default=NORMAL, help="of the built-in model")
    given = parser.parse_args()
    if not scenes.CORPUS.is_dir():
        parser.error("the corpus is not beside this repository")
    ours.load_nodes()
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads")
    lpips, rows = [], []
    for number, scene in enumerate(scenes.iterate_composed(None, None, given.scenes)):
        rows.append(measured(scene))
        lpips.append(scored(number, scene, given.keep, given.quality))
    values = {name: np.array([row[name] for row in rows]) for name in MEASURES}
    report(values, np.array(lpips))
    if given.keep is not None and given.quality != NORMAL:
        compare(given.keep, given.quality)
    unlike = interval(auc, values["unlike"], np.array(lpips) > np.quantile(lpips, 1 - WORST))
    print(f"unlike_auc={unlike[0]:.3f} unlike_auc_low={unlike[1]:.3f}")


if __name__ == "__main__":
    main()
