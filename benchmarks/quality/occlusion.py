"""People who stay and were hidden, against the truth: part of benchmarks/quality/erase_quality.py (`--occlusion`).

A person of one frame (the *front*) is laid over another frame of the same fixed camera, at the same place, hiding a
part of somebody who stands farther away (the *back*, whose feet are higher). The front one is erased. The other
frame is the whole truth: what the hidden part of the back one looked like, and the place behind. With `--shifted`, the
front one is moved sideways along the same line of ground, which gives a scene for nearly everybody in the frames.
"""

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mild.benchmarks.shared import metrics, rivals, scenes
from mild.benchmarks.shared.metrics import mean_with_interval

OURS, ALONE, MIGAN = "ours", "ours without person layers", "MI-GAN"
MIGAN_GROWTH = 2  # px by which the mask grows before MI-GAN gets it: masks are exact here, see RIVAL_GROWTH
SHARE = (0.15, 0.6)  # of the back person that the front one hides
LEAST_HIDDEN = 300  # px
LEAST_SEEN = 0.7  # of the front person, who may stand behind others
FEATHER = 1.0  # px: sigma of the edge with which the front person is laid over the frame
COLUMNS = {  # heading, field of Scores, digits
    "completed LPIPS*": ("completed_lpips", 3),
    "completed PSNR": ("completed_psnr", 2),
    "completed IoU": ("completed_iou", 2),
    "plate LPIPS*": ("plate_lpips", 3),
    "plate PSNR": ("plate_psnr", 2),
    "kept changed": ("kept_changed", 0),
}
Picture = NDArray[np.float32]
Area = NDArray[np.bool_]


class Occlusion(NamedTuple):
    """One photo [H, W, 3] in which `front` hides a part of `back`, and the same without the front one."""

    name: str
    camera: str
    photo: Picture
    truth: Picture
    masks: NDArray[np.bool_]  # [N, H, W], visible parts, in the order in which People from Masks numbers them
    front: int  # index into masks
    back: int
    completed: Area  # what is hidden of the back one
    plate: Area  # what else the front one covers, where nobody stands


class Scores(NamedTuple):
    """One row on one scene. NaN: not measurable there."""

    completed_lpips: float
    completed_psnr: float
    completed_iou: float  # of the completed alpha and the hidden part, within the erased area
    plate_lpips: float
    plate_psnr: float
    kept_changed: float  # px more than CONTACT px inside visible masks that differ in the saved PNG


CONTACT = 2


def occlusion_scenes(data: Path, shifted: bool = False, limit: int | None = None) -> list[Occlusion]:
    """All scenes that the frames of `data` give, in the order of their names (shifted: one for each back person)."""
    frames = list(_frames(data))
    found = []
    for back_frame in frames:
        for back in range(len(back_frame.people)):
            if shifted:
                found.append(_shifted(frames, back_frame, back))
                continue
            for front_frame in frames:
                for front in range(len(front_frame.people)):
                    found.append(_scene(front_frame, front, back_frame, back, 0))
    chosen = [scene for scene in found if scene is not None]
    if limit is not None and len(chosen) > limit:  # spread over all cameras
        chosen = [chosen[round(i * (len(chosen) - 1) / max(1, limit - 1))] for i in range(limit)]
    return chosen


class _Frame(NamedTuple):
    name: str
    camera: str
    photo: Picture
    people: list[Area]


def _frames(data: Path) -> Iterator[_Frame]:
    for path in sorted(data.glob("*_inst.png")):
        name = path.name.removesuffix("_inst.png")
        label = np.asarray(scenes.Image.open(path))
        people = [label == value for value in np.unique(label) if value]
        yield _Frame(name, name.rsplit("_", 1)[0], scenes.load_photo(scenes.find_picture(data, name)), people)


def _feet(person: Area) -> int:
    return int(np.nonzero(person.any(1))[0].max())


