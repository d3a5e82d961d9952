"""Lists the weight files of finders: ComfyUI's folder models/detection, and those where SAM 2 already lies."""

from collections.abc import Callable
from pathlib import Path, PureWindowsPath

import folder_paths

KEY = "mild_find"
"""A folder name of our own: `detection` lists PyTorch's files only, and with ONNX and TFLite files added to it they
would show up in the loaders of others.
"""

FOLDERS = ("detection", "sam2", "sams")
EXTENSIONS = {".onnx", ".ort", ".tflite", ".task", ".pt", ".pth", ".safetensors"}
ABSENT = "none there yet"
"""The only choice of a list without files; a saved workflow keeps it."""


def register() -> None:
    """Make ComfyUI list the weights: every folder that `detection`, `sam2` and `sams` have, beside what is there.

    Cheap, and may be called again: folders that were added in the meantime are taken over.
    """
    paths, extensions = folder_paths.folder_names_and_paths.get(KEY, ([], set()))
    for name in FOLDERS:
        theirs, _ = folder_paths.folder_names_and_paths.get(name, ([], set()))
        for path in [*theirs, str(Path(folder_paths.models_dir) / name)]:
            if path not in paths:
                paths.append(path)
    folder_paths.folder_names_and_paths[KEY] = (paths, set(extensions) | EXTENSIONS)


def files(fits: Callable[[str], bool]) -> list[str]:
    """The weights whose file name (in lower case, without folders) fits; [ABSENT] if there are none."""
    register()
    names = folder_paths.get_filename_list(KEY)
    return [name for name in names if fits(PureWindowsPath(name).name.lower())] or [ABSENT]


def path_of(name: str, finder: str, what: str) -> Path:
    """The file of this name. Raises ValueError that says what to download and where to put it."""
    register()
    path = None if name == ABSENT else folder_paths.get_full_path(KEY, name)
    if path is None:
        raise ValueError(
            f"{finder}: put {what} into the folder ComfyUI/models/detection, press R, and choose it here: nothing is "
            "downloaded by itself."
        )
    return Path(path)
