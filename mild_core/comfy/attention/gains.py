"""Learned factors of a rule's strength, per block and head: gamma of design equation S_ij = q k - s gamma r L r.

A file of them is small: one tensor [heads] for each block, named as its place in the network, "output.3.0" or
"double.5". It holds numbers before softplus, which keeps factors above 0; blocks without a tensor have the factor 1.
"""

from collections.abc import Mapping
from pathlib import Path

import comfy.utils
import folder_paths
import torch.nn.functional as F
from torch import Tensor

from .. import layouts
from ..model_folder import EXTENSION, KEY, register

NONE = "none"


class Gains:
    """Factors by block and head."""

    def __init__(self, factors: Mapping[str, Tensor] | None = None, name: str = ""):
        """factors: [heads] each, > 0; name: the file's, for errors."""
        self._factors, self._name = dict(factors or {}), name

    def of(self, block: layouts.Block, heads: int) -> Tensor | None:
        """[heads], float32; None: all 1. ValueError where the file has another number of heads."""
        factors = self._factors.get(".".join(map(str, block)))
        if factors is not None and len(factors) != heads:
            raise ValueError(
                f"gains: {self._name} was made for another model: {len(factors)} heads in {' '.join(map(str, block))}, "
                f"but this one has {heads}"
            )
        return factors


def files() -> list[str]:
    """What can be chosen: NONE, and the files of gains in models/mild: names that hold "gains"."""
    register()
    names = folder_paths.get_filename_list(KEY)
    return [NONE, *(name for name in names if name.lower().endswith(EXTENSION) and "gains" in Path(name).name.lower())]


def load(name: str) -> Gains:
    """Read one of `files`. ValueError where it is gone or holds something else."""
    if name == NONE:
        return Gains()
    register()
    path = folder_paths.get_full_path(KEY, name)
    if path is None:
        raise ValueError(f"gains: {name} is not in models/mild. Choose another file, or none")
    raw = comfy.utils.load_torch_file(path, safe_load=True)
    for block, values in raw.items():
        if values.ndim != 1 or block.split(".")[0] not in BLOCKS or not bool(values.isfinite().all()):
            raise ValueError(
                f"gains: {name} holds no gains: {block} should be a block such as output.3.0, with one number per head"
            )
    return Gains({block: F.softplus(values.float()) for block, values in raw.items()}, name)


BLOCKS = ("input", "middle", "output", "double", "single", "joint", "refiner")
