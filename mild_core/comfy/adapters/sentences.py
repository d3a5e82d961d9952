"""What the artist reads of LoRA files: who gets which, what of them fits, what is left out, what it costs."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from comfy.model_patcher import ModelPatcher

from ...scene import Layer
from ..families import family_of, plain_name
from .adapter import Target
from .matched import Matched
from .misfit import made_for, such_as, told_by_modules
from .modules import of_text
from .read_lora import NONE, LoraFile

AGAIN = "{file} was given before: a layer that gets it again gets it with the sum of the strengths."
IDLE = "what was chosen changes nothing here."
COMMON = (
    "person_clip holds what all of these people get; Sample Layers encodes its own prompts with what each of them gets."
)

MAGNITUDE = "lora_magnitude_vector"
"""How PEFT names DoRA's scales."""


class Choice(NamedTuple):
    """One of the node's two files."""

    socket: str
    file: str
    strength: float
    layers: tuple[Layer, ...]  # who gets it


def chosen(choices: Sequence[Choice], any_layer: bool) -> list[str]:
    """Which layers get what."""
    asked = [choice for choice in choices if choice.file != NONE and choice.strength != 0]
    if not asked:
        return ["Nothing is chosen, or with strength 0: the model stays as it is."]
    if not any_layer:
        return ["There is no layer: the model stays as it is."]
    lines = [_line(choice) for choice in asked]
    if len(asked) == 2 and asked[0].file == asked[1].file and all(choice.layers for choice in asked):
        lines.append("Both are the same file: each layer gets it once.")
    return lines


def _line(choice: Choice) -> str:
    if choice.layers:
        names = ", ".join(dict.fromkeys(layer.name for layer in choice.layers))
        return f"{names}: {choice.file}, strength {choice.strength:g}."
    if choice.socket == "background_lora":
        return f"{choice.file} is not used: none of these layers is a background."
    return f"{choice.file} is not used: none of these layers is a person's (nobody who stays was hidden)."


def refused(file: LoraFile, socket: str, model: ModelPatcher, unet: Matched, texts: Collection[str]) -> str | None:
    """Why a file is not taken: nothing of it fits, or nothing but what models of two kinds have alike.

    texts: its modules that are a text encoder's. None: it is taken.
    """
    its = plain_name(family_of(model))
    told = told_by_modules(file.tensors, file.modules)
    foreign = told is not None and told[0] != its and unet.modules.isdisjoint(told[1])
    alone = texts and all(name in texts or of_text(name) for name in file.modules)  # the text encoder's and no others
    if (unet.modules or alone) and not foreign:
        return None
    if unet.misshapen and not foreign:
        name, (wanted, there) = next(iter(unet.misshapen.items()))
        return (
            f"{socket}: {file.name} is for a larger or smaller model than this MODEL ({its}): its modules have the "
            f"same names and other sizes, {_size(wanted)} where this one has {_size(there)} ({name}). Choose a LoRA "
            "made for it."
        )
    kind = made_for(file.tensors, file.modules, file.about)
    seems = "" if kind is None else f" It seems to be made for {kind}."
    left = [name for name in file.modules if name not in unet.modules and not of_text(name)] or list(file.modules)
    return (
        f"{socket}: {file.name} does not fit this MODEL ({its}): {len(left)} of its {len(file.modules)} modules are "
        f"not there or of another size ({such_as(left)}).{seems} Choose a LoRA for this model, or connect the model "
        "that it was made for."
    )


def became(file: LoraFile, unet: Matched, texts: Collection[str], clip: bool) -> list[str]:
    """What became of its modules (layers of a network); texts: the text encoder's; clip: whether one is connected."""
    routed, merged = _modules(unet.adapter.routed), _modules(unet.adapter.merged)
    parts = []
    if routed:
        parts.append(f"{_counted(routed)} of the model, for these layers alone and in one pass with the others")
    if merged:
        parts.append(
            f"{_counted(merged)} in a format that changes the model itself (DoRA, OFT, biases or norms): layers that "
            "get other such files are sampled one after another, and the model is changed in between: that takes longer"
        )
    if not unet.modules:
        parts.append("nothing for the model")
    if texts:
        where = "in the CLIPs" if clip else "left out: no clip is connected"
        parts.append(f"{_counted(len(texts))} of the text encoder, {where}")
    lines = [f"{file.name}: {'; '.join(parts)}."]
    left = [name for name in file.modules if name not in unet.modules and name not in texts]
    if left:
        sizes = f"; {len(unet.misshapen)} of them have another size" if unet.misshapen else ""
        lines.append(
            f"{file.name}: {len(file.modules) - len(left)} of its {len(file.modules)} modules fit. Left out: "
            f"{such_as(left)}{sizes}."
        )
    return [*lines, *_unread(file, unet.modules)]


def _unread(file: LoraFile, fitting: Collection[str]) -> list[str]:
    """What ComfyUI does not read of a file whose other parts it takes."""
    lines = []
    scaled = sum(any(MAGNITUDE in key for key in file.modules[name]) for name in fitting)
    if scaled:
        lines.append(
            f"{file.name}: it is a DoRA whose scales ComfyUI does not read ({MAGNITUDE}), and looks different without "
            "them. Convert it, or choose another."
        )
    known = {key for keys in file.modules.values() for key in keys}
    others = [key for key in file.tensors if key not in known]
    if others:
        lines.append(f"{file.name}: {len(others)} more entries are no part of a LoRA, and left out: {such_as(others)}.")
    return lines


def _modules(targets: Iterable[Target]) -> int:
    """How many layers of a network these weights and biases belong to; parts of one weight count by themselves."""
    return len({target.rpartition(".")[0] if isinstance(target, str) else target for target in targets})


def _counted(count: int) -> str:
    return f"{count} modules" if count > 1 else "1 module"


def _size(size: Iterable[int | None]) -> str:
    return " x ".join("?" if side is None else str(side) for side in size)
