"""Adapters for Layers: every layer is what it would be on a MODEL with its own LoRA merged into the weights."""

import comfy.model_management
import comfy.utils
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch

from mild.mild_core.comfy.adapters import read_lora
from mild.mild_core.comfy.adapters.layer_strengths import note_on_models
from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.scene import Scene
from mild.tests.helpers.layers import background, layers_of, person, picture
from mild.tests.helpers.loras import BIASES, DORA, LOHA, LORA, NORMS, OFT, save_lora, unet_names
from mild.tests.helpers.tiny_models import make

pytestmark = pytest.mark.usefixtures("small_native_size")

BEHIND, ANNA, BEN = "1/background", "1/person-2", "1/person-3"
CLOSE = 1e-4


@pytest.fixture(scope="module")
def alike():
    """One photo, a background and two people, all on crops of one size: rows of one batch."""
    photo = picture(90, 130)
    layers = (
        background(photo, (5, 5, 25, 40), box=(0, 0, 40, 40)),
        person(photo, 2, (10, 50, 25, 85), (25, 55, 35, 80), (3, 48, 43, 88)),
        person(photo, 3, (60, 10, 75, 40), (50, 15, 60, 35), (43, 5, 83, 45)),
    )
    return [Scene(photo, layers)]


@pytest.fixture
def painted(sample, tiny):
    """painted(model, scenes, ...): the layers by id, with neutral ground, so that none depends on another."""

    def run(model, scenes, family="sd15", **changes):
        texts = {"positive": tiny(family).positive, "negative": tiny(family).negative}
        inputs = {**texts, "ground": "neutral", "steps": 1, **changes}
        return layers_of(sample(scenes, tiny(family)._replace(model=model), **inputs))

    return run


@pytest.fixture
def merged(run_node):
    """merged(model, (name, strength), ...): ComfyUI's own way, a LoRA in the weights for everything."""

    def run(model, *files):
        for name, strength in files:
            (model,) = run_node("LoraLoaderModelOnly", model=model, lora_name=name, strength_model=strength)
        return model

    return run


def off(one, other):
    return float((one.pixels - other.pixels).abs().max())


def files_of(folder, model, kinds, part="attn2_to_k"):
    """One file for each kind, all of them different."""
    names = [f"{number} {kind}.safetensors" for number, kind in enumerate(kinds)]
    for number, (kind, name) in enumerate(zip(kinds, names, strict=True)):
        save_lora(folder / name, unet_names(model, "norm1" if kind == NORMS else part), kind, seed=number)
    return names


@pytest.mark.parametrize("kinds", [(LOHA, OFT), (LORA, DORA), (NORMS, BIASES)], ids="-".join)
def test_each_layer_gets_its_own(loras_folder, tiny, adapted, painted, merged, alike, kinds):
    """Equal to separate runs, and nothing is left on the MODEL that came in."""
    model = tiny("sd15").model
    parts = "to_out_0" if BIASES in kinds else "attn2_to_k"
    one, two = files_of(loras_folder, model, kinds, parts)
    how = {"steps": 2, "cfg": 3.0} if DORA in kinds else {}
    plain = painted(model, alike, **how)
    given = adapted(model, alike, background_lora=one, person_lora=two, person_strength=0.7)[0]
    together = painted(given, alike, **how)
    expected = painted(merged(model, (one, 1.0)), alike, which="background", **how)
    people = painted(merged(model, (two, 0.7)), alike, which="people", **how)
    assert off(together[BEHIND], expected[BEHIND]) < CLOSE < off(together[BEHIND], plain[BEHIND])
    for name in (ANNA, BEN):
        assert off(together[name], people[name]) < CLOSE < off(together[name], plain[name])
    again = painted(model, alike, **how)
    assert all(torch.equal(again[name].pixels, plain[name].pixels) for name in plain)


