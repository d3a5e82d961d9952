"""Spatially-modulated attention (SMA) on a MODEL, fixed or adaptive: what an artist's settings come to."""

from typing import NamedTuple

import comfy.model_patcher
import torch

from ...attention.layer_regions import Key, Maps
from ...attention.regions import HOLE
from ...attention.rule import Bias, Rule, sma, steps
from .. import layouts
from ..erasers.eraser import eraser_of
from . import catch
from . import gains as learned
from .adaptive import TARGET, Adaptive
from .blocks import ALL, chosen_blocks
from .steer import Rules, Steering

KEY = "MILD_SpatialAttention"

FIXED, ADAPTIVE = "fixed", "adaptive"
MODES = (FIXED, ADAPTIVE)

BY_ITSELF = "{name} looks at nobody who is erased, and at no neighbour, by itself: it stays as it is."
NO_AVOIDING = (
    "avoid: {name} cannot read from a mask what to avoid. Connect a checkpoint, or split the photo into "
    "layers: those it knows how to keep apart."
)


class SpatialSettings(NamedTuple):
    """The node's widgets."""

    strength: float = 1.0
    adaptive: bool = False
    blocks: str = ALL
    start: float = 0.0  # share of the steps
    end: float = 1.0
    target: float = TARGET
    gains: str = learned.NONE  # a file in models/mild
    words: bool = False  # where text attends together with the picture, it must not look at what is foreign either


def keep_apart(
    model: comfy.model_patcher.ModelPatcher, maps: Maps, settings: SpatialSettings
) -> tuple[comfy.model_patcher.ModelPatcher, str]:
    """A clone of the MODEL whose pathways do not look at what is foreign to them, and a sentence for the artist.

    The MODEL itself where there is nothing to do. ValueError for blocks that it does not have, a file of gains that
    does not fit, steps that end before they begin, and a family without hooks.
    """
    when = steps(settings.start, settings.end)
    if settings.strength == 0 or when is None:
        return model, "Nothing is held apart: the model stays as it is."
    if not maps.any:
        return model, "There is no hole, so nothing is to be held apart: the model stays as it is."
    eraser = eraser_of(model)
    if eraser.keeps_apart:
        if maps.avoids:
            raise ValueError(NO_AVOIDING.format(name=eraser.name))
        return model, BY_ITSELF.format(name=eraser.name[:1].upper() + eraser.name[1:])
    blocks, gains = chosen_blocks(model, settings.blocks), learned.load(settings.gains)
    about = maps, rules_of(maps, settings.words), blocks, settings.strength, when, gains
    handler = Adaptive(*about, target=settings.target) if settings.adaptive else Steering(*about)
    return catch.put(model, handler, KEY), _sentence(maps, settings)


def rules_of(maps: Maps, words: bool = False) -> Rules:
    """SMA for each pathway by its domain. Nobody looks away from text and padding.

    words: text looks away from what the hole looks away from: what one block's text has seen the next block's hole
    reads there. In small random Flux 2 models nearly all of what leaks goes this way.
    """

    def rule(key: Key, names: tuple[str, ...]) -> Rule:
        found = sma(names, own=maps.own(key), ignored=(layouts.TEXT, layouts.PADDING))
        if not words or layouts.TEXT not in names:
            return found
        always = found.biases[0].table
        table = torch.zeros_like(always)
        table[names.index(layouts.TEXT)] = always[names.index(HOLE)]
        return found._replace(biases=(*found.biases, Bias(table)))

    return rule


def _sentence(maps: Maps, settings: SpatialSettings) -> str:
    lines = [f"Held apart: {', '.join(maps.title(key) for key in maps.names)}."]
    if not maps.foreign:
        lines.append(
            "Nobody is marked whom the hole must not look at: mark people in avoid, or connect layers in place of mask."
        )
    if settings.adaptive:
        lines.append(f"Strength follows what the holes look at, towards a gap of {settings.target:g}.")
    return "\n".join(lines)
