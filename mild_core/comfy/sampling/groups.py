"""Layers of equal shape are sampled together: an ordinary batch of stock code, each row with what is its own.

Noise belongs to (seed, layer) and nothing is shared between rows, so a layer comes out the same alone, in any batch,
and after a batch that was too large for the memory has been tried again in halves.
"""

import copy
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import comfy.model_management
import comfy.sampler_helpers
import comfy.samplers
import comfy.utils
import torch
from comfy_extras.nodes_custom_sampler import Guider_Basic, Guider_DualCFG, Guider_DualModel
from torch import Tensor

from ...scene import Layer, Scene
from ...seeds import seed_of
from ..adapters import merged
from ..erasers.eraser import eraser_of
from .controlnets import Hints
from .memory import Memory
from .row_noise import for_rows
from .rows import name_rows
from .stacking import signature, stacked


class Callback(Protocol):
    """The sampler's callback for a batch, which hears between two steps, too, how far a step has come."""

    def __call__(self, number: int, x0: Tensor, x: Tensor, total_steps: int) -> None: ...

    def within(self, share: float) -> None:
        """The share of a call of the model that is done, 0..1."""


INDEPENDENT_ROWS = (comfy.samplers.CFGGuider, Guider_Basic, Guider_DualCFG, Guider_DualModel)
"""GUIDERs whose rows do not see each other, as read in ComfyUI's source. Perp-Neg Guider adds up over the whole batch;
those of other packs are not known. With them layers are sampled one at a time.
"""


class LayerRow(NamedTuple):
    """A layer as a batch of one."""

    layer: Layer
    size: tuple[int, int]  # height and width in pixels at which it is sampled
    latent: Tensor  # [1, c, h, w] (video-like models: [1, c, 1, h, w])
    hole: Tensor  # [1, 1, h, w], 0..1: cells to invent
    sigmas: Tensor
    conds: dict[str, list[dict]]  # by the guider's names for them


class Sampling(NamedTuple):
    """What SamplerCustomAdvanced takes, and the photos that hints lie over."""

    guider: Any  # GUIDER: CFGGuider and what derives from it
    noise: Any  # NOISE
    sampler: comfy.samplers.Sampler
    photo_sizes: Sequence[tuple[int, int]]  # height, width
    scenes: Sequence[Scene] = ()  # of these photos, where ControlNets may ask for layers and people
    put_on: Callable[[Any], None] | None = None  # gets the copy of the guider that samples a batch


def rows_apart(guider: Any) -> bool:
    """Whether a row of a batch under this GUIDER is certain to be what it would be alone."""
    return type(guider) in INDEPENDENT_ROWS


def layer_seed(seed: int, layer_id: str) -> int:
    """Noise belongs to (seed, layer): one more erased person changes no other layer."""
    return seed_of(seed, layer_id)


def groups(
    rows: Sequence[LayerRow], alone: bool = False, weights: Callable[[str], Hashable] = lambda layer_id: None
) -> list[list[LayerRow]]:
    """Rows that can be one batch, in the order of their first; alone: each by itself.

    weights: equal for layers (by id) that are sampled with the same weights of the model. Groups that share them follow
    one another, so that they are changed as seldom as can be.
    """
    found: dict[Hashable, dict[Any, list[LayerRow]]] = {}
    for row in rows:
        same = (tuple(row.latent.shape), tuple(row.sigmas.tolist()), signature(row.conds))
        here = found.setdefault(weights(row.layer.id), {})
        here.setdefault(row.layer.id if alone else same, []).append(row)
    return [group for those in found.values() for group in those.values()]


def sampled(
    group: Sequence[LayerRow],
    sampling: Sampling,
    memory: Memory,
    callback: Callable[[Sequence[Layer]], Callback],
    notes: list[str],
) -> Iterator[tuple[LayerRow, Tensor]]:
    """Sample a group; yields each row with its samples [1, c, ...] as soon as its batch is through.

    callback(layers): the sampler's callback for a batch of these layers. Sentences for the artist join notes.
    """
    shape = tuple(group[0].latent.shape)
    waiting = list(group)
    most = len(waiting)
    while waiting:
        conds = waiting[0].conds
        most = min(most, memory.rows(shape, conds))
        batch, waiting = waiting[:most], waiting[most:]
        memory.watch()
        samples = _tried(batch, sampling, callback, notes)
        if samples is None:  # too much after all
            waiting = batch + waiting
            most = (len(batch) + 1) // 2
            continue
        memory.learn(shape, len(batch))
        for number, row in enumerate(batch):
            yield row, samples[number : number + 1]