def test_chained_it_adds(loras_folder, tiny, adapted, painted, merged, alike):
    """A LoRA of their own for each person, and one more for all. What changes weights comes before what is added to
    the layers' output, so it has to be merged first: DoRA scales all that it finds.
    """
    model = tiny("sd15").model
    anna, ben, style = files_of(loras_folder, model, (LORA, DORA, DORA))
    given = adapted(model, alike, person_lora=anna, people="2")[0]
    given = adapted(given, alike, person_lora=ben, people="3")[0]
    given = adapted(given, alike, person_lora=style, background_lora=style, person_strength=0.5)[0]
    together = painted(given, alike)
    for name, which, files in (
        (BEHIND, "background", [(style, 1.0)]),
        (ANNA, "2", [(style, 0.5), (anna, 1.0)]),
        (BEN, "3", [(ben, 1.0), (style, 0.5)]),
    ):
        assert off(together[name], painted(merged(model, *files), alike, which=which)[name]) < CLOSE


@pytest.mark.parametrize("kind", [LORA, DORA])
def test_twice_the_same_file_is_the_sum_of_the_strengths(loras_folder, tiny, comfy, adapted, painted, alike, kind):
    model = tiny("sd15").model
    (style,) = files_of(loras_folder, model, (kind,))
    once = adapted(model, alike, background_lora=style, background_strength=1.0)[0]
    half = adapted(model, alike, background_lora=style, background_strength=0.5)[0]
    twice = adapted(half, alike, background_lora=style, background_strength=0.5)[0]
    if kind == LORA:
        assert off(painted(once, alike)[BEHIND], painted(twice, alike)[BEHIND]) < CLOSE
    text = text_of(comfy, half, alike, background_lora=style)
    assert "given before" in text and "sum of the strengths" in text


