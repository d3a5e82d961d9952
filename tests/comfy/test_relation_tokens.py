"""Who stands where, in the text: same shapes and as many calls as without it, and each layer's text has its person."""

import copy

import comfy.conds
import comfy.model_management
import comfy.patcher_extension
import comfy.samplers
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch

from mild.mild_core.comfy.guidance.relation_text import CHANGED, KEY, for_layers, mixed
from mild.mild_core.scene import Scene
from mild.tests.helpers.attention import noting_calls
from mild.tests.helpers.bodies import morphology
from mild.tests.helpers.layers import WIDGETS, background, layers_of, person, picture
from mild.tests.helpers.tiny_clip import make_clip
from mild.tests.helpers.tiny_guidance import make_guidance

pytestmark = pytest.mark.usefixtures("small_native_size")

SIZE = (90, 130)
BOXES = [(22, 50, 40, 85), (8, 50, 26, 86), (60, 10, 76, 40), (100, 10, 113, 40)]
FAMILIES = {"sd15": "sd15", "sdxl": "sdxl", "flux": "flux"}
"""Which CLIP goes with which model."""


@pytest.fixture(scope="module")
def prompts():
    """prompts(family): positive and negative as CLIPTextEncode gives them, of equal length."""
    made = {}

    def encode(family):
        if family not in made:
            clip = make_clip(FAMILIES[family])
            made[family] = [
                clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("an empty street", "people")
            ]
        return made[family]

    return encode


@pytest.fixture(scope="module")
def bodies():
    return [morphology(SIZE, BOXES, erased=(1,))]


@pytest.fixture(scope="module")
def alike():
    """One photo with two crops of one size of people 2 and 3, and a background; person 1 is erased."""
    photo = picture(*SIZE)
    layers = (
        background(photo, (22, 50, 40, 85), box=(10, 40, 70, 90)),
        person(photo, 2, (10, 50, 25, 85), (25, 55, 35, 80), (3, 48, 43, 88)),
        person(photo, 3, (60, 10, 75, 40), (50, 15, 60, 35), (43, 5, 83, 45)),
    )
    return [Scene(photo, layers)]


def calls(tiny):
    """The same with a fresh MODEL, and (rows of x, text) of all its calls."""
    model, seen = noting_calls(tiny.model, lambda x, t, c_concat, c_crossattn, *_, **__: (len(x), c_crossattn))
    return tiny._replace(model=model), seen


def both(prompts, guidance, bodies, strength=1.0):
    """Positive and negative with the people in them, as Guide by Bodies has it."""
    return [
        mixed(conditioning, guidance.patcher, bodies, strength, socket)
        for conditioning, socket in zip(prompts, ("positive", "negative"), strict=True)
    ]


