"""Where files of body guidance lie: ComfyUI's folder models/mild, beside attention's gains."""

from pathlib import Path

import folder_paths

from ..model_folder import EXTENSION, KEY, register

ABSENT = "none there yet"
"""The only choice of a list without files; a saved workflow keeps it."""


def files() -> list[str]:
    """The safetensors files there that are no gains (those have it in their names); [ABSENT] if there are none."""
    register()
    names = folder_paths.get_filename_list(KEY)
    return [name for name in names if _fits(Path(name).name.lower())] or [ABSENT]


def path_of(name: str) -> Path:
    """The file of this name. Raises ValueError that says where to put one."""
    register()
    path = None if name == ABSENT else folder_paths.get_full_path(KEY, name)
    if path is None:
        raise ValueError(
            "file: put a body guidance file (.safetensors) into the folder ComfyUI/models/mild, press R, and choose it "
            "here; without one, Pose Hint and a stock pose ControlNet do a similar job."
        )
    return Path(path)


def _fits(name: str) -> bool:
    return name.endswith(EXTENSION) and "gains" not in name
