"""Whoever stays keeps every pixel: counted in saved PNGs: `uv run benchmarks/quality/kept_people.py`

Photos with hand-made masks of 2 to 4 people (`--data DIR`: NAME.jpg or .png with NAME_inst.png). Every choice of who
goes and who stays, holes as small as by default and much larger, both kinds of background: the real nodes run through
ComfyUI's executor up to Save Image, and the PNG is read back. Of somebody who stays, only the contact band may change:
the pixels of the visible mask that lie within `contact` pixels of an erased one. Few steps of the Built-in Model: this
is about where pixels change, not about how well.
"""

import argparse
import itertools
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared import ours, scenes
from mild.mild_core.image import boxes
from mild.mild_core.scene import PERSON
from mild.tools.erase_graph import erasing_graph

PEOPLE = scenes.ROOT.parent / "shared" / "data" / "people"
GROWTHS = (None, 0.08)  # None: as the widget stands
BACKGROUNDS = ("erased only", "full plate")
STEPS = 1
MOST_PEOPLE = 4
TOUCHING = 3  # px between two masks below which they count as touching

Mask = NDArray[np.bool_]


class Photo(NamedTuple):
    name: str
    picture: NDArray[np.uint8]  # [H, W, 3]
    masks: NDArray[np.bool_]  # [N, H, W], left to right as the nodes number them


class Counted(NamedTuple):
    """One saved picture."""

    kept: int  # pixels changed in visible masks of people who stay, beyond the contact band
    band: int  # pixels changed within it
    outside: int  # pixels changed outside the holes
    erased: float  # share of the erased people's pixels that changed
    completed: int  # people who stay and were completed behind somebody who goes


def load(folder: Path) -> list[Photo]:
    """Photos of this folder with 2 to MOST_PEOPLE people."""
    photos = []
    for path in sorted(folder.glob("*_inst.png")):
        label = np.asarray(Image.open(path))
        masks = [label == value for value in np.unique(label) if value]
        if 2 <= len(masks) <= MOST_PEOPLE:
            name = path.name.removesuffix("_inst.png")
            picture = np.asarray(Image.open(scenes.find_picture(folder, name)).convert("RGB"))
            masks.sort(key=middle)
            photos.append(Photo(name, picture, np.stack(masks)))
    return photos


def middle(mask: Mask) -> tuple[float, float]:
    """Where a person's box has its middle: so are people numbered."""
    ys, xs = np.nonzero(mask)
    return (int(xs.min()) + int(xs.max()) + 1) / 2, (int(ys.min()) + int(ys.max()) + 1) / 2


def choices(count: int) -> Iterator[tuple[int, ...]]:
    """Who goes, by number from 1: everybody but nobody and all."""
    for many in range(1, count):
        yield from itertools.combinations(range(1, count + 1), many)


def distance_to(mask: Mask) -> NDArray[np.float32]:
    return cv2.distanceTransform(1 - mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def touching(masks: NDArray[np.bool_], who: tuple[int, ...]) -> bool:
    """Whether somebody who goes touches somebody who stays."""
    goes = np.isin(np.arange(1, len(masks) + 1), who)
    return bool((distance_to(masks[goes].any(0))[masks[~goes].any(0)] <= TOUCHING).any())


def run(comfy, photo: Photo, who: tuple[int, ...], grow: float | None, background: str) -> Counted:
    """One choice, from the photo to the PNG and back."""
    values = (
        torch.from_numpy(photo.picture.astype(np.float32) / 255)[None],
        torch.from_numpy(photo.masks.astype(np.float32)),
    )
    image, people = (("TEST_Give", {"key": comfy.give(value)}, 0) for value in values)
    graph = erasing_graph(image, [people], ours.inputs_of, who=",".join(map(str, who)))
    graph["layers"]["inputs"] |= {"background": background} | ({} if grow is None else {"grow": grow})
    graph["sample"]["inputs"]["steps"] = STEPS
    graph["save"] = {"class_type": "SaveImage", "inputs": {"images": ["recompose", 0], "filename_prefix": "kept"}}
    ran = comfy.run_graph(graph, wanted=["save"])
    saved = read_saved(ran.ui["save"]["images"][0])
    layers = ran.outputs["layers"][0][0].layers
    return count(photo, who, saved, layers, graph["layers"]["inputs"]["contact"])


def read_saved(entry: dict[str, str]) -> NDArray[np.uint8]:
    """The PNG that Save Image wrote, and which is deleted now."""
    import folder_paths

    path = Path(folder_paths.get_output_directory()) / entry["subfolder"] / entry["filename"]
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    path.unlink()
    return pixels


def count(photo: Photo, who: tuple[int, ...], saved: NDArray[np.uint8], layers: tuple, contact: int) -> Counted:
    changed = (saved != photo.picture).any(-1)
    goes = np.isin(np.arange(1, len(photo.masks) + 1), who)
    erased, kept = photo.masks[goes].any(0), photo.masks[~goes].any(0)
    band = kept & (distance_to(erased) <= contact)
    holes = torch.zeros(kept.shape, dtype=torch.bool)
    for layer in layers:
        shown = layer.hole if layer.reveal is None else layer.reveal
        boxes.cut(holes, layer.box).logical_or_(shown > 0)
    completed = sum(layer.domain == PERSON and bool((layer.hole > 0).any()) for layer in layers)
    return Counted(
        kept=int((changed & kept & ~band).sum()),
        band=int((changed & band).sum()),
        outside=int((changed & ~holes.numpy()).sum()),
        erased=float(changed[erased].mean()),
        completed=completed,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=PEOPLE, metavar="DIR", help="photos with NAME_inst.png")
    parser.add_argument("--limit", type=int, metavar="N", help="so many photos at most")
    given = parser.parse_args()
    if not given.data.is_dir():
        parser.error("the photos are not beside this repository: give --data DIR")
    photos = load(given.data)[: given.limit]
    in_process = ours.load_nodes()
    everything: list[Counted] = []
    combinations = touched = 0
    for photo in photos:
        own: list[Counted] = []
        with in_process.InProcess() as comfy:
            for who in choices(len(photo.masks)):
                combinations += 1
                touched += touching(photo.masks, who)
                own += [run(comfy, photo, who, grow, back) for grow in GROWTHS for back in BACKGROUNDS]
        everything += own
        print(
            f"{photo.name}: {len(photo.masks)} people, {len(own)} pictures, kept {sum(one.kept for one in own)}, "
            f"contact band {sum(one.band for one in own)}, outside holes {sum(one.outside for one in own)}, "
            f"people completed {sum(one.completed for one in own)}, "
            f"erased at least {100 * min(one.erased for one in own):.0f} %",
            flush=True,
        )
    print(
        f"photos={len(photos)} choices={combinations} touching={touched} pictures={len(everything)} "
        f"kept_changed={sum(one.kept for one in everything)} band_changed={sum(one.band for one in everything)} "
        f"outside_holes={sum(one.outside for one in everything)}"
    )


if __name__ == "__main__":
    main()
