"""Records how much each layer's hole looks at which regions while a MODEL samples; the result stays the same.

    model, recorder = recording(model, Maps.of(scenes))
    ... sample ...
    recorder.record

Attention mass comes out of the attention calls themselves (attention/evaluate.py), so it holds with whatever rules
other nodes put on the same MODEL, before or after. The built-in model has no attention; there it is the votes of
patches, which are the same thing (exemplar/vote.py: looked_at).
"""

import math
from typing import Any

import comfy.model_patcher
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...attention.factors import RowRule
from ...attention.gap import mean_mass
from ...attention.layer_regions import Maps
from ...attention.record import NoiseLevel, Pathway, Record, RegionNames, phases
from ...attention.regions import HOLE, IMAGE, REFERENCE, Members, on_grid, tiles
from ...attention.rule import off
from ...image.fill import area_resize
from .. import layouts
from ..erasers.eraser import eraser_of
from . import catch
from .run import AttentionRow, SamplingRun, progress, rows_of, run_of, sigma_of
from .sarg import BRANCH
from .steer import Place, Steered, Steering

KEY = "MILD_RecordGap"

TILES = 96
"""Tiles of a picture at most: with heads of 128 and the regions they still fit a fused kernel's 256 columns."""

FINE_TILES = 4096
"""Tiles of a picture at most for the built-in model, where they cost nothing."""

PATCHES = ("patches",)
"""The built-in model's only block."""

IGNORED = (layouts.TEXT, layouts.PADDING, REFERENCE)
"""Neither own nor foreign: they are not in the picture. (Those who vanish, in a reference picture, are foreign.)"""


def recording(
    model: comfy.model_patcher.ModelPatcher, maps: Maps
) -> tuple[comfy.model_patcher.ModelPatcher, "Recorder"]:
    """A clone of the MODEL, and what is recorded whenever it samples. ValueError for a family without hooks."""
    looked = eraser_of(model).looked
    recorder = Recorder(maps, looked)
    if looked is None:
        return catch.put(model, recorder, KEY), recorder
    patched = model.clone()
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, recorder.around_votes)
    return patched, recorder


