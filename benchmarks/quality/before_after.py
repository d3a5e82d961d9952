"""Photos with everyone erased, to be looked at: `uv run benchmarks/quality/before_after.py --data DIR --out DIR`

DIR holds photos with hand-made masks (`NAME.jpg` or `.png`, `NAME_inst.png`). For each, `--out` gets NAME.png as
Recompose Photo gives it, and NAME_sheet.png at full size: the photo, with `--beside` what an earlier run made of it,
the result. There is no truth to compare with, so all that is printed is what changed outside of the holes, which is
nothing.
"""

import argparse
import runpy
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared.ours import run_erasing
from mild.benchmarks.shared.scenes import find_picture, load_photo

GAP = 4  # px between the pictures of a sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="photos with NAME_inst.png")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where results and sheets go")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="the --out of an earlier run, to be shown too")
    parser.add_argument("--effects", action="store_true", help="with Propose Effects, all that it proposes taken")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N photos only")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    masks_of = sorted(given.data.glob("*_inst.png"))[: given.limit]
    wrong = 0
    for path in masks_of:
        name = path.name.removesuffix("_inst.png")
        if (given.out / f"{name}.png").exists():
            continue
        photo = load_photo(find_picture(given.data, name))
        label = np.asarray(Image.open(path))
        start = perf_counter()
        masks = np.stack([label == value for value in np.unique(label) if value])
        image, changed, *_ = run_erasing(photo, masks, "all", effects=given.effects)["recompose"]
        result = image[0].float().numpy()
        outside = int(((result != photo).any(-1) & ~(changed[0].numpy() > 0)).sum())
        wrong += outside
        print(f"{name}: {perf_counter() - start:.0f} s, {outside} pixels changed outside", flush=True)
        pictures = [photo, result]
        if given.beside:
            pictures.insert(1, load_photo(given.beside / f"{name}.png"))
        _save(np.hstack([np.pad(one, ((0, 0), (0, GAP), (0, 0))) for one in pictures]), given.out / f"{name}_sheet.png")
        _save(result, given.out / f"{name}.png")
    print(f"photos={len(masks_of)} changed_outside={wrong}")


def _save(picture: NDArray[np.float32], path: Path) -> None:
    Image.fromarray(np.round(picture * 255).astype(np.uint8)).save(path)


if __name__ == "__main__":
    main()
