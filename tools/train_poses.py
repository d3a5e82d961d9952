"""Trains the statistics of people's poses: `python tools/train_poses.py CORPUS_DIR... --weights FILE.tflite`

Everybody counts of whom MoveNet finds enough joints in the photos of the folders. Written is `poses.safetensors` in
`mild_core/body/standing_poses`: mean and covariance of the 18 joints, 684 numbers; no single pose can be read from it.
Each pose also counts as its mirror image, and, with left and right swapped, as that of somebody seen from behind. Needs
the package ai-edge-litert.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

sys.path.append(str(Path(__file__).resolve().parent))
import pack  # noqa: E402, F401  (makes `mild` importable)

from mild.mild_core.body.body_shape import body_height  # noqa: E402
from mild.mild_core.body.poses import JOINTS  # noqa: E402
from mild.mild_core.body.standing_poses import MODEL_FILE  # noqa: E402
from mild.mild_core.find.finders import movenet  # noqa: E402

LEAST_PERSON, LEAST_JOINT = 0.3, 0.3
"""Least score of a person, and of each joint."""

LEAST_JOINTS = 8
"""Number of joints from which a person counts."""

ROUNDS = 30
"""Steps of expectation maximisation."""

PLACE_VARIANCE, JOINT_ERROR = 1.0, 0.01
"""Variance of a body's place, in squares of its height, and a detector's error (standard deviation), in heights."""

SMALLEST = 60
"""Pixels of height: joints of smaller people are too coarse."""

SWAPPED = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]
"""The order of the joints with left and right swapped."""

FARTHEST = 3.0
"""Heights of the body: joints farther from the middle than this are mistakes."""


def poses_in(folders: list[Path], weights: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Places [N, 18, 2] in heights of the body, and which of them are known [N, 18]."""
    look = movenet.finder(weights, LEAST_PERSON)
    found = []
    for path in sorted(path for folder in folders for path in folder.glob("*.jpg")):
        photo = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()).float() / 255
        found += [normal(person.joints) for person in look(photo) if person.joints is not None]
    kept = [one for one in found if one is not None]
    return np.stack([place for place, _ in kept]), np.stack([known for _, known in kept])


def normal(joints: torch.Tensor) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """[18, 2] and [18] of joints [18, 3]; None if too few were seen."""
    known = joints[:, 2] >= LEAST_JOINT
    joints = torch.where(known[:, None], joints, 0)
    height = body_height(joints)
    if known.sum() < LEAST_JOINTS or height < SMALLEST:
        return None
    place = (joints[:, :2] - joints[known, :2].mean(0)) / height
    if float(place[known].abs().max()) > FARTHEST:
        return None
    return torch.where(known[:, None], place, 0).double().numpy(), known.numpy()


def train(places: NDArray[np.float64], known: NDArray[np.bool_]) -> dict[str, torch.Tensor]:
    """Mean [2, 18] and covariance [2, 18, 18] of poses [N, 18, 2] and their three mirror images.

    Expectation maximisation where joints are missing (Dempster, Laird and Rubin 1977, section 4.1.3); it starts from
    the poses that are whole. Where a pose lies is free.
    """
    mirrored = places * [-1.0, 1.0]
    places = np.concatenate([places, mirrored, places[:, SWAPPED], mirrored[:, SWAPPED]])
    known = np.concatenate([known, known, known[:, SWAPPED], known[:, SWAPPED]])
    means, tables = [], []
    for axis in range(2):
        values = places[..., axis]
        whole = values[known.all(1)]
        mean, table = whole.mean(0), np.cov(whole, rowvar=False, bias=True)
        both = known[:, :, None] & known[:, None]
        for _ in range(ROUNDS):
            # A missing joint gets no covariance with any other: it adds nothing, and is inferred from the others.
            among = np.where(both, table + PLACE_VARIANCE, 0)
            among[:, range(JOINTS), range(JOINTS)] += np.where(known, JOINT_ERROR**2, 1.0)
            towards = np.where(known[:, None], table, 0)  # [N, all, known]
            off = np.where(known, values - mean, 0)
            solved = np.linalg.solve(among, np.concatenate([off[..., None], towards.transpose(0, 2, 1)], -1))
            expected = (towards @ solved[..., :1])[..., 0]
            left = table - towards @ solved[..., 1:]
            shift = expected.mean(0)
            mean, table = mean + shift, left.mean(0) + (expected - shift).T @ (expected - shift) / len(values)
        means.append(mean)
        tables.append(table)
    return {"mean": torch.tensor(np.stack(means)).float(), "covariance": torch.tensor(np.stack(tables)).float()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="+", help="folders with .jpg")
    parser.add_argument("--weights", type=Path, required=True, help="MoveNet MultiPose Lightning")
    given = parser.parse_args()
    places, known = poses_in(given.corpus, given.weights)
    MODEL_FILE.parent.mkdir(exist_ok=True)
    save_file(train(places, known), MODEL_FILE)
    size = MODEL_FILE.stat().st_size / 1024
    print(f"{len(places)} poses, {known.all(1).sum()} of them whole, {size:.0f} KiB in {MODEL_FILE.name}")


if __name__ == "__main__":
    main()
