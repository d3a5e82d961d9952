"""Who stands where, mixed into a CONDITIONING: once for whole photos, and for each layer when layers are sampled.

An entry's text is replaced by one of the same shape, so that stock nodes and samplers see nothing unusual; a MixedText
stays on the entry, from which Sample Layers makes each layer's own text out of the plain one ("this" is the layer's
person). The network runs here and nowhere else: never during a step.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import comfy.model_management
import comfy.model_patcher
import torch
from torch import Tensor

from ...guidance.token_features import people_of
from ...pairing import row_of
from ...scene import Layer, Morphology
from ..families import channels

KEY = "mild_tokens"
"""Where a CONDITIONING's entry keeps its MixedText."""

Conds = dict[str, list[dict[str, Any]]]
"""By the guider's names for them, as it keeps them: a dictionary for each entry of a CONDITIONING."""

CHANGED = (
    "A prompt was changed after Guide by Bodies: all layers get the relations between people that are in it. Put Guide "
    "by Bodies behind the node that changes the prompt, and each layer's text says which of the people it is."
)


class MixedText(NamedTuple):
    """What an entry's text was mixed from."""

    plain: Tensor  # [B, T, C], as it came
    mixed: Tensor  # [N, T, C], with the people of each photo; N the larger of B and the number of photos
    patcher: comfy.model_patcher.ModelPatcher  # its .model has the network: .tokens
    morphology: tuple[Morphology, ...]  # of the photos
    strength: float
    before: "MixedText | None" = None  # where the text came mixed with other guidance

    def __deepcopy__(self, memo: dict) -> "MixedText":
        """Itself: nothing of it ever changes, and some nodes copy all values of a CONDITIONING."""
        return self


def mixed(
    conditioning: list,
    patcher: comfy.model_patcher.ModelPatcher,
    morphology: Sequence[Morphology],
    strength: float,
    socket: str = "positive",
) -> list:
    """CONDITIONING with the relations of all people of a photo mixed into its texts; the same object if there are none.

    patcher: a ModelPatcher of MorphologyGuidance. Several photos make a row of text each, as stock samplers give rows
    of text to a batch of photos. Raises ValueError, with the socket's name, for a text of another width than that of
    the guidance's model.
    """
    if strength == 0 or not any(body.sure > 0 for photo in morphology for body in photo.bodies):
        return conditioning
    _check(conditioning, patcher.model.tokens.context, socket)
    photos = max(photo.photo for photo in morphology) + 1
    result = []
    with _loaded([patcher]):
        for text, values in conditioning:
            if text is None:
                result.append([text, values])
                continue
            rows = [
                _mix(patcher, _row(text, row), _people(morphology, row % photos), None, strength)
                for row in range(max(len(text), photos))
            ]
            tokens = MixedText(text, torch.cat(rows), patcher, tuple(morphology), strength, values.get(KEY))
            result.append([tokens.mixed, {**values, KEY: tokens}])
    return result


def plain_text(entry: dict[str, Any]) -> Tensor:
    """The text [B, T, C] of an entry that has one, as it was before anything was mixed into it."""
    text, tokens = entry["cross_attn"], entry.get(KEY)
    while tokens is not None:
        text, tokens = tokens.plain, tokens.before
    return text


def for_layers(conds: dict[str, Conds], layers: Sequence[Layer]) -> tuple[dict[str, Conds], list[str]]:
    """Conds by layer id, each with texts of its own layer; and sentences for the artist.

    What comes without a MixedText stays the same object. A text to which another node has appended since keeps what was
    appended. One that was changed in any other way stays as that node left it: the whole photo's.
    """
    entries = [entry for of in conds.values() for cond in of.values() for entry in cond if KEY in entry]
    if not entries:
        return conds, []
    by_id = {layer.id: layer for layer in layers}
    texts: dict[tuple, Tensor | None] = {}  # layers with the same text get the same tensor
    result: dict[str, Conds] = {}
    with _loaded(_patchers(entry[KEY] for entry in entries)):
        for layer_id, of in conds.items():
            result[layer_id] = {
                name: [_entry(entry, by_id[layer_id], texts) if KEY in entry else entry for entry in cond]
                for name, cond in of.items()
            }
    return result, [CHANGED] if any(text is None for text in texts.values()) else []