def sampled_together(
    batch: Sequence[LayerRow],
    sampling: Sampling,
    memory: Memory,
    callback: Callable[[Sequence[Layer]], Callback],
    notes: list[str],
) -> list[tuple[LayerRow, Tensor]] | None:
    """The same for rows that have to be at the same step; None where the memory does not suffice for all of them."""
    shape = tuple(batch[0].latent.shape)
    if memory.rows(shape, batch[0].conds) < len(batch):
        return None
    memory.watch()
    samples = _tried(batch, sampling, callback, notes)
    if samples is None:
        return None
    memory.learn(shape, len(batch))
    return list(zip(batch, samples.split(1), strict=True))


def _tried(
    batch: Sequence[LayerRow], sampling: Sampling, callback: Callable[[Sequence[Layer]], Callback], notes: list[str]
) -> Tensor | None:
    """The batch's samples, or None if the memory did not suffice and it can be cut. Smaller cannot be helped."""
    try:
        return _batch(batch, sampling, callback, notes)
    except Exception as error:
        if len(batch) == 1 or not comfy.model_management.is_oom(error):
            raise
    # Outside the handler: what the exception held on to is free by now.
    comfy.model_management.soft_empty_cache()
    return None


def _batch(
    batch: Sequence[LayerRow], sampling: Sampling, callback: Callable[[Sequence[Layer]], Callback], notes: list[str]
) -> Tensor:
    layers = [row.layer for row in batch]
    seeds = [layer_seed(sampling.noise.seed, layer.id) for layer in layers]
    hints = Hints(layers, sampling.photo_sizes, batch[0].size, sampling.scenes)
    guider = copy.copy(sampling.guider)
    guider.original_conds = {name: stacked([row.conds[name] for row in batch], hints.copied) for name in batch[0].conds}
    if guider.model_patcher.is_dynamic() and _have_hooks(guider.original_conds):
        # As the guider itself does when it is given such conds.
        guider.model_patcher = guider.model_patcher.get_non_dynamic_delegate()
    merged.merge(guider, layers[0].id)  # the same for all of a group
    name_rows(guider, [layer.id for layer in layers], notes)
    if sampling.put_on is not None:
        sampling.put_on(guider)
    called = callback(layers)
    done = eraser_of(guider.model_patcher).done
    if done is not None:  # into the guider's own copy of the options, which name_rows made
        guider.model_options["transformer_options"][done] = called.within
    latent = torch.cat([row.latent for row in batch])
    mask = torch.cat([row.hole for row in batch])
    if latent.ndim == 5:  # stock code takes rows of a mask without this dimension for frames
        mask = mask[:, :, None]
    noise = torch.cat([_noise(sampling.noise, row.latent, seed) for row, seed in zip(batch, seeds, strict=True)])
    comfy.model_management.throw_exception_if_processing_interrupted()
    try:
        samples = guider.sample(
            noise,
            latent,
            for_rows(sampling.sampler, seeds),
            batch[0].sigmas,
            denoise_mask=mask,
            callback=called,
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=seeds[0],
        )
    finally:
        hints.cleanup()
    notes.extend(note for note in hints.notes if note not in notes)
    return samples.to(
        device=comfy.model_management.intermediate_device(), dtype=comfy.model_management.intermediate_dtype()
    )


def _have_hooks(conds: dict[str, list[dict]]) -> bool:
    return any(comfy.sampler_helpers.cond_has_hooks([[None, cond] for cond in entries]) for entries in conds.values())


def _noise(noise: Any, latent: Tensor, seed: int) -> Tensor:
    """The NOISE's own noise for a layer [1, c, ...], from the layer's seed."""
    twin = copy.copy(noise)
    try:
        twin.seed = seed
    except AttributeError:
        pass  # a mixture of noises, which shows the seed of one of them only
    return twin.generate_noise({"samples": latent})
