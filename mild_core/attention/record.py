"""Record a sampling's attention: how much each layer's hole looked at what, by block, head and noise level."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .gap import sides

Block = tuple[str | int, ...]
"""("output", 3, 0), ("double", 5), ...: as replace patches name blocks."""

DEFINITION = (
    "CAG = mean over the hole's tokens of (attention given to own regions - attention given to foreign regions), "
    "-1..1; this project's definition, not the paper's"
)
DIGITS = 4
EARLY, MIDDLE, LATE = "early", "middle", "late"


class RegionNames(NamedTuple):
    """Of one pathway in one kind of attention."""

    names: tuple[str, ...]
    own: str
    ignored: tuple[str, ...]  # neither own nor foreign: text, padding, references

    @property
    def sides(self) -> tuple[list[int], list[int]]:
        return sides(self.names, self.own, self.ignored)


class NoiseLevel(NamedTuple):
    """A noise level."""

    progress: float  # through the sampling, 0..1
    sigma: float


class Seen(NamedTuple):
    """What the mean token of the hole looked at, in one block at one noise level."""

    mass: Tensor  # [heads, R], shares of its attention, by region; nan: not measured
    regions: RegionNames

    @property
    def gap(self) -> Tensor:
        """[heads]: CAG, -1..1."""
        own, foreign = self.regions.sides
        zero = torch.zeros_like(self.mass[:, 0])
        return sum((self.mass[:, n] for n in own), zero) - sum((self.mass[:, n] for n in foreign), zero)


class Mean:
    """Of tensors that come in one by one; they stay on their device until somebody asks."""

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._count = 0

    def add(self, values: Tensor) -> None:
        self._total = values if self._total is None else self._total + values
        self._count += 1

    def settle(self) -> None:
        """To the CPU's memory."""
        if self._total is not None:
            self._total = self._total.cpu()

    @property
    def value(self) -> Tensor:
        if self._total is None:
            raise ValueError("nothing was added yet")
        return (self._total / self._count).cpu()


class LayerRecord:
    """Of one pathway; one entry for each block and noise level."""

    def __init__(self, key: str | int) -> None:
        """key: whose regions they were."""
        self.key = key
        self._mass: dict[tuple[Block, NoiseLevel], tuple[RegionNames, Mean]] = {}
        self._where: dict[str, Mean] = {}

    def add(self, block: Block, level: NoiseLevel, regions: RegionNames, mass: Tensor) -> None:
        """mass: [heads, R]. Several of one block at one level (prompts in parts, samplers that look twice) are
        averaged.
        """
        self._mass.setdefault((block, level), (regions, Mean()))[1].add(mass)

    def add_where(self, phase: str, looked: Tensor) -> None:
        """looked: [h, w], the same size each time: how much of the hole's attention each part of the crop gets.

        phase: EARLY, MIDDLE or LATE. Blocks are averaged.
        """
        self._where.setdefault(phase, Mean()).add(looked)

    def settle(self) -> None:
        for mean in (*(mean for _, mean in self._mass.values()), *self._where.values()):
            mean.settle()

    @property
    def seen(self) -> dict[tuple[Block, NoiseLevel], Seen]:
        """In the order in which it came."""
        return {place: Seen(mean.value, regions) for place, (regions, mean) in self._mass.items()}

    @property
    def blocks(self) -> tuple[Block, ...]:
        """In the order in which they run."""
        return tuple(dict.fromkeys(block for block, _ in self._mass))

    @property
    def levels(self) -> tuple[NoiseLevel, ...]:
        """From early to late."""
        return tuple(sorted(dict.fromkeys(level for _, level in self._mass), key=lambda level: level.progress))

    @property
    def where(self) -> dict[str, Tensor]:
        """[h, w] by phase, from early to late."""
        return {phase: self._where[phase].value for phase in (EARLY, MIDDLE, LATE) if phase in self._where}

    def gaps(self) -> Tensor:
        """[blocks, levels], -1..1: mean over heads; nan: not measured."""
        blocks, levels = self.blocks, self.levels
        result = torch.full((len(blocks), len(levels)), math.nan)
        for (block, level), seen in self.seen.items():
            result[blocks.index(block), levels.index(level)] = seen.gap.nanmean()
        return result

    def gap(self) -> float:
        """-1..1: mean over blocks, heads and noise levels; nan: not measured."""
        return float(self.gaps().nanmean())

    def shares(self) -> dict[str, float]:
        """How much of the hole's attention each region gets, over all blocks, heads and noise levels alike. Sum 1,
        where everything was measured.
        """
        found: dict[str, list[float]] = {}
        for seen in self.seen.values():
            means = seen.mass.nanmean(0)
            for name, value in zip(seen.regions.names, means.tolist(), strict=True):
                found.setdefault(name, []).append(value)
        # a region that only some attentions have (text) got nothing in the others
        count = len(self._mass)
        return {name: sum(v for v in values if not math.isnan(v)) / count for name, values in found.items()}

    def foreign(self) -> tuple[str, ...]:
        """Names of the regions that count as foreign."""
        different = dict.fromkeys(regions for regions, _ in self._mass.values())
        return tuple(dict.fromkeys(regions.names[n] for regions in different for n in regions.sides[1]))

    @property
    def own(self) -> str:
        regions, _ = next(iter(self._mass.values()))
        return regions.own

    def as_dict(self) -> dict[str, Any]:
        """All numbers, ready for JSON; None: not measured."""
        cells = [
            {
                "block": " ".join(map(str, block)),
                "progress": _rounded(level.progress),
                "sigma": _rounded(level.sigma),
                "gap_by_head": _rounded(seen.gap.tolist()),
                "attention_by_head": {
                    name: _rounded(values)
                    for name, values in zip(seen.regions.names, seen.mass.T.tolist(), strict=True)
                },
            }
            for (block, level), seen in self.seen.items()
        ]
        return {
            "own": self.own,
            "foreign": list(self.foreign()),
            "gap": _rounded(self.gap()),
            "attention": {name: _rounded(value) for name, value in self.shares().items()},
            "blocks": [" ".join(map(str, block)) for block in self.blocks],
            "sigmas": [_rounded(level.sigma) for level in self.levels],
            "gap_by_block_and_sigma": _rounded(self.gaps().tolist()),
            "where": {phase: _rounded((looked / looked.sum()).tolist()) for phase, looked in self.where.items()},
            "cells": cells,
        }