def _entry(entry: dict[str, Any], layer: Layer, texts: dict[tuple, Tensor | None]) -> dict[str, Any]:
    """An entry with the layer's own text, and without its MixedText: layers with and without one can be a batch."""
    result = {key: value for key, value in entry.items() if key != KEY}
    text, tokens = entry.get("cross_attn"), entry[KEY]
    if text is None:
        return result
    key = id(text), id(tokens), layer.photo, layer.number
    if key not in texts:
        texts[key] = _of_layer(text, tokens, layer)
    own = texts[key]
    result["cross_attn"] = _row(text, layer.photo) if own is None else own
    return result


def _of_layer(text: Tensor, tokens: MixedText, layer: Layer) -> Tensor | None:
    """text [B, T + more, C], that begins with tokens.mixed, as [1, T + more, C] for a layer; None if it does not."""
    row, was = _row(text, layer.photo), _row(tokens.mixed, layer.photo)
    length = was.shape[1]
    if not torch.equal(row[:, :length].to(was), was):
        return None
    people = _people(tokens.morphology, layer.photo)
    plain = _row(tokens.plain, layer.photo)
    if tokens.before is not None:
        earlier = _of_layer(tokens.plain, tokens.before, layer)
        plain = plain if earlier is None else earlier
    if layer.number is None and plain is tokens.plain and people is not None:
        return row  # the background's is the whole photo's
    own = _mix(tokens.patcher, plain, people, layer.number, tokens.strength)
    return torch.cat([own.to(row), row[:, length:]], 1)


def _mix(
    patcher: comfy.model_patcher.ModelPatcher,
    text: Tensor,
    morphology: Morphology | None,
    number: int | None,
    strength: float,
) -> Tensor:
    """text [1, T, C] as the layer of the person `number` reads it; same dtype and device."""
    if morphology is None:
        return text
    people = people_of(morphology, number).to(patcher.load_device)
    network = patcher.model.tokens
    return network.mix(text.to(patcher.load_device), network(people), people.confidence, strength).to(text.device)


@contextmanager
def _loaded(patchers: Iterable[comfy.model_patcher.ModelPatcher]) -> Iterator[None]:
    """On their device meanwhile, and off it afterwards: sampling needs the memory, and runs none of it."""
    patchers = list(patchers)
    comfy.model_management.load_models_gpu(patchers)
    try:
        yield
    finally:
        for patcher in patchers:
            comfy.model_management.unload_model_and_clones(patcher)


def _patchers(texts: Iterable[MixedText]) -> list[comfy.model_patcher.ModelPatcher]:
    """Of these texts and of what they were mixed from; each once."""
    found: dict[int, comfy.model_patcher.ModelPatcher] = {}
    for text in texts:
        tokens: MixedText | None = text
        while tokens is not None:
            found[id(tokens.patcher)] = tokens.patcher
            tokens = tokens.before
    return list(found.values())


def _people(morphology: Sequence[Morphology], photo: int) -> Morphology | None:
    """Those of this photo, if anything is known of it."""
    return next((one for one in morphology if one.photo == photo), None)


def _row(text: Tensor, photo: int) -> Tensor:
    """[1, T, C] of a text: its own row, or the only one."""
    return text if len(text) == 1 else text[row_of(len(text), photo)][None]


def _check(conditioning: list, context: int, socket: str) -> None:
    for text, _ in conditioning:
        if text is not None and text.shape[-1] != context:
            raise ValueError(
                f"{socket}: its text has {channels(text.shape[-1])}, but the guidance is for a model that reads "
                f"{channels(context)}. Load the guidance file that belongs to your model."
            )
