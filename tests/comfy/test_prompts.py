"""Which prompt a layer is sampled with, for every family of models; and text that does not fit is refused in words."""

import comfy.sample
import pytest
import torch

from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.comfy.families import FAMILIES as PROMPTED
from mild.mild_core.comfy.families import distilled_guidance_of, family_of, pooled_width
from mild.mild_core.comfy.sampling.prompts import Prompts, tooltip
from mild.mild_core.comfy.sampling.text_fits import check_text
from mild.mild_core.scene import BACKGROUND, PERSON
from mild.tests.helpers.layers import background, person, picture
from mild.tests.helpers.tiny_clip import CLIPS, make_clip
from mild.tests.helpers.tiny_models import FAMILIES

PHOTO = picture()
BEHIND = background(PHOTO, (20, 10, 40, 50))
ALSO_BEHIND = background(PHOTO, (60, 20, 70, 41), box=(50, 9, 83, 52), tail="-2")
ANNA = person(PHOTO, 2, (10, 15, 22, 45), (22, 20, 30, 40), (3, 8, 36, 53))
BEN = person(PHOTO, 3, (50, 15, 62, 45), (62, 20, 70, 40), (43, 8, 76, 53))
LAYERS = (BEHIND, ALSO_BEHIND, ANNA, BEN)

NAMES = {
    "sd15": "SD1.5 and SD2", "sd15_inpaint": "SD1.5 and SD2", "sd2": "SD1.5 and SD2", "sd2_inpaint": "SD1.5 and SD2",
    "sdxl": "SDXL", "sdxl_inpaint": "SDXL", "sd3": "SD3", "flux": "Flux", "flux_fill": "Flux Fill",
    "qwen_image": "Qwen-Image",
}  # fmt: skip
GUIDANCE = {"flux": 3.5, "flux_fill": 30.0}


@pytest.fixture(scope="module")
def clip_of():
    """clip_of(family): one small random CLIP of each family for all tests."""
    made = {}
    return lambda family: made.get(family) or made.setdefault(family, make_clip(family))


class Counting:
    """A CLIP that notes what it is asked to encode."""

    def __init__(self, clip):
        self.clip = clip
        self.patcher = clip and clip.patcher
        self.texts = []

    def tokenize(self, text):
        self.texts.append(text)
        return self.clip.tokenize(text)

    def encode_from_tokens_scheduled(self, tokens):
        return self.clip.encode_from_tokens_scheduled(tokens)


def painted(tiny, positive, negative):
    """A step of stock sampling with these texts."""
    latent = tiny.empty_latent()["samples"]
    result = comfy.sample.sample(tiny.model, latent + 1, 1, 2.0, "euler", "normal", positive, negative, latent)
    return torch.isfinite(result).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_known_by_its_class(tiny, family):
    model = tiny(family).model
    assert family_of(model).prompts.name == NAMES.get(family, "all other models")
    assert distilled_guidance_of(model) == GUIDANCE.get(family)


def test_flux_without_guidance_gets_none(tiny, monkeypatch):
    model = tiny("flux").model
    monkeypatch.setitem(model.model.model_config.unet_config, "guidance_embed", False)
    assert family_of(model).prompts.name == "Flux" and distilled_guidance_of(model) is None


def test_positives_do_not_name_who_is_to_vanish():
    for family in PROMPTED:
        words = family.prompts.texts[BACKGROUND].positive.lower()
        assert words and not any(word in words for word in ("person", "people", "human", "nobody", "no one"))
        assert "person" in family.prompts.texts[PERSON].positive.lower()
        negative = family.prompts.texts[BACKGROUND].negative
        assert negative is None or "people" in negative


def test_the_tooltip_shows_every_text_and_family():
    text = tooltip()
    for family in PROMPTED:
        assert family.prompts.name in text
        for pair in family.prompts.texts.values():
            assert pair.positive in text and (pair.negative is None or pair.negative in text)
    assert "Flux Fill 30" in text and "Flux 3.5" in text


@pytest.mark.parametrize("family", FAMILIES)
def test_without_any_prompt_the_text_is_zeros_that_the_model_reads(tiny, family):
    prompts = Prompts(tiny(family).model)
    given = [prompts.of(layer) for layer in LAYERS]
    positive, negative = given[0]["positive"], given[0]["negative"]
    assert all(one["positive"] is positive and one["negative"] is negative for one in given)
    for conditioning in (positive, negative):
        ((text, values),) = conditioning
        assert text.shape[-1] == tiny(family).positive[0][0].shape[-1] and not text.any()
        assert not any(value.any() for value in values.values() if isinstance(value, torch.Tensor))
    assert positive[0][1].get("guidance") == GUIDANCE.get(family) and "guidance" not in negative[0][1]
    assert painted(tiny(family), positive, negative)
    guidance = f", guidance {GUIDANCE[family]:g}" if family in GUIDANCE else ""
    assert prompts.notes()[0] == f"Prompts: none (zeroed text{guidance})."


