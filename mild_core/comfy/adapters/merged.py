"""Adapters of formats that change weights (DoRA, OFT, differences of biases and norms): they hold for a whole batch.

So layers that get different ones are sampled in different batches, each with a clone of the MODEL whose weights ComfyUI
changes as its own LoRA loaders have it.
"""

import uuid
from collections.abc import Sequence
from typing import Any

import comfy.model_patcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...scene import Layer
from ..sampling.rows import ROWS
from .adapter import check_nameless
from .layer_strengths import KEY, Share, kept, models_of, shares_of

Merged = tuple[tuple[uuid.UUID, float], ...]
"""What is merged into the weights for a row: equal for rows that may share a batch."""


def put(model: comfy.model_patcher.ModelPatcher) -> None:
    """Let other samplers than Sample Layers merge what was given to this MODEL, too (layer_strengths.keep).

    The MODEL is changed itself.
    """
    if not model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY):
        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _in_any_sampler)


def merged_for(guider: Any, layer_id: str) -> Merged:
    """What a layer gets under this GUIDER, in all of its models."""
    return tuple(part.key for _, model in models_of(guider) for part in _parts(model, layer_id, 1))


def merge(guider: Any, layer_id: str) -> None:
    """Merge what this layer gets. The GUIDER is changed itself: give a copy. Its MODELs are not.

    ValueError where two of its models are one checkpoint and are to be changed in different ways.
    """
    _merge(guider, {name: _parts(model, layer_id, 1) for name, model in models_of(guider)})


def note(guider: Any, layers: Sequence[Layer]) -> str | None:
    """A sentence for the artist on what sampling these layers takes; None: nothing is merged."""
    sets: dict[Merged, list[str]] = {}
    for layer in layers:
        sets.setdefault(merged_for(guider, layer.id), []).append(layer.name)
    if not any(sets):
        return None
    files = {
        one.name: one.given.adapter.name
        for _, model in models_of(guider)
        for one in kept(model)
        if one.given.adapter.merged
    }
    said = "; ".join(
        f"{', '.join(dict.fromkeys(files[name] for name, _ in merged))} for {', '.join(dict.fromkeys(names))}"
        for merged, names in sets.items()
        if merged
    )
    batches = "" if len(sets) == 1 else f": {len(sets)} kinds of batches, one after another"
    return f"Merged into the weights: {said}{batches}."


def _parts(model: comfy.model_patcher.ModelPatcher, row: str | int, count: int) -> tuple[Share, ...]:
    return shares_of((one for one in kept(model) if one.given.adapter.merged), row, count)


def _merge(guider: Any, parts: dict[str, tuple[Share, ...]]) -> None:
    models = dict(models_of(guider))
    for name, model in models.items():
        for other, its in models.items():
            if name < other and model.is_clone(its) and [p.key for p in parts[name]] != [p.key for p in parts[other]]:
                files = ", ".join(dict.fromkeys(part.adapter.name for part in (*parts[name], *parts[other])))
                raise ValueError(
                    f"guider: both of its models are the same checkpoint, whose weights cannot be with and without "
                    f"{files} at a time. Give both the same adapters, or load the checkpoint once for each."
                )
    for name, model in models.items():
        setattr(guider, name, _with(model, parts[name]))


def _with(model: comfy.model_patcher.ModelPatcher, parts: Sequence[Share]) -> comfy.model_patcher.ModelPatcher:
    """A clone with these; the same object where there are none."""
    if not parts:
        return model
    clone = model.clone()
    for part in parts:
        clone.add_patches(dict(part.adapter.merged), part.strength)
    # ComfyUI tells by this name whether weights are as they should be: those of the next batch may be already.
    clone.patches_uuid = uuid.uuid5(model.patches_uuid, repr([part.key for part in parts]))
    return clone


def _in_any_sampler(executor: Any, noise: Tensor, latent: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Around a whole sampling (OUTER_SAMPLE), before the model is loaded."""
    guider = executor.class_obj
    if ROWS in guider.model_options["transformer_options"]:  # Sample Layers has done it
        return executor(noise, latent, *args, **kwargs)
    given = dict(models_of(guider))
    for model in given.values():
        check_nameless(one.given for one in kept(model))
    count = int(latent.shape[0])
    parts = {name: [_parts(model, row, count) for row in range(count)] for name, model in given.items()}
    for rows in parts.values():
        if any([p.key for p in row] != [p.key for p in rows[0]] for row in rows):
            files = ", ".join(dict.fromkeys(part.adapter.name for row in rows for part in row))
            raise ValueError(
                f"which: {files} changes weights, which are the same for all rows of a latent, and these get it "
                "differently. Name one layer in `which`, or use Sample Layers"
            )
    try:
        _merge(guider, {name: rows[0] for name, rows in parts.items()})
        return executor(noise, latent, *args, **kwargs)
    finally:
        for name, model in given.items():
            setattr(guider, name, model)
