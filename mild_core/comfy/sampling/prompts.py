"""Which CONDITIONING a layer is sampled with: its own, what is connected, the pack's own prompts, or zeroed text."""

import comfy.model_patcher
import comfy.sd
import torch
from torch import Tensor

from ...scene import BACKGROUND, PERSON, Layer
from ..adapters.text_parts import adapters_of, clip_of
from ..erasers.eraser import eraser_of
from ..families import FAMILIES, distilled_guidance_of, family_of
from .text_fits import check_text
from .zeroed import zeroed, zeroed_like

POSITIVE, NEGATIVE = "positive", "negative"

LAYERS_OWN, CONNECTED, PACKS, ZEROED = range(4)
"""Where a prompt comes from; the first one that there is wins."""


class Prompts:
    """Finds each layer's positive and negative.

    Ask for every layer before sampling begins: the first answers load the text encoder. Layers with the same prompts
    get the very same objects, which must not be changed.
    """

    def __init__(
        self,
        model: comfy.model_patcher.ModelPatcher,
        positive: list | None = None,
        negative: list | None = None,
        clip: comfy.sd.CLIP | None = None,
    ):
        """positive, negative: CONDITIONING for the layers that have none of their own. clip: encodes the pack's own
        prompts for what is missing. Raises ValueError if a CONDITIONING is another model family's.
        """
        self.model = model
        self.reads_text = eraser_of(model).reads_text
        self.clip = clip if self.reads_text else None
        self.connected = {POSITIVE: positive, NEGATIVE: negative}
        self.guidance = distilled_guidance_of(model)
        self.clips: dict[object, comfy.sd.CLIP] = {}  # with the adapters of some layers each
        self.encoded: dict[tuple[object, str, str], list] = {}
        self.zeros: list[list] = []
        self.sources: dict[str, tuple[Layer, dict[str, int]]] = {}
        for side, conditioning in self.connected.items():
            self._check(conditioning or [], side)

    def of(self, layer: Layer) -> dict[str, list]:
        """{"positive": CONDITIONING, "negative": CONDITIONING}.

        Raises ValueError if the layer's own, or what clip gives, is another model family's text; or if there is no
        prompt at all and the width of the MODEL's text is unknown.
        """
        positive, positives_source = self._written(layer, POSITIVE)
        negative, negatives_source = self._written(layer, NEGATIVE)
        if positive is None:
            positive = self._shared(self._guided(zeroed(self.model) if negative is None else zeroed_like(negative)))
        if negative is None:
            negative = self._shared(zeroed_like(positive))
        self.sources[layer.id] = layer, {POSITIVE: positives_source, NEGATIVE: negatives_source}
        return {POSITIVE: positive, NEGATIVE: negative}

    def notes(self) -> list[str]:
        """Sentences that say which prompts were used, for the layers asked for so far."""
        if not self.reads_text or not self.sources:
            return []
        sentences = [f"Prompts: {self._described(POSITIVE)}."]
        if any(of[POSITIVE] != of[NEGATIVE] for _, of in self.sources.values()):
            sentences.append(f"Negative prompts: {self._described(NEGATIVE)}.")
        if len(self.clips) > 1:
            sentences.append("The pack's own are encoded for each layer with its own adapters (Adapters for Layers).")
        return sentences

    def _written(self, layer: Layer, side: str) -> tuple[list | None, int]:
        """What was written for this layer, and by whom; None: nothing."""
        own = layer.positive if side == POSITIVE else layer.negative
        if own:  # an empty CONDITIONING counts as none
            self._check(own, f"Prompt Layers: {side} of {layer.name}")
            return own, LAYERS_OWN
        if self.connected[side]:
            return self.connected[side], CONNECTED
        if self.clip is not None:
            text = getattr(family_of(self.model).prompts.texts[layer.domain], side)
            if text is not None:
                return self._encode(self.clip, layer, text, side), PACKS
        return None, ZEROED

    def _encode(self, clip: comfy.sd.CLIP, layer: Layer, text: str, side: str) -> list:
        """As CLIPTextEncode does it with the layer's adapters, each text once with the same ones."""
        adapters = adapters_of(clip, layer.id)
        if (adapters, side, text) not in self.encoded:
            own = self.clips.setdefault(adapters, clip_of(clip, layer.id))
            conditioning = own.encode_from_tokens_scheduled(own.tokenize(text))
            self._check(conditioning, "clip")
            self.encoded[adapters, side, text] = self._guided(conditioning) if side == POSITIVE else conditioning
        return self.encoded[adapters, side, text]

    def _guided(self, conditioning: list) -> list:
        """With the guidance that a distilled model expects. A prompt of the artist's keeps its own value."""
        if self.guidance is None:
            return conditioning
        return [[text, {**values, "guidance": self.guidance}] for text, values in conditioning]

    def _shared(self, conditioning: list) -> list:
        """The same zeros where equal ones were given out before."""
        same = next((known for known in self.zeros if _equal(known, conditioning)), None)
        if same is None:
            same = conditioning
            self.zeros.append(same)
        return same

    def _check(self, conditioning: list, socket: str) -> None:
        if self.reads_text:
            check_text(self.model, conditioning, socket)

    def _described(self, side: str) -> str:
        """ "yours for the background; the pack's own for people": who gets what, in the order of the layers."""
        groups: dict[int, list[Layer]] = {}
        for layer, sources in self.sources.values():
            groups.setdefault(sources[side], []).append(layer)
        guidance = "" if self.guidance is None or side == NEGATIVE else f", guidance {self.guidance:g}"
        names = {
            LAYERS_OWN: "from Prompt Layers",
            CONNECTED: "yours",
            PACKS: f"the pack's own ({family_of(self.model).prompts.name}{guidance})",
            ZEROED: f"none (zeroed text{guidance})",
        }
        if len(groups) == 1:
            return names[next(iter(groups))]
        return "; ".join(f"{names[source]} for {self._who(layers)}" for source, layers in groups.items())

    def _who(self, layers: list[Layer]) -> str:
        """Layers by name, or by domain where all of a domain are among them."""
        everyone = [layer for layer, _ in self.sources.values()]
        words = []
        for domain, word in ((BACKGROUND, "the background"), (PERSON, "people")):
            here = [layer for layer in layers if layer.domain == domain]
            names = list(dict.fromkeys(layer.name for layer in here))
            all_of_it = len(here) == sum(layer.domain == domain for layer in everyone)
            alone = domain == PERSON and len(names) == 1  # one person is called by name
            words += [word] if here and all_of_it and not alone else names
        return ", ".join(words)