@pytest.mark.parametrize("clip", CLIPS)
def test_the_packs_own_prompts_are_encoded_once_by_domain(tiny, clip_of, clip):
    """They are what CLIP Text Encode would make of the same texts."""
    counting = Counting(clip_of(clip))
    model = tiny(clip).model
    prompts = Prompts(model, clip=counting)
    given = {layer.id: prompts.of(layer) for layer in (*LAYERS, *LAYERS)}
    assert given[BEHIND.id] == given[ALSO_BEHIND.id] and given[ANNA.id] == given[BEN.id]
    for side in ("positive", "negative"):
        assert given[BEHIND.id][side] is given[ALSO_BEHIND.id][side] and given[ANNA.id][side] is given[BEN.id][side]
    assert len(counting.texts) == len(set(counting.texts))
    for layer in (BEHIND, ANNA):
        texts = family_of(model).prompts.texts[layer.domain]
        for side, text in (("positive", texts.positive), ("negative", texts.negative)):
            ((own, values),) = given[layer.id][side]
            if text is None:
                assert not own.any()
                continue
            ((stock, stock_values),) = clip_of(clip).encode_from_tokens_scheduled(clip_of(clip).tokenize(text))
            assert torch.equal(own, stock) and torch.equal(values["pooled_output"], stock_values["pooled_output"])
        assert painted(tiny(clip), given[layer.id]["positive"], given[layer.id]["negative"])
    assert given[BEHIND.id]["positive"][0][1].get("guidance") == GUIDANCE.get(clip)
    assert not torch.equal(given[BEHIND.id]["positive"][0][0], given[ANNA.id]["positive"][0][0])
    assert prompts.notes()[0].startswith(f"Prompts: the pack's own ({family_of(model).prompts.name}")


def test_flux_spends_no_pass_on_a_negative(tiny, clip_of):
    counting = Counting(clip_of("flux"))
    prompts = Prompts(tiny("flux_fill").model, clip=counting)
    positive = prompts.of(BEHIND)["positive"]
    assert len(counting.texts) == 1 and positive[0][1]["guidance"] == 30.0
    expected = ["Prompts: the pack's own (Flux Fill, guidance 30).", "Negative prompts: none (zeroed text)."]
    assert prompts.notes() == expected


def test_a_layers_own_prompt_wins_then_what_is_connected_then_the_packs(tiny, clip_of):
    sdxl, clip = tiny("sdxl"), clip_of("sdxl")
    own = clip.encode_from_tokens_scheduled(clip.tokenize("a red coat"))
    prompts = Prompts(sdxl.model, sdxl.positive, clip=clip)
    anna = prompts.of(ANNA._replace(positive=own))
    behind, ben = prompts.of(BEHIND), prompts.of(BEN)
    assert anna["positive"] is own and behind["positive"] is sdxl.positive and ben["positive"] is sdxl.positive
    assert anna["negative"] is ben["negative"] and anna["negative"][0][0].any()
    assert not torch.equal(behind["negative"][0][0], ben["negative"][0][0])
    assert prompts.notes() == [
        "Prompts: from Prompt Layers for Person 2; yours for the background, Person 3.",
        "Negative prompts: the pack's own (SDXL).",
    ]


def test_notes_call_a_whole_domain_by_its_name(tiny, clip_of):
    sd15 = tiny("sd15")
    prompts = Prompts(sd15.model, clip=clip_of("sd15"))
    for layer in (BEHIND, ALSO_BEHIND, ANNA, BEN):
        own = sd15.positive if layer.domain == BACKGROUND else None
        prompts.of(layer._replace(positive=own, negative=own))
    expected = "from Prompt Layers for the background; the pack's own (SD1.5 and SD2) for people"
    assert prompts.notes() == [f"Prompts: {expected}."]


def test_a_missing_side_is_zeros_of_the_shape_of_the_other(tiny):
    flux = tiny("flux")
    positive = [[flux.positive[0][0], {**flux.positive[0][1], "guidance": 2.0, "area": (4, 4, 0, 0)}]]
    given = Prompts(flux.model, positive).of(ANNA)
    assert given["positive"] is positive  # the artist's own guidance stays
    ((text, values),) = given["negative"]
    assert text.shape == positive[0][0].shape and not text.any() and not values["pooled_output"].any()
    assert values.keys() == {"pooled_output"}
    ((text, values),) = Prompts(flux.model, negative=positive).of(ANNA)["positive"]
    assert text.shape == positive[0][0].shape and not text.any() and values["guidance"] == 3.5


