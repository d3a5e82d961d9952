"""LoRA files on a MODEL, each for some layers, and on the CLIP of their prompts: what an artist's settings come to."""

from collections.abc import Sequence
from typing import NamedTuple

import comfy.lora
import comfy.model_patcher
import comfy.sd

from ...people.selection import layers_named
from ...scene import BACKGROUND, PERSON, Scene
from ..erasers.eraser import eraser_of
from . import merged, sentences, text_parts
from .adapter import Adapter, Given
from .layer_strengths import keep, kept
from .matched import can_route, matched
from .modules import of_text
from .read_lora import NONE, LoraFile, read
from .route import route
from .sentences import Choice

NO_WEIGHTS = "model: {name} has no weights that a LoRA could change. Connect a checkpoint, or choose none in {sockets}."


class Adapted(NamedTuple):
    """What comes back; CLIPs are None where none is connected."""

    model: comfy.model_patcher.ModelPatcher
    background: comfy.sd.CLIP | None
    person: comfy.sd.CLIP | None
    text: str  # for the artist
    warning: str = ""  # where a file was chosen and changes nothing


class _Found(NamedTuple):
    """A file on this MODEL and this CLIP."""

    model: Adapter
    text: Adapter | None  # None: no CLIP is connected
    lines: list[str]  # what became of it


def adapt(
    model: comfy.model_patcher.ModelPatcher,
    scenes: Sequence[Scene],
    background: tuple[str, float],
    person: tuple[str, float],
    people: str = "all",
    which: str = "all",
    clip: comfy.sd.CLIP | None = None,
) -> Adapted:
    """Clones of MODEL and CLIP with these files (name, strength); the same objects where nothing is to be done.

    people: whom the person's file is for; which: layers that may get anything at all. ValueError with the socket's name
    for a file that is broken, no LoRA, or for other models, for people and layers that are not there, and for a MODEL
    without weights.
    """
    everyone = [layer for scene in scenes for layer in scene.layers]
    open_to, meant = layers_named(scenes, which), _people(scenes, people)
    named = [layer for layer in everyone if layer.id in open_to]
    choices = (
        Choice("background_lora", *background, tuple(layer for layer in named if layer.domain == BACKGROUND)),
        Choice("person_lora", *person, tuple(layer for layer in named if layer.id in meant)),
    )
    asked = [choice for choice in choices if choice.file != NONE and choice.strength != 0]
    if asked and not eraser_of(model).has_weights:
        name, sockets = eraser_of(model).name, " and ".join(choice.socket for choice in asked)
        raise ValueError(NO_WEIGHTS.format(name=name[:1].upper() + name[1:], sockets=sockets))
    chosen = [choice for choice in asked if choice.layers]
    found: dict[str, _Found] = {}
    for choice in chosen:
        if choice.file not in found:
            found[choice.file] = _found(read(choice.file, choice.socket), choice.socket, model, clip)
    lines = sentences.chosen(choices, bool(everyone))
    before = {one.given.adapter.name for one in (*kept(model), *(() if clip is None else kept(clip.patcher)))}
    for file, one in found.items():
        lines += [*one.lines, *([sentences.AGAIN.format(file=file)] if file in before else [])]
    others = frozenset(layer.id for layer in everyone) - open_to
    strengths = {file: {layer.id: 0.0 for layer in named} for file in found}
    for choice in chosen:
        strengths[choice.file] |= {layer.id: choice.strength for layer in choice.layers}
    to_model = [Given(one.model, strengths[file], others) for file, one in found.items() if _any(one.model)]
    to_text = [Given(one.text, strengths[file], others) for file, one in found.items() if one.text and _any(one.text)]
    patched = _model(model, to_model)
    warning = sentences.IDLE if asked and not to_model and not to_text else ""
    if clip is None:
        return Adapted(patched, None, None, "\n".join(lines), warning)
    knowing = text_parts.given_to(clip, to_text)
    people_ids = [layer.id for layer in named if layer.id in meant]
    if text_parts.differ(knowing, people_ids):
        lines.append(sentences.COMMON)
    return Adapted(
        patched,
        text_parts.clip_of_all(knowing, [layer.id for layer in named if layer.domain == BACKGROUND]),
        text_parts.clip_of_all(knowing, people_ids),
        "\n".join(lines),
        warning,
    )


def _people(scenes: Sequence[Scene], people: str) -> set[str]:
    """Ids of layers of the people who are meant."""
    meant = layers_named(scenes, people, "people")
    there = {layer.id for scene in scenes for layer in scene.layers if layer.domain == PERSON}
    if there and not meant & there:
        raise ValueError(f"people: '{people}' names nobody. Write all, or person numbers such as 2 or 1,3.")
    return meant & there


def _any(adapter: Adapter) -> bool:
    return bool(adapter.routed or adapter.merged)


def _model(model: comfy.model_patcher.ModelPatcher, given: Sequence[Given]) -> comfy.model_patcher.ModelPatcher:
    if not given:
        return model
    patched = route(model, [one for one in given if one.adapter.routed])
    if patched is model:
        patched = model.clone()
    keep(patched, given)
    if any(one.adapter.merged for one in given):
        merged.put(patched)
    return patched


def _found(file: LoraFile, socket: str, model: comfy.model_patcher.ModelPatcher, clip: comfy.sd.CLIP | None) -> _Found:
    """ValueError where nothing of it fits."""
    unet = matched(file, model, comfy.lora.model_lora_keys_unet(model.model, {}), socket, can_route(model))
    text = None
    texts = frozenset(name for name in file.modules if of_text(name))
    if clip is not None:
        names = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, {})
        text = matched(file, clip.patcher, names, socket)
        texts = text.modules
    if why := sentences.refused(file, socket, model, unet, texts):
        raise ValueError(why)
    lines = sentences.became(file, unet, texts, clip is not None)
    return _Found(unet.adapter, None if text is None else text.adapter, lines)
