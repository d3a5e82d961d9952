"""Read Bodies: a parser, where one was chosen, looks at each person."""

from collections.abc import Sequence
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor

from ...body.parsers import bodypix, mediapipe_multiclass
from ...body.parsers.parsed import INSTEAD, Parse, Parsed
from ...find import weight_sources
from ...people.from_masks import fitted
from ...scene import Person
from .weight_files import Weights

CONNECTED = "only what is connected"
MEDIAPIPE = mediapipe_multiclass.NAME
BODYPIX = bodypix.NAME


def parse_people(
    people: Sequence[Person], photos: Sequence[Tensor], parser: dict[str, Any], least: float, weights: Weights
) -> list[Parsed | None] | None:
    """What the parser that was chosen finds on each of the people, in their order; None if none was.

    photos [H, W, C], 0..1; people whose photo is missing get None. parser: the choice and its file, as the node's
    DynamicCombo holds them. Of what the parser is less sure than `least` (0..1), nothing comes back: such parts are
    0, such joints have confidence 0. weights: finds the parser's file, or fetches it. Shows progress and can be
    cancelled. Raises ValueError, in one sentence, if a package or a file is missing.
    """
    parse = _parse(parser, weights)
    if parse is None:
        return None
    bar = comfy.utils.ProgressBar(max(len(people), 1))
    result: list[Parsed | None] = []
    for person in people:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if person.photo < len(photos):
            photo = photos[person.photo]
            here = fitted(person, (int(photo.shape[0]), int(photo.shape[1])))
            result.append(_sure_enough(parse(photo, here), least))
        else:
            result.append(None)
        bar.update(1)
    return result


def _parse(parser: dict[str, Any], weights: Weights) -> Parse | None:
    """The parser that was chosen, ready to look at people."""
    kind = parser["parser"]
    if kind == MEDIAPIPE:
        return mediapipe_multiclass.parser(weights.path_of(parser["model"], kind, weight_sources.MULTICLASS, INSTEAD))
    if kind == BODYPIX:
        return bodypix.parser(weights.path_of(parser["model"], kind, weight_sources.BODYPIX, INSTEAD))
    return None


def _sure_enough(parsed: Parsed, least: float) -> Parsed:
    known = parsed.sure >= least
    parts = torch.where(known, parsed.parts, 0)
    joints = parsed.joints
    if joints is not None:
        joints = torch.where((joints[:, 2] >= least)[:, None], joints, 0.0)
    return parsed._replace(parts=parts, sure=parsed.sure * known, joints=joints)
