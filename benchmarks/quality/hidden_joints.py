"""How well hidden joints are inferred: `uv run benchmarks/quality/hidden_joints.py --people DIR --pairs DIR`

1. *Joints.* Photos with instance masks (NAME_inst.png) and true keypoints (meta.json, COCO-17), or the joints of a
   detector where they are sure. One limb is taken away; either nothing is said of where it may be ("free"), or the
   mask of another person is laid over it ("covered"), which hides other joints too. Error: distance to the truth, as a
   share of the body's height. Baselines: the limb of the other side, mirrored about the body's axis (where that side
   was not seen: the mean pose); and the mean pose alone, fitted to the joints seen.
2. *Extent.* The occlusion scenes of occlusion.py: somebody of one frame laid over another frame. A detector looks at
   the picture with both in it. IoU of the guessed extent with the truth, within what the front one covers, without
   joints, with those that were seen, and with the inferred ones; and what of the truth the hole holds. The same for
   the covered people of 1, whose joints were read before they were covered.

Means with 95 % intervals: bootstrap over people (joints) and scenes (extent).
"""

import argparse
import json
import random
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.quality import occlusion
from mild.benchmarks.shared import scenes, weights
from mild.benchmarks.shared.metrics import mean_with_interval
from mild.benchmarks.shared.rivals import Unavailable
from mild.mild_core.body.body_shape import body_height
from mild.mild_core.body.hidden_joints import with_hidden_joints
from mild.mild_core.body.poses import NECK, from_coco_17, seen
from mild.mild_core.body.standing_poses import poses
from mild.mild_core.image import boxes
from mild.mild_core.layers.amodal_extent import hidden_extent
from mild.mild_core.layers.decompose import POSSIBLE, decompose
from mild.mild_core.layers.holes import Piece
from mild.mild_core.people.from_masks import person_from_mask
from mild.mild_core.scene import PERSON, Person

DATA = scenes.CORPUS.parent
LIMBS = {
    "arm": ((3, 4), (6, 7)),
    "forearm": ((4,), (7,)),
    "leg": ((9, 10), (12, 13)),
    "lower leg": ((10,), (13,)),
}
OTHER_SIDE = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]
SURE = 0.5  # confidence above which a detector's joint counts as true
LEAST_LEFT = 6  # joints of somebody, a limb taken away
COVERS = 3  # masks laid over each limb
MOVENET_SCORE = 0.2
LOOK_AROUND = 0.5  # of the person's box around it is what the detector sees

Area = NDArray[np.bool_]


class Whole(NamedTuple):
    """Somebody with true joints."""

    name: str
    joints: Tensor  # [18, 3]
    mask: Area  # [H, W]


class Trial(NamedTuple):
    """One limb that was taken away."""

    name: str
    limb: str
    joints: Tensor  # [18, 3], confidence 0 where hidden
    truth: Tensor  # [18, 2]
    height: float  # of the body, in pixels
    counted: list[int]  # joints that are hidden and known
    visible: Area
    hiding: Area


# ------------------------------------------------------------------------------------------------------------- joints


def labelled_people(folder: Path) -> list[Whole]:
    """Everybody whose keypoints meta.json tells."""
    found = []
    for entry in json.loads((folder / "meta.json").read_text(encoding="utf-8")):
        if not entry.get("keypoints"):
            continue
        label = np.asarray(scenes.Image.open(folder / f"{entry['name']}_inst.png"))
        for number, flat in enumerate(entry["keypoints"], 1):
            points = torch.tensor(flat, dtype=torch.float32).reshape(17, 3)
            points[:, 2] = (points[:, 2] > 0).float()
            found.append(Whole(f"{entry['name']}/{number}", from_coco_17(points), label == number))
    return found


def detected_people(folders: list[Path], look: Callable[[Tensor], list]) -> list[Whole]:
    """Everybody with an instance mask, with the joints of which a detector is sure."""
    found = []
    for folder in folders:
        for path in sorted(folder.glob("*_inst.png")):
            name = path.name.removesuffix("_inst.png")
            photo = scenes.load_photo(scenes.find_picture(folder, name))
            label = np.asarray(scenes.Image.open(path))
            if label.shape != photo.shape[:2]:
                continue
            for number in np.unique(label)[1:]:
                joints = joints_of(photo, label == number, look)
                if joints is not None:
                    joints[joints[:, 2] < SURE, 2] = 0
                    found.append(Whole(f"{name}/{number}", joints, label == number))
    return found


