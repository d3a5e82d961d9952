"""How well people are found: `uv run benchmarks/quality/find_people.py --data DIR`

DIR holds photos (NAME.jpg or .png) with hand-made instance masks beside them (NAME_inst.png: 0 background, k person k).
Each row is the node Find People, run through ComfyUI, with one detector and one way to make masks: recall at an IoU of
0.5, mean IoU over all people (0 where somebody was not found) and over those who were found, and findings per photo
that are nobody of the masks. Weights are taken from --weights DIR, else fetched by their package's name. A row whose
package or weights are missing says so.

The AGPL row is no part of the pack: its weights are fetched by name here, and by nothing else.
"""

import argparse
import logging
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.quality import yolo
from mild.benchmarks.shared import ours, scenes, weights
from mild.benchmarks.shared.rivals import Unavailable
from mild.mild_core.scene import Person

Masks = list[NDArray[np.bool_]]
FOUND = 0.5
DATA = scenes.CORPUS.parent / "people"


class Photo(NamedTuple):
    name: str
    image: NDArray[np.float32]  # [H, W, 3], 0..1
    people: Masks  # [H, W] each


class Score(NamedTuple):
    """Of one photo."""

    matched: list[float]  # IoU of each true person with the finding that is theirs; 0 if there is none
    spurious: int


class Row(NamedTuple):
    name: str
    detector: dict[str, Any]  # inputs of the node
    masks: dict[str, Any]
    given: bool = False  # with the true boxes connected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="photos and instance masks")
    parser.add_argument("--weights", type=Path, help="folder with weights, looked at before anything is fetched")
    parser.add_argument("--limit", type=int, help="photos to try")
    parser.add_argument("--rows", help="only rows whose name holds this text")
    parser.add_argument("--sheets", type=Path, help="folder for a picture of each row's findings")
    given = parser.parse_args()
    logging.disable(logging.ERROR)  # ComfyUI logs the whole way to what a row that is left out says in one sentence
    photos = load_photos(given.data)[: given.limit]
    if not photos:
        parser.error(f"no photos with NAME_inst.png in {given.data}: give --data")
    print(f"{len(photos)} photos, {sum(len(photo.people) for photo in photos)} people")
    print(f"{'':44} recall@{FOUND}  IoU all  IoU found  spurious/photo")
    for name, find in rows(given.weights):
        if given.rows and given.rows.lower() not in name.lower():
            continue
        try:
            found = [find(photo) for photo in photos]
        except (Unavailable, ValueError) as reason:
            print(f"{name:44} left out: {reason}", flush=True)
            continue
        report(name, [score(masks, photo.people) for photo, masks in zip(photos, found, strict=True)])
        if given.sheets is not None:
            given.sheets.mkdir(parents=True, exist_ok=True)
            sheet(photos, found).save(given.sheets / f"{''.join(c if c.isalnum() else '_' for c in name)}.png")


def load_photos(folder: Path) -> list[Photo]:
    photos = []
    for path in sorted(folder.glob("*_inst.png")):
        stem = path.name.removesuffix("_inst.png")
        labels = np.asarray(Image.open(path))
        people = [labels == number for number in np.unique(labels) if number]
        photos.append(Photo(stem, scenes.load_photo(scenes.find_picture(folder, stem)), people))
    return photos


def rows(folder: Path | None) -> list[tuple[str, Callable[[Photo], Masks]]]:
    """Name and finder of each row. A finder raises Unavailable or ValueError if it cannot run here."""
    connected = {"detector": "only what is connected"}
    movenet = {"detector": "MoveNet", "detector.model": weights.MOVENET}
    mediapipe = {"detector": "MediaPipe", "detector.model": weights.MEDIAPIPE}
    openpose = {"detector": "OpenPose (controlnet-aux)"}
    dwpose = {"detector": "DWPose (controlnet-aux)"}
    found, boxes = {"masks": "as found"}, {"masks": "boxes"}
    sam2 = {"masks": "SAM 2 (ONNX)", "masks.encoder": weights.SAM2_ENCODER, "masks.decoder": weights.SAM2_DECODER}
    package = {"masks": "SAM 2 (sam2 package)"}
    table = [
        Row("true boxes, filled", connected, found, True),
        Row("true boxes, SAM 2 (ONNX)", connected, sam2, True),
        Row("true boxes, SAM 2 (sam2 package)", connected, package, True),
        Row("MoveNet, as found (body shapes)", movenet, found),
        Row("MoveNet, boxes", movenet, boxes),
        Row("MoveNet, one look, SAM 2 (ONNX)", movenet | {"detector.closer": 1}, sam2),
        Row("MoveNet, SAM 2 (ONNX)", movenet, sam2),
        Row("MoveNet, SAM 2 (ONNX), box and joints", movenet, sam2 | {"masks.prompts": "box and joints"}),
        Row("MediaPipe, as found (own masks)", mediapipe, found),
        Row("MediaPipe, SAM 2 (ONNX)", mediapipe, sam2),
        Row("OpenPose (controlnet-aux), as found", openpose, found),
        Row("DWPose (controlnet-aux), as found", dwpose, found),
    ]
    result: list[tuple[str, Callable[[Photo], Masks]]] = []
    for row in table:
        result.append((row.name, lambda photo, row=row: find(photo, row, folder)))
    result.append(("YOLO11n-seg (AGPL, this benchmark only)", lambda photo: yolo.people(photo.image, folder)))
    return result


