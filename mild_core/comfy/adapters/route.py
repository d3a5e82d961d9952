"""Gives each row of a batch the adapters of its layer, in one call of the model."""

from collections.abc import Sequence

import comfy.model_patcher

from .adapter import Given


def route(model: comfy.model_patcher.ModelPatcher, given: Sequence[Given]) -> comfy.model_patcher.ModelPatcher:
    """A clone of the MODEL whose rows get what their layers are given, of each adapter what is `routed`.

    Called again on its result it adds. The same object where there is nothing to do: no adapter, only strengths of 0.
    ValueError for an adapter that does not fit the MODEL.
    """
    raise NotImplementedError
