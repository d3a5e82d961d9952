"""Trains the statistics of standing people's silhouettes: `python tools/train_silhouettes.py CORPUS_DIR`

CORPUS_DIR holds NAME_parsing.png label maps in which everything but 0 is one whole person (Clothing Co-Parsing, Yang,
Luo and Lin, CVPR 2014, Apache-2.0). Written is `standing.safetensors` in `mild_core/layers/silhouettes`: mean,
principal components and the variance that they leave, of aligned silhouettes, in half precision; no single silhouette
can be read from it. Each is used several times: as its mirror image, in stride, leaning, a little larger or beside its
place.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

sys.path.append(str(Path(__file__).resolve().parent))
import pack  # noqa: E402, F401  (makes `mild` importable)

from mild.mild_core.layers.silhouettes import COLUMNS, MODEL_FILE, ROWS, TALL  # noqa: E402

COMPONENTS = 36
COPIES = 16  # of each silhouette, each one varied
SEED = 20261120
LEAST_VARIANCE = 0.01  # of a cell: no cell is ever certain


def whole_people(folder: Path) -> list[NDArray[np.uint8]]:
    """Tight silhouettes [h, w] of 0 and 1, of people whose parsing is one piece away from the borders."""
    found = []
    for path in sorted(folder.glob("*_parsing.png")):
        mask = (np.asarray(Image.open(path)) > 0).astype(np.uint8)
        count, label, stats, _ = cv2.connectedComponentsWithStats(mask)
        if count < 2:
            continue
        largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        x, y, w, h, area = stats[largest]
        inside = x > 1 and y > 1 and x + w < mask.shape[1] - 1 and y + h < mask.shape[0] - 1
        if inside and area > 0.97 * mask.sum() and h > 0.6 * mask.shape[0]:
            own = (label == largest).astype(np.uint8)[y : y + h, x : x + w]
            found.append(cv2.morphologyEx(np.pad(own, 3), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))[3:-3, 3:-3])
    return found


def variant(person: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """One augmented silhouette on the model's grid, [ROWS, COLUMNS], 0..1."""
    if rng.random() < 0.5:
        person = person[:, ::-1]
    tall, wide = person.shape
    scale = TALL / tall * rng.uniform(0.97, 1.03)
    stretch = scale * rng.uniform(0.85, 1.15)
    centre = np.nonzero(person)[1].mean() + rng.normal(0, 0.015) * tall
    lean = rng.normal(0, 0.03)
    stride = max(0.0, rng.normal(0, 0.13)) if rng.random() < 0.5 else 0.0  # half a step's length, share of the height
    fork = 0.52  # of the height: where legs part
    rows = (np.arange(ROWS * 3) / 3 + 1 / 6 - (ROWS - TALL) / 2 + rng.normal(0, 0.5)) / scale
    columns = (np.arange(COLUMNS * 3) / 3 + 1 / 6 - COLUMNS / 2) / stretch
    below = np.clip(rows / tall - fork, 0, None)[:, None] / (1 - fork)
    # Undo lean and stride: where a cell of the grid lies in the picture. Left of the middle the leg went left.
    x = columns[None] - lean * (rows[:, None] - tall / 2)
    x = np.sign(x) * np.maximum(np.abs(x) - stride * tall * below, 0)
    x = (x + centre).astype(np.float32)
    y = np.broadcast_to(rows[:, None], x.shape).astype(np.float32)
    drawn = cv2.remap(np.ascontiguousarray(person).astype(np.float32), x, y, cv2.INTER_LINEAR)
    return cv2.resize(drawn, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)


def train(people: list[NDArray[np.uint8]], components: int = COMPONENTS) -> dict[str, torch.Tensor]:
    """Principal components of all variants, each times its standard deviation, and what variance they leave."""
    rng = np.random.default_rng(SEED)
    drawn = np.stack([variant(person, rng).ravel() for person in people for _ in range(COPIES)])
    data = torch.from_numpy(drawn)
    mean = data.mean(0)
    data = data - mean
    values, vectors = torch.linalg.eigh(data.T @ data / len(data))
    values, vectors = values.flip(0)[:components], vectors.flip(1)[:, :components]
    left = (data - data @ vectors @ vectors.T).square().mean(0)
    return {
        "mean": mean.half(),
        "components": (vectors * values.sqrt()).T.contiguous().half(),
        "noise": left.clamp_min(LEAST_VARIANCE).half(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder with NAME_parsing.png")
    given = parser.parse_args()
    people = whole_people(given.corpus)
    MODEL_FILE.parent.mkdir(exist_ok=True)
    save_file(train(people), MODEL_FILE)
    print(f"{len(people)} people, {MODEL_FILE.stat().st_size / 1024:.0f} KiB in {MODEL_FILE.name}")


if __name__ == "__main__":
    main()
