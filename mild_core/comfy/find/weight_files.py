"""Lists the weight files of finders: ComfyUI's folder models/detection, and those where SAM 2 already lies; fetches
those that are missing where the artist asks for it.
"""

from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import comfy.model_management
import comfy.utils
import folder_paths

from ...find.weight_sources import CORE, Choice, WeightFile, origin
from ...optional_packages import INSTEAD, optional_module
from .fetch import fetch

KEY = "mild_find"
"""A folder name of our own: `detection` lists PyTorch's files only, and with ONNX and TFLite files added to it they
would show up in the loaders of others.
"""

FOLDERS = ("detection", "sam2", "sams")
EXTENSIONS = {".onnx", ".ort", ".tflite", ".task", ".pt", ".pth", ".safetensors"}
ABSENT = "none there yet"
"""What a list without files holds first, and every list last: saved workflows keep it. It stands for the file that is
fetched; a workflow that was saved with it goes on running when the file has come.
"""


def register() -> None:
    """Make ComfyUI list the weights: every folder that `detection`, `sam2` and `sams` have, beside what is there.

    Cheap, and may be called again: folders that were added in the meantime are taken over.
    """
    paths, extensions = folder_paths.folder_names_and_paths.get(KEY, ([], set()))
    for name in FOLDERS:
        for path in _folders(name):
            if path not in paths:
                paths.append(path)
    folder_paths.folder_names_and_paths[KEY] = (paths, set(extensions) | EXTENSIONS)


def _folders(name: str) -> list[str]:
    """Where ComfyUI looks for this kind of model, its default folder first."""
    theirs, _ = folder_paths.folder_names_and_paths.get(name, ([], set()))
    return [*theirs, str(Path(folder_paths.models_dir) / name)]


def present(choice: Choice) -> list[str]:
    """The files on this machine that may be it, the one that is fetched first."""
    register()
    names = [(PureWindowsPath(name).name.lower(), name) for name in folder_paths.get_filename_list(KEY)]
    return [name for low, name in sorted(names, key=lambda one: one[0] != choice.file.name.lower()) if choice.fits(low)]


def files(choice: Choice) -> list[str]:
    """What a node offers: the files that are there, ABSENT, and the name of the one that can be fetched, so that a
    workflow which was saved with it opens on a machine that lacks it.
    """
    there = present(choice)
    return [*there, ABSENT] + [choice.file.name] * (choice.file.name not in there and bool(choice.file.addresses))


class Weights:
    """Paths of the files that were chosen; what is missing is fetched first, if the artist asked for it."""

    def __init__(self, fetching: bool):
        self.fetching = fetching
        self.said: list[str] = []
        """What was fetched, in sentences."""

    def path_of(self, name: str, finder: str, choice: Choice, instead: str = INSTEAD) -> Path:
        """The file of this name. Raises ValueError that says what to download and where to put it, or why it could
        not be fetched. instead: what else the artist can do where the finder's package is missing.
        """
        register()
        known = choice.file
        chosen = known.name if name == ABSENT else name
        path = folder_paths.get_full_path(KEY, chosen)
        if path is None and self.fetching and chosen != known.name:
            path = folder_paths.get_full_path(KEY, known.name)
            self.said += [] if path is None else [f"{chosen} is not there: {known.name} is used."]
        if path is not None:
            return Path(path)
        if not self.fetching:
            raise ValueError(
                f"{finder}: put {choice.what} into the folder ComfyUI/models/detection, press R, and choose it here"
                f"{', or turn on fetch_when_missing' if known.addresses else ''}: nothing is downloaded unasked. "
                f"{origin(known)}."
            )
        if not known.addresses:
            raise ValueError(
                f"{finder}: {known.name} is not fetched, because no address is known that keeps it with its sum: put "
                f"{choice.what} into the folder ComfyUI/models/detection, and choose it here. {origin(known)}."
            )
        # Packages first: nobody should wait for weights that cannot be used.
        for module, package in choice.needs:
            optional_module(module, package, finder, instead)
        return self._fetched(chosen, finder, known)

    def _fetched(self, chosen: str, finder: str, file: WeightFile) -> Path:
        bar = comfy.utils.ProgressBar(file.size)

        def report(arrived: int) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            bar.update_absolute(arrived)

        try:
            path = fetch(file, Path(_folders(file.folder)[0]), report)
        except ValueError as error:
            raise ValueError(f"{finder}: {error}") from error
        instead = "" if chosen == file.name else f" in place of {chosen}"
        self.said.append(f"Fetched{instead}, sum checked: {origin(file)}.")
        return path


def listing(choices: Sequence[Choice], whole: bool) -> list[str]:
    """What is on this machine and what is not, ComfyUI's own detectors first.

    whole: a line for each file that is missing, which says where it comes from; else their labels in one line.
    """
    found = [
        (label, [n for n in folder_paths.get_filename_list(file.folder) if word in n.lower()], file)
        for label, word, file in CORE
    ]
    found += [(choice.label, present(choice), choice.file) for choice in choices]
    here = [f"{label} ({', '.join(names)})" for label, names, _ in found if names]
    missing = [(label, file) for label, names, file in found if not names]
    lines = [f"On this machine: {'; '.join(here)}."] if here else []
    if whole:
        return lines + [f"Not here: {label}: {origin(file)}." for label, file in missing]
    labels = "; ".join(label for label, _ in missing)
    return lines + ([f"Not here: {labels}. The help page says where their files come from."] if missing else [])
