"""What goes with people: `uv run benchmarks/quality/effects.py --pairs DIR [--paint] [--photos DIR --sheet OUT]`

--pairs: real frames of fixed cameras with the true empty place (`scenes.real_scenes`). The *effect area* is where frame
and truth differ beside the people. Printed for each frame: how much of it Propose Effects finds and how much of what it
proposes lies in it (without any painting), and the error in it, in grey levels, of the photo once the proposed shadows
are lifted off. --paint: people erased with and without their effects, through the nodes, every widget by default.

--photos: photos with hand-made masks (NAME.jpg, NAME_inst.png) and no truth: every proposal is listed and drawn into
OUT/NAME.png, to be judged by eye.
"""

import argparse
import runpy
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared.metrics import mean_with_interval
from mild.benchmarks.shared.scenes import Scene, load_photo, real_scenes
from mild.mild_core.effects.propose import propose
from mild.mild_core.image import boxes
from mild.mild_core.image.growth import VISIBLE
from mild.mild_core.layers.effect_holes import effects_of
from mild.mild_core.people.from_masks import numbered, person_from_mask, union_mask
from mild.mild_core.people.selection import choose
from mild.mild_core.preview.overlay import preview_people
from mild.mild_core.scene import EFFECTS, Person


def with_proposals(photo: NDArray[np.float32], masks: NDArray[np.bool_]) -> tuple[list[Person], list[str], float]:
    """People of masks [N, H, W], all to go, with what is proposed; a line for each proposal; seconds."""
    made = [person_from_mask(torch.from_numpy(mask.astype(np.float32))) for mask in masks]
    people = choose(numbered([person for person in made if person is not None]), "all")
    start = perf_counter()
    found = propose(torch.from_numpy(photo), people, EFFECTS)
    seconds = perf_counter() - start
    lines = [f"{one.effect.kind} of {one.number} ({one.sure:.0%})" for own in found for one in own]
    pairs = zip(people, found, strict=True)
    return [person._replace(effects=tuple(one.effect for one in own)) for person, own in pairs], lines, seconds


def area_of(people: list[Person], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the effects are, outside the people, [H, W]."""
    area = torch.zeros(size, dtype=torch.bool)
    for person in people:
        for effect in person.effects:
            boxes.cut(area, effect.box).logical_or_(effect.mask > VISIBLE)
    return area.numpy() & (union_mask(people, size) <= VISIBLE).numpy()


def error(picture: NDArray[np.float32], scene: Scene) -> float:
    """Mean absolute difference to the truth in the effect area, grey levels."""
    return float(np.abs(picture - scene.truth)[scene.effect].mean() * 255)


def lifted(scene: Scene, people: list[Person]) -> NDArray[np.float32]:
    """The frame without the proposed shadows, everything else as it is."""
    photo = torch.from_numpy(scene.photo)
    nobody = torch.zeros(scene.effect.shape, dtype=torch.bool)
    pixels = effects_of(photo, people, nobody, None).pixels
    return scene.photo if pixels is None else pixels.numpy()


def painted(scene: Scene, effects: bool) -> NDArray[np.float32]:
    """The frame without its people, as the nodes make it."""
    from mild.benchmarks.shared.ours import run_erasing  # here: the quick figures need no ComfyUI

    outputs = run_erasing(scene.photo, scene.masks, "all", effects=effects)
    return outputs["recompose"][0][0].float().numpy()


def run_pairs(data: Path, paint: bool, sheets: Path | None, frames: list[str] | None = None) -> None:
    scenes, left_out = real_scenes(data)
    scenes = [scene for scene in scenes if frames is None or scene.name in frames]
    recall, precision, ratios, cut = [], [], [], []
    for scene in scenes:
        people, lines, seconds = with_proposals(scene.photo, scene.masks)
        found = area_of(people, scene.effect.shape)
        both = int((found & scene.effect).sum())
        recall.append(both / scene.effect.sum())
        if found.any():
            precision.append(both / found.sum())
        before, after = error(scene.photo, scene), error(lifted(scene, people), scene)
        cut.append(after / before)
        words = f"{scene.name}: {len(scene.masks)} people, {len(lines)} proposals in {seconds:.1f} s; found "
        words += f"{recall[-1]:.2f} of the area; error {before:.1f}, lifted {after:.1f}"
        if paint:
            without, with_them = (painted(scene, effects) for effects in (False, True))
            ratios.append(error(with_them, scene) / error(without, scene))
            words += f"; erased {error(without, scene):.1f}, with effects {error(with_them, scene):.1f}"
            words += f" ({ratios[-1]:.2f})"
            if sheets is not None:
                save(sheets / f"{scene.name}.png", np.hstack([scene.photo, without, with_them, scene.truth]))
        print(words, flush=True)
    digits = f"recall {mean_with_interval(recall).text(2)}, precision {mean_with_interval(precision).text(2)}"
    digits += f"; lifted over as it was {mean_with_interval(cut).text(2)}"
    print(f"{len(scenes)} frames, {len(left_out)} left out: {digits}")
    if ratios:
        print(f"error with effects over without: {mean_with_interval(ratios).text(2)}, n = {len(ratios)}")


def run_photos(data: Path, sheets: Path | None) -> None:
    photos = proposals = 0
    for path in sorted(data.glob("*_inst.png")):
        name = path.name.removesuffix("_inst.png")
        photo, label = load_photo(data / f"{name}.jpg"), np.asarray(Image.open(path))
        masks = np.stack([label == value for value in np.unique(label) if value])
        people, lines, seconds = with_proposals(photo, masks)
        photos, proposals = photos + 1, proposals + len(lines)
        print(f"{name}: {len(people)} people, {seconds:.1f} s: {', '.join(lines) or 'nothing'}", flush=True)
        if sheets is not None:
            save(sheets / f"{name}.png", preview_people(people, [torch.from_numpy(photo)], 1)[0].numpy())
    print(f"{photos} photos, {proposals} proposals")


def save(path: Path, picture: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(picture.clip(0, 1) * 255).astype(np.uint8)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, metavar="DIR", help="frames, masks and plates of fixed cameras")
    parser.add_argument("--paint", action="store_true", help="erase, too: 20 to 60 s a frame")
    parser.add_argument("--frames", nargs="+", metavar="NAME", help="of the pairs only these")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="photos with NAME_inst.png")
    parser.add_argument("--sheet", type=Path, metavar="OUT", help="folder for pictures to be looked at")
    given = parser.parse_args()
    if given.pairs is None and given.photos is None:
        parser.error("name a folder: --pairs, --photos or both")
    if given.pairs is not None:
        run_pairs(given.pairs, given.paint, given.sheet, given.frames)
    if given.photos is not None:
        run_photos(given.photos, given.sheet)


if __name__ == "__main__":
    main()
