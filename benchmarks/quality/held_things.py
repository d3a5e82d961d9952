"""People and what they hold or ride: `uv run benchmarks/quality/held_things.py --data DIR --sheet held.png`

For five photos with hand-made masks (`NAME.jpg`, `NAME_inst.png` in DIR): everyone erased without the thing, then with
it, painted as *also_erase*. There is no truth to compare with, so this writes a sheet to be looked at, and prints how
much of the thing changed in either case, and that nothing outside the holes did.
"""

import argparse
import runpy
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared.ours import erase_chosen
from mild.benchmarks.shared.scenes import load_photo

Outline = list[tuple[int, int]]

# x, y in pixels of the photo, drawn by hand around the thing as an artist would with a brush
THINGS: dict[str, tuple[str, list[Outline]]] = {
    "coco_000000000086": ("motorcycle", [[
        (143, 375), (160, 368), (190, 370), (240, 360), (262, 312), (275, 290), (310, 285), (320, 300), (360, 300),
        (395, 293), (402, 305), (395, 330), (408, 370), (398, 398), (415, 430), (428, 500), (418, 560), (395, 618),
        (368, 630), (345, 618), (310, 585), (288, 580), (275, 552), (215, 554), (185, 545), (165, 520), (158, 480),
        (133, 434), (130, 422), (155, 420),
    ]]),
    "coco_000000000529": ("motorcycle", [[
        (45, 255), (60, 248), (110, 265), (240, 275), (285, 290), (320, 265), (345, 236), (370, 253), (368, 264),
        (342, 272), (342, 300), (322, 320), (347, 350), (360, 388), (345, 392), (332, 396), (347, 400), (372, 430),
        (382, 490), (377, 548), (365, 562), (335, 557), (303, 542), (288, 508), (192, 510), (187, 548), (165, 573),
        (130, 588), (80, 576), (38, 558), (18, 500), (22, 440), (42, 398), (100, 373), (108, 368), (88, 345),
        (78, 300), (73, 275),
    ]]),
    "coco_000000000785": ("skis and poles", [
        [(289, 190), (297, 190), (340, 304), (338, 318), (320, 318), (320, 306)],
        [(448, 182), (455, 179), (608, 375), (603, 383), (584, 374)],
        [(203, 370), (215, 366), (240, 372), (420, 364), (433, 338), (444, 343), (447, 360), (462, 368), (340, 382),
         (225, 384)],
        [(260, 388), (270, 382), (300, 390), (480, 392), (500, 375), (504, 356), (514, 360), (522, 386), (617, 381),
         (618, 392), (520, 396), (300, 404)],
    ]),
    "coco_000000003553": ("skateboard", [[
        (178, 285), (230, 266), (300, 261), (352, 296), (347, 302), (362, 310), (370, 345), (345, 367), (320, 362),
        (225, 372), (193, 367), (193, 328), (238, 318), (238, 314), (188, 310),
    ]]),
    "coco_000000456496": ("bag", [[(260, 183), (280, 181), (299, 183), (306, 234), (278, 232), (276, 205)]]),
}  # fmt: skip


def drawn(outlines: list[Outline], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The filled outlines as one mask [H, W]."""
    mask = np.zeros(size, np.uint8)
    for outline in outlines:
        cv2.fillPoly(mask, [np.array(outline, np.int32)], 1)
    return mask > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="photos with NAME_inst.png")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="photo, without people, without people and things")
    given = parser.parse_args()
    strips, wrong = [], 0
    for name, (thing, outlines) in THINGS.items():
        photo = load_photo(given.data / f"{name}.jpg")
        label = np.asarray(Image.open(given.data / f"{name}_inst.png"))
        people = np.stack([label == value for value in np.unique(label) if value])
        held = drawn(outlines, photo.shape[:2]) & ~people.any(0)
        pictures, words = [photo], []
        for also in (None, held.astype(np.float32)):
            start = perf_counter()
            result, changed = erase_chosen(photo, people, also_erase=also)
            different = (result != photo).any(-1)
            wrong += int((different & ~changed).sum())
            share = different[held].mean()
            how = "with it" if also is not None else f"without the {thing}"
            words.append(f"{how}: {100 * share:.0f} % of it changed, {perf_counter() - start:.0f} s")
            pictures.append(result)
        print(f"{name}: {'; '.join(words)}", flush=True)
        tall = [
            cv2.resize(p, (round(p.shape[1] * 360 / p.shape[0]), 360), interpolation=cv2.INTER_AREA) for p in pictures
        ]
        strips.append(np.hstack([np.pad(p, ((2, 2), (2, 2), (0, 0))) for p in tall]))
    if given.sheet:
        wide = max(strip.shape[1] for strip in strips)
        sheet = np.vstack([np.pad(strip, ((0, 0), (0, wide - strip.shape[1]), (0, 0))) for strip in strips])
        given.sheet.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(sheet * 255).astype(np.uint8)).save(given.sheet)
    print(f"photos={len(THINGS)} changed_outside={wrong}")


if __name__ == "__main__":
    main()
