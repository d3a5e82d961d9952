"""Runs a compiled network as it is written, for as long as hooks stand on it.

torch.compile takes hooks into what it compiles, and does not look for them again: a network that it has seen before
would run without them, or with those of an earlier call.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import torch

COMFYUI = "torch.compile"
"""ComfyUI's key of the wrapper that puts a compiled network in place."""

SET_ASIDE = (
    "model: torch.compile is set aside while this MODEL samples: a compiled network would not see what {title} does."
)

TOO_OLD = (
    "model: this version of PyTorch cannot set torch.compile aside, under which {title} would be lost. Take it off"
)


class _AsWritten:
    """PyTorch's stance "force_eager" while anybody is inside. It holds for the whole process, and ComfyUI calls the
    model in one thread for each GPU: whoever comes in first sets it, whoever goes out last restores what was before.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._stance = threading.Lock(), 0, contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._stance.enter_context(torch.compiler.set_stance("force_eager"))
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._stance.close()


_AS_WRITTEN = _AsWritten()


class Uncompiled:
    """Has the networks of one sampling run as they are written, and says so once where that changes anything."""

    def __init__(self, title: str, note: Callable[[str], None]):
        """title: the nodes whose hooks stand on the network, in words; note: takes a sentence for the artist."""
        self.title, self.note = title, note
        self._compiled: dict[int, bool] = {}

    def of(self, network: torch.nn.Module, transformer_options: dict[str, Any]) -> contextlib.AbstractContextManager:
        """Inside, this network's call runs as it is written. ValueError with a PyTorch before 2.6."""
        if id(network) not in self._compiled:
            compiled = self._compiled[id(network)] = is_compiled(network, transformer_options)
            if compiled and not hasattr(torch.compiler, "set_stance"):
                raise ValueError(TOO_OLD.format(title=self.title))
            if compiled:
                self.note(SET_ASIDE.format(title=self.title))
        return _AS_WRITTEN if self._compiled[id(network)] else contextlib.nullcontext()


def is_compiled(network: torch.nn.Module, transformer_options: dict[str, Any]) -> bool:
    """The network, or a block of it."""
    wrappers = transformer_options.get("wrappers", {}).get("apply_model", {})
    return bool(wrappers.get(COMFYUI)) or any(
        "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None
        for module in network.modules()
    )
