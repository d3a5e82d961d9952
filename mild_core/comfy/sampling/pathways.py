"""Paints layers whose prompts and pictures are decided: encode, sample, decode; each by itself, or those that meet
together.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import comfy.model_management
from torch import Tensor

from ...image import boxes
from ...layers.painted import finished
from ...scene import Layer
from ..adapters.merged import merged_for
from .conditioning import LayerConds
from .encode import Encoded, LatentSpace, decode, encode
from .groups import LayerRow, Sampling, groups, rows_apart, sampled, sampled_together
from .joint import (
    Agree,
    Agreement,
    Together,
    alike,
    as_started,
    differs,
    does_not_fit,
    in_frame,
    own_plate,
    part_of,
    said,
)
from .memory import Memory
from .progress import Progress, Work, previewer_of
from .row_noise import sampled_alone
from .start import EXEMPLAR, ExemplarFill, Planned, picture_of


class Run(NamedTuple):
    """What all layers of one sampling share."""

    sampling: Sampling
    space: LatentSpace
    sigmas: Callable[[float], Tensor]  # for a denoise
    conds: dict[str, dict[str, list]]  # by layer id: prompts as the guider keeps them
    own: LayerConds
    memory: Memory
    progress: Progress
    work: Work  # of the MODEL, for the bar
    fill_work: Work  # of the exemplar fills
    notes: list[str]


def paint_apart(
    phase: Sequence[Planned], plates: dict[str, Tensor | None], run: Run, fill: ExemplarFill | None
) -> Iterable[Layer]:
    """Encode all, sample all, decode all: VAE and model change places in the memory once each."""
    rows, encoded = _encoded(phase, plates, run, fill)
    alone = sampled_alone(run.sampling.sampler) or run.space.eraser.row_by_row
    callback = functools.partial(run.progress.callback, run.work, run.progress.previewer)
    samples = {}
    weights = functools.partial(merged_for, run.sampling.guider)
    for group in groups(rows, alone or not rows_apart(run.sampling.guider), weights):
        for row, sample in sampled(group, run.sampling, run.memory, callback, run.notes):
            samples[row.layer.id] = sample
            run.progress.sampled(run.work[row.layer.id])
    for layer_id, sample in samples.items():
        comfy.model_management.throw_exception_if_processing_interrupted()
        one = encoded[layer_id]
        layer = finished(one.layer, decode(sample, one, run.space), one.plate)
        run.progress.finished(layer)
        yield layer


def paint_together(
    joint: Together, plates: dict[str, Tensor | None], run: Run, fill: ExemplarFill | None, agree: Agree
) -> list[Layer] | None:
    """The same for layers that agree at each step; None, and a sentence among the notes, where that cannot be."""
    rows, encoded = _encoded(joint.shared, plates, run, fill, joint.own)
    eraser = run.space.eraser
    parts = [eraser.framed_values(part_of(plan.layer, row)) for plan, row in zip(joint.own, rows, strict=True)]
    one_kind = alike(rows, parts, eraser.per_row)
    if one_kind is None:
        run.notes.append(differs(joint))
        return None
    sampling = run.sampling._replace(put_on=Agreement(one_kind, agree, run.space.ratio).put_on)
    callback = functools.partial(run.progress.callback, run.work, run.progress.previewer)
    samples = sampled_together(one_kind, sampling, run.memory, callback, run.notes)
    if samples is None:
        run.notes.append(does_not_fit(joint))
        return None
    run.notes.append(said(joint))
    layers = []
    for plan, (row, sample) in zip(joint.own, samples, strict=True):
        comfy.model_management.throw_exception_if_processing_interrupted()
        run.progress.sampled(run.work[row.layer.id])
        one, here = encoded[row.layer.id], boxes.inside(plan.layer.box, row.layer.box)
        plate = None if one.plate is None else boxes.cut(one.plate, here)
        layers.append(finished(plan.layer, boxes.cut(decode(sample, one, run.space), here), plate))
        run.progress.finished(layers[-1])
    return layers


def _encoded(
    phase: Sequence[Planned],
    plates: dict[str, Tensor | None],
    run: Run,
    fill: ExemplarFill | None,
    own: Sequence[Planned] | None = None,
) -> tuple[list[LayerRow], dict[str, Encoded]]:
    """The rows to sample, and by layer id what decoding them needs. own: the same layers on crops of their own: what
    they start from is made on these, as if each were painted alone.
    """
    plates = {plan.layer.id: plates.get(plan.layer.id) for plan in phase}
    if own is None:
        pictures = _starts(phase, plates, run, fill)
    else:
        pairs = list(zip(phase, own, strict=True))
        alone = {plan.layer.id: own_plate(plan, one, plates[plan.layer.id]) for plan, one in pairs}
        pictures = _starts([as_started(one) for one in own], alone, run, fill)
        for plan, one in pairs:
            layer_id = plan.layer.id
            pictures[layer_id] = in_frame(pictures[layer_id], plan, one, plates[layer_id])
    rows, encoded = [], {}
    for plan in phase:
        comfy.model_management.throw_exception_if_processing_interrupted()
        layer = plan.layer
        encoded[layer.id] = encode(layer, pictures.pop(layer.id), run.space, plates.get(layer.id))
        sigmas, conds = run.sigmas(plan.start.denoise), run.conds[layer.id]
        rows.append(_row(encoded[layer.id], sigmas, run.own, run.space, conds))
    return rows, encoded


def _starts(
    phase: Sequence[Planned], plates: dict[str, Tensor | None], run: Run, fill: ExemplarFill | None
) -> dict[str, Tensor]:
    """What each layer starts from, [1, h, w, 3] by layer id."""
    pictures = {}
    for plan in phase:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if fill is None or plan.start.how != EXEMPLAR:
            pictures[plan.layer.id] = picture_of(plan.layer, plan.start.how, plan.size, plates.get(plan.layer.id))
    if fill is not None:
        pictures |= _fills([plan for plan in phase if plan.start.how == EXEMPLAR], plates, run, fill)
    return pictures


def _fills(
    phase: Sequence[Planned], plates: dict[str, Tensor | None], run: Run, fill: ExemplarFill
) -> dict[str, Tensor]:
    """Exemplar fills [1, h, w, 3] by layer id, each with a seed of its own."""
    sampling = fill.sampling(run.sampling.noise.seed, list(run.sampling.photo_sizes))
    memory = Memory(fill.space.model)
    callback = functools.partial(run.progress.callback, run.fill_work, previewer_of(fill.space.model))
    pictures = {}
    for plan in phase:
        one = fill.encoded(plan.layer, plan.size, plates.get(plan.layer.id))
        row = _row(one, fill.sigmas, run.own, fill.space, fill.guider.original_conds)
        for _, sample in sampled([row], sampling, memory, callback, run.notes):
            pictures[plan.layer.id] = fill.picture(sample)
        run.progress.sampled(run.fill_work[plan.layer.id])
    return pictures


def _row(one: Encoded, sigmas: Tensor, own: LayerConds, space: LatentSpace, conds: dict[str, list]) -> LayerRow:
    """The layer with its conds, cropped like it, and with the values that its model gets for it."""
    values = one.inpaint | space.eraser.layer_values(one.layer, one.hole, one.plate)
    cells = tuple(one.latent.shape[2:])
    here = {name: own.of(name, entries, one.layer, cells, values) for name, entries in conds.items()}
    return LayerRow(one.layer, one.size, one.latent, one.hole, sigmas, here)
