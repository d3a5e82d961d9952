"""Where files of this pack's own networks lie: ComfyUI's folder models/mild."""

from pathlib import Path

import folder_paths

KEY = "mild"
EXTENSIONS = {".safetensors"}
ABSENT = "none there yet"
"""The only choice of a list without files; a saved workflow keeps it."""


def register() -> None:
    """Make ComfyUI list the files of models/mild, beside what this key may have already (extra_model_paths.yaml).

    Cheap, may be called again, and creates no folder.
    """
    paths, extensions = folder_paths.folder_names_and_paths.get(KEY, ([], set()))
    own = str(Path(folder_paths.models_dir) / KEY)
    if own not in paths:
        paths.append(own)
    folder_paths.folder_names_and_paths[KEY] = (paths, set(extensions) | EXTENSIONS)


def files() -> list[str]:
    """The safetensors files there; [ABSENT] if there are none."""
    register()
    names = folder_paths.get_filename_list(KEY)
    return [name for name in names if Path(name).suffix.lower() in EXTENSIONS] or [ABSENT]


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
