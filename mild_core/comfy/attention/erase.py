"""Erasers that work by attention: nobody looks at what is to vanish, so that it is not painted again."""

from typing import NamedTuple

import comfy.ldm.modules.diffusionmodules.openaimodel
import comfy.model_patcher
from torch import Tensor

from ...attention.factors import RowRule
from ...attention.layer_regions import Key, Maps
from ...attention.mask_growth import grown, on_cells
from ...attention.regions import HOLE, IMAGE, TOUCHED, Members
from ...attention.rule import Rule, Schedule, attentive_eraser, sra, steps
from .. import layouts
from ..families import family_of, layout_of
from . import catch
from .blocks import ALL, chosen_blocks
from .run import SamplingRun
from .sarg import redirect
from .steer import Place, Steering

KEY = "MILD_AttentionEraser"

NOT_A_UNET = (
    "model: the Attentive Eraser works in the decoder of a UNet (Stable Diffusion 1.5 and 2, SDXL), which {name} does "
    "not have. In method choose self-rectifying attention or adaeraser: they work here too"
)
NO_KEY = (
    "Erase by Attention: where a hole covers the whole picture nothing is left to look at, so attention stayed as it "
    "was there. Leave the eraser some picture around the hole."
)


class AttentiveEraser(NamedTuple):
    """Attentive Eraser (AAAI 2025, arXiv 2412.12974). Shares are of the steps that are run."""

    guidance: float | None = 9.0  # SARG's s, at the cost of a second call of the model; None: attention alone
    suppression: float = 0.3  # factor of the hole's logits at first, 0..1; 1: none
    suppressed: float = 0.25  # share of the steps in which it holds: 10 of the published 40
    until: float = 1.0  # share of the steps in which anything is done

    @property
    def nothing(self) -> bool:
        return self.guidance == 0 or self.until == 0

    @property
    def when(self) -> Schedule:
        return _first(self.until)

    def rule(self, key: Key, regions: tuple[str, ...]) -> Rule:
        scale = 1.0 if self.suppressed == 0 else self.suppression
        return attentive_eraser(regions, scale, _first(min(self.suppressed, self.until)), self.when)


class SelfRectifying(NamedTuple):
    """Self-rectifying attention (SRA) of EraDiff (CVPR 2025, arXiv 2503.07026): its attention, not its training. Which
    layers and steps is not published; ours, by default: all.
    """

    blocks: str = ALL
    start: float = 0.0  # share of the steps
    end: float = 1.0


def _first(share: float) -> Schedule:
    """The steps that begin before this share of the sampling is done: none at 0."""
    return steps(0.0, share) or Schedule(end=-1.0)


def rectify(
    model: comfy.model_patcher.ModelPatcher, maps: Maps, method: SelfRectifying
) -> comfy.model_patcher.ModelPatcher:
    """A clone of the MODEL whose holes do not look at themselves; the MODEL itself where there is nothing to do.

    ValueError for a family without hooks, for blocks that it does not have, and for steps that end before they begin.
    """
    blocks, when = chosen_blocks(model, method.blocks), steps(method.start, method.end)
    layout_of(layouts.unwrapped(model.get_model_object("diffusion_model")))
    if when is None or not maps.any:
        return model
    return catch.put(model, Erasing(maps, lambda key, names: sra(names), blocks, when=when), KEY)


def erase(
    model: comfy.model_patcher.ModelPatcher, maps: Maps, method: AttentiveEraser
) -> comfy.model_patcher.ModelPatcher:
    """A clone of the MODEL that erases what lies in the holes; the MODEL itself where there is nothing to do.

    ValueError for a MODEL without a UNet's decoder.
    """
    network = layouts.unwrapped(model.get_model_object("diffusion_model"))
    if not isinstance(network, comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel):
        raise ValueError(NOT_A_UNET.format(name=type(network).__name__))
    layout_of(network)
    if method.nothing or not maps.any:
        return model
    handler = Erasing(maps, method.rule, in_decoder)
    if method.guidance is None:
        return catch.put(model, handler, KEY)
    return redirect(model, handler, KEY, method.guidance, method.when)


def in_decoder(block: layouts.Block, kind: str) -> bool:
    """The published layers, 7 to 15 of SD's 16 self-attentions and 34 to 69 of SDXL's 70: all of the decoder's."""
    return block[0] == "output" and kind == layouts.SELF


def grown_mask(model: comfy.model_patcher.ModelPatcher, mask: Tensor, factor: float) -> Tensor:
    """MASK [B, H, W] as this family's published preprocessing grows it, times factor (0: not at all)."""
    return grown(mask, factor * family_of(model).mask_growth)


def noise_mask(model: comfy.model_patcher.ModelPatcher, hidden: Tensor, size: tuple[int, int]) -> Tensor:
    """What is hidden, [B, h, w], as the MASK [B, height, width] of what a sampler paints anew: the published method
    has one mask for both. size: height and width of the picture.
    """
    return on_cells(hidden, size, model.get_model_object("latent_format").spacial_downscale_ratio)


def covering(maps: Maps) -> int:
    """How many of the holes cover everything."""
    return sum(bool((maps.masks(key)[HOLE] > TOUCHED).all()) for key in maps.names)


class Erasing(Steering):
    """Steering by a rule that forbids; notes at the end where that would have left nothing to look at."""

    title = "Erase by Attention"

    def begin(self, run: SamplingRun) -> None:
        super().begin(run)
        self._blind: set[Place] = set()

    def end(self) -> None:
        if self._blind and self.run is not None:
            self.run.note(NO_KEY)
        super().end()

    def made(self, place: Place, members: Members, progress: float) -> RowRule | None:
        if self.covers(place, members):
            return None  # not evened out, either
        return super().made(place, members, progress)

    def covers(self, place: Place, members: Members) -> bool:
        """Whether the hole touches all of the picture, of which nothing would be left to look at. Words may be left,
        where they attend together with it; a picture that sees nothing but them is none.
        """
        hole = members.touched[:, members.names.index(HOLE)]
        pictures = (span for span in place.spans if span.kind == IMAGE)
        covered = all(bool(hole[span.start : span.start + span.length].all()) for span in pictures)
        if covered:
            self._blind.add(place)
        return covered