def _scene(front_frame: _Frame, front: int, back_frame: _Frame, back: int, shift: int) -> Occlusion | None:
    """None if this front person, moved `shift` px to the right, hides too little or too much of this back one."""
    if front_frame.name == back_frame.name or front_frame.camera != back_frame.camera:
        return None
    person, hidden = front_frame.people[front], back_frame.people[back]
    if _feet(person) <= _feet(hidden):
        return None
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    alpha = cv2.GaussianBlur(cv2.dilate(person.astype(np.float32), cross), (0, 0), FEATHER)
    alpha = _moved(np.where(alpha > 0.02, alpha, 0.0), shift)
    nearer = [other for other in back_frame.people if _feet(other) > _feet(person)]
    before = alpha.sum()
    for other in nearer:
        alpha = np.where(other, 0.0, alpha)
    given = alpha > 0
    share = (hidden & given).sum() / hidden.sum()
    if not SHARE[0] <= share <= SHARE[1] or (hidden & given).sum() < LEAST_HIDDEN:
        return None
    if alpha.sum() < LEAST_SEEN * before or before < 0.98 * person.sum():  # behind others, or beyond the border
        return None
    anybody = np.any([*front_frame.people, *back_frame.people], axis=0)
    matched, _ = scenes.match_exposure(front_frame.photo, back_frame.photo, anybody)
    cover = alpha[..., None].astype(np.float32)
    photo = np.round((_moved(matched, shift) * cover + back_frame.photo * (1 - cover)) * 255) / 255
    photo = np.where(given[..., None], photo, back_frame.photo).astype(np.float32)
    kept = [(other & ~given, other is hidden) for other in back_frame.people]
    people = [(mask, is_back, False) for mask, is_back in kept if is_back or mask.any()] + [(given, False, True)]
    people.sort(key=lambda entry: _centre(entry[0]))
    everyone = np.any(back_frame.people, axis=0)
    moved = f" moved {shift:+d}" if shift else ""
    return Occlusion(
        f"{front_frame.name}/{front + 1}{moved} before {back_frame.name}/{back + 1}",
        back_frame.camera,
        photo,
        back_frame.photo,
        np.stack([mask for mask, _, _ in people]),
        next(i for i, entry in enumerate(people) if entry[2]),
        next(i for i, entry in enumerate(people) if entry[1]),
        hidden & given,
        given & ~everyone,
    )


def _shifted(frames: list[_Frame], back_frame: _Frame, back: int) -> Occlusion | None:
    """The back person behind somebody of another frame who walked on about the same ground, moved in front."""
    rng = random.Random(f"{scenes.SEED} {back_frame.name} {back}")
    hidden = back_frame.people[back]
    tall = int(np.ptp(np.nonzero(hidden.any(1))[0])) + 1
    choices = [
        (frame, number)
        for frame in frames
        if frame.camera == back_frame.camera and frame.name != back_frame.name
        for number, person in enumerate(frame.people)
        if 0 < _feet(person) - _feet(hidden) < 0.35 * tall
    ]
    rng.shuffle(choices)
    for frame, number in choices:
        start = round(np.nonzero(hidden)[1].mean() - np.nonzero(frame.people[number])[1].mean())
        wide = int(np.ptp(np.nonzero(hidden)[1])) + 1
        for _ in range(8):
            scene = _scene(frame, number, back_frame, back, start + round(rng.uniform(-0.8, 0.8) * wide))
            if scene is not None:
                return scene
    return None


def _moved(picture: NDArray[np.float32], right: int) -> NDArray[np.float32]:
    """picture moved sideways; what comes in from beyond the border is 0."""
    result = np.zeros_like(picture)
    wide = picture.shape[1]
    if abs(right) < wide:
        result[:, max(0, right) : wide + min(0, right)] = picture[:, max(0, -right) : wide - max(0, right)]
    return result


def _centre(mask: Area) -> tuple[float, float]:
    """Place in the order in which People from Masks numbers people."""
    y, x = np.nonzero(mask)
    return float(x.min() + x.max()), float(y.min() + y.max())


