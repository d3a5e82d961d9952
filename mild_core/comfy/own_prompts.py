"""The pack's own prompts: what is written where the artist wrote nothing. families.py says which models get which."""

from typing import NamedTuple

from ..scene import BACKGROUND, PERSON


class Text(NamedTuple):
    """What should be seen, and what should not; None: the model gets zeroed text, which costs no pass."""

    positive: str
    negative: str | None


class OwnPrompts(NamedTuple):
    """For models that are prompted alike."""

    name: str  # what artists call these models
    texts: dict[str, Text]  # by domain


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

SD = OwnPrompts("SD1.5 and SD2", _TAGS)
SDXL = OwnPrompts("SDXL", _PHRASES)
FLUX = OwnPrompts("Flux", _SENTENCES_ONLY)
FLUX_FILL = OwnPrompts("Flux Fill", _SENTENCES_ONLY)
SD3 = OwnPrompts("SD3", _SENTENCES)
QWEN_IMAGE = OwnPrompts("Qwen-Image", _SENTENCES)
OTHERS = OwnPrompts("all other models", _SENTENCES)
