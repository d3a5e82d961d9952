"""How often the guess of who stands in front is right: `uv run benchmarks/quality/order.py [--scenes 60]`

People cut out of photos are laid over one another, so that the truth is known: on a common ground (the nearer, the
lower and larger), anywhere (feet and sizes tell nothing), and two frames of one fixed camera, each person in place.
Counted are pairs of people whose masks touch: ours, and lower feet alone, with masks as they are and eroded by
2 px. The last line is time: a crowd of a hundred.
"""

import argparse
import random
import runpy
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared import cutouts, metrics, scenes
from mild.mild_core.people.depth_order import in_order, nearness
from mild.mild_core.people.from_masks import person_from_mask
from mild.mild_core.scene import Person

SIZE = (480, 720)
CROWD = 12
LEAST_SEEN = 0.15
"""Whoever is seen by a smaller share than this is nobody."""

Masks = NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=scenes.CORPUS, help="folder with street_people, parsed")
    parser.add_argument("--pairs", type=Path, default=scenes.CORPUS.parent / "pairs", help="frames of fixed cameras")
    parser.add_argument("--scenes", type=int, default=60, help="scenes of each composed kind")
    given = parser.parse_args()
    names = cutouts.clean_cutout_names(given.corpus)
    kinds = {
        "on the ground": list(composed(given.corpus, names, given.scenes, CROWD, anywhere=False)),
        "anywhere": list(composed(given.corpus, names, given.scenes, 2, anywhere=True)),
        "fixed cameras": list(of_cameras(given.pairs)),
    }
    for kind, found in kinds.items():
        for variant in ("given", "eroded"):
            rows = [right_pairs(scenes.VARIANTS[variant](masks)) for masks in found]
            ours, feet = (metrics.mean_with_interval([ok for row in rows for ok in row[i]]) for i in range(2))
            print(f"{kind}, masks {variant}, {ours.n} touching pairs: ours {ours.text(3)}, lower feet {feet.text(3)}")
    (crowd,) = composed(given.corpus, names, 1, 100, anywhere=False)
    people = people_of(crowd)
    start = time.perf_counter()
    order = in_order(people)
    print(f"{len(people)} people, {len(order.pairs)} near pairs: {time.perf_counter() - start:.2f} s")


def composed(corpus: Path, names: list[str], count: int, people: int, anywhere: bool) -> Iterator[Masks]:
    """Visible masks [N, H, W] of each scene, from the farthest to the nearest."""
    rng = random.Random(1)
    while count:
        placements = []
        for name in rng.sample(names, people):
            feet = rng.uniform(0.35, 1.1)
            height = rng.uniform(0.2, 0.8) if anywhere else 0.5 * feet * rng.uniform(0.8, 1.2)
            placements.append(scenes.Placement(name, rng.uniform(0.05, 0.95), feet, height, rng.random() < 0.5))
        if not anywhere:
            placements.sort(key=lambda placement: placement.feet)
        alphas = [scenes.place(cutouts.load_cutout(corpus / p.cutout), p, SIZE)[..., 3] > 0.5 for p in placements]
        masks = visible(alphas)
        if len(masks) > 1 and (not anywhere or hides(alphas)):
            count -= 1
            yield masks


def visible(whole: list[NDArray[np.bool_]]) -> Masks:
    """What is seen of each, painted one over the other, without those of whom too little is."""
    masks = []
    covered = np.zeros_like(whole[0])
    for mask in reversed(whole):
        seen = mask & ~covered
        covered |= mask
        if mask.any() and seen.sum() >= LEAST_SEEN * mask.sum():
            masks.append(seen)
    return np.stack(masks[::-1]) if masks else np.zeros((0, *SIZE), bool)


def hides(whole: list[NDArray[np.bool_]]) -> bool:
    """Whether the second hides some of the first, and not nearly all."""
    share = (whole[0] & whole[1]).sum() / max(whole[0].sum(), 1)
    return bool(0.03 < share < 1 - LEAST_SEEN)


def of_cameras(data: Path) -> Iterator[Masks]:
    """Two people of two frames of one camera, the one with the lower feet over the other."""
    found, _ = scenes.real_scenes(data)
    for one, other in combinations(found, 2):
        if one.camera == other.camera:
            for first in one.masks:
                for second in other.masks:
                    pair = sorted((first, second), key=lambda mask: int(np.nonzero(mask.any(1))[0].max()))
                    if hides(pair):
                        yield visible(pair)


def people_of(masks: Masks) -> list[Person]:
    """People with numbers from the farthest (1) to the nearest."""
    made = [person_from_mask(torch.from_numpy(mask).float()) for mask in masks]
    return [person._replace(number=number) for number, person in enumerate(made, 1) if person is not None]


def right_pairs(masks: Masks) -> tuple[list[float], list[float]]:
    """1 or 0 for each touching pair of a scene: whether ours is right, and whether lower feet are."""
    order = in_order(people_of(masks))
    ours, feet = [], []
    for pair in order.pairs:
        front, back = order.people[pair.front], order.people[pair.back]
        if pair.touching:
            ours.append(float(front.number > back.number))
            lower = nearness(front.box, front.size) > nearness(back.box, back.size)
            feet.append(float(lower == (front.number > back.number)))
    return ours, feet


if __name__ == "__main__":
    main()
