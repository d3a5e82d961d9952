"""What LoRA files change in the text encoder: each layer's prompts are encoded with what its adapters say.

A CLIP has its adapters in its weights, and knows what other layers get (layer_strengths.keep): so Sample Layers makes
any layer's CLIP out of whichever it is given, with all that stands between the two nodes, such as CLIP Set Last Layer.
"""

from collections.abc import Hashable, Iterable, Sequence

import comfy.sd

from .adapter import Given
from .layer_strengths import Share, keep, kept, shares_of

HERE = "mild_text_adapters_here"
"""Attachment: the parts that are in this CLIP's weights."""


def given_to(clip: comfy.sd.CLIP, given: Sequence[Given]) -> comfy.sd.CLIP:
    """A clone that knows of these, too, with the same weights; the same object where there are none."""
    if not given:
        return clip
    clone = clip.clone()
    keep(clone.patcher, given)
    return clone


def adapters_of(clip: comfy.sd.CLIP, layer_id: str) -> Hashable:
    """Equal for layers whose prompts are encoded by the same weights."""
    return tuple(part.key for part in shares_of(kept(clip.patcher), layer_id, 1))


def clip_of(clip: comfy.sd.CLIP, layer_id: str) -> comfy.sd.CLIP:
    """The CLIP for the prompts of a layer. The same object where it is that already."""
    return _with(clip, shares_of(kept(clip.patcher), layer_id, 1))


def clip_of_all(clip: comfy.sd.CLIP, layer_ids: Iterable[str]) -> comfy.sd.CLIP:
    """With the parts that all of these layers get; without any where there is no layer."""
    sets = [shares_of(kept(clip.patcher), layer_id, 1) for layer_id in layer_ids]
    keys = [{part.key for part in parts} for parts in sets]
    return _with(clip, tuple(part for part in (sets or [()])[0] if all(part.key in others for others in keys)))


def differ(clip: comfy.sd.CLIP, layer_ids: Iterable[str]) -> bool:
    """Whether some of these layers get other parts than the rest."""
    return len({adapters_of(clip, layer_id) for layer_id in layer_ids}) > 1


def _with(clip: comfy.sd.CLIP, parts: tuple[Share, ...]) -> comfy.sd.CLIP:
    here: tuple[Share, ...] = clip.patcher.get_attachment(HERE) or ()
    if [part.key for part in parts] == [part.key for part in here]:
        return clip
    clone = clip.clone()
    ours = {id(patch) for part in here for patch in _patches(part).values()}
    left = {key: [one for one in those if id(one[1]) not in ours] for key, those in clone.patcher.patches.items()}
    clone.patcher.patches = {key: those for key, those in left.items() if those}
    clone.add_patches({})  # a new name for these weights, if nothing else is added
    for part in parts:
        clone.add_patches(_patches(part), part.strength)
    clone.patcher.set_attachments(HERE, parts)
    return clone


def _patches(part: Share) -> dict:
    return {**part.adapter.routed, **part.adapter.merged}