def find(photo: Photo, row: Row, folder: Path | None) -> Masks:
    """The people whom the node finds with a row's settings, every other widget as it stands by default."""
    in_process = ours.load_nodes()
    chosen: dict[str, Any] = {}
    for name, value in (row.detector | row.masks).items():
        if isinstance(value, weights.Source):
            path = weights.weights(value, folder)
            add_folder(path.parent)
            value = path.name
        chosen[name] = value
    if folder is not None:
        add_folder(folder)
    inputs = defaults("detector", row.detector) | defaults("masks", row.masks) | chosen
    with in_process.InProcess() as comfy:
        connected = {"boxes": [true_boxes(photo)]} if row.given else {}
        plain = {"labels": "person", "max_people": 100, "min_size": 0.0, "overlap": 0.8}
        people = comfy.run_node(
            "MILD_FindPeople", image=torch.from_numpy(photo.image)[None], **inputs, **connected, **plain
        )[0]
    return [full_mask(person) for person in people]


def defaults(name: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """The widgets that a choice of a DynamicCombo brings along, as they stand by default."""
    options = ours.inputs_of("MILD_FindPeople")["required"][name][1]["options"]
    option = next(one for one in options if one["key"] == chosen[name])
    values = {}
    for key, (kind, more) in option["inputs"].get("required", {}).items():
        values[f"{name}.{key}"] = more.get("default", more["options"][0] if kind == "COMBO" else None)
    return values


def add_folder(folder: Path) -> None:
    """Make ComfyUI look for detectors' weights here too, as extra_model_paths.yaml would."""
    import folder_paths

    folder_paths.add_model_folder_path("detection", str(folder.resolve()))


def true_boxes(photo: Photo) -> list[dict[str, float]]:
    result = []
    for mask in photo.people:
        y, x = np.nonzero(mask)
        x0, y0 = float(x.min()), float(y.min())
        result.append({"x": x0, "y": y0, "width": float(x.max()) + 1 - x0, "height": float(y.max()) + 1 - y0})
    return result


def full_mask(person: Person) -> NDArray[np.bool_]:
    mask = np.zeros(person.size, bool)
    x0, y0, x1, y1 = person.box
    mask[y0:y1, x0:x1] = person.mask.numpy() > 0.5
    return mask


def score(found: Masks, people: Masks) -> Score:
    """Findings and people are matched one to one, the largest IoU first. A finding below FOUND is spurious."""
    table = np.array([[iou(one, person) for person in people] for one in found]).reshape(len(found), len(people))
    matched = [0.0] * len(people)
    good = 0
    while table.size and table.max() > 0:
        row, column = np.unravel_index(table.argmax(), table.shape)
        matched[column] = float(table[row, column])
        good += matched[column] >= FOUND
        table[row, :], table[:, column] = -1, -1
    return Score(matched, len(found) - good)


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / max((first | second).sum(), 1))


def report(name: str, scores: list[Score]) -> None:
    matched = np.array([value for one in scores for value in one.matched])
    good = matched[matched >= FOUND]
    spurious = sum(one.spurious for one in scores) / len(scores)
    counted = f"{len(good) / len(matched):.2f} ({len(good)}/{len(matched)})"
    print(
        f"{name:44} {counted:>13} {matched.mean():7.3f} {good.mean() if len(good) else 0:9.3f} {spurious:12.2f}",
        flush=True,
    )


def sheet(photos: list[Photo], found: list[Masks]) -> Image.Image:
    """All photos with their findings outlined, as the node's preview shows them."""
    from mild.mild_core.people.from_masks import numbered, person_from_mask
    from mild.mild_core.preview.overlay import preview_people

    tiles = []
    for photo, masks in zip(photos, found, strict=True):
        people = [one for mask in masks if (one := person_from_mask(torch.from_numpy(mask).float())) is not None]
        picture = preview_people(numbered(people), [torch.from_numpy(photo.image)], 1)[0].numpy()
        tiles.append(Image.fromarray((picture * 255).round().astype(np.uint8)))
        tiles[-1].thumbnail((420, 420))
    result = Image.new("RGB", (4 * 430, -(-len(tiles) // 4) * 430))
    for index, tile in enumerate(tiles):
        result.paste(tile, (index % 4 * 430, index // 4 * 430))
    return result


if __name__ == "__main__":
    sys.exit(main())