def test_equal_zeros_are_the_same_object(tiny):
    """Layers with different positives need no different negatives."""
    sd15 = tiny("sd15")
    longer = [[torch.randn(1, 154, 768), {}]]
    prompts = Prompts(sd15.model, sd15.positive)
    plain, also = prompts.of(BEHIND), prompts.of(BEN._replace(positive=[[torch.randn(1, 77, 768), {}]]))
    assert plain["negative"] is also["negative"]
    assert prompts.of(ANNA._replace(positive=longer))["negative"][0][0].shape == (1, 154, 768)


def test_an_empty_conditioning_says_nothing_and_one_without_text_is_taken(tiny):
    sd15 = tiny("sd15")
    given = Prompts(sd15.model, [], sd15.negative).of(ANNA._replace(negative=[]))
    assert not given["positive"][0][0].any() and given["negative"] is sd15.negative
    without = [[None, {"strength": 0.5}]]
    given = Prompts(sd15.model, without).of(ANNA)
    assert given["positive"] is without and given["negative"] == [[None, {}]]


def test_the_built_in_model_reads_no_text():
    model = builtin.load_model()
    references = builtin.empty_conditioning(torch.rand(2, 8, 8, 3))
    counting = Counting(None)
    prompts = Prompts(model, references, clip=counting)
    given = prompts.of(BEHIND)
    assert given["positive"] is references and "mild_references" not in given["negative"][0][1]
    assert prompts.of(ANNA._replace(positive=[[torch.zeros(1, 77, 768), {}]]))["positive"][0][0].shape[-1] == 768
    assert counting.texts == [] and prompts.notes() == []


WRONG = [("sd15", "sdxl"), ("sdxl", "sd15"), ("flux", "sdxl"), ("flux_fill", "qwen_image"), ("sd3", "sd15"),
         ("qwen_image", "flux"), ("lumina2", "qwen_image"), ("sd2_inpaint", "sd15"), ("flux2", "flux")]  # fmt: skip


@pytest.mark.parametrize("family, other", WRONG)
def test_another_familys_text_is_refused_by_the_sockets_name(tiny, family, other):
    model, foreign = tiny(family).model, tiny(other).positive
    came, needed = foreign[0][0].shape[-1], tiny(family).positive[0][0].shape[-1]
    for sockets in ({"positive": foreign}, {"negative": foreign}):
        (socket,) = sockets
        with pytest.raises(ValueError, match=f"^{socket}: its text has {came:,} .*reads {needed:,} .*CLIP"):
            Prompts(model, **sockets)
        with pytest.raises(ValueError, match=f"^Prompt Layers: {socket} of Person 2: its text has {came:,} "):
            Prompts(model).of(ANNA._replace(**sockets))


def test_another_familys_clip_is_refused(tiny, clip_of):
    with pytest.raises(ValueError, match=r"^clip: its text has 768 .*reads 2,048 .*or none"):
        Prompts(tiny("sdxl").model, clip=clip_of("sd15")).of(BEHIND)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_model_reads_is_accepted(tiny, family):
    model, own = tiny(family).model, tiny(family).positive
    check_text(model, own, "positive")
    check_text(model, [[None, own[0][1]]], "positive")  # an entry without text


def test_pooled_text_where_the_model_needs_it(tiny):
    text = {"sdxl": torch.zeros(1, 77, 2048), "sd3": torch.zeros(1, 77, 4096), "flux": torch.zeros(1, 77, 4096)}
    refused = [("sdxl", {}), ("sdxl", {"pooled_output": None}), ("sdxl", {"pooled_output": torch.zeros(1, 768)}),
               ("sd3", {}), ("sd3", {"pooled_output": torch.zeros(1, 768)}),
               ("flux", {"pooled_output": torch.zeros(1, 512)})]  # fmt: skip
    for family, values in refused:
        with pytest.raises(ValueError, match=r"^positive: this MODEL .*pooled_output"):
            Prompts(tiny(family).model, [[text[family], values]])
    accepted = [("sdxl", {"unclip_conditioning": []}), ("flux", {}), ("flux", {"pooled_output": None}),
                ("flux", {"pooled_output": torch.zeros(1, 1280)}),
                ("sd3", {"pooled_output": torch.zeros(1, pooled_width(tiny("sd3").model.model))})]  # fmt: skip
    for family, values in accepted:
        given = [[text[family], values]]
        assert Prompts(tiny(family).model, given).of(BEHIND)["positive"] is given


def test_a_model_that_does_not_tell_its_texts_width_takes_any_prompt_but_none(tiny, monkeypatch):
    """As models do that ComfyUI learns tomorrow: without text_in layers and names that are known here."""
    model = tiny("qwen_image").model.clone()
    model.add_object_patch("diffusion_model", torch.nn.Identity())
    given = [[torch.zeros(1, 5, 17), {}]]
    assert Prompts(model, given).of(BEHIND)["positive"] is given
    with pytest.raises(ValueError, match="connect its CLIP, or a prompt"):
        Prompts(model).of(BEHIND)
