"""Which rows of a module's input get an adapter how strongly."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..families import family_of_base

UNKNOWN = (
    "lora: {name} changes {path}, which this model, or another node on it (HyperTile does so), runs on {rows} rows for "
    "a batch of {batch}, so that those of one layer cannot be told. Take that node off, or give all layers the same "
    "LoRA at the same strength"
)


class Rows(NamedTuple):
    """Neighbours in a batch that all get an adapter."""

    start: int
    stop: int
    gains: tuple[float, ...]  # of each
    scales: Tensor | None = None  # the same on the device; None where all are equal


class Gains:
    """An adapter's, for the rows of one call of the model."""

    def __init__(self, name: str, gains: Sequence[float], device: torch.device):
        self.name, self.gains = name, tuple(gains)
        self.equal = len(set(gains)) == 1
        self.runs = [_run(self.gains, start, stop, device) for start, stop in _runs(gains)]


def _runs(gains: Sequence[float]) -> list[tuple[int, int]]:
    """Start and stop of neighbours whose gains are not 0."""
    found: list[tuple[int, int]] = []
    for row, gain in enumerate(gains):
        if gain == 0:
            continue
        if found and found[-1][1] == row:
            found[-1] = (found[-1][0], row + 1)
        else:
            found.append((row, row + 1))
    return found


def _run(gains: tuple[float, ...], start: int, stop: int, device: torch.device) -> Rows:
    own = gains[start:stop]
    return Rows(start, stop, own, None if len(set(own)) == 1 else torch.tensor(own, device=device))


def patches_in(model: Any, shape: Sequence[int]) -> int:
    """Of a picture, where this BaseModel gets an input of this shape; 0 where no module has them as rows."""
    if not family_of_base(model).on_patches:
        return 0
    side = model.diffusion_model.patch_size
    return math.prod(math.ceil(length / side) for length in shape[-2:])


class Inputs:
    """The rows that come to one module in one call of the model; most often the model's own."""

    def __init__(self, path: str, batch: int, patches: int, repeated: bool):
        """path: the module's, in the network; patches: its rows for each of the batch, 0: no more than one; repeated:
        whether it may get the batch several times in a row.
        """
        self.path, self.batch, self.patches, self.repeated = path, batch, patches, repeated
        self.done = 0

    def take(self, rows: int) -> "Taken":
        """Of one call of the module with so many rows."""
        first = self.done
        if self.patches and rows < self.batch * self.patches:  # tiles, one after another
            self.done = (first + rows) % (self.batch * self.patches)
        return Taken(self, first, rows)


class Taken(NamedTuple):
    """What came to a module in one call."""

    inputs: Inputs
    first: int
    rows: int

    def runs(self, gains: Gains) -> list[Rows]:
        """Those of its rows that get an adapter. ValueError where that cannot be told."""
        inputs = self.inputs
        if self.rows == inputs.batch and not inputs.patches:
            return gains.runs
        if gains.equal:
            return [Rows(0, self.rows, gains.gains[:1] * self.rows)] if gains.gains[0] else []
        if inputs.repeated and self.rows % inputs.batch == 0:
            return [
                run._replace(start=first + run.start, stop=first + run.stop)
                for first in range(0, self.rows, inputs.batch)
                for run in gains.runs
            ]
        if not inputs.patches:
            raise ValueError(UNKNOWN.format(name=gains.name, path=inputs.path, rows=self.rows, batch=inputs.batch))
        found = []
        for row, gain in enumerate(gains.gains):
            start = max(row * inputs.patches - self.first, 0)
            stop = min((row + 1) * inputs.patches - self.first, self.rows)
            if gain and start < stop:
                found.append(Rows(start, stop, (gain,) * (stop - start)))
        return found
