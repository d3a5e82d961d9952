"""Whether poses and parsing go to the right person: `uv run benchmarks/quality/bodies.py --data DIR --corpus DIR`

1. *True poses.* Photos with instance masks (NAME_inst.png) and true keypoints (meta.json, COCO-17): all true poses of a
   photo, shuffled. Right: everyone gets their own pose.
2. *A detector's poses* (MoveNet, as Find People looks) in the same photos. Right: the pose that a person gets is the
   one that fits the person's true keypoints best of all poses (object keypoint similarity, OKS), or the person gets
   none and no pose fits (counted apart, "unseen": the detector's, not ours).
3. *Composed crowds.* People cut out of photos, each with the pose that the detector saw in that photo alone, laid
   over one another; poses shuffled. So who is whose is known for joints that others hide, too.
   And the hardest case of a wrong one: of each person the pose is taken away, and of the one whose pose fits best
   the mask. Right: that pose is reported to fit nobody.
4. *Parsing.* A parser's parts lie on the person's own true joints, more than on anybody else's, and on half of them at
   least.
5. *Maps of single people.* A parser's map of each person alone, shuffled. Right: everyone gets their own map.

All with masks as they are, eroded by 3 px, and as filled boxes. Each miss is named; --sheet draws them.
"""

import argparse
import json
import random
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.quality.crowds import Photo, crowds_of
from mild.benchmarks.quality.order import composed, people_of
from mild.benchmarks.shared import cutouts, scenes, weights
from mild.benchmarks.shared.rivals import Unavailable
from mild.mild_core.body.assign_parsing import JOINT_ON, assign_parsing
from mild.mild_core.body.assign_poses import assign_poses
from mild.mild_core.body.body_parts import may_be
from mild.mild_core.body.body_shape import LIMBS
from mild.mild_core.body.parsers import bodypix, mediapipe_multiclass
from mild.mild_core.body.parsers.parsed import Parse
from mild.mild_core.body.poses import Pose, from_coco_17, seen
from mild.mild_core.body.read_bodies import read_bodies
from mild.mild_core.find.finders import movenet
from mild.mild_core.find.finders.tiles import find_in_tiles
from mild.mild_core.image import boxes
from mild.mild_core.people.from_masks import person_from_mask
from mild.mild_core.scene import Person

DATA = scenes.CORPUS.parent / "people"
BODYPIX = DATA.parent.parent / "models" / "bodypix_mobilenet050_stride8.onnx"
THRESHOLD = 0.2
LOOKS = 2
"""Find People's own default: 2 x 2 parts."""

OVERLAP = 0.8
NAMED = 10
"""Misses that are named in each row."""

FITS = 0.3
"""OKS above which a detected pose counts as somebody's."""

# COCO's own (cocodataset.org, keypoints evaluation), in the order of COCO-18; the neck is none of COCO's
SIGMAS = torch.tensor([26, 79, 79, 72, 62, 79, 72, 62, 107, 87, 89, 107, 87, 89, 25, 25, 35, 35]) / 1000
BESIDE = 4
"""Pixels by which true joints and eroded masks may miss one another."""

MASKS: dict[str, Callable[[NDArray[np.bool_]], NDArray[np.bool_]]] = {
    "given": lambda masks: masks,
    "eroded": lambda masks: scenes.eroded(masks, 3),
    "boxes": scenes.boxes,
}


class Miss(NamedTuple):
    what: str
    photo: Photo
    person: int
    pose: Tensor | None  # what the person was given


