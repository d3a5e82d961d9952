"""A CONDITIONING with a row for each photo, cut to the row of a layer's photo.

A CONDITIONING may hold rows: a batch of texts, pooled texts, pictures for inpainting, reference latents. Stock samplers
give them to the photos of a batch in turn, by position. Layers are no such batch: several are of one photo, and which
of them are sampled together depends on their sizes. So each is given its photo's row before anything is stacked.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import comfy.clip_vision
import comfy.conds
from comfy.sampler_helpers import convert_cond
from torch import Tensor

from ...pairing import dealt, row_of
from ..guidance.relation_text import plain_text

REFERENCES = "mild_references"
"""The built-in model's references: a list of pictures for all photos, or a tuple with a list for each."""

MASK = "mask"

_NOT_ROWS = frozenset({MASK, "area", "gligen", "control", "hooks", "uuid"})
"""Cropped like the layer elsewhere, or no tensors."""


class OwnRows:
    """Gives layers their photos' rows. Photos of one sampling that share a value get the very same objects."""

    def __init__(self, photos: int):
        """photos: how many of them are sampled."""
        self.photos = photos
        self._cut: dict[tuple[int, int], tuple[Any, Any]] = {}  # the first keeps the id from being given out again

    def of(self, cond: dict[str, Any], photo: int) -> dict[str, Any]:
        """A cond, as convert_cond makes it, whose values have the rows of photo number `photo`, from 0.

        Tensors, and those in lists, are given out in turn. What lies deeper (pictures for unCLIP) stock code mixes for
        all rows: it is cut only where there is one for each photo.
        """
        return {key: self._own(key, value, photo) for key, value in cond.items()}

    def _own(self, key: str, value: Any, photo: int) -> Any:
        if key == REFERENCES:
            return value[row_of(len(value), photo)] if isinstance(value, tuple) else value
        if not _has_rows(key) or value is None or isinstance(value, (bool, int, float, str)):
            return value
        if (id(value), photo) not in self._cut:
            self._cut[id(value), photo] = value, self._row(value, photo, True)
        return self._cut[id(value), photo][1]

    def _row(self, value: Any, photo: int, outermost: bool) -> Any:
        """The photo's row of whatever it is; the same object where it has none."""
        if isinstance(value, Tensor):
            rows = len(value) if value.ndim else 1
            if rows == 1 or not (rows == self.photos or (outermost and value.ndim > 1)):
                return value
            row = row_of(rows, photo)
            return value[row : row + 1]
        if isinstance(value, comfy.conds.CONDRegular) and not isinstance(value, comfy.conds.CONDConstant):
            inner = self._row(value.cond, photo, True)
            return value if inner is value.cond else value._copy_with(inner)
        if isinstance(value, comfy.clip_vision.Output):
            inner = {name: self._row(part, photo, outermost) for name, part in vars(value).items()}
            if all(part is vars(value)[name] for name, part in inner.items()):
                return value
            output = copy.copy(value)
            vars(output).update(inner)
            return output
        if type(value) is dict:
            inner = {
                name: self._row(part, photo, isinstance(part, comfy.conds.CONDRegular)) for name, part in value.items()
            }
            return value if all(inner[name] is value[name] for name in value) else inner
        if type(value) in (list, tuple):
            parts = [self._row(part, photo, outermost and isinstance(part, Tensor)) for part in value]
            return value if all(one is was for one, was in zip(parts, value, strict=True)) else type(value)(parts)
        return value


def row_notes(name: str, conds: Sequence[dict[str, Any]], photos: int) -> list[str]:
    """Sentences for the artist where a CONDITIONING (as conds) has neither one row for all photos nor one for each."""
    notes = []
    for cond in conds:
        for what, count in _counts(cond):
            note = dealt(f"{what} of {name}", count, photos) if count > 1 else None
            if note is not None and note not in notes:
                notes.append(note)
    return notes


def conditioning_notes(name: str, conditioning: list, photos: int) -> list[str]:
    """The same for a CONDITIONING as it comes through a socket."""
    return row_notes(name, convert_cond(conditioning), photos)


def _counts(cond: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for key, value in cond.items():
        if key == "cross_attn" and isinstance(value, Tensor):
            yield "Rows", len(plain_text(cond))
        elif key == MASK:
            yield "Masks", len(value) if value.ndim > 2 else 1
        elif key == REFERENCES:
            yield "References", len(value) if isinstance(value, tuple) else 1
        elif _has_rows(key):
            for part in value if type(value) in (list, tuple) else [value]:
                if isinstance(part, Tensor) and part.ndim > 1:
                    yield "Rows", len(part)


def _has_rows(key: str) -> bool:
    return key not in _NOT_ROWS and not key.startswith("mild_")
