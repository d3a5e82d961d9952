"""The pack's own prompts: what is written where the artist wrote nothing, for each family of models and each domain."""

from typing import NamedTuple

import comfy.model_base
import comfy.model_patcher
import comfy.supported_models

from ..scene import BACKGROUND, PERSON


class Text(NamedTuple):
    """What should be seen, and what should not; None: the model gets zeroed text, which costs no pass."""

    positive: str
    negative: str | None


class Family(NamedTuple):
    """Models that are prompted alike."""

    name: str  # what artists call them
    texts: dict[str, Text]  # by domain
    guidance: float | None = None  # what a model with distilled guidance is told, where it reads any


# No positive for the background names people, not even to deny them: text encoders hear the noun and miss the "no".
# The negative is the place to name them, and there they are listed, since every word pulls away from one more look.
# Neither asks for sharpness: a hole in a background that is out of focus has to be out of focus too.
_NOBODY = "person, people, human, man, woman, child, face, body, limbs, clothes, silhouette, mannequin, text, watermark"

# Whoever is completed is one person. Models add a second one as soon as the hole is large, or a third arm.
_NOBODY_ELSE = "second person, extra people, extra head, extra arms, extra hands, extra legs, deformed, text, watermark"

# CLIP of SD1.5 and SD2 learnt from captions like lists: few words, the scene first.
_TAGS = {
    BACKGROUND: Text("empty scene, scenery, background, seamless", _NOBODY),
    PERSON: Text("one person, natural body, natural limbs, continuous clothing", _NOBODY_ELSE),
}

# SDXL's second encoder understands phrases; checkpoints trained on tags still find theirs ("scenery").
_PHRASES = {
    BACKGROUND: Text("an empty scene, scenery, the background continues seamlessly", _NOBODY),
    PERSON: Text("one person, natural body and limbs, the clothing continues seamlessly", _NOBODY_ELSE),
}

# T5 and language models read sentences. Fill models put some object into a hole for which nothing is described, so the
# sentence says what is there: more of what is around, and nothing that could be drawn as a thing of its own.
_BACKGROUND = (
    "The background simply continues here: the same surfaces, textures and light as all around, calm and empty."
)
_PERSON = (
    "One person whose body and clothes continue naturally from what is visible, in the same pose and the same light."
)
_SENTENCES = {BACKGROUND: Text(_BACKGROUND, _NOBODY), PERSON: Text(_PERSON, _NOBODY_ELSE)}

# Flux runs at cfg 1, where no negative is read: encoding one would be another pass through T5 for nothing.
_SENTENCES_ONLY = {domain: Text(text.positive, None) for domain, text in _SENTENCES.items()}

SD = Family("SD1.5 and SD2", _TAGS)
SDXL = Family("SDXL", _PHRASES)
FLUX = Family("Flux", _SENTENCES_ONLY, guidance=3.5)  # the guidances that their makers recommend
FLUX_FILL = Family("Flux Fill", _SENTENCES_ONLY, guidance=30.0)
SD3 = Family("SD3", _SENTENCES)
QWEN_IMAGE = Family("Qwen-Image", _SENTENCES)
OTHERS = Family("all other models", _SENTENCES)

FAMILIES = (SD, SDXL, FLUX, FLUX_FILL, SD3, QWEN_IMAGE, OTHERS)


def family_of(model: comfy.model_patcher.ModelPatcher) -> Family:
    """How this MODEL is prompted, by its class and configuration. Control and inpaint variants go with their base."""
    base, config = model.model, model.model.model_config
    if isinstance(config, comfy.supported_models.SD15 | comfy.supported_models.SD20):
        return SD
    if isinstance(base, comfy.model_base.SDXL | comfy.model_base.SDXLRefiner):
        return SDXL
    # Classes of their own that ComfyUI derives from Flux, with other text encoders and another way of guidance.
    derived = comfy.model_base.Flux2 | comfy.model_base.Chroma | comfy.model_base.LongCatImage
    if isinstance(base, comfy.model_base.Flux) and not isinstance(base, derived):
        # Fill reads the visible picture and the mask, which is more than as many channels again.
        unet = config.unet_config
        return FLUX_FILL if unet["in_channels"] > 2 * unet.get("out_channels", 16) else FLUX
    if isinstance(base, comfy.model_base.SD3):
        return SD3
    if isinstance(base, comfy.model_base.QwenImage):
        return QWEN_IMAGE
    return OTHERS


def guidance_of(model: comfy.model_patcher.ModelPatcher) -> float | None:
    """The `guidance` that a MODEL with distilled guidance is given; None for all others (Flux schnell too)."""
    return family_of(model).guidance if model.model.model_config.unet_config.get("guidance_embed") else None


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
    """The texts of one side for background and person, each pair once, with the families that share it."""
    groups: dict[tuple[str | None, str | None], list[str]] = {}
    for family in FAMILIES:
        pair = getattr(family.texts[BACKGROUND], side), getattr(family.texts[PERSON], side)
        groups.setdefault(pair, []).append(family.name)
    return [(pair, ", ".join(names)) for pair, names in groups.items()]
