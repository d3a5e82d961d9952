"""Body guidance is put on prompts: beside their ControlNets, and into their text."""

from collections.abc import Sequence

from ...scene import Morphology
from .body_control import MorphologyControl
from .relation_text import mixed


def guided(
    positive: list,
    negative: list,
    guidance: MorphologyControl,
    morphology: Sequence[Morphology],
    strength: float = 1.0,
    span: tuple[float, float] = (0.0, 1.0),
    relations: float = 1.0,
) -> tuple[list, list]:
    """Both CONDITIONING with guidance by these people, one Morphology for each photo.

    strength: of the maps, within `span` (shares of the sampling); relations: of those mixed into the text. Where one is
    0 its part is left out, and where both are, the same objects come back. Raises ValueError for a text that the
    guidance was not made for.
    """
    sides = {"positive": positive, "negative": negative}
    if strength != 0:
        controls: dict[object, MorphologyControl] = {}
        sides = {
            name: _controlled(side, guidance, morphology, strength, span, controls) for name, side in sides.items()
        }
    result = [mixed(side, guidance.patcher, morphology, relations, name) for name, side in sides.items()]
    return result[0], result[1]


def _controlled(
    conditioning: list,
    guidance: MorphologyControl,
    morphology: Sequence[Morphology],
    strength: float,
    span: tuple[float, float],
    made: dict[object, MorphologyControl],  # by the ControlNet that went before
) -> list:
    """As Apply ControlNet does it: one copy for each ControlNet that went before, the same for both sides."""
    result = []
    for text, values in conditioning:
        before = values.get("control")
        if before not in made:
            first = next(iter(made.values()), None)  # maps are drawn once
            one = guidance.copy().set_people(morphology, strength, span) if first is None else first.copy()
            made[before] = one.set_previous_controlnet(before)
        result.append([text, {**values, "control": made[before], "control_apply_to_uncond": False}])
    return result