# ------------------------------------------------------------------------------------------------------- rows


class Painted(NamedTuple):
    """What one row made of a scene."""

    picture: Picture
    alpha: NDArray[np.float32] | None  # [H, W]: where the back person is said to go on


def ours(scene: Occlusion, ground: str | None = None) -> dict[str, Painted]:
    """Our rows: the nodes with their widgets as they stand, then the same without what was painted of people."""
    from mild.benchmarks.shared.ours import load_nodes, run_erasing

    load_nodes()
    from mild.mild_core.layers.recompose import recompose
    from mild.mild_core.scene import PERSON

    who = str(scene.front + 1)
    outputs = run_erasing(scene.photo, scene.masks, who, ground=ground)
    result, layers = outputs["recompose"][0][0].float().numpy(), outputs["sample"][0]
    without = [one._replace(layers=tuple(la for la in one.layers if la.domain != PERSON)) for one in layers]
    alone = Painted(recompose(without).image[0].numpy(), None)
    return {OURS: Painted(result, alpha_of_back(scene, layers)), ALONE: alone}


def alpha_of_back(scene: Occlusion, layers: list) -> NDArray[np.float32]:
    """[H, W]: where the back person is said to go on, by the scenes that Sample Layers gave."""
    from mild.mild_core.scene import PERSON

    alpha = np.zeros(scene.photo.shape[:2], np.float32)
    for layer in layers[0].layers:
        if layer.domain == PERSON and layer.number == scene.back + 1:
            x0, y0, x1, y1 = layer.box
            alpha[y0:y1, x0:x1] = (layer.alpha * (layer.hole > 0)).numpy()
    return alpha


def migan(scene: Occlusion) -> Painted:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MIGAN_GROWTH + 1, 2 * MIGAN_GROWTH + 1))
    hole = cv2.dilate(scene.masks[scene.front].astype(np.uint8), disc) > 0
    return Painted(rivals.migan(scene.photo, hole), None)


def score(scene: Occlusion, painted: Painted) -> Scores:
    """All figures of one row on one scene."""
    iou = math.nan
    if painted.alpha is not None:
        mine, true = (painted.alpha > 0.5) & scene.masks[scene.front], scene.completed
        iou = float((mine & true).sum() / max((mine | true).sum(), 1))
    plate = scene.plate.sum() >= 100
    return Scores(
        metrics.perceptual(painted.picture, scene.truth, scene.completed),
        metrics.hole_psnr(painted.picture, scene.truth, scene.completed),
        iou,
        metrics.perceptual(painted.picture, scene.truth, scene.plate) if plate else math.nan,
        metrics.hole_psnr(painted.picture, scene.truth, scene.plate) if plate else math.nan,
        float(_kept_changed(scene, painted.picture)),
    )


def _kept_changed(scene: Occlusion, picture: Picture) -> int:
    saved, original = (metrics.read_png(metrics.save_png(one)) for one in (picture, scene.photo))
    kept = np.any([mask for i, mask in enumerate(scene.masks) if i != scene.front], axis=0)
    kept = cv2.erode(kept.astype(np.uint8), np.ones((2 * CONTACT + 1,) * 2, np.uint8), borderValue=1) > 0
    return int(((saved != original).any(-1) & kept).sum())


# ------------------------------------------------------------------------------------------- tables and sheet


class Result(NamedTuple):
    scene: Occlusion
    row: str
    scores: Scores
    painted: Painted


def run_scene(scene: Occlusion, grounds: list[str] | None = None) -> list[Result]:
    """All rows; grounds: one row of ours for each of these instead of the default one."""
    rows: dict[str, Painted] = {}
    for ground in grounds or [None]:
        made = ours(scene, ground)
        rows[OURS if ground is None else f"{OURS} ({ground})"] = made[OURS]
        rows[ALONE] = made[ALONE]
    try:
        rows[MIGAN] = migan(scene)
    except rivals.Unavailable as reason:
        print(reason)
    return [Result(scene, row, score(scene, painted), painted) for row, painted in rows.items()]


