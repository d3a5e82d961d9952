"""Scenes with people and the true picture without them: composed ones (truth exact) and real ones (fixed cameras).

`uv run benchmarks/shared/scenes.py` draws the committed list `composed_scenes.json` anew; SEED settles everything.
"""

import json
import random
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared.cutouts import Cutout, clean_cutout_names, load_cutout

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT.parent / "shared" / "data" / "corpus"
SCENE_LIST = Path(__file__).with_name("composed_scenes.json")
SEED = 20250807
LONGEST_SIDE = 1024  # larger plates are shrunk: the benchmark is about pictures, not about sizes
MOST_HOLE = 0.45  # of the photo: above that a scene says more about luck than about the method
LEAST_VISIBLE = 0.4  # of each person, so that nobody is wholly behind another
FAR = 30  # px from people: where the exposure of a real plate is fitted
MOST_RESIDUAL = 4.0  # grey levels: real frames that differ more from their plate after the fit are left out
EFFECT_LEVEL = 12.0  # grey levels between frame and plate beside the masks: more is a shadow or a reflection


class Scene(NamedTuple):
    """One photo with people, and the same without. H x W pixels, N people, left to right."""

    name: str
    camera: str  # "composed", or the name of the real camera
    photo: NDArray[np.float32]  # [H, W, 3], 0..1, whole grey levels
    truth: NDArray[np.float32]  # [H, W, 3], 0..1
    masks: NDArray[np.bool_]  # [N, H, W], visible parts; composed: every pixel that the cut-out touched
    union: NDArray[np.bool_]  # [H, W]
    effect: NDArray[np.bool_]  # [H, W]: outside the masks, where photo and truth differ (shadows); empty if composed


class Placement(NamedTuple):
    """Where one cut-out stands; fractions of the photo's sides, so that a list fits plates of any size."""

    cutout: str
    x: float  # middle, of the width
    feet: float  # lower end, of the height; above 1: cut by the lower border
    height: float  # of the photo's height
    flip: bool


# ---------------------------------------------------------------------------------------------- composed scenes


def draw_placements(rng: random.Random, cutouts: list[str]) -> list[Placement]:
    """One to three people on a common ground: the nearer (lower feet) the taller. Returned back to front."""
    count = rng.choices((1, 2, 3), (5, 3, 2))[0]
    height = rng.uniform(0.45, 0.85)
    feet = rng.uniform(1.02, 1.02 + 0.3 * height) if rng.random() < 0.2 else rng.uniform(max(0.75, height + 0.04), 0.98)
    horizon = feet - height * rng.uniform(0.75, 1.0)
    placed = []
    for name in rng.sample(cutouts, count):
        own_feet = feet - (rng.uniform(0.0, 0.12) if placed else 0.0)
        own_height = height * (own_feet - horizon) / (feet - horizon) * (rng.uniform(0.93, 1.07) if placed else 1.0)
        own_height = min(0.85, max(0.35, own_height))
        own_feet = max(own_feet, own_height + 0.02)
        x = rng.uniform(0.15, 0.85)
        placed.append(Placement(name, round(x, 4), round(own_feet, 4), round(own_height, 4), rng.random() < 0.5))
    return sorted(placed, key=lambda p: p.feet)


