"""What a second photo of the place is worth: `uv run benchmarks/quality/references.py --data DIR`

DIR holds frames of fixed cameras with instance masks and plates, as for erase_quality.py. Each person is erased from
a frame with another frame of the camera, in which nobody stands near that place, as the one reference. Rows: ours with
the reference; the same pixels of the reference copied after its exposure was matched (the best that one can do with
it); ours without it. PSNR in the given mask against the plate.
"""

import argparse
import runpy
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared import metrics, ours, scenes

AWAY = 24
"""Nobody in the reference stands nearer to the hole than this, in pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=scenes.CORPUS.parent / "pairs", help="frames, masks and plates")
    parser.add_argument("--most", type=int, default=8, help="people tried for each camera")
    given = parser.parse_args()
    everything, _ = scenes.real_scenes(given.data)
    for camera in sorted({scene.camera for scene in everything}):
        rows = [measure(*case) for case in cases([s for s in everything if s.camera == camera])[: given.most]]
        if not rows:
            print(f"{camera}: no frame shows a place without the person who stands there in another")
            continue
        names = ("ours_with_reference", "aligned_copy", "ours_alone")
        means = [metrics.mean_with_interval([row[i] for row in rows]) for i in range(3)]
        short = metrics.mean_with_interval([row[1] - row[0] for row in rows])
        print(f"{camera}, {len(rows)} people, PSNR in dB: ", end="")
        print(", ".join(f"{name} {mean.text(2)}" for name, mean in zip(names, means, strict=True)))
        print(f"{camera}: the copy is ahead by {short.text(2)} dB, at most {max(r[1] - r[0] for r in rows):.2f}")


def cases(frames: list[scenes.Scene]) -> list[tuple[scenes.Scene, int, scenes.Scene]]:
    """One reference for each person who has one: (frame, number of the person, reference)."""
    found = []
    for frame in frames:
        for number, mask in enumerate(frame.masks):
            for other in frames:
                if other is not frame and not (near(mask) & near(other.union)).any():
                    found.append((frame, number, other))
                    break
    return found


def near(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return cv2.dilate(mask.astype(np.uint8), np.ones((AWAY + 1, AWAY + 1), np.uint8)) > 0


def measure(frame: scenes.Scene, number: int, other: scenes.Scene) -> tuple[float, float, float]:
    mask = frame.masks[number]
    copy, _ = scenes.match_exposure(other.photo, frame.photo, frame.union | other.union)
    with_reference = ours.erase(frame.photo, mask[None], references=other.photo[None])
    alone = ours.erase(frame.photo, mask[None])
    return tuple(metrics.hole_psnr(picture, frame.truth, mask) for picture in (with_reference, copy, alone))


if __name__ == "__main__":
    main()
