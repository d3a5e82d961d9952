"""A CONDITIONING with a row for each photo: every layer is painted with its own photo's."""

import comfy.clip_vision
import comfy.conds
import comfy.patcher_extension
import pytest
import torch

from mild.mild_core.comfy.sampling.conditioning import WHOLE_LATENTS, LayerConds
from mild.mild_core.comfy.sampling.own_rows import OwnRows, row_notes
from mild.mild_core.pairing import dealt
from mild.mild_core.scene import Scene
from mild.tests.helpers.attention import noting_calls
from mild.tests.helpers.layers import WIDGETS, background, layers_of, person, picture
from mild.tests.helpers.tiny_models import make

pytestmark = pytest.mark.usefixtures("small_native_size")

ROUNDING = 2e-3
"""Of a picture in 0..1: batches of other sizes are multiplied in another order."""


def photos(count=2):
    """So many photos with a background of one size, the last one also with a person."""
    scenes = []
    for index in range(count):
        photo = picture(60, 90, seed=index)
        layers = [background(photo, (20, 10, 45, 40), (0, 0, 64, 56), index)]
        if index == count - 1:
            layers.append(person(photo, 2, (10, 5, 30, 50), (30, 10, 44, 40), (4, 0, 68, 56), index))
        scenes.append(Scene(photo, tuple(layers)))
    return scenes


def alone(scene):
    """A scene as the only one, its layers under the names, and so with the noise, that they had."""
    return [scene._replace(layers=tuple(layer._replace(photo=0) for layer in scene.layers))]


def stacked(*conditionings):
    """One CONDITIONING whose rows are these, of an entry each."""
    texts, values = zip(*(conditioning[0] for conditioning in conditionings), strict=True)
    return [[torch.cat(texts), {key: torch.cat([value[key] for value in values]) for key in values[0]}]]


@pytest.mark.parametrize("how", ["connected", "advanced", "prompt layers"])
@pytest.mark.parametrize("family", ["sdxl", "qwen_image"])
def test_each_photo_is_painted_as_alone_with_its_own_prompt(run_node, sample, advanced, family, how):
    """Text, and what goes with it: pooled text of SDXL, attention mask of Qwen-Image; both prompts."""
    first, other = make(family), make(family, seed=5)
    if family == "qwen_image":
        other.positive[0][1]["attention_mask"][:, -30:] = 0
    positives, negatives = (first.positive, other.positive), (first.negative, other.negative)

    def painted(scenes, positive, negative):
        if how == "advanced":
            return layers_of(advanced(first, scenes, positive, negative, steps=1, start="noise"))
        conds = {"positive": positive, "negative": negative}
        if how == "prompt layers":
            scenes = run_node("MILD_PromptLayers", layers=scenes, which="all", **conds)[0]
            conds = {}
        return layers_of(sample(scenes, first, steps=1, cfg=4.0, **conds))

    scenes = photos()
    together = painted(scenes, stacked(*positives), stacked(*negatives))
    for scene, positive, negative in zip(scenes, positives, negatives, strict=True):
        for layer_id, layer in painted(alone(scene), positive, negative).items():
            assert torch.allclose(layer.pixels, together[layer_id].pixels, atol=ROUNDING)
    wrong = painted(alone(scenes[1]), positives[0], negatives[0])
    assert all(not torch.allclose(layer.pixels, together[key].pixels, atol=1e-2) for key, layer in wrong.items())


@pytest.mark.parametrize(("rows", "count"), [(3, 2), (2, 3), (2, 1)])
def test_other_counts_are_dealt_out_in_turn_and_said(comfy, rows, count):
    tiny = make("sd15")
    model, seen = noting_calls(
        tiny.model,
        lambda x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **_: list(
            zip(transformer_options["mild_rows"], c_crossattn, strict=True)
        ),
    )
    texts = torch.arange(rows, dtype=torch.float32).reshape(-1, 1, 1).expand(-1, 77, 768)
    scenes = photos(count)
    given = {"model": model, "vae": tiny.vae, "layers": scenes, "positive": [[texts, {}]]}
    graph = {key: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for key, value in given.items()}
    links = {key: [key, 0] for key in given}
    graph["sample"] = {"class_type": "MILD_SampleLayers", "inputs": {**WIDGETS, **links, "steps": 1}}
    asked = {"layers": ["layers", 0], "which": "all", "positive": ["positive", 0]}
    graph["prompt"] = {"class_type": "MILD_PromptLayers", "inputs": asked}
    ran = comfy.run_graph(graph, wanted=["sample", "prompt"])
    got = {layer_id: int(text[0, 0]) for call in seen for layer_id, text in call}
    assert got == {layer.id: layer.photo % rows for scene in scenes for layer in scene.layers}
    sentence = dealt("Rows of positive", rows, count)
    for node in ("sample", "prompt"):
        assert sentence in ran.ui[node]["text"][0].splitlines()


