"""Sample Layers with agree: layers that meet are one batch on one crop, and told of one another at each step."""

import pytest
import torch
from comfy.model_management import OOM_EXCEPTION, InterruptProcessingException, interrupt_current_processing
from comfy.samplers import CFGGuider, sampler_object
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise

from mild.mild_core.comfy.erasers import builtin, exemplar_model
from mild.mild_core.comfy.sampling import groups, joint, pathways
from mild.mild_core.comfy.sampling.joint import Agree, Together
from mild.mild_core.comfy.sampling.sample_layers import Options, SamplerSettings, sample_layers, sample_layers_advanced
from mild.mild_core.comfy.sampling.start import Planned, Start
from mild.mild_core.image import boxes
from mild.mild_core.layers.painted import resized
from mild.mild_core.scene import Scene
from mild.tests.helpers.layers import WIDGETS, background, check, layers_of, person, picture
from mild.tests.helpers.loras import DORA, LORA, save_lora, unet_names

pytestmark = pytest.mark.usefixtures("small_native_size")

FAMILIES = [None, "sd15"]
SETTINGS = SamplerSettings(3, 2, 1.0, "euler", "normal", 1.0)
GROUND, PERSON = "1/background", "1/person-2"


def meeting(index=0, seed=0, size=(61, 83)):
    """A photo in which somebody erased hides a part of person 2, whose crop is smaller than the background's."""
    photo = picture(*size, seed=seed)
    box = (6, 8, 52, 55)
    likely = torch.zeros(size)
    likely[16:44, 10:34] = 1
    likely = likely[box[1] : box[3], box[0] : box[2]]
    one = person(photo, 2, (10, 16, 22, 44), (22, 16, 44, 44), box, index, likely=likely)
    return Scene(photo, (background(photo, (22, 14, 48, 46), index=index), one))


def on_one_crop(scenes):
    (scene,) = scenes
    frame = scene.layers[0].box
    return [scene._replace(layers=tuple(joint.framed(layer, frame, scene) for layer in scene.layers))]


def same(one, other, atol=0.0):
    return all(torch.allclose(layer.pixels, other[key].pixels, rtol=0, atol=atol) for key, layer in one.items())


@pytest.fixture(scope="module")
def met():
    return [meeting()]


@pytest.fixture
def batches(monkeypatch):
    """The layers of each batch that is sampled."""
    found, whole = [], groups._batch

    def noted(batch, *args):
        found.append([row.layer.id for row in batch])
        return whole(batch, *args)

    monkeypatch.setattr(groups, "_batch", noted)
    return found


def notes(model, scenes, agree=1.0, **options):
    """What the artist is told, and the layers; model: None for the built-in one."""
    options = Options(start="noise", agree=Agree(agree), **options)
    model, vae = (builtin.load_model(), None) if model is None else (model.model, model.vae)
    with torch.inference_mode():
        done = sample_layers(model, scenes, SETTINGS, vae, None, options)
    return " ".join(note for note in done.notes if "agree" in note), layers_of(done.scenes)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_that_meet_are_one_batch_and_only_holes_change(sample, met, tiny, batches, family):
    model = family and tiny(family)
    apart = layers_of(sample(met, model))
    assert batches == [[GROUND], [PERSON]]
    batches.clear()
    result = sample(met, model, agree=1.0)
    # The plate first, which the person is painted over; then both.
    assert batches == [[GROUND], [GROUND, PERSON]]
    check(met, result)
    agreed = layers_of(result)
    assert not any(torch.equal(agreed[key].pixels, apart[key].pixels) for key in agreed)
    assert same(agreed, layers_of(sample(met, model, agree=1.0)))
    batches.clear()
    check(met, sample(met, model, agree=1.0, ground="neutral"))
    assert batches == [[GROUND, PERSON]]