class Pathway(NamedTuple):
    """Whose record it is."""

    row: str | int  # a layer's id, or the number in the batch where nobody named the rows
    guided: bool = False  # of the second call of the model in which a guidance looks at what its rule changes


class Record:
    """Of all pathways of a sampling."""

    def __init__(self) -> None:
        self._layers: dict[Pathway, LayerRecord] = {}

    def begin(self, rows: Iterable[str | int]) -> None:
        """These are sampled from the start: whatever was written down of them before is gone. Numbered rows are
        another picture each time, so one of them clears all of them.
        """
        rows = list(rows)
        numbered = any(isinstance(row, int) for row in rows)
        gone = {who for who in self._layers if who.row in rows or (numbered and isinstance(who.row, int))}
        self._layers = {who: layer for who, layer in self._layers.items() if who not in gone}

    def of(self, pathway: Pathway, key: str | int) -> LayerRecord:
        """Of one pathway, with the regions of `key`; empty if there is nothing yet."""
        return self._layers.setdefault(pathway, LayerRecord(key))

    def settle(self) -> None:
        for layer in self._layers.values():
            layer.settle()

    @property
    def layers(self) -> dict[Pathway, LayerRecord]:
        """Those of which something was measured."""
        return {who: layer for who, layer in self._layers.items() if layer.blocks}

    def as_json(self, names: Mapping[Pathway, str]) -> str:
        """All numbers of some pathways as JSON text. names: what the artist calls them."""
        layers = [{"id": who.row, "name": name, "guided": who.guided, **self.layers[who].as_dict()}
                  for who, name in names.items()]  # fmt: skip
        return json.dumps({"definition": DEFINITION, "layers": layers}, allow_nan=False)


def phases(steps: int) -> dict[int, str]:
    """Which steps are looked at closely: the first, the middle and the last one."""
    return {0: EARLY, steps // 2: MIDDLE, steps - 1: LATE} if steps > 1 else {0: EARLY}


def _rounded(values: Any) -> Any:
    """Numbers of nested lists with DIGITS significant places behind the point; None for what is not a number."""
    if isinstance(values, list):
        return [_rounded(value) for value in values]
    return round(values, DIGITS) if math.isfinite(values) else None