def tooltip() -> str:
    """What a `clip` input is for, with all texts, family by family."""
    lines = ["The model's own CLIP. Where no prompt is connected it encodes these:"]
    for (behind, person), names in _grouped("positive"):
        lines.append(f"{names}: background: {behind} / person: {person}")
    for (behind, person), names in _grouped("negative"):
        if behind is not None:
            lines.append(f"Negative ({names}): background: {behind} / person: {person}")
    guidances = [f"{family.name} {family.guidance:g}" for family in FAMILIES if family.guidance is not None]
    return "\n".join([*lines, f"Guidance: {', '.join(guidances)}"])


def _grouped(side: str) -> list[tuple[tuple[str | None, str | None], str]]:
    """The texts of one side for background and person, each pair once, with the models that share it."""
    groups: dict[tuple[str | None, str | None], list[str]] = {}
    for name, texts in {family.prompts.name: family.prompts.texts for family in FAMILIES}.items():
        pair = getattr(texts[BACKGROUND], side), getattr(texts[PERSON], side)
        groups.setdefault(pair, []).append(name)
    return [(pair, ", ".join(names)) for pair, names in groups.items()]


def _equal(one: list, other: list) -> bool:
    """Whether two zeroed CONDITIONINGs of a single entry say the same."""
    (text, values), (other_text, other_values) = one[0], other[0]
    return (
        _same(text, other_text)
        and values.keys() == other_values.keys()
        and all(_same(value, other_values[key]) for key, value in values.items())
    )


def _same(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    return one is other or (not isinstance(one, Tensor) and not isinstance(other, Tensor) and one == other)