def test_off_nothing_of_it_is_reached(sample, met, tiny, monkeypatch):
    model = tiny("sd15")
    before = layers_of(sample(met, model))
    monkeypatch.setattr("mild.mild_core.comfy.sampling.sample_layers.together", None)
    monkeypatch.setattr("mild.mild_core.comfy.sampling.sample_layers.paint_together", None)
    off = layers_of(sample(met, model, agree=0.0, agree_until=1.0))
    assert all(torch.equal(off[key].pixels, layer.pixels) for key, layer in before.items())
    assert all(torch.equal(off[key].alpha, layer.alpha) for key, layer in before.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_on_one_crop_a_little_agreement_changes_little(met, tiny, family):
    """Nothing else differs from layers that are painted by themselves."""
    model = family and tiny(family)
    apart, hardly = (notes(model, on_one_crop(met), agree)[1] for agree in (0.0, 1e-6))
    assert same(apart, hardly, 1e-3)


def test_a_part_of_a_picture_is_worked_on_as_if_it_were_all_of_it():
    network = exemplar_model.ExemplarModel().diffusion_model
    clean, x = torch.rand(2, 3, 40, 50) * 2 - 1, torch.randn(2, 3, 40, 50)
    hole = torch.zeros(2, 1, 40, 50)
    hole[:, :, 15:25, 20:30] = 1
    sigma, crop = torch.tensor([0.5, 0.5]), (8, 5, 40, 37)
    both = network(x, sigma, clean, hole, 1 - hole, [[], []], crops=[crop, None])
    part = (slice(0, 1), slice(None), slice(5, 37), slice(8, 40))
    alone = network(
        *(whole[part] if whole.ndim > 1 else whole[:1] for whole in (x, sigma, clean, hole, 1 - hole)), [[]]
    )
    assert torch.equal(both[part], alone)
    assert torch.equal(both[1:], network(x[1:], sigma[1:], clean[1:], hole[1:], 1 - hole[1:], [[]]))
    assert torch.equal(both[0, :, :5], clean[0, :, :5])


def test_told_at_each_step_until_then(sample, met, tiny, monkeypatch):
    model, told, real = tiny("sd15"), [], joint.agreed

    def agreed(x, known, hole, *args):
        after = real(x, known, hole, *args)
        untouched = (hole == 0).expand_as(x)
        assert torch.equal(after[untouched], x[untouched])
        told.append(not torch.equal(after, x))
        return after

    monkeypatch.setattr(joint, "agreed", agreed)
    sample(met, model, agree=1.0, agree_until=1.0, steps=4)
    assert told == [True] * 4
    told.clear()
    sample(met, model, agree=1.0, agree_until=0.3, steps=4)
    assert told == [True] * 2
    told.clear()
    sample(met, model, agree=1.0, agree_until=1.0, steps=2, sampler_name="heun")  # asks more than once a step
    assert len(told) == 3


def test_photos_do_not_mix(sample, met, tiny, batches):
    model = tiny("sd15")
    both = layers_of(sample([*met, meeting(1, seed=9)], model, agree=1.0))
    assert [GROUND, PERSON] in batches and ["2/background", "2/person-2"] in batches
    alone = layers_of(sample(met, model, agree=1.0))
    assert same(alone, both, 1e-3)


def test_inpaint_channels_and_an_exemplar_fill(sample, met, tiny):
    """What a layer starts from, and what its model sees of it, lies on the shared crop as well."""
    check(met, sample(met, tiny("sd15_inpaint"), agree=1.0, steps=1))
    check(met, sample(met, tiny("sd15"), agree=1.0, steps=1, start="automatic"))
    check(met, sample(met, tiny("qwen_image"), agree=1.0, steps=1))  # latents with frames


def starts(monkeypatch, sample, scenes, model, agree):
    """By layer id: the exemplar fills that are made, and the layers and pictures that the MODEL starts from."""
    fills, pictures, filled, encode = {}, {}, pathways._fills, pathways.encode

    def noted_fills(*args):
        made = filled(*args)
        fills.update(made)
        return made

    def noted(layer, picture, *args):
        pictures[layer.id] = layer, picture
        return encode(layer, picture, *args)

    with monkeypatch.context() as patched:
        patched.setattr(pathways, "_fills", noted_fills)
        patched.setattr(pathways, "encode", noted)
        # At denoise 0 the ground under the person is the same, however it was painted.
        sample(scenes, model, steps=1, start="exemplar fill", denoise=0.0, agree=agree)
    return fills, pictures


def test_an_exemplar_fill_is_made_as_alone(sample, met, tiny, monkeypatch):
    """On the layer's own crop, where a person's colours come from themselves; then it lies in the shared one."""
    fills, alone = starts(monkeypatch, sample, met, tiny("sd15"), 0.0)
    again, shared = starts(monkeypatch, sample, met, tiny("sd15"), 1.0)
    assert len(fills) == 2 and all(torch.equal(again[key], fill) for key, fill in fills.items())
    for key, (layer, start) in alone.items():
        frame, whole = shared[key]
        assert frame.box == met[0].layers[0].box
        here = boxes.cut(resized(whole, frame.pixels.shape[:2])[0], boxes.inside(layer.box, frame.box))
        off = (here - resized(start, layer.pixels.shape[:2])[0]).abs()
        assert off.mean() < 0.01 and off.max() < 0.3  # resized: a sharp outline may lie half a pixel off


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"memory": "save memory"}, "save memory"),
        ({}, "only paint one layer at a time"),
        ({"which": "background"}, "no two of the layers to paint meet"),
    ],
)
def test_where_it_cannot_be_a_sentence_says_so(met, tiny, batches, options, sentence, monkeypatch):
    if not options:  # as with dpm_adaptive, which takes minutes
        monkeypatch.setattr(joint, "sampled_alone", lambda sampler: True)
    said, layers = notes(tiny("sd15"), met, **options)
    assert said.startswith("agree: off, because") and sentence in said
    assert all(len(batch) == 1 for batch in batches)
    assert same(layers, notes(tiny("sd15"), met, agree=0.0, **options)[1])