class Recorder(Steering):
    """A handler (catch.Handler) that changes nothing and measures the positive conditioning's rows.

    Each sampling starts the record of its own layers anew: Sample Layers runs several, one after another.
    """

    title = "Record Attention Gap"

    def __init__(self, maps: Maps, looked: str | None = None):
        """looked: Eraser.looked, by which a model without attention reports what its holes look at."""
        self.looked_key = looked
        self.record = Record()
        super().__init__(maps, lambda key, names: off(names))

    def _forget(self) -> None:
        super()._forget()
        self._sigmas: list[float] = []
        self._phases: dict[int, str] = {}
        self._tiles = (1, 1)
        self._guided = False

    # -- a handler ----------------------------------------------------------------------------------------------------

    def begin(self, run: SamplingRun) -> None:
        super().begin(run)
        self._sigmas = run.sigmas.tolist()
        self._phases = phases(len(self._sigmas) - 1)
        self._tiles = tile_counts(run.shape[-2:], TILES)
        self.record.begin(run.rows or range(run.shape[0]))

    def end(self) -> None:
        self.record.settle()
        super().end()

    def attend(
        self, inner: catch.Inner, site: catch.Site, q: Tensor, k: Tensor, v: Tensor, heads: int,
        transformer_options: dict[str, Any], *args: Any, **kwargs: Any,
    ) -> Tensor:  # fmt: skip
        self._guided = bool(transformer_options.get(BRANCH))
        return super().attend(inner, site, q, k, v, heads, transformer_options, *args, **kwargs)

    def row_rule(self, row: AttentionRow, place: Place, site: catch.Site, heads: int) -> RowRule | None:
        return super().row_rule(row, place, site, heads) if self._counts(row) else None

    def made(self, place: Place, members: Members, progress: float) -> RowRule | None:
        measured = members.soft
        if self._phase(progress) is not None:
            looked = measured.new_zeros(len(measured), self._tiles[0] * self._tiles[1])
            for span in place.spans:
                if span.kind == IMAGE and span.grid is not None:
                    looked[span.start : span.start + span.length] = tiles(span.grid, self._tiles).to(looked)
            measured = torch.cat([measured, looked], 1)
        return RowRule(measured=measured)

    def measured(self, site: catch.Site, rows: list[Steered], mass: Tensor) -> None:
        phase, level = self._phase(site.progress), self._level(site.progress)
        for (row, place), seen in zip(rows, mass, strict=True):
            if place is None or not self._counts(row):
                continue
            members = self.members(place)
            assert members is not None
            means = mean_mass(seen, members.soft[:, members.names.index(HOLE)])
            count = len(members.names)
            layer = self.record.of(Pathway(row.layer, self._guided), place.key)
            regions = RegionNames(members.names, self.maps.own(place.key), IGNORED)
            layer.add(site.block, level, regions, means[:, :count])
            if phase is not None:
                end = count + self._tiles[0] * self._tiles[1]  # rows of fewer regions are filled up
                layer.add_where(phase, means[:, count:end].mean(0).unflatten(0, self._tiles))

    # -- the built-in model -------------------------------------------------------------------------------------------

    def around_votes(self, executor: Any, noise: Tensor, latent: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Around a whole sampling (OUTER_SAMPLE) of the built-in model."""
        guider = executor.class_obj
        options = guider.model_options["transformer_options"]  # a copy for this sampling
        former = options.get(self.looked_key)

        def looked(*call: Any) -> None:
            if former is not None:
                former(*call)
            self.looked(*call)

        options[self.looked_key] = looked
        self.begin(run_of(guider, args[1], latent.shape))
        try:
            return executor(noise, latent, *args, **kwargs)
        finally:
            self.end()

    def looked(self, transformer_options: dict[str, Any], number: int, looked: Tensor) -> None:
        """Row `number` of a call: where its hole looks, [S, h, w], the photo first, then references."""
        assert self.run is not None
        catch.refuse_windows(transformer_options)
        rows = rows_of(self.run, transformer_options, len(transformer_options["uuids"]) * self._count)
        row = rows[number]
        key = self.maps.key(row.layer, self._count)
        if key is None or not self._counts(row) or not bool(looked.any()):
            return
        regions = self.maps.regions(key)
        members = on_grid(regions.masks, (looked.shape[1], looked.shape[2]))
        shares = looked[0].flatten() @ members.soft.to(looked)
        shares = torch.cat([shares, looked[1:].sum()[None]])
        done = progress(transformer_options["sample_sigmas"], sigma_of(transformer_options))
        layer = self.record.of(Pathway(row.layer), key)
        names = (*members.names, REFERENCE)
        layer.add(PATCHES, self._level(done), RegionNames(names, regions.own, IGNORED), shares[None])
        phase = self._phase(done)
        if phase is not None:
            drawn = area_resize(looked[None, :1], tile_counts(self.run.shape[-2:], FINE_TILES))[0, 0]
            layer.add_where(phase, drawn * (looked[0].sum() / drawn.sum().clamp_min(1e-12)))

    # -- who and when -----------------------------------------------------------------------------------------------

    @property
    def _count(self) -> int:
        assert self.run is not None
        return len(self.run.rows) or self.run.shape[0]

    def _counts(self, row: AttentionRow) -> bool:
        """Whether a row is recorded: of the positive conditioning, or any, where the guider calls none positive."""
        return row.positive or (self.run is not None and not self.run.positive)

    def _phase(self, done: float) -> str | None:
        return self._phases.get(int(done * (len(self._sigmas) - 1) + 1e-4))

    def _level(self, done: float) -> NoiseLevel:
        """The noise level at this progress; from the steps, because asking the device would wait for it."""
        place = done * (len(self._sigmas) - 1)
        step = min(int(place + 1e-4), len(self._sigmas) - 2)
        first, second = self._sigmas[step : step + 2]
        return NoiseLevel(round(done, 6), first + max(place - step, 0) * (second - first))


def tile_counts(size: tuple[int, ...], most: int) -> tuple[int, int]:
    """How many tiles (down, across) of about equal sides, `most` in all, lie in a picture of this height and width."""
    height, width = size
    side = max(math.sqrt(height * width / most), 1.0)
    down = min(max(int(height / side), 1), most)
    return down, min(max(int(width / side), 1), most // down)
