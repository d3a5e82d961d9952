"""What is known of one sampling, and of the rows in one of its attentions."""

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..sampling.rows import NOTES, POSITIVE, ROWS


class SamplingRun(NamedTuple):
    """One sampling, as a handler gets it at the beginning."""

    sigmas: Tensor  # [steps + 1]
    shape: tuple[int, ...]  # of the latent: [B, C, (frames,) H, W] in latent cells
    rows: tuple[str, ...]  # layer ids, one per row of the latent; () where whoever samples names none
    positive: frozenset[Hashable]  # uuids of the positive conditioning's entries
    note: Callable[[str], None]  # takes a sentence for the artist on what could not be done


class AttentionRow(NamedTuple):
    """One row of an attention's batch."""

    layer: str | int  # its id; where rows have no names, its number in the latent's batch
    positive: bool  # of the positive conditioning


def run_of(guider: Any, sigmas: Tensor, shape: Sequence[int]) -> SamplingRun:
    """From the guider while it samples. Without names from Sample Layers, its conditioning called positive counts."""
    options = guider.model_options["transformer_options"]
    own = [cond["uuid"] for cond in guider.conds.get("positive") or () if "uuid" in cond]
    return SamplingRun(
        sigmas, tuple(shape), tuple(options.get(ROWS, ())), frozenset(options.get(POSITIVE, own)), note_of(options)
    )


def note_of(options: dict[str, Any]) -> Callable[[str], None]:
    """What takes a sentence for the artist, by the transformer_options of a sampling: it goes into the text of Sample
    Layers. Other samplers have no text of ours; so it goes into the log as well.
    """
    on_node = options.get(NOTES)

    def note(sentence: str) -> None:
        logging.warning("MILD: %s", sentence)
        if on_node is not None:
            on_node(sentence)

    return note


def rows_of(run: SamplingRun, transformer_options: dict[str, Any], batch: int) -> list[AttentionRow]:
    """Who is who in a batch: chunks of the conditioning, in each of them the latent's rows.

    ValueError where the batch is no multiple of both: somebody has cut it up on the way.
    """
    chunks = transformer_options["uuids"]
    each, left = divmod(batch, len(chunks))
    names: Sequence[str | int] = run.rows or range(each)
    if left or each != len(names):
        raise ValueError(
            f"model: a part of it got {batch} rows, where {len(chunks)} of {len(names)} each were to come; "
            "another node on this MODEL divides the batch. Take it off"
        )
    return [AttentionRow(name, chunk in run.positive) for chunk in chunks for name in names]


def progress(sample_sigmas: Tensor, sigma: float) -> float:
    """How much of the sampling is done at this noise level: 0 at the first step, 1 after the last.

    Samplers that look between two steps get what lies between.
    """
    levels = sample_sigmas.tolist()
    last = len(levels) - 1
    nearest = min(range(last + 1), key=lambda step: abs(levels[step] - sigma))
    for step in (nearest - 1, nearest):
        if 0 <= step < last:
            first, second = levels[step], levels[step + 1]
            if min(first, second) < sigma < max(first, second):
                return (step + (first - sigma) / (first - second)) / last
    return nearest / last if last > 0 else 0.0


def sigma_of(transformer_options: dict[str, Any]) -> float:
    """The noise level of one call of the model; one wait for the device."""
    return float(torch.as_tensor(transformer_options["sigmas"]).flatten()[0])