def text_of(comfy, model, layers, **changes):
    """What the node says."""
    widgets = {"background_lora": "none", "background_strength": 1.0, "person_lora": "none", "person_strength": 1.0}
    inputs = {**widgets, "people": "all", "which": "all", **changes}
    graph = {"node": {"class_type": "MILD_LayerAdapters", "inputs": {}}}
    for name, value in {"model": model, "layers": layers, **inputs}.items():
        if not isinstance(value, (str, float)):
            graph[name] = {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
            value = [name, 0]
        graph["node"]["inputs"][name] = value
    return comfy.run_graph(graph, wanted=["node"]).ui["node"]["text"][0]


@pytest.mark.parametrize("changes", [{}, {"background_strength": 0.0, "person_strength": 0.0}])
def test_where_nothing_is_given_it_is_the_same_model(loras_folder, tiny, comfy, adapted, alike, changes):
    model = tiny("sd15").model
    (style,) = files_of(loras_folder, model, (LORA,))
    files = {"background_lora": style, "person_lora": style} if changes else {}
    assert adapted(model, alike, **files, **changes) == (model, None, None)
    assert text_of(comfy, model, alike, **files, **changes).startswith("Nothing is chosen")
    assert adapted(model, [alike[0]._replace(layers=())], background_lora=style)[0] is model


def test_the_built_in_model_takes_none_and_says_so(loras_folder, tiny, adapted, alike):
    (style,) = files_of(loras_folder, tiny("sd15").model, (LORA,))
    with pytest.raises(ValueError, match=r"^model: The Built-in Model has no weights .* background_lora"):
        adapted(builtin.load_model(), alike, background_lora=style)
    model = builtin.load_model()
    assert adapted(model, alike)[0] is model


@pytest.fixture
def ksampled(tiny, run_node):
    """ksampled(model, batch): what KSampler makes of an empty latent."""
    widgets = {"seed": 1, "steps": 1, "cfg": 2.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}

    def run(model, batch=1):
        texts = {"positive": tiny("sd15").positive, "negative": tiny("sd15").negative}
        latent = tiny("sd15").empty_latent(batch=batch)
        return run_node("KSampler", model=model, latent_image=latent, **texts, **widgets)[0]["samples"]

    return run


@pytest.mark.parametrize("kind", [LORA, DORA])
def test_with_ksampler_the_named_layers_apply(loras_folder, tiny, adapted, merged, ksampled, alike, kind):
    model = tiny("sd15").model
    one, two = files_of(loras_folder, model, (kind, kind))
    files = {"background_lora": one, "person_lora": two}
    anna = adapted(model, alike, which="2", **files)[0]
    assert torch.allclose(ksampled(anna, 2), ksampled(merged(model, (two, 1.0)), 2), atol=1e-3)
    everyone = adapted(model, alike, **files)[0]
    with pytest.raises(ValueError, match="3 of them meet a latent of 1.*Name one layer in `which`, or use Sample"):
        ksampled(everyone)
    if kind == DORA:
        with pytest.raises(ValueError, match="^which: .* are the same for all rows of a latent"):
            ksampled(everyone, 3)
    else:
        rows = ksampled(everyone, 3)
        assert torch.allclose(rows[:1], ksampled(merged(model, (one, 1.0)), 3)[:1], atol=1e-3)


@pytest.mark.parametrize("kinds", [(LORA, LORA), (DORA, DORA), (LORA, DORA)], ids="-".join)
def test_with_ksampler_chained_nodes_are_for_one_layer(loras_folder, tiny, adapted, merged, ksampled, alike, kinds):
    """Else nothing tells which of them is painted. With the same layer they add."""
    model = tiny("sd15").model
    one, two = files_of(loras_folder, model, kinds)
    anna = adapted(model, alike, which="2", person_lora=one)[0]
    for which, files in (("background", {"background_lora": two}), ("3", {"person_lora": two})):
        other = adapted(anna, alike, which=which, **files)[0]
        name = BEHIND if which == "background" else BEN
        for batch in (1, 2):
            with pytest.raises(ValueError, match=f"^which: .*for {ANNA} and for {name}.*the same `which`") as error:
                ksampled(other, batch)
            assert "\n" not in str(error.value)
    both = adapted(anna, alike, which="2", person_lora=two)[0]
    files = [(two, 1.0), (one, 1.0)] if kinds == (LORA, DORA) else [(one, 1.0), (two, 1.0)]
    assert torch.allclose(ksampled(both), ksampled(merged(model, *files)), atol=1e-3)


def test_with_ksampler_one_layer_beside_all_is_refused(loras_folder, tiny, adapted, ksampled, alike):
    """Three layers for three rows, and an adapter that would be for all of them."""
    model = tiny("sd15").model
    one, two = files_of(loras_folder, model, (LORA, LORA))
    given = adapted(adapted(model, alike, background_lora=one)[0], alike, which="2", person_lora=two)[0]
    with pytest.raises(ValueError, match=f"^which: .*for {BEHIND}, {ANNA}, {BEN} and for {ANNA}"):
        ksampled(given, 3)


def test_where_comfyui_turns_a_change_around_it_is_merged(loras_folder, tiny, adapted, merged, run_node, alike):
    """Diffusers has scale and shift of the last layer the other way round."""
    model, name = tiny("sd3").model, "transformer.norm_out.linear"
    file = {f"{name}.lora_A.weight": torch.randn(2, 128), f"{name}.lora_B.weight": torch.randn(256, 2)}
    comfy.utils.save_torch_file(file, str(loras_folder / "last.safetensors"))
    widgets = {"seed": 1, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    texts = {"positive": tiny("sd3").positive, "negative": tiny("sd3").negative}
    latent = tiny("sd3").empty_latent()
    given = adapted(model, alike, person_lora="last.safetensors", which="2")[0]
    plain, own, expected = (
        run_node("KSampler", model=one, latent_image=latent, **texts, **widgets)[0]["samples"]
        for one in (model, given, merged(model, ("last.safetensors", 1.0)))
    )
    assert torch.equal(own, expected) and not torch.equal(own, plain)


def test_merged_layers_are_sampled_by_sets_and_it_is_said(loras_folder, tiny, comfy, adapted, alike):
    """Groups that share weights follow one another, whatever the order of the layers."""
    model = tiny("sd15").model
    (style,) = files_of(loras_folder, model, (DORA,))
    seen = []

    def note(executor, *args, **kwargs):
        guider = executor.class_obj
        seen.append((guider.model_options["transformer_options"]["mild_rows"], bool(guider.model_patcher.patches)))
        return executor(*args, **kwargs)

    given = adapted(model, alike, person_lora=style, people="2")[0].clone()
    given.add_wrapper_with_key("outer_sample", "test", note)
    graph = {"sampler": {"class_type": "MILD_SampleLayers", "inputs": {
        "seed": 3, "steps": 1, "denoise": 1.0, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal",
        "which": "all", "ground": "neutral", "start": "noise", "memory": "automatic",
    }}}  # fmt: skip
    for name, value in {"model": given, "layers": alike, "vae": tiny("sd15").vae}.items():
        graph[name] = {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
        graph["sampler"]["inputs"][name] = [name, 0]
    text = comfy.run_graph(graph, wanted=["sampler"]).ui["sampler"]["text"][0]
    assert seen == [((BEHIND, BEN), False), ((ANNA,), True)]
    assert f"Merged into the weights: {style} for Person 2: 2 kinds of batches, one after another." in text
    assert "DoRA" in text_of(comfy, model, alike, person_lora=style, people="2")


@pytest.mark.parametrize("kind", [LORA, DORA])
def test_cancelled_in_the_middle_nothing_stays_behind(loras_folder, tiny, adapted, painted, sample, alike, kind):
    model = tiny("sd15").model
    (style,) = files_of(loras_folder, model, (kind,))
    given = adapted(model, alike, background_lora=style)[0]
    plain, styled = painted(model, alike), painted(given, alike)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        painted(given, alike, steps=3, interrupt_at=2)
    for own, expected in ((model, plain), (given, styled)):
        again = painted(own, alike)
        assert all(torch.equal(again[name].pixels, expected[name].pixels) for name in expected)


@pytest.fixture
def two(tiny, advanced, alike):
    """two(first, second, ...): layers under Dual Model CFG Guider with these MODELs."""

    def run(first, second, **changes):
        guider = custom.Guider_DualModel(first, second)
        guider.set_conds(tiny("sd15").positive, tiny("sd15").negative)
        guider.set_cfg(3.0)
        inputs = {"guider": guider, "steps": 1, "start": "noise", "ground": "neutral", **changes}
        return layers_of(advanced(tiny("sd15"), alike, **inputs))

    return run


def test_two_models_of_a_guider_with_merged_adapters(loras_folder, tiny, adapted, two, merged, alike):
    """Each has its own; where both are one checkpoint, weights cannot be of two kinds at a time."""
    one, other = tiny("sd15").model, make("sd15", seed=8).model
    (style,) = files_of(loras_folder, one, (DORA,))

    def given(model):
        return adapted(model, alike, background_lora=style)[0]

    plain = two(one, other)
    for second in (other, given(other)):
        together = two(given(one), second)
        own = merged(one, (style, 1.0)), other if second is other else merged(other, (style, 1.0))
        assert (
            off(together[BEHIND], two(*own, which="background")[BEHIND]) < CLOSE < off(plain[BEHIND], together[BEHIND])
        )
        assert off(together[ANNA], plain[ANNA]) < CLOSE
    with pytest.raises(ValueError, match="^guider: both of its models are the same checkpoint"):
        two(given(one), one)


def test_two_models_of_a_guider_with_routed_adapters(loras_folder, tiny, adapted, merged, two, alike):
    """ComfyUI samples both with the options of the first: fine for one MODEL on both sockets, said for all else."""
    one, other = tiny("sd15").model, make("sd15", seed=8).model
    (style,) = files_of(loras_folder, one, (LORA,))
    given = adapted(one, alike, background_lora=style)[0]
    own = merged(one, (style, 1.0))
    assert off(two(given, given)[BEHIND], two(own, own, which="background")[BEHIND]) < CLOSE
    for models, said in (
        ((given, given), False),
        ((given, other), True),
        ((other, given), True),
        ((one, other), False),
    ):
        guider = custom.Guider_DualModel(*models)
        assert bool(note_on_models(guider)) == said


def test_a_file_is_read_once_until_it_changes(loras_folder, tiny, comfy, adapted, alike, monkeypatch):
    model = tiny("sd15").model
    (style,) = files_of(loras_folder, model, (LORA,))
    reads = []
    load = read_lora._load
    monkeypatch.setattr(read_lora, "_load", lambda path, *about: reads.append(path) or load(path, *about))
    for strength in (1.0, 0.5, 0.5):
        given = adapted(model, alike, background_lora=style, background_strength=strength)[0]
    assert len(reads) == 1
    save_lora(loras_folder / style, unet_names(model, "attn1_to_q"), seed=9)
    other = adapted(model, alike, background_lora=style, background_strength=0.5)[0]
    assert len(reads) == 2 and other is not given
