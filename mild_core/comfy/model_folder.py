"""ComfyUI's folder models/mild: files that are for this pack's models alone, gains of attention and body guidance."""

from pathlib import Path

import folder_paths

KEY = "mild"
EXTENSION = ".safetensors"


def register() -> None:
    """Make ComfyUI list models/mild, beside other folders of this name; may be called again."""
    paths, extensions = folder_paths.folder_names_and_paths.get(KEY, ([], set()))
    own = str(Path(folder_paths.models_dir) / KEY)
    folder_paths.folder_names_and_paths[KEY] = (
        paths if own in paths else [*paths, own],
        set(extensions) | {EXTENSION},
    )
