"""LoRA files of ComfyUI's folder models/loras: which there are, and what stands in one."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import comfy.lora_convert
import comfy.utils
import folder_paths

from .misfit import no_lora
from .modules import modules_of

KEY = "loras"
NONE = "none"

KEPT = 4
"""Files that stay read: as many as a chain of two of our nodes names. Each of ComfyUI's LoRA loaders keeps its own."""

Stamp = tuple[str, int, int]
"""A file as it is now: its path, when it was changed (ns), its bytes."""


class LoraFile(NamedTuple):
    """What stands in a file."""

    name: str  # as the artist chose it, folders below models/loras included
    tensors: Mapping[str, Any]  # named as ComfyUI's own loader names them
    modules: Mapping[str, tuple[str, ...]]  # names of modules, as the file writes them, and their keys in `tensors`
    about: Mapping[str, str]  # what its trainer noted in it


_read: OrderedDict[Stamp, LoraFile] = OrderedDict()


def files() -> list[str]:
    """What can be chosen: NONE, and ComfyUI's LoRA files."""
    return [NONE, *folder_paths.get_filename_list(KEY)]


def stamp(name: str) -> Stamp | None:
    """By what a changed file is told; None: there is none of this name in ComfyUI's folders for them."""
    path = None if name == NONE else folder_paths.get_full_path(KEY, name)
    if path is None:
        return None
    about = Path(path).stat()
    return path, about.st_mtime_ns, about.st_size


def read(name: str, socket: str) -> LoraFile:
    """The file of this name: read once, and again once it has changed.

    ValueError with the socket's name where it is gone, broken, or no LoRA.
    """
    found = stamp(name)
    if found is None:
        raise ValueError(f"{socket}: {name} is not in ComfyUI/models/loras. Press R, and choose another file or none.")
    if found not in _read:
        _read[found] = _load(found[0], name, socket)
    _read.move_to_end(found)
    while len(_read) > KEPT:
        _read.popitem(last=False)
    return _read[found]._replace(name=name)


def _load(path: str, name: str, socket: str) -> LoraFile:
    try:
        tensors, about = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
        tensors = comfy.lora_convert.convert_lora(dict(tensors))
    except Exception as error:  # readers raise whatever they like: safetensors, pickle, zip, the disk
        raise ValueError(
            f"{socket}: {name} cannot be read ({type(error).__name__}): it is broken, or no file of weights. Fetch it "
            "again, or choose another."
        ) from error
    modules = modules_of(tensors)
    kind = no_lora(tensors, modules)
    if kind is not None:
        raise ValueError(f"{socket}: {name} is no LoRA: it looks like {kind}. Choose a LoRA file, or none.")
    return LoraFile(name, tensors, modules, dict(about or {}))