def table(results: list[Result]) -> str:
    """Rows against columns, means with 95 % intervals over scenes; changed pixels are a sum."""
    lines = ["| row | " + " | ".join(COLUMNS) + " |", "|" + "---|" * (len(COLUMNS) + 1)]
    for row in dict.fromkeys(result.row for result in results):
        own = [result.scores for result in results if result.row == row]
        cells = []
        for field, digits in COLUMNS.values():
            values = [getattr(scores, field) for scores in own]
            summed = field == "kept_changed"
            cells.append(f"{sum(values):.0f}" if summed else mean_with_interval(values).text(digits))
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_sheet(path: Path, results: list[Result], height: int = 300) -> None:
    """Every scene in a strip, cropped around both people: photo, our rows, MI-GAN, truth."""
    strips = []
    for name in dict.fromkeys(result.scene.name for result in results):
        own = [result for result in results if result.scene.name == name]
        scene = own[0].scene
        ys, xs = np.nonzero(scene.masks[scene.front] | scene.masks[scene.back])
        margin = 16
        part = np.s_[
            max(0, ys.min() - margin) : ys.max() + margin + 1, max(0, xs.min() - margin) : xs.max() + margin + 1
        ]
        pictures = [("photo", scene.photo), *((r.row, r.painted.picture) for r in own), ("truth", scene.truth)]
        tiles = []
        for label, picture in pictures:
            tile = np.ascontiguousarray(picture[part])
            wide = max(1, round(tile.shape[1] * height / tile.shape[0]))
            tile = np.round(cv2.resize(tile, (wide, height), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255)
            tile = np.pad(tile.astype(np.uint8), ((18, 2), (2, 2), (0, 0)))
            short = label.replace("without person layers", "w/o")
            cv2.putText(tile, short, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (255, 255, 255), 1, cv2.LINE_AA)
            tiles.append(tile)
        strips.append(np.hstack(tiles))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = _stacked(strips, 1600)
    path.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())


def _stacked(strips: list[NDArray[np.uint8]], wide: int) -> NDArray[np.uint8]:
    """Strips of one height, as many beside one another as fit."""
    rows: list[list[NDArray[np.uint8]]] = []
    for strip in strips:
        if not rows or sum(one.shape[1] for one in rows[-1]) + strip.shape[1] > wide:
            rows.append([])
        rows[-1].append(strip)
    joined = [np.hstack(row) for row in rows]
    wide = max(row.shape[1] for row in joined)
    return np.vstack([np.pad(row, ((0, 0), (0, wide - row.shape[1]), (0, 0))) for row in joined])


def report(data: Path, shifted: bool, limit: int | None, grounds: list[str] | None, sheet: Path | None) -> None:
    """Run everything and print a table for each camera."""
    found = occlusion_scenes(data, shifted, limit)
    if not found:
        raise ValueError(f"{data} holds no two frames of one camera in which one person would hide a part of another")
    results: list[Result] = []
    for number, scene in enumerate(found, 1):
        results += run_scene(scene, grounds)
        print(f"\r{number}/{len(found)} scenes ", end="", flush=True)
    print("\nLPIPS*: ST-LPIPS (AlexNet) averaged over the part. ±: half the 95 % interval over scenes.")
    kind = "front person moved sideways" if shifted else "everybody at their own place"
    cameras = sorted({scene.camera for scene in found})
    for camera in cameras + ["all"] * (len(cameras) > 1):
        own = [r for r in results if camera in ("all", r.scene.camera)]
        count = len({r.scene.name for r in own})
        print(f"\n## occlusion, {kind}, camera {camera}, n = {count}\n\n{table(own)}")
    if sheet:
        write_sheet(sheet, results)
        print(f"\nsheet: {sheet}")