def painted(tiny, positive, negative, steps=3, cfg=4.0, rows=1):
    """A picture of KSampler's, without a KSampler."""
    guider = comfy.samplers.CFGGuider(tiny.model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    sigmas = comfy.samplers.calculate_sigmas(tiny.model.get_model_object("model_sampling"), "normal", steps)
    noise = torch.randn(tiny.shape(8, 8), generator=torch.Generator().manual_seed(1))
    noise = noise.expand(rows, *noise.shape[1:]).contiguous()
    sampler = comfy.samplers.sampler_object("euler")
    return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_more_calls_than_without(tiny, prompts, bodies, family):
    """Per step one call for cond and uncond together; another picture; nothing of the network is left loaded."""
    guidance = make_guidance(tiny(family))
    mixes = both(prompts(family), guidance, bodies)
    for before, after in zip(prompts(family), mixes, strict=True):
        for (text, values), (new, new_values) in zip(before, after, strict=True):
            assert new.shape == text.shape and new.dtype == text.dtype and new.device == text.device
            assert not torch.allclose(new, text)
            assert {**new_values, KEY: None} == {**values, KEY: None} and "pooled_output" in values
    loaded = [model.model for model in comfy.model_management.current_loaded_models]
    assert guidance.patcher not in loaded
    counted = []
    for conds in (prompts(family), mixes):
        model, seen = calls(tiny(family))
        counted.append((painted(model, *conds), [rows for rows, _ in seen]))
    assert counted[0][1] == counted[1][1] == [2, 2, 2]
    assert not torch.allclose(counted[0][0], counted[1][0], atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_before_training_the_picture_is_the_same_to_the_bit(tiny, prompts, bodies, family):
    guidance = make_guidance(tiny(family), seed=None)
    mixes = both(prompts(family), guidance, bodies)
    assert all(torch.equal(after[0][0], before[0][0]) for before, after in zip(prompts(family), mixes, strict=True))
    assert torch.equal(painted(tiny(family), *mixes), painted(tiny(family), *prompts(family)))


def test_nothing_sure_or_no_strength_gives_the_same_object(tiny, prompts, bodies):
    guidance = make_guidance(tiny("sd15"))
    positive = prompts("sd15")[0]
    unsure = [morphology(SIZE, BOXES, erased=(1,), sure=[0.0] * 4)]
    nobody = [morphology(SIZE, [])]
    for people, strength in ((unsure, 1.0), (nobody, 1.0), (bodies, 0.0), ([], 1.0)):
        assert mixed(positive, guidance.patcher, people, strength) is positive


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("seed", [0, None])
def test_texts_of_half_the_size(tiny, prompts, bodies, dtype, seed):
    positive, negative = ([[text.to(dtype), values] for text, values in cond] for cond in prompts("sd15"))
    guidance = make_guidance(tiny("sd15"), seed, dtype)
    mixes = both((positive, negative), guidance, bodies)
    assert mixes[0][0][0].dtype == dtype and bool(torch.isfinite(mixes[0][0][0]).all())
    assert torch.equal(mixes[0][0][0], positive[0][0]) == (seed is None)
    model, seen = calls(tiny("sd15"))
    plain = painted(model, positive, negative)
    assert torch.equal(painted(model, *mixes), plain) == (seed is None)
    assert [rows for rows, _ in seen] == [2] * 6


def test_each_layer_of_a_batch_is_told_who_she_is(sample, tiny, prompts, bodies, alike):
    """Persons 2 and 3 share each call, and read other texts; alone they read and become the same."""
    guidance = make_guidance(tiny("sd15"))
    positive, negative = both(prompts("sd15"), guidance, bodies)
    model, seen = calls(tiny("sd15"))
    settings = {"cfg": 3.0, "positive": positive, "negative": negative}
    together = layers_of(sample(alike, model, **settings))
    pairs = [text for rows, text in seen if rows == 4]
    assert len(pairs) == 2 and len(seen) == 4  # two steps; the background, which has another size, by itself
    for text in pairs:
        assert not torch.allclose(text[0], text[1]) and not torch.allclose(text[2], text[3])
    by_id = {"1/person-2": 0, "1/person-3": 1}
    for layer_id, row in by_id.items():
        scenes = [alike[0]._replace(layers=tuple(layer for layer in alike[0].layers if layer.id == layer_id))]
        model, alone = calls(tiny("sd15"))
        (layer,) = layers_of(sample(scenes, model, **settings)).values()
        assert torch.allclose(layer.pixels, together[layer_id].pixels, atol=2e-3)
        assert torch.equal(alone[0][1], pairs[0][row::2])
    (behind, *_) = [text for rows, text in seen if rows == 2]
    assert all(any(torch.equal(row, cond[0][0][0]) for row in behind) for cond in (positive, negative))


def test_a_layer_with_a_prompt_of_its_own_keeps_it(sample, tiny, prompts, bodies, alike):
    """And is one batch with the others all the same."""
    positive, negative = both(prompts("sd15"), make_guidance(tiny("sd15")), bodies)
    own = prompts("sd15")[1]
    layers = [layer._replace(positive=own) if layer.number == 2 else layer for layer in alike[0].layers]
    model, seen = calls(tiny("sd15"))
    sample([alike[0]._replace(layers=tuple(layers))], model, cfg=3.0, positive=positive, negative=negative)
    (text, *_) = [text for rows, text in seen if rows == 4]
    assert sum(torch.equal(row, own[0][0][0]) for row in text) == 1


@pytest.mark.parametrize("kind", ["cfg", "dual"])
def test_guiders_carry_it_too(run_node, sample, tiny, prompts, bodies, alike, kind):
    positive, negative = both(prompts("sd15"), make_guidance(tiny("sd15")), bodies)
    model = tiny("sd15")
    if kind == "cfg":
        guider = comfy.samplers.CFGGuider(model.model)
        guider.set_conds(positive, negative)
        guider.set_cfg(3.0)
    else:  # the same, said with one more cond
        guider = custom.Guider_DualCFG(model.model)
        guider.set_conds(positive, negative, negative)
        guider.set_cfg(3.0, 3.0)
    (sigmas,) = run_node("BasicScheduler", model=model.model, scheduler="normal", steps=2, denoise=1.0)
    (scenes,) = run_node(
        "MILD_SampleLayersAdvanced", noise=custom.Noise_RandomNoise(3), guider=guider, layers=alike, vae=model.vae,
        sampler=comfy.samplers.sampler_object("euler"), sigmas=sigmas, which="all", ground="plate", start="noise",
        memory="automatic",
    )  # fmt: skip
    plain = layers_of(sample(alike, model, cfg=3.0, positive=positive, negative=negative))
    for key, layer in layers_of(scenes).items():
        assert torch.allclose(layer.pixels, plain[key].pixels, atol=2e-3)


def test_the_network_never_runs_during_a_step(sample, tiny, prompts, bodies, alike, monkeypatch):
    guidance = make_guidance(tiny("sd15"))
    ran = []
    forward = guidance.network.tokens.forward
    monkeypatch.setattr(guidance.network.tokens, "forward", lambda people: ran.append(1) or forward(people))
    positive, negative = both(prompts("sd15"), guidance, bodies)
    assert len(ran) == 2
    painted(tiny("sd15"), positive, negative)
    assert len(ran) == 2
    for steps in (1, 4):
        ran.clear()
        sample(alike, tiny("sd15"), cfg=3.0, positive=positive, negative=negative, steps=steps)
        assert len(ran) == 4  # two people, two prompts; the background reads what the photo does
    loaded = [model.model for model in comfy.model_management.current_loaded_models]
    assert guidance.patcher not in loaded


def conds_of(conditioning, layers):
    """Texts of each layer as Sample Layers gives them; and its sentences."""
    conds = {layer.id: {"positive": comfy.sampler_helpers.convert_cond(conditioning)} for layer in layers}
    result, notes = for_layers(conds, layers)
    assert not any(KEY in entry for of in result.values() for entry in of["positive"])
    return {key: [entry["cross_attn"] for entry in of["positive"]] for key, of in result.items()}, notes


def test_nodes_that_come_after(run_node, tiny, prompts, bodies, alike):
    """What is combined, placed and scheduled stays what it is; what is appended stays appended."""
    layers = alike[0].layers
    positive, negative = both(prompts("sd15"), make_guidance(tiny("sd15")), bodies)
    own, _ = conds_of(positive, layers)
    plain = prompts("sd15")[1]
    (combined,) = run_node("ConditioningCombine", conditioning_1=positive, conditioning_2=plain)
    texts, notes = conds_of(combined, layers)
    assert notes == [] and all(torch.equal(texts[key][0], own[key][0]) for key in own)
    assert all(texts[key][1] is plain[0][0] for key in own)

    (placed,) = run_node("ConditioningSetArea", conditioning=positive, width=64, height=64, x=8, y=8, strength=0.5)
    (timed,) = run_node("ConditioningSetTimestepRange", conditioning=placed, start=0.2, end=0.8)
    assert {"area", "strength", "start_percent", "end_percent", KEY} <= timed[0][1].keys()
    again = mixed(run_node("ConditioningSetArea", conditioning=prompts("sd15")[0], width=64, height=64, x=8, y=8,
                           strength=0.5)[0], make_guidance(tiny("sd15")).patcher, bodies, 1.0)  # fmt: skip
    assert again[0][1]["area"] == timed[0][1]["area"]
    texts, notes = conds_of(timed, layers)
    assert notes == [] and all(torch.equal(texts[key][0], own[key][0]) for key in own)

    (longer,) = run_node("ConditioningConcat", conditioning_to=positive, conditioning_from=plain)
    texts, notes = conds_of(longer, layers)
    assert notes == []
    for key in own:
        assert torch.equal(texts[key][0], torch.cat([own[key][0], plain[0][0]], 1))


def test_a_text_that_was_changed_since_stays_so_and_is_said_to(run_node, sample, comfy, tiny, prompts, bodies, alike):
    layers = alike[0].layers
    positive, negative = both(prompts("sd15"), make_guidance(tiny("sd15")), bodies)
    (average,) = run_node("ConditioningAverage", conditioning_to=positive, conditioning_from=prompts("sd15")[1],
                          conditioning_to_strength=0.5)  # fmt: skip
    (zeros,) = run_node("ConditioningZeroOut", conditioning=positive)
    for changed in (average, zeros):
        texts, notes = conds_of(changed, layers)
        assert notes == [CHANGED] and all(text is changed[0][0] for (text,) in texts.values())
    model = tiny("sd15")
    given = {"model": model.model, "vae": model.vae, "layers": alike, "positive": average, "negative": negative}
    graph = {name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for name, value in given.items()}
    graph["sample"] = {"class_type": "MILD_SampleLayers", "inputs": {**WIDGETS, **{name: [name, 0] for name in given}}}
    assert comfy.run_graph(graph, wanted=["sample"]).ui["sample"]["text"][0].count(CHANGED) == 1


def test_two_guidances_one_after_the_other(tiny, prompts, bodies, alike):
    """Each layer's text is what it would be had both been mixed for that layer."""
    layers = alike[0].layers
    first, second = make_guidance(tiny("sd15")), make_guidance(tiny("sd15"), seed=4)
    once = mixed(prompts("sd15")[0], first.patcher, bodies, 1.0)
    twice = mixed(once, second.patcher, bodies, 0.5)
    texts, notes = conds_of(twice, layers)
    by_hand, _ = conds_of(once, layers)
    assert notes == []
    for layer in layers:
        own = [[by_hand[layer.id][0], {}]]
        expected, _ = conds_of(mixed(own, second.patcher, bodies, 0.5), [layer])
        assert torch.allclose(texts[layer.id][0], expected[layer.id][0], atol=1e-5)


def test_a_batch_of_photos(tiny, prompts, bodies):
    """A row of text for each photo, in one call; layers read their own photo's."""
    other = morphology(SIZE, BOXES[:2], erased=(2,), photo=1)
    guidance = make_guidance(tiny("sd15"))
    positive, negative = both(prompts("sd15"), guidance, [*bodies, other])
    assert positive[0][0].shape[0] == 2 and not torch.allclose(positive[0][0][0], positive[0][0][1])
    model, seen = calls(tiny("sd15"))
    picture_of_both = painted(model, positive, negative, rows=2)
    assert [rows for rows, _ in seen] == [4, 4, 4]
    assert not torch.allclose(picture_of_both[0], picture_of_both[1], atol=1e-3)
    photo = picture(*SIZE)
    layers = [background(photo, (22, 50, 40, 85), index=index) for index in (0, 1)]
    texts, notes = conds_of(positive, layers)
    assert notes == []
    for index, people in enumerate([bodies[0], other]):
        alone = mixed(prompts("sd15")[0], guidance.patcher, [people._replace(photo=0)], 1.0)
        assert torch.allclose(texts[layers[index].id][0], alone[0][0], atol=1e-5)


def test_a_photo_of_which_nothing_is_known_keeps_its_text(tiny, prompts, bodies):
    positive, _ = both(prompts("sd15"), make_guidance(tiny("sd15")), bodies)
    photo = picture(*SIZE)
    unknown = [
        background(photo, (22, 50, 40, 85), index=1),
        person(photo, 2, (10, 50, 25, 85), (25, 55, 35, 80), (3, 48, 43, 88), index=1),
    ]
    texts, notes = conds_of(positive, unknown)
    assert notes == [] and all(torch.equal(text, prompts("sd15")[0][0][0]) for (text,) in texts.values())
    later = [bodies[0]._replace(photo=1)]
    positive, _ = both(prompts("sd15"), make_guidance(tiny("sd15")), later)
    assert torch.equal(positive[0][0][0], prompts("sd15")[0][0][0][0])
    assert not torch.allclose(positive[0][0][1], positive[0][0][0])


def test_weights_of_float8(tiny, prompts, bodies):
    """They are computed with in float32, and say nearly the same."""
    plain = prompts("sd15")[0][0][0]
    changes = []
    for dtype in (torch.float32, torch.float8_e4m3fn):
        positive, _ = both(prompts("sd15"), make_guidance(tiny("sd15"), dtype=dtype), bodies)
        changes.append((positive[0][0] - plain).flatten())
    assert torch.cosine_similarity(*changes, dim=0) > 0.9


def test_copies_of_a_conditioning_copy_no_network(tiny, prompts, bodies):
    positive, _ = both(prompts("sd15"), make_guidance(tiny("sd15")), bodies)
    twin = copy.deepcopy(positive)
    assert twin[0][1][KEY] is positive[0][1][KEY]
    texts, notes = conds_of(twin, [person(picture(*SIZE), 2, (10, 50, 25, 85), (25, 55, 35, 80), (3, 48, 43, 88))])
    assert notes == []


def test_texts_of_another_family_are_refused_in_words(tiny, prompts, bodies):
    with pytest.raises(ValueError) as error:
        mixed(prompts("sdxl")[1], make_guidance(tiny("sd15")).patcher, bodies, 1.0, "negative")
    assert str(error.value) == (
        "negative: its text has 2,048 channels (SDXL's), but the guidance is for a model that reads 768 channels "
        "(SD1.5's). Load the guidance file that belongs to your model."
    )
    empty = [[None, {"area": (1, 2, 3, 4)}]]
    assert mixed(empty, make_guidance(tiny("sd15")).patcher, bodies, 1.0) == empty
