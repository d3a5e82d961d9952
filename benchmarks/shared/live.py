"""Most bytes of tensors that a piece of code holds at once, on any device."""

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Within `with LiveBytes() as live`, live.most counts what PyTorch's operations gave and is still there.

    Exact where a process's memory is not: that rises and falls with what allocators keep. It leaves out what an
    operation needs while it runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        before = {id_of(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and id_of(leaf) not in before:
                storage = leaf.untyped_storage()
                self._alive[id_of(leaf)] = StorageWeakRef(storage), storage.nbytes()
        self._alive = {key: entry for key, entry in self._alive.items() if not entry[0].expired()}
        self.most = max(self.most, sum(size for _, size in self._alive.values()))
        return result

    def around(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        """Wrapper of ComfyUI's: counts within one call of the model."""
        with self:
            return executor(*args, **kwargs)


def id_of(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