def joints_of(photo: NDArray[np.float32], mask: Area, look: Callable[[Tensor], list]) -> Tensor | None:
    """What a detector sees of the person of a mask [H, W]: the pose of which most lies on the mask, looking closely."""
    box = boxes.tight_box(torch.from_numpy(mask))
    if box is None:
        return None
    crop = boxes.grown(box, LOOK_AROUND * boxes.width(box), LOOK_AROUND * boxes.height(box), mask.shape)
    best, most = None, 0.5
    for person in look(boxes.cut(torch.from_numpy(photo), crop)):
        joints = person.joints.clone()
        joints[:, :2] += torch.tensor([crop[0], crop[1]])
        known = seen(joints)
        x, y = joints[known, 0].long().clamp(0, mask.shape[1] - 1), joints[known, 1].long().clamp(0, mask.shape[0] - 1)
        wide = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        share = float((torch.from_numpy(wide)[y, x] * joints[known, 2]).sum() / joints[known, 2].sum().clamp_min(1e-6))
        if share > most:
            best, most = joints, share
    return best


def free_trials(people: list[Whole]) -> Iterator[Trial]:
    for person, limb, hidden in _limbs(people):
        joints = person.joints.clone()
        joints[list(hidden), 2] = 0
        everywhere = np.ones_like(person.mask)
        if seen(joints).sum() >= LEAST_LEFT:
            nothing = np.zeros_like(person.mask)
            height = body_height(person.joints)
            yield Trial(person.name, limb, joints, person.joints[:, :2], height, list(hidden), nothing, everywhere)


def covered_trials(people: list[Whole]) -> Iterator[Trial]:
    for person, limb, hidden in _limbs(people):
        rng = random.Random(f"{scenes.SEED} {person.name} {hidden}")
        others = [other for other in people if other.name.split("/")[0] != person.name.split("/")[0]]
        made = 0
        for _ in range(60):
            cover = _laid(rng.choice(others).mask, person, hidden, rng)
            covered = _on(cover, person.joints) & seen(person.joints)
            joints = person.joints.clone()
            joints[covered, 2] = 0
            if not covered[list(hidden)].all() or seen(joints).sum() < LEAST_LEFT:
                continue
            counted, height = covered.nonzero()[:, 0].tolist(), body_height(person.joints)
            visible = person.mask & ~cover
            yield Trial(person.name, limb, joints, person.joints[:, :2], height, counted, visible, cover)
            made += 1
            if made == COVERS:
                break


def _limbs(people: list[Whole]) -> Iterator[tuple[Whole, str, tuple[int, ...]]]:
    for person in people:
        for limb, sides in LIMBS.items():
            for hidden in sides:
                if seen(person.joints)[list(hidden)].all():
                    yield person, limb, hidden