def test_rows_of_another_kind_are_painted_apart(met, tiny, batches):
    """A prompt of its own whose text has another length cannot be a row of the same batch."""
    model = tiny("sd15")
    own = [[torch.rand(1, 154, model.positive[0][0].shape[-1]), {}]]
    scenes = [met[0]._replace(layers=(met[0].layers[0], met[0].layers[1]._replace(positive=own)))]
    said, layers = notes(model, scenes)
    assert "cannot be one batch" in said and batches == [[GROUND], [PERSON]]
    assert same(layers, notes(model, scenes, agree=0.0)[1])


def test_too_much_for_the_memory(met, tiny, monkeypatch):
    """Before it is tried, or after: the rows stay together or go their own ways, they are never cut up."""
    model, whole, tried = tiny("sd15"), groups._batch, []
    apart = notes(model, met, agree=0.0)[1]

    def no_two(batch, *args):
        tried.append(len(batch))
        if len(batch) > 1:
            raise OOM_EXCEPTION("out of memory")
        return whole(batch, *args)

    with monkeypatch.context() as patched:
        patched.setattr(groups, "_batch", no_two)
        said, layers = notes(model, met)
    assert "do not fit into the memory" in said and tried == [1, 2, 1] and same(layers, apart)
    monkeypatch.setattr("mild.mild_core.comfy.sampling.memory.Memory.rows", lambda *_: 1)
    said, layers = notes(model, met)
    assert "do not fit into the memory" in said and same(layers, apart)


def test_attention_nodes_go_by_crops_of_their_own(erasing, met, tiny, batches):
    model = tiny("sd15")
    erases = model._replace(model=erasing(model.model, met))
    said, _ = notes(erases, met)
    assert "attention nodes" in said and batches == [[GROUND], [PERSON]]
    wide = on_one_crop(met)
    batches.clear()
    said, _ = notes(model._replace(model=erasing(model.model, wide)), wide)
    assert said.startswith("agree: Background and Person 2") and [GROUND, PERSON] in batches


