"""Runs a compiled network as it is written, for as long as hooks stand on it.

torch.compile takes hooks into what it compiles, and does not look for them again: a network that it has seen before
would run without them, or with those of an earlier call.
"""

import contextlib
from typing import Any

import torch

COMFYUI = "torch.compile"
"""ComfyUI's key of the wrapper that puts a compiled network in place."""

TOO_OLD = (
    "model: this version of PyTorch cannot set torch.compile aside, under which adapters would be lost. Take it off"
)


def is_compiled(network: torch.nn.Module, transformer_options: dict[str, Any]) -> bool:
    """The network, or a block of it."""
    wrappers = transformer_options.get("wrappers", {}).get("apply_model", {})
    return bool(wrappers.get(COMFYUI)) or any(
        "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None
        for module in network.modules()
    )


def as_written() -> contextlib.AbstractContextManager:
    """Inside, nothing that is compiled runs as such. ValueError with a PyTorch before 2.6."""
    if not hasattr(torch.compiler, "set_stance"):
        raise ValueError(TOO_OLD)
    return torch.compiler.set_stance("force_eager")