def _laid(mask: Area, person: Whole, hidden: tuple[int, ...], rng: random.Random) -> Area:
    """Another person's mask, of about this one's size, over the hidden joints."""
    y, x = np.nonzero(mask)
    piece = mask[y.min() : y.max() + 1, x.min() : x.max() + 1]
    scale = rng.uniform(0.7, 1.2) * body_height(person.joints) / piece.shape[0]
    size = max(2, round(piece.shape[1] * scale)), max(2, round(piece.shape[0] * scale))
    piece = cv2.resize(piece.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
    middle = person.joints[list(hidden), :2].mean(0).tolist()
    left = round(middle[0] - rng.uniform(0.1, 0.9) * size[0])
    top = round(middle[1] - rng.uniform(0.1, 0.9) * size[1])
    box = (left, top, left + size[0], top + size[1])
    whole = boxes.whole((person.mask.shape[0], person.mask.shape[1]))
    return boxes.placed(torch.from_numpy(piece), box, whole).numpy()


def _on(mask: Area, joints: Tensor) -> Tensor:
    """Which joints lie on a mask, [18] bool."""
    x, y = joints[:, 0].floor().long(), joints[:, 1].floor().long()
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    result = torch.zeros(len(joints), dtype=torch.bool)
    result[inside] = torch.from_numpy(mask)[y[inside], x[inside]]
    return result


def inferred(trial: Trial) -> tuple[Tensor, Tensor]:
    height, width = trial.hiding.shape
    whole = (0, 0, width, height)
    areas = (whole, torch.from_numpy(trial.visible)), [(whole, torch.from_numpy(trial.hiding))]
    return with_hidden_joints(trial.joints, *areas, (height, width))


def mean_pose(joints: Tensor) -> Tensor:
    """[18, 2]: the mean pose in this body's height, where it fits the joints seen best."""
    known = seen(joints)
    mean = poses().mean.T * body_height(joints)
    return mean + (joints[known, :2] - mean[known]).mean(0)


def mirrored(joints: Tensor) -> Tensor:
    """[18, 2]: each joint where the other side's is, mirrored about the line from the neck to the hips' middle."""
    known = seen(joints)
    result = mean_pose(joints)
    if not known[NECK]:
        return result
    hips = [joint for joint in (8, 11) if known[joint]]
    down = joints[hips, :2].mean(0) - joints[NECK, :2] if hips else torch.tensor([0.0, 1.0])
    down = down / down.norm().clamp_min(1e-6)
    off = joints[:, :2] - joints[NECK, :2]
    other = joints[NECK, :2] + 2 * (off @ down)[:, None] * down - off
    return torch.where(known[OTHER_SIDE][:, None], other[OTHER_SIDE], result)


def report_joints(title: str, trials: list[Trial]) -> None:
    """A line for each kind of limb: mean errors over people of those joints that were inferred."""
    rows: dict[str, dict[str, list[list[float]]]] = {}  # limb -> person -> errors of ours, mirror, mean pose
    confident: list[tuple[float, float]] = []
    hidden = sum(len(trial.counted) for trial in trials)
    for trial in trials:
        result, guessed = inferred(trial)
        places = result[:, :2], mirrored(trial.joints), mean_pose(trial.joints)
        for joint in trial.counted:
            if guessed[joint]:
                errors = [float((place[joint] - trial.truth[joint]).norm()) / trial.height for place in places]
                confident.append((float(result[joint, 2]), errors[0]))
                for limb in (trial.limb, "all"):
                    rows.setdefault(limb, {}).setdefault(trial.name, []).append(errors)
    print(
        f"\n## {title}: {len({trial.name for trial in trials})} people, {len(trials)} trials; "
        f"{len(confident)} of {hidden} hidden joints were inferred\n\n"
        "| limb | people | joints | ours | mirror | mean pose | ours - mirror | ours - mean pose |\n" + "|---" * 8 + "|"
    )
    for limb in (*LIMBS, "all"):
        people = [np.array(errors).mean(0) for errors in rows.get(limb, {}).values()]
        if not people:
            continue
        columns = np.array(people).T
        shown = [*columns, columns[0] - columns[1], columns[0] - columns[2]]
        cells = [mean_with_interval(list(column)).text(3) for column in shown]
        joints = sum(len(errors) for errors in rows[limb].values())
        print(f"| {limb} | {len(people)} | {joints} | " + " | ".join(cells) + " |")
    confident.sort()
    thirds = [confident[len(confident) * i // 3 : len(confident) * (i + 1) // 3] for i in range(3)]
    print(
        "\nerror by confidence: "
        + ", ".join(
            f"{part[0][0]:.2f}-{part[-1][0]:.2f}: {np.mean([error for _, error in part]):.3f}"
            for part in thirds
            if part
        )
    )


# ------------------------------------------------------------------------------------------------------------- extent


def people_of(scene: occlusion.Occlusion) -> list[Person]:
    found = []
    for number, mask in enumerate(scene.masks, 1):
        person = person_from_mask(torch.from_numpy(mask).float())
        if person is not None:
            erased = number - 1 == scene.front
            found.append(person._replace(name=f"Person {number}", number=number, erased=erased))
    return found


class Extent(NamedTuple):
    """One guess of where somebody goes on, against the truth, within what covers the person."""

    iou: float  # of what is rather the person's than not
    found: float  # share of the truth that the hole holds
    excess: float  # what else the hole holds, as a share of the truth


def extent_of(guess: Area, truth: Area, cover: Area) -> Extent:
    mine, hole, size = (guess > 0.5) & cover, (guess > POSSIBLE) & cover, max(int(truth.sum()), 1)
    iou = float((mine & truth).sum() / max((mine | truth).sum(), 1))
    return Extent(iou, float((hole & truth).sum() / size), float((hole & ~truth).sum() / size))


def scene_extent(scene: occlusion.Occlusion, joints: Tensor | None) -> Extent:
    """What Split into Layers guesses of the back person."""
    people = people_of(scene)
    people = [one._replace(joints=joints) if one.number == scene.back + 1 else one for one in people]
    guess = np.zeros(scene.photo.shape[:2], np.float32)
    for layer in decompose(torch.from_numpy(scene.photo)[None], people)[0].layers:
        if layer.domain == PERSON and layer.number == scene.back + 1 and layer.likely is not None:
            x0, y0, x1, y1 = layer.box
            guess[y0:y1, x0:x1] = layer.likely.numpy()
    return extent_of(guess, scene.completed, scene.masks[scene.front])


def trial_extent(trial: Trial, joints: Tensor | None, truth: Area) -> Extent:
    cover = torch.from_numpy(trial.hiding)
    box = boxes.tight_box(cover)
    person = person_from_mask(torch.from_numpy(trial.visible).float())
    hole = boxes.cut(cover, box)
    place, likely = hidden_extent(truth.shape, person._replace(joints=joints), [Piece(box, hole, hole, 1.0)])
    return extent_of(boxes.placed(likely, place, boxes.whole(truth.shape)).numpy(), truth & trial.hiding, trial.hiding)


def completed(scene: occlusion.Occlusion, joints: Tensor) -> tuple[Tensor, Tensor]:
    height, width = scene.photo.shape[:2]
    whole = (0, 0, width, height)
    front, back = (torch.from_numpy(scene.masks[who]) for who in (scene.front, scene.back))
    return with_hidden_joints(joints, (whole, back), [(whole, front)], (height, width))


ROWS = ("without joints", "joints seen", "and inferred")


def report_rows(rows: dict[str, list[list[Extent]]]) -> None:
    """rows: for each scene or person its guesses, in the order of ROWS."""
    values = np.array([np.array(own).mean(0) for own in rows.values()])  # [N, row, figure]
    print("| row | IoU | hole finds | hole's excess | difference of IoU | of found | of excess |")
    print("|" + "---|" * 7)
    for index, name in enumerate(ROWS):
        off = values[:, index] - values[:, 0]
        cells = [mean_with_interval(list(column)).text(3) for part in (values[:, index], off) for column in part.T]
        print(f"| {name} | " + " | ".join(cells) + " |")


def report_extent(found: list[occlusion.Occlusion], look: Callable[[Tensor], list]) -> None:
    rows: dict[str, list[list[Extent]]] = {}
    without_pose, count = 0, 0
    for scene in found:
        joints = joints_of(scene.photo, scene.masks[scene.back], look)
        plain = scene_extent(scene, None)
        if joints is None:
            without_pose += 1
            rows[scene.name] = [[plain] * 3]
            continue
        more, guessed = completed(scene, joints)
        count += int(guessed.sum())
        rows[scene.name] = [[plain, scene_extent(scene, joints), scene_extent(scene, more)]]
    print(f"\n## extent: n = {len(found)} scenes, {without_pose} without a pose, {count} joints inferred\n")
    report_rows(rows)


def report_covered_extent(title: str, people: list[Whole]) -> None:
    """Means over people of what hides between SHARE[0] and SHARE[1] of them."""
    masks = {person.name: person.mask for person in people}
    rows: dict[str, list[list[Extent]]] = {}
    for trial in covered_trials(people):
        truth = masks[trial.name]
        share = (truth & trial.hiding).sum() / truth.sum()
        if occlusion.SHARE[0] <= share <= occlusion.SHARE[1]:
            more, _ = inferred(trial)
            guesses = [trial_extent(trial, joints, truth) for joints in (None, trial.joints, more)]
            rows.setdefault(trial.name, []).append(guesses)
    count = sum(len(own) for own in rows.values())
    print(f"\n## extent, {title}, covered: n = {len(rows)} people, {count} trials\n")
    report_rows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=Path, default=DATA / "people", help="photos with masks and keypoints")
    parser.add_argument("--pairs", type=Path, default=DATA / "pairs", help="frames of fixed cameras with masks")
    parser.add_argument("--weights", type=Path, help="folder with MoveNet, looked at before it is fetched")
    parser.add_argument("--limit", type=int, help="occlusion scenes of each kind")
    given = parser.parse_args()
    people = labelled_people(given.people)
    report_joints("true keypoints, free", list(free_trials(people)))
    report_joints("true keypoints, covered", list(covered_trials(people)))
    report_covered_extent("true keypoints", people)
    try:
        from mild.mild_core.find.finders import movenet

        look = movenet.finder(weights.weights(weights.MOVENET, given.weights), MOVENET_SCORE)
    except (Unavailable, ValueError) as reason:
        print(f"left out: {reason}")
        return
    people = detected_people([given.people, given.pairs], look)
    report_joints("MoveNet's sure joints, free", list(free_trials(people)))
    report_joints("MoveNet's sure joints, covered", list(covered_trials(people)))
    report_covered_extent("MoveNet's sure joints", people)
    for shifted in (False, True):
        found = occlusion.occlusion_scenes(given.pairs, shifted, given.limit)
        print("\nfront people " + ("moved sideways" if shifted else "at their own places"))
        report_extent(found, look)


if __name__ == "__main__":
    main()