@pytest.mark.parametrize(("kind", "one_batch"), [(DORA, False), (LORA, True)])
def test_adapters_of_their_own(adapted, loras_folder, met, tiny, batches, kind, one_batch):
    """Routed ones hold by row; what changes the model's weights holds for a whole batch."""
    model = tiny("sd15")
    name = save_lora(loras_folder / f"{kind}.safetensors", unet_names(model.model), kind)
    given = model._replace(model=adapted(model.model, met, person_lora=name)[0])
    said, layers = notes(given, met)
    assert ([GROUND, PERSON] in batches) == one_batch
    if not one_batch:
        assert "adapters that change the model's weights" in said
        assert same(layers, notes(given, met, agree=0.0)[1])


def test_a_guider_that_is_not_known(met, tiny):
    class Another(CFGGuider):
        pass

    model = tiny("sd15")
    guider = Another(model.model)
    guider.set_conds(model.positive, model.negative)
    sampler, sigmas = sampler_object("euler"), torch.tensor([1.0, 0.5, 0.0])
    options = Options(which="background", agree=Agree(1.0))
    with torch.inference_mode():
        done = sample_layers_advanced(Noise_RandomNoise(3), guider, sampler, sigmas, met, model.vae, options)
    assert any("with this GUIDER (Another)" in note for note in done.notes)


def test_the_node_with_other_guiders(advanced, met, tiny, batches):
    check(met, advanced(tiny("sd15"), met, agree=0.7, start="noise"))
    assert [GROUND, PERSON] in batches


def test_cancelled_and_queued_again(comfy, met, tiny):
    model = tiny("sd15")
    inputs = {"model": model.model, "vae": model.vae}
    _, undisturbed = notes(model, met)
    with pytest.raises(InterruptProcessingException):
        comfy.run_node("MILD_SampleLayers", layers=met, interrupt_at=4, **{**WIDGETS, "agree": 1.0}, **inputs)
    again = comfy.run_node("MILD_SampleLayers", layers=met, **{**WIDGETS, "agree": 1.0}, **inputs)[0]
    assert same(undisturbed, layers_of(again))


def test_cancelled_before_they_are_told(met, tiny, monkeypatch):
    real = joint.progress

    def progress(*args):
        interrupt_current_processing()
        return real(*args)

    monkeypatch.setattr(joint, "progress", progress)
    monkeypatch.setattr(joint, "agreed", lambda *args: pytest.fail("what takes a while is not begun"))
    with pytest.raises(InterruptProcessingException):
        notes(tiny("sd15"), met)


def test_the_text_tells_at_which_size():
    """A person who alone would fill the picture is painted smaller where they are a part of a larger one."""
    plans = [Planned(layer, (96, 96), Start("noise", 1.0)) for layer in meeting().layers]
    frame = plans[0].layer.box
    wide = [plan._replace(layer=plan.layer._replace(box=frame), size=(72, 96)) for plan in plans]
    alone = [wide[0], plans[1]._replace(size=(96, 104))]
    person_scale = (72 * 96 / (61 * 83) / (96 * 104 / (46 * 47))) ** 0.5
    text = joint.said(Together(alone, wide))
    assert "Background and Person 2 are painted at the same time, on one crop of 83 x 61 pixels, at 96 x 72" in text
    assert f"pixels, Person 2 at {person_scale:.0%} of the scale that they would have alone." in text
    assert "scale" not in joint.said(Together(wide, wide))


def test_the_bar_and_the_text_on_the_node(comfy, met, tiny):
    model = tiny("sd15")
    graph = {"node": {"class_type": "MILD_SampleLayers", "inputs": {**WIDGETS, "agree": 1.0}}}
    for name, value in {"layers": met, "model": model.model, "vae": model.vae}.items():
        graph[name] = {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
        graph["node"]["inputs"][name] = [name, 0]
    ran = comfy.run_graph(graph, wanted=["node"])
    text = ran.ui["node"]["text"][0]
    assert "are painted at the same time, on one crop of 83 x 61 pixels, at 112 x 80 pixels" in text
    assert "Person 2 at " in text and "% of the scale that they would have alone." in text
    values = [report.value for report in ran.progress if report.node == "node"]
    assert values == sorted(values) and values[-1] == ran.progress[-1].maximum
    assert any(report.preview for report in ran.progress)
