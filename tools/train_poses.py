"""Train what poses have in common: `python tools/train_poses.py CORPUS_DIR... --weights FILE.tflite`

Everybody whom MoveNet finds whole in the photos of the folders counts. Written is `poses.safetensors` in
`mild_core/morphology/standing_poses`: the mean of the 18 joints and how they vary together, 684 numbers; no single pose
can be read from it. Each pose also counts as its mirror image, and as that of somebody seen from behind, whose left is
where her right was. Needs the package ai-edge-litert.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

sys.path.append(str(Path(__file__).resolve().parent))
import pack  # noqa: E402, F401  (makes `mild` importable)

from mild.mild_core.find.body_shape import body_height  # noqa: E402
from mild.mild_core.find.finders import movenet  # noqa: E402
from mild.mild_core.morphology.standing_poses import MODEL_FILE  # noqa: E402

PERSON, JOINT = 0.3, 0.3
"""Least score of a person, and of each of her joints."""

SMALLEST = 60
"""Pixels of height: joints of smaller people are too coarse."""

SWAPPED = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]
WIDEST = 3.0
"""Places farther from the middle than so many heights are mistakes."""


def whole_poses(folders: list[Path], weights: Path) -> torch.Tensor:
    """[N, 18, 2]: in heights of the body, its middle at 0."""
    look = movenet.finder(weights, PERSON)
    found = []
    for path in sorted(path for folder in folders for path in folder.glob("*.jpg")):
        photo = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()).float() / 255
        found += [normal(person.joints) for person in look(photo) if person.joints is not None]
    return torch.stack([one for one in found if one is not None])


def normal(joints: torch.Tensor) -> torch.Tensor | None:
    """[18, 2] of joints [18, 3]; None if some are missing."""
    height = body_height(joints)
    if (joints[:, 2] < JOINT).any() or height < SMALLEST:
        return None
    place = (joints[:, :2] - joints[:, :2].mean(0)) / height
    return place if float(place.abs().max()) < WIDEST else None


def train(places: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean [2, 18] and covariance [2, 18, 18] of poses [N, 18, 2] and their three mirror images."""
    mirrored = places * torch.tensor([-1.0, 1.0])
    places = torch.cat([places, mirrored, places[:, SWAPPED], mirrored[:, SWAPPED]]).permute(2, 0, 1)
    mean = places.mean(1)
    off = places - mean[:, None]
    return {"mean": mean, "covariance": off.mT @ off / off.shape[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="+", help="folders with .jpg")
    parser.add_argument("--weights", type=Path, required=True, help="MoveNet MultiPose Lightning")
    given = parser.parse_args()
    places = whole_poses(given.corpus, given.weights)
    MODEL_FILE.parent.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in train(places).items()}, MODEL_FILE)
    print(f"{len(places)} poses, {MODEL_FILE.stat().st_size / 1024:.0f} KiB in {MODEL_FILE.name}")


if __name__ == "__main__":
    main()
