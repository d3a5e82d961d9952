"""The conds of several layers become one, whose tensors hold a row for each.

A batch of stock code reads one CONDITIONING. What differs from layer to layer (text, inpaint channels, masks, hints,
allowed pixels) is stacked along the batch; what is one and the same object for all stays as it is. Conds are meant as
ComfyUI's guiders keep them (`comfy.sampler_helpers.convert_cond`): a dictionary for each entry of a CONDITIONING.
"""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

NAMELESS = "uuid"
"""Names an entry, so it is new for every batch."""

CONTROL = "control"

MODEL_CONDS = "model_conds"

TOKENS = "attention_mask"
"""Which tokens of a text count. Some models take the sum over all rows for their number, so rows of one batch share it.
"""


class PerRow(list):
    """A value of one row, or of several rows one after another, which the model takes one by one: never stacked."""


def signature(conds: dict[str, list[dict]]) -> tuple:
    """What must be equal for two layers to be rows of one batch: shapes of tensors, and everything else itself."""
    return tuple(
        (
            name,
            tuple(tuple((key, *_kind(key, cond[key])) for key in sorted(cond) if key != NAMELESS) for cond in entries),
        )
        for name, entries in sorted(conds.items())
    )


def _kind(key: str, value: Any) -> tuple:
    if key == MODEL_CONDS:
        return "objects", tuple((name, id(value[name])) for name in sorted(value))
    if isinstance(value, PerRow):
        return ("one for each row",)
    if isinstance(value, Tensor):
        if key == TOKENS:
            return "tokens", tuple(value.shape), tuple(value.flatten().tolist())
        return "tensor", tuple(value.shape), str(value.dtype)
    if value is None or isinstance(value, (bool, int, float, str)):
        return "value", value
    if isinstance(value, tuple) and all(isinstance(part, (bool, int, float, str)) for part in value):
        return "values", value
    return "object", id(value)


def stacked(rows: Sequence[list[dict]], copied: Callable[[Any], Any]) -> list[dict]:
    """One list of conds for a batch whose rows' own are these; all of one signature.

    copied: what becomes of a ControlNet, which is one object for all rows.
    """
    result = []
    for entries in zip(*rows, strict=True):
        first = entries[0]
        ours = (NAMELESS, MODEL_CONDS, TOKENS)
        one = {key: _joined([entry[key] for entry in entries]) for key in first if key not in ours}
        if TOKENS in first:
            one[TOKENS] = first[TOKENS]
        if one.get(CONTROL) is not None:
            one[CONTROL] = copied(one[CONTROL])
        one[MODEL_CONDS] = dict(first.get(MODEL_CONDS, {}))
        one[NAMELESS] = uuid.uuid4()
        result.append(one)
    return result


def _joined(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, PerRow):
        return PerRow(part for value in values for part in value)
    if not isinstance(first, Tensor) or all(value is first for value in values):
        return first
    return torch.cat([value.to(first) for value in values])
