"""Packages that are not ComfyUI's own: one sentence that says what to install, and the files that they run."""

import importlib
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

INSTEAD = "choose another way to find people"
"""What the artist can do where a finder's package is missing."""


def optional_module(name: str, package: str, finder: str, instead: str = INSTEAD) -> ModuleType:
    """The module `name`, which `package` (as pip calls it) brings. Raises ValueError, in one sentence, if it is absent
    or does not load. instead: what else the artist can do.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != name.split(".")[0]:
            raise ValueError(
                f"{finder}: the package {package} is there but misses another one, '{error.name}': run "
                f"`pip install {error.name}` in ComfyUI's Python and start ComfyUI again."
            ) from error
        raise ValueError(
            f"{finder}: the package {package} is not installed: run `pip install {package}` in ComfyUI's Python and "
            f"start ComfyUI again, or {instead}."
        ) from error
    except Exception as error:
        # A package of somebody else may fail in any way while it loads; the artist needs to know which one it was.
        raise ValueError(
            f"{finder}: the package {package} does not load ({type(error).__name__}: {error}): it may not fit the "
            f"versions of other packages here, so update it or {instead}."
        ) from error


def onnx_session(
    path: Path, finder: str, inputs: Collection[str], outputs: Collection[str], meant: str, instead: str = INSTEAD
) -> Any:
    """An ONNX file as an onnxruntime.InferenceSession (on the CPU) that has at least these inputs and outputs.

    meant: a sentence that says which file to choose. instead: see optional_module. Raises ValueError if the package
    onnxruntime is absent, or the file cannot be read or is another one.
    """
    runtime = optional_module("onnxruntime", "onnxruntime", finder, instead)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    # Threads that wait must not spin: on a busy machine they would take the time of those that work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime's own errors have no common class that is public.
        raise ValueError(f"{finder}: {path.name} cannot be read ({error}). Choose another file.") from None
    if not set(inputs) <= {one.name for one in session.get_inputs()} or not set(outputs) <= {
        one.name for one in session.get_outputs()
    }:
        raise ValueError(f"{finder}: {path.name} is not the file it should be: {meant}")
    return session
