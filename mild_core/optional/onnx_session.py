"""ONNX files by onnxruntime, on the CPU."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from .missing import INSTEAD, optional_module


def onnx_session(
    path: Path, finder: str, inputs: Collection[str], outputs: Collection[str], meant: str, instead: str = INSTEAD
) -> Any:
    """The file as an onnxruntime.InferenceSession that has at least these inputs and outputs.

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