class Count:
    """How often something was right."""

    def __init__(self, what: str):
        self.what = what
        self.right = self.total = 0
        self.notes: list[str] = []
        self.misses: list[Miss] = []

    def add(self, right: bool, photo: Photo, person: int, pose: Tensor | None = None, why: str = "") -> None:
        self.total += 1
        self.right += right
        if not right:
            self.misses.append(Miss(f"{self.what}: {photo.name}/{person + 1} {why}", photo, person, pose))

    def print(self) -> None:
        share = 100 * self.right / max(self.total, 1)
        print(f"{self.what:52} {self.right:4}/{self.total:<4} {share:5.1f} %  {' '.join(self.notes)}", flush=True)
        for miss in self.misses[:NAMED]:
            print(f"    miss {miss.what.removeprefix(self.what)[2:]}")
        if len(self.misses) > NAMED:
            print(f"    and {len(self.misses) - NAMED} more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="photos, instance masks, meta.json")
    parser.add_argument("--corpus", type=Path, default=scenes.CORPUS, help="folder with street_people, parsed")
    parser.add_argument("--weights", type=Path, help="folder with weights, looked at before anything is fetched")
    parser.add_argument("--bodypix", type=Path, default=BODYPIX, help="BodyPix as ONNX")
    parser.add_argument("--crowds", type=int, default=20, help="composed crowds")
    parser.add_argument("--sheet", type=Path, help="PNG for a picture of the misses")
    given = parser.parse_args()
    photos = load_photos(given.data)
    known = [photo for photo in photos if photo.poses is not None]
    counts = [true_poses(known, kind) for kind in MASKS]
    for count in counts:
        count.print()
    try:
        look = movenet.finder(weights.weights(weights.MOVENET, given.weights), THRESHOLD)
        found = [detected(photo, look) for photo in known]
        crowds = list(crowds_of(given.corpus, given.crowds, look))
        more = [detected_poses(known, found, kind) for kind in MASKS]
        more += [true_poses(crowds, kind, "composed crowds, poses") for kind in MASKS]
        more += [strangers(crowds, kind) for kind in MASKS]
    except (Unavailable, ValueError) as reason:
        print(f"MoveNet left out: {reason}")
        more = []
    for count in more:
        count.print()
    counts += more
    for name, load in parsers(given.bodypix, given.weights):
        try:
            parse = load()
        except (Unavailable, ValueError) as reason:
            print(f"{name} left out: {reason}")
            continue
        for kind in MASKS:
            counts += [on_her_joints(known, parse, name, kind), shuffled_maps(photos, parse, name, kind)]
            counts[-2].print()
            counts[-1].print()
    print(seconds(given.corpus))
    # Of neighbours there are many misses, and much alike.
    misses = [miss for count in counts for miss in count.misses[: 3 if "neighbour" in count.what else None]]
    if given.sheet is not None and misses:
        sheet(misses).save(given.sheet)


# ------------------------------------------------------------------------------------------------------------- photos


def load_photos(folder: Path) -> list[Photo]:
    photos = []
    for entry in json.loads((folder / "meta.json").read_text(encoding="utf-8")):
        name = entry["name"]
        labels = np.asarray(Image.open(folder / f"{name}_inst.png"))
        masks = np.stack([labels == number for number in range(1, entry["persons"] + 1)])
        poses = None
        if entry["keypoints"]:
            poses = [true_joints(flat) for flat in entry["keypoints"]]
        photos.append(Photo(name, scenes.load_photo(scenes.find_picture(folder, name)), masks, poses))
    return photos


def true_joints(flat: list[float]) -> Tensor:
    """COCO's 17 of one person; what the own body or somebody else hides counts half."""
    points = torch.tensor(flat, dtype=torch.float32).reshape(17, 3)
    points[:, 2] = points[:, 2] / 2
    return from_coco_17(points)


def people_in(photo: Photo, kind: str) -> list[Person]:
    made = [person_from_mask(torch.from_numpy(mask).float()) for mask in MASKS[kind](photo.masks)]
    return [person._replace(number=place) for place, person in enumerate(made) if person is not None]


# -------------------------------------------------------------------------------------------------------------- poses


def true_poses(photos: list[Photo], kind: str, what: str = "true poses") -> Count:
    count = Count(f"{what}, masks {kind}")
    left = 0
    for photo in photos:
        people = people_in(photo, kind)
        order = list(range(len(photo.poses)))
        random.Random(len(order)).shuffle(order)
        matches, nobody = assign_poses(people, [Pose(photo.poses[place]) for place in order])
        left += len(nobody)
        for person, match in zip(people, matches, strict=True):
            got = None if match is None else order[match.pose]
            pose = None if match is None else match.joints
            count.add(got == person.number, photo, person.number, pose, "no pose" if got is None else f"pose {got + 1}")
    count.notes.append(f"{left} poses fit nobody")
    return count


def strangers(photos: list[Photo], kind: str) -> Count:
    count = Count(f"composed crowds, a neighbour's pose, masks {kind}")
    sure = []
    for photo in photos:
        people = people_in(photo, kind)
        for person in people:
            fits = [share_of_mask(joints, photo.masks[person.number]) for joints in photo.poses]
            fits[person.number] = -1.0
            other = int(np.argmax(fits))
            rest = [one for one in people if one.number != other]
            poses = [Pose(joints) for number, joints in enumerate(photo.poses) if number != person.number]
            matches, _ = assign_poses(rest, poses)
            match = matches[rest.index(person)] if len(rest) else None
            count.add(match is None, photo, person.number, None if match is None else match.joints)
            sure += [] if match is None else [match.sure]
    count.notes.append(f"mean confidence of the others {sum(sure) / max(len(sure), 1):.2f}")
    return count


def share_of_mask(joints: Tensor, mask: NDArray[np.bool_]) -> float:
    """Share of the joints that lie on a mask [H, W]."""
    known = joints[seen(joints), :2].long()
    inside = (known >= 0).all(1) & (known[:, 0] < mask.shape[1]) & (known[:, 1] < mask.shape[0])
    x, y = known[inside].T.numpy()
    return float(mask[y, x].sum()) / max(len(known), 1)


def detected(photo: Photo, look: Callable) -> list[Tensor]:
    found = find_in_tiles(torch.from_numpy(photo.image), LOOKS, look, OVERLAP, lambda: None)
    return [one.joints for one in found]


def detected_poses(photos: list[Photo], found: list[list[Tensor]], kind: str) -> Count:
    count = Count(f"MoveNet's poses, masks {kind}")
    unseen = left = 0
    for photo, poses in zip(photos, found, strict=True):
        people = people_in(photo, kind)
        matches, nobody = assign_poses(people, [Pose(joints) for joints in poses])
        left += len(nobody)
        table = torch.tensor(
            [[oks(true, pose, photo.masks[i].sum()) for pose in poses] for i, true in enumerate(photo.poses)]
        )
        for person, match in zip(people, matches, strict=True):
            fits = table[person.number]
            if not len(fits) or float(fits.max()) < FITS:
                unseen += match is None
                if match is None:
                    continue
            got = None if match is None else match.pose
            right = got is not None and float(fits[got]) >= FITS and int(table[:, got].argmax()) == person.number
            why = "no pose" if got is None else f"OKS {float(fits[got]):.2f}, best {float(fits.max()):.2f}"
            count.add(right, photo, person.number, None if match is None else match.joints, why)
    count.notes.append(f"{unseen} unseen by MoveNet, {left} poses fit nobody")
    return count


def oks(true: Tensor, pose: Tensor, area: float) -> float:
    """Object keypoint similarity (Ronchi and Perona 2017) over the true joints but the neck."""
    known = true[:, 2] > 0
    known[1] = False
    apart = (true[known, :2] - pose[known, :2]).square().sum(1)
    near = torch.exp(-apart / (2 * float(area) * (2 * SIGMAS[known]).square()))
    return float((near * seen(pose)[known]).mean()) if known.any() else 0.0


# ------------------------------------------------------------------------------------------------------------ parsing


def parsers(bodypix_file: Path, folder: Path | None) -> list[tuple[str, Callable[[], Parse]]]:
    def body() -> Parse:
        if not bodypix_file.is_file():
            raise Unavailable(f"there is no {bodypix_file.name}: give --bodypix")
        return bodypix.parser(bodypix_file)

    return [
        (bodypix.NAME, body),
        (
            mediapipe_multiclass.NAME,
            lambda: mediapipe_multiclass.parser(weights.weights(weights.MULTICLASS, folder)),
        ),
    ]


def full(parts: Tensor, box: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    return boxes.placed(parts, box, boxes.whole(size))


def on_her_joints(photos: list[Photo], parse: Parse, name: str, kind: str) -> Count:
    count = Count(f"{name} on the person's own joints, masks {kind}")
    for photo in photos:
        for person in people_in(photo, kind):
            parsed = parse(torch.from_numpy(photo.image), person)
            parts = full(parsed.parts, parsed.box, person.size)
            shares = [share_on(parts, joints) for joints in photo.poses]
            mine, others = shares.pop(person.number), max(shares, default=0.0)
            why = f"{mine:.2f} of the person's joints, {others:.2f} of another's"
            count.add(mine >= 0.5 and mine > others, photo, person.number, None, why)
    return count


def share_on(parts: Tensor, joints: Tensor) -> float:
    """Share of the joints that lie on a part where they may be, or no farther than BESIDE from one."""
    right = []
    for joint in range(18):
        x, y, confidence = joints[joint].tolist()
        if confidence > 0.5 and 0 <= x < parts.shape[1] and 0 <= y < parts.shape[0]:
            rows = slice(max(int(y) - BESIDE, 0), int(y) + BESIDE + 1)
            around = parts[rows, max(int(x) - BESIDE, 0) : int(x) + BESIDE + 1].unique().tolist()
            right.append(any(part > 0 and bool((may_be[part] & JOINT_ON[joint]).any()) for part in around))
    return sum(right) / max(len(right), 1)


def shuffled_maps(photos: list[Photo], parse: Parse, name: str, kind: str) -> Count:
    count = Count(f"{name}, maps of single people, masks {kind}")
    for photo in photos:
        people = people_in(photo, kind)
        if len(people) < 2:
            continue
        order = list(range(len(people)))
        random.Random(len(order)).shuffle(order)
        true = people_in(photo, "given")
        found = [parse(torch.from_numpy(photo.image), person) for person in true]
        maps = [full(one.parts, one.box, true[0].size) for one in found]
        dealt = assign_parsing(people, torch.stack([maps[place] for place in order]), [None] * len(people))
        for index, (person, parts) in enumerate(zip(people, dealt, strict=True)):
            box = person.box
            mine = boxes.cut(maps[index], box) * (person.mask > 0)
            same = parts is not None and bool((parts.parts == mine).float().mean() > 0.99)
            count.add(same, photo, person.number, None, "another map")
    return count


# --------------------------------------------------------------------------------------------------------------- time


def seconds(corpus: Path) -> str:
    """What it takes to read a crowd, everybody with a pose and half of them erased."""
    (crowd,) = composed(corpus, cutouts.clean_cutout_names(corpus), 1, 130, anywhere=False)
    people = [person._replace(erased=person.number % 2 == 0) for person in people_of(crowd)]
    random_places = torch.rand(len(people), 18, 3, generator=torch.Generator().manual_seed(1))
    poses = []
    for person, places in zip(people, random_places, strict=True):
        x0, y0, x1, y1 = person.box
        poses.append(Pose(places * torch.tensor([x1 - x0, y1 - y0, 1.0]) + torch.tensor([x0, y0, 0.0])))
    read_bodies(people[:2], [people[0].size], [poses[:2]])
    start = time.process_time()
    read_bodies(people, [people[0].size], [poses])
    return f"{len(people)} people with poses: {time.process_time() - start:.2f} s of one core"


# -------------------------------------------------------------------------------------------------------------- sheet


def sheet(misses: list[Miss]) -> Image.Image:
    """Each miss: the photo, the mask in red, the assigned pose in yellow, the true one in green."""
    tiles = []
    for miss in misses[:24]:
        picture = miss.photo.image.copy()
        mask = miss.photo.masks[miss.person]
        picture[mask] = picture[mask] * 0.6 + np.array([0.4, 0, 0], np.float32)
        tile = Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8))
        draw = ImageDraw.Draw(tile)
        true = None if miss.photo.poses is None else miss.photo.poses[miss.person]
        for joints, colour in ((miss.pose, "yellow"), (true, "lime")):
            if joints is not None:
                draw_pose(draw, joints, colour)
        tile.thumbnail((425, 305))
        canvas = Image.new("RGB", (430, 330))
        canvas.paste(tile, (0, 20))
        ImageDraw.Draw(canvas).text((2, 4), miss.what[:70], fill="white")
        tiles.append(canvas)
    result = Image.new("RGB", (4 * 430, -(-len(tiles) // 4) * 330))
    for index, tile in enumerate(tiles):
        result.paste(tile, (index % 4 * 430, index // 4 * 330))
    return result


def draw_pose(draw: ImageDraw.ImageDraw, joints: Tensor, colour: str) -> None:
    for start, end, *_ in LIMBS:
        if joints[start, 2] > 0 and joints[end, 2] > 0:
            draw.line([tuple(joints[start, :2].tolist()), tuple(joints[end, :2].tolist())], fill=colour, width=2)
    for x, y, confidence in joints.tolist():
        if confidence > 0:
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], outline=colour)


if __name__ == "__main__":
    main()