def place(cutout: Cutout, placement: Placement, size: tuple[int, int]) -> NDArray[np.float32]:
    """The cut-out scaled and put where it stands: premultiplied RGBA [H, W, 4], 0..1, size = (H, W)."""
    height, width = size
    rgba = np.dstack([cutout.rgb * cutout.alpha[..., None], cutout.alpha])
    tall = max(8, round(placement.height * height))
    wide = max(4, round(tall * rgba.shape[1] / rgba.shape[0]))
    shrinks = tall < rgba.shape[0]
    rgba = cv2.resize(rgba, (wide, tall), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if placement.flip:
        rgba = rgba[:, ::-1]
    left = round(placement.x * width - wide / 2)
    left = max(1, min(left, width - 1 - wide)) if wide + 2 <= width else left
    top = round(placement.feet * height) - tall
    canvas = np.zeros((height, width, 4), np.float32)
    y0, y1, x0, x1 = max(0, top), min(height, top + tall), max(0, left), min(width, left + wide)
    canvas[y0:y1, x0:x1] = rgba[y0 - top : y1 - top, x0 - left : x1 - left]
    canvas[canvas[..., 3] < 0.02] = 0
    return canvas


def compose(name: str, plate: NDArray[np.float32], people: list[tuple[Cutout, Placement]]) -> Scene | None:
    """Paste the cut-outs back to front on plate [H, W, 3]. None if one is hidden or they cover too much."""
    photo, masks, areas = plate.copy(), [], []
    for cutout, placement in people:
        layer = place(cutout, placement, plate.shape[:2])
        own = layer[..., 3] > 0
        photo = photo * (1 - layer[..., 3:]) + layer[..., :3]
        masks = [mask & ~own for mask in masks] + [own]
        areas.append(int(own.sum()))
    union = np.any(masks, axis=0)
    hidden = any(mask.sum() < LEAST_VISIBLE * max(area, 1) for mask, area in zip(masks, areas, strict=True))
    if hidden or union.mean() > MOST_HOLE:
        return None
    photo = np.where(union[..., None], np.round(photo * 255) / 255, plate).astype(np.float32)
    masks = sorted(masks, key=lambda mask: float(np.nonzero(mask)[1].mean()))
    return Scene(name, "composed", photo, plate, np.stack(masks), union, np.zeros_like(union))


def composed_scenes(plates: Path | None = None, cutouts: Path | None = None, limit: int | None = None) -> list[Scene]:
    """The committed scenes, or new ones (same rules, same seed) for folders of the caller's own. At most `limit`."""
    return list(iterate_composed(plates, cutouts, limit))


def iterate_composed(plates: Path | None, cutouts: Path | None, limit: int | None) -> Iterator[Scene]:
    """As composed_scenes, one at a time."""
    if plates is None and cutouts is None:
        listed = json.loads(SCENE_LIST.read_text(encoding="utf-8"))["scenes"]
        for entry in listed[:limit]:
            people = [Placement(**person) for person in entry["people"]]
            loaded = [(load_cutout(CORPUS / p.cutout), p) for p in people]
            scene = compose(entry["plate"], load_photo(CORPUS / entry["plate"]), loaded)
            if scene is None:
                raise ValueError(f"the listed scene {entry['plate']} hides a person: draw the list anew (see --help)")
            yield scene
        return
    folder = plates if plates is not None else CORPUS
    names = picture_names(plates) if plates is not None else distinct_plates(CORPUS)
    cutout_folder = cutouts if cutouts is not None else CORPUS
    people_names = picture_names(cutouts) if cutouts is not None else clean_cutout_names(CORPUS)
    for entry in draw_scenes(folder, names, cutout_folder, people_names, limit):
        yield entry[1]


def draw_scenes(
    plate_folder: Path, plates: list[str], cutout_folder: Path, cutouts: list[str], limit: int | None
) -> Iterator[tuple[list[Placement], Scene]]:
    """One scene per plate in a shuffled order: what stands where depends on SEED and the plate's name alone."""
    order = sorted(plates)
    random.Random(SEED).shuffle(order)
    for name in order[:limit]:
        rng = random.Random(f"{SEED} {name}")
        plate = load_photo(plate_folder / name)
        for _ in range(20):
            placements = draw_placements(rng, cutouts)
            scene = compose(name, plate, [(load_cutout(cutout_folder / p.cutout), p) for p in placements])
            if scene is not None:
                yield placements, scene
                break


def distinct_plates(corpus: Path) -> list[str]:
    """The person-free photos of the corpus, of near-identical ones only the first (they would fake a larger n)."""
    kept, names = [], []
    for name in json.loads((corpus / "person_free.json").read_text(encoding="utf-8")):
        small = cv2.resize(load_photo(corpus / name), (16, 16), interpolation=cv2.INTER_AREA) * 255
        if all(np.abs(small - other).mean() > 8 for other in kept):
            kept.append(small)
            names.append(name)
    return names


def picture_names(folder: Path) -> list[str]:
    """Names of the pictures in a folder, sorted. NAME_parsing.png beside a picture NAME is part of that one."""
    pictures = [p for p in folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")]
    parsings = {f"{p.stem}_parsing.png" for p in pictures}
    found = sorted(p.name for p in pictures if p.name not in parsings)
    if not found:
        raise ValueError(f"{folder} holds no PNG, JPEG or WebP pictures")
    return found


def load_photo(path: Path) -> NDArray[np.float32]:
    """RGB [H, W, 3], 0..1, shrunk to LONGEST_SIDE, whole grey levels."""
    image = Image.open(path).convert("RGB")
    if max(image.size) > LONGEST_SIDE:
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BOX)
    return np.asarray(image, np.float32) / 255


# -------------------------------------------------------------------------------------------------- real scenes


class LeftOut(NamedTuple):
    """A real frame whose plate cannot be brought to its exposure."""

    name: str
    residual: float  # mean absolute difference away from people, grey levels


def real_scenes(data: Path) -> tuple[list[Scene], list[LeftOut]]:
    """Frames NAME.png with NAME_inst.png and a plate; meta.json names the plate (else CAMERA_background.png)."""
    meta = data / "meta.json"
    listed = json.loads(meta.read_text(encoding="utf-8")) if meta.is_file() else []
    plates = {entry["frame"]: entry["background"] for entry in listed if "background" in entry}
    scenes, left_out = [], []
    for path in sorted(data.glob("*_inst.png")):
        name = path.name.removesuffix("_inst.png")
        plate_name = plates.get(name, name.rsplit("_", 1)[0] + "_background")
        photo, plate = load_photo(find_picture(data, name)), load_photo(find_picture(data, plate_name))
        label = np.asarray(Image.open(path))
        if not photo.shape[:2] == plate.shape[:2] == label.shape[:2]:
            raise ValueError(f"{name}: the frame, its plate and its masks differ in size")
        masks = [label == value for value in np.unique(label) if value != 0]
        masks = sorted(masks, key=lambda mask: float(np.nonzero(mask)[1].mean()))
        union = label > 0
        truth, residual = match_exposure(plate, photo, union)
        if residual > MOST_RESIDUAL:
            left_out.append(LeftOut(name, residual))
            continue
        camera = plate_name.removesuffix("_background")
        scenes.append(Scene(name, camera, photo, truth, np.stack(masks), union, effect_area(photo, truth, union)))
    return scenes, left_out


def find_picture(folder: Path, stem: str) -> Path:
    for suffix in (".png", ".jpg", ".jpeg"):
        if (folder / (stem + suffix)).is_file():
            return folder / (stem + suffix)
    raise ValueError(f"{folder} has no picture called {stem}")


def match_exposure(
    plate: NDArray[np.float32], frame: NDArray[np.float32], people: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], float]:
    """Gain and offset per channel that bring plate to frame, fitted at least FAR px away from people.

    Robust: six rounds of least squares, each without pixels beyond three (MAD) standard deviations. Returns the plate
    [H, W, 3] in the frame's exposure and the mean absolute difference left away from people, in grey levels.
    """
    far = cv2.distanceTransform(1 - people.astype(np.uint8), cv2.DIST_L2, 5) > FAR
    if far.sum() < 100:
        raise ValueError(f"a frame has no ground {FAR} px away from its people to fit the exposure on")
    matched = plate.copy()
    for c in range(3):
        x, y = plate[..., c][far].astype(np.float64), frame[..., c][far].astype(np.float64)
        keep = np.ones(len(x), bool)
        gain, offset = 1.0, 0.0
        for _ in range(6):
            if x[keep].std() < 1e-3:
                break
            gain, offset = np.polyfit(x[keep], y[keep], 1)
            rest = np.abs(gain * x + offset - y)
            keep = rest <= 3 * 1.4826 * np.median(rest[keep]) + 0.5 / 255
        matched[..., c] = np.clip(gain * plate[..., c] + offset, 0, 1)
    return matched, float(np.abs(matched - frame)[far].mean() * 255)