def test_every_value_is_cut_to_the_photos_row():
    """And all that is no row is the same object, as is what two layers of one photo get."""
    rows = OwnRows(2)
    shared, vision = object(), comfy.clip_vision.Output()
    vision.image_embeds, vision.last_hidden_state = torch.rand(2, 8), torch.rand(2, 5, 8)
    cond = {
        "cross_attn": torch.rand(2, 7, 3),
        "pooled_output": torch.rand(2, 3),
        "attention_mask": torch.ones(2, 7),
        "concat_latent_image": torch.rand(2, 4, 6, 6),
        "reference_latents": [torch.rand(2, 4, 6, 6), torch.rand(1, 4, 3, 3), torch.rand(3, 4, 3, 3)],
        "unclip_conditioning": [{"clip_vision_output": vision, "strength": 0.5}],
        "model_conds": {"own": comfy.conds.CONDRegular(torch.rand(2, 3)), "one": comfy.conds.CONDConstant([1, 2])},
        "mild_references": ([torch.rand(4, 5, 3)], [torch.rand(6, 5, 3), torch.rand(2, 2, 3)]),
        "mild_ground": torch.rand(2, 9, 4),
        "mask": torch.rand(2, 6, 6),
        "strengths": torch.rand(2),
        "sizes": torch.rand(3),
        "guidance": 3.5,
        "hooks": shared,
    }
    for photo in (0, 1):
        own = rows.of(cond, photo)
        row = slice(photo, photo + 1)
        for key in ("cross_attn", "pooled_output", "attention_mask", "concat_latent_image", "strengths"):
            assert torch.equal(own[key], cond[key][row])
        latents = own["reference_latents"]
        assert torch.equal(latents[0], cond["reference_latents"][0][row])
        assert latents[1] is cond["reference_latents"][1]
        assert torch.equal(latents[2], cond["reference_latents"][2][row])
        (unclip,) = own["unclip_conditioning"]
        assert unclip["strength"] == 0.5
        assert torch.equal(unclip["clip_vision_output"].image_embeds, vision.image_embeds[row])
        assert torch.equal(unclip["clip_vision_output"].last_hidden_state, vision.last_hidden_state[row])
        assert torch.equal(own["model_conds"]["own"].cond, cond["model_conds"]["own"].cond[row])
        assert own["model_conds"]["one"] is cond["model_conds"]["one"]
        assert own["mild_references"] is cond["mild_references"][photo]
        for key in ("mild_ground", "mask", "sizes", "guidance", "hooks"):
            assert own[key] is cond[key]
        again = rows.of(dict(cond), photo)
        assert all(again[key] is own[key] for key in cond)
    assert vision.image_embeds.shape == (2, 8)


def test_pictures_that_are_mixed_for_all_stay_together():
    """As stock code has it for unCLIP, unless there is one for each photo."""
    vision = comfy.clip_vision.Output()
    vision.image_embeds = torch.rand(3, 8)
    given = [{"clip_vision_output": vision, "strength": 0.5, "noise_augmentation": 0.0}]
    assert OwnRows(2).of({"unclip_conditioning": given}, 1)["unclip_conditioning"] is given


def test_reference_latents_that_stay_whole_are_said_once():
    """Of edit models: they may show whoever goes."""
    notes = []
    conds, layer = LayerConds([(60, 90)], notes), background(picture(60, 90), (20, 10, 45, 40))
    given = {"cross_attn": torch.rand(1, 7, 3), "reference_latents": [torch.rand(1, 4, 6, 6)]}
    for side in ("positive", "negative"):
        (own,) = conds.of(side, [given], layer, (8, 8), {})
        assert torch.equal(own["reference_latents"][0], given["reference_latents"][0])
    assert notes == [WHOLE_LATENTS]
    notes.clear()
    conds.of("positive", [{"cross_attn": torch.rand(1, 7, 3)}], layer, (8, 8), {})
    assert notes == []


def test_one_row_and_one_for_each_need_no_word():
    cond = {"cross_attn": torch.rand(3, 7, 3), "pooled_output": torch.rand(1, 3), "mask": torch.rand(3, 4, 4)}
    assert row_notes("positive", [cond], 3) == []
    assert row_notes("positive", [cond, cond], 2) == [
        dealt("Rows of positive", 3, 2), dealt("Masks of positive", 3, 2)
    ]  # fmt: skip


def test_model_conds_of_photos_do_not_mix(sample):
    """Some nodes write what a model gets straight onto the CONDITIONING."""
    tiny = make("sd15")
    given, seen = torch.rand(2, 5), {}

    def note(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, own=None, **more):
        if own is not None:
            seen.update(zip(transformer_options["mild_rows"], own, strict=True))
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **more)

    model = tiny.model.clone()
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "note", note)
    positive = [[tiny.positive[0][0], {"model_conds": {"own": comfy.conds.CONDRegular(given)}}]]
    sample(photos(), tiny._replace(model=model), steps=1, positive=positive)
    assert {key: value.tolist() for key, value in seen.items()} == {
        "1/background": given[0].tolist(), "2/background": given[1].tolist(), "2/person-2": given[1].tolist()
    }  # fmt: skip