def effect_area(photo: NDArray[np.float32], truth: NDArray[np.float32], people: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Shadows and reflections: where photo and truth differ outside the masks, in areas that reach up to a person."""
    near = cv2.dilate(people.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))) > 0
    touch = cv2.dilate(people.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17))) > 0
    signed = cv2.blur((photo - truth) * 255, (5, 5))  # signed: noise averages out, a shadow does not
    differs = (np.abs(signed).mean(-1) > EFFECT_LEVEL) & ~near
    count, label, stats, _ = cv2.connectedComponentsWithStats(differs.astype(np.uint8))
    with_person = set(np.unique(label[touch & differs]))
    large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= 50 and i in with_person]
    return np.isin(label, large)


# ------------------------------------------------------------------------------------------------ mask variants


def eroded(masks: NDArray[np.bool_], pixels: int = 2) -> NDArray[np.bool_]:
    """Masks [N, H, W] shrunk by a disc of that radius: what hasty segmentation gives."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    shrunk = [cv2.erode(m.astype(np.uint8), disc, borderValue=1) > 0 for m in masks]
    return np.stack([s if s.any() else m for s, m in zip(shrunk, masks, strict=True)])


def boxes(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Masks [N, H, W] as their filled bounding boxes."""
    filled = np.zeros_like(masks)
    for mask, box in zip(masks, filled, strict=True):
        ys, xs = np.nonzero(mask)
        box[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = True
    return filled


VARIANTS = {"given": lambda masks: masks, "eroded": eroded, "boxes": boxes}


def write_list() -> None:
    """Draw composed_scenes.json anew from the corpus."""
    scenes = []
    for placements, scene in draw_scenes(CORPUS, distinct_plates(CORPUS), CORPUS, clean_cutout_names(CORPUS), None):
        scenes.append({"plate": scene.name, "people": [p._asdict() for p in placements]})
    lines = ",\n".join(json.dumps(scene) for scene in scenes)
    SCENE_LIST.write_text(f'{{"seed": {SEED}, "scenes": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(scenes)} scenes written to {SCENE_LIST.name}")


if __name__ == "__main__":
    write_list()
