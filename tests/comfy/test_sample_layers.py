"""Sample Layers: each layer by its own pathway, whatever the model, and nothing else moves."""

import comfy.model_management
import comfy.patcher_extension
import pytest
import torch

from mild.mild_core import exemplar
from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.comfy.sampling import encode
from mild.mild_core.comfy.sampling.progress import BAR
from mild.mild_core.scene import BACKGROUND, PERSON, Scene
from mild.tests.helpers.layers import HEIGHT, WIDGETS, WIDTH, background, check, layers_of, picture
from mild.tests.helpers.tiny_models import make, make_vae

pytestmark = pytest.mark.usefixtures("small_native_size")

PEOPLE = {"split": "one person per mask", "photo": 1}
SPLIT = {
    "grow": 0.04,
    "background": "erased only",
    "feather": 3.0,
    "context": 1.0,
    "size_mode": "balanced",
    "contact": 0,
}
MODELS = [None, "sd15", "sd15_inpaint", "sdxl", "flux", "flux_fill"]  # every other kind: test_model_kinds.py


@pytest.fixture(params=MODELS, ids=lambda family: family or "built_in", scope="module")
def tiny(request):
    return request.param and make(request.param)


def test_only_holes_change(sample, scenes, tiny):
    result = sample(scenes, tiny)
    check(scenes, result)
    assert result[0].photo is scenes[0].photo
    for old, new in zip(layers_of(scenes).values(), layers_of(result).values(), strict=True):
        inside = old.hole > 0
        assert (new.pixels - old.pixels)[inside].abs().mean() > 1e-3
    repeated = layers_of(sample(scenes, tiny))
    assert all(torch.equal(layer.pixels, repeated[key].pixels) for key, layer in layers_of(result).items())


@pytest.mark.parametrize("denoise", [1.0, 0.5])
def test_erased_pixels_never_matter(sample, scenes, tiny, denoise):
    results = []
    for colour in ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0)):
        painted = [
            scene._replace(
                layers=tuple(
                    layer._replace(pixels=torch.where(layer.hole[..., None] > 0, torch.tensor(colour), layer.pixels))
                    for layer in scene.layers
                )
            )
            for scene in scenes
        ]
        results.append(layers_of(sample(painted, tiny, denoise=denoise)))
    assert all(torch.equal(layer.pixels, results[1][key].pixels) for key, layer in results[0].items())


def test_another_seed_another_picture(sample, scenes):
    tiny = make("sd15")
    first, second = (layers_of(sample(scenes, tiny, seed=seed)) for seed in (1, 2))
    assert not any(torch.equal(layer.pixels, second[key].pixels) for key, layer in first.items())


def test_which_lets_the_others_pass(sample, scenes):
    tiny = make("sd15")
    everything = layers_of(sample(scenes, tiny))
    partly = layers_of(sample(scenes, tiny, which="people"))
    for key, layer in layers_of(scenes).items():
        if layer.domain == PERSON:
            assert torch.allclose(partly[key].pixels, everything[key].pixels, atol=1e-3)
        else:
            assert partly[key] is layer
    # A second sampler fills in what the first left, and leaves alone what it painted.
    completed = layers_of(sample([scenes[0]._replace(layers=tuple(partly.values()))], tiny, which="background"))
    assert completed["1/person-2"] is partly["1/person-2"]
    assert torch.allclose(completed["1/background"].pixels, everything["1/background"].pixels, atol=1e-3)


def test_a_painted_layer_is_refined_from_its_own_picture(sample, scenes):
    once = sample(scenes, which="background")
    automatic = {"which": "background", "denoise": 0.0, "start": "automatic"}
    kept = sample(once, make("sd15"), vae=make_vae(4), **automatic)
    again = sample(once, **automatic)
    first, second = layers_of(once)["1/background"], layers_of(again)["1/background"]
    assert torch.allclose(first.pixels, second.pixels, atol=1e-6)
    check([scenes[0]._replace(layers=scenes[0].layers[:2])], [kept[0]._replace(layers=kept[0].layers[:2])])


def test_photos_of_a_batch_are_independent(sample):
    photos = [picture(seed=5), picture(40, 57, seed=6)]
    scenes = [Scene(photo, (background(photo, (10, 10, 30, 35), index=i),)) for i, photo in enumerate(photos)]
    together = layers_of(sample(scenes))
    check(scenes, sample(scenes))
    other = [scenes[0], Scene(photos[1] * 0, scenes[1].layers)]
    assert torch.equal(layers_of(sample(other))["1/background"].pixels, together["1/background"].pixels)


@pytest.mark.parametrize("family", [None, "sd15", "flux_fill"])
@pytest.mark.parametrize("size", [(1, 1), (1, 90), (75, 2), (37, 19)])
def test_tiny_and_odd_crops(sample, family, size):
    photo = picture(*size)
    whole = background(photo, (0, 0, 1, 1))
    if size == (1, 1) and family is None:
        with pytest.raises(ValueError, match="nothing left to learn from"):
            sample([Scene(photo, (whole,))])
        return
    result = sample([Scene(photo, (whole,))], family and make(family))
    check([Scene(photo, (whole,))], result)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", [None, "sd15_inpaint"])
def test_photos_in_half_precision(sample, scenes, family, dtype):
    """ComfyUI keeps pictures in float16 when it is told to (--fp16-intermediates)."""
    layers = tuple(layer._replace(pixels=layer.pixels.to(dtype)) for layer in scenes[0].layers)
    half = [Scene(scenes[0].photo.to(dtype), layers)]
    result = sample(half, family and make(family))
    check(half, result)
    assert all(layer.pixels.dtype == dtype for layer in result[0].layers)


@pytest.mark.parametrize(("family", "native"), [("sd15", 512**2), ("sd15_inpaint", 512**2), ("sdxl", 1024**2)])
def test_native_size_is_read_from_the_model(monkeypatch, family, native):
    monkeypatch.undo()
    tiny = make(family)
    space = encode.latent_space(tiny.model, tiny.vae)
    assert space.native_pixels == native and space.inpaint_channels == (family == "sd15_inpaint")
    photo = torch.rand(768, 1024, 3)
    layer = background(photo, (300, 300, 400, 500), (100, 128, 868, 768))
    height, width = encode.work_size_of(layer, (768, 1024), space)
    assert height % 16 == width % 16 == 0 and height * width <= native * 1.02
    assert abs(width / height / (768 / 640) - 1) < 0.1


def test_a_hole_of_one_pixel_is_painted_by_latent_models(sample):
    photo = torch.rand(600, 640, 3, generator=torch.Generator().manual_seed(1))
    layer = background(photo, (333, 222, 334, 223))
    result = sample([Scene(photo, (layer,))], make("sd15"))
    assert not torch.equal(result[0].layers[0].pixels[222, 333], photo[222, 333])


def test_alpha_takes_in_what_was_painted_of_the_person(sample, scenes):
    painted = layers_of(sample(scenes, make("sd15")))["1/person-2"]
    before = layers_of(scenes)["1/person-2"]
    inside = before.hole > 0
    assert (painted.alpha[inside] > 0).any()
    assert layers_of(sample(scenes))["1/background"].alpha.eq(1).all()


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_missing_conditioning_is_zeroed_conditioning(sample, scenes, family, run_node):
    tiny = make(family)
    (zeros,) = run_node("ConditioningZeroOut", conditioning=tiny.positive)
    nothing = layers_of(sample(scenes, tiny, cfg=2.0))
    explicit = layers_of(sample(scenes, tiny, cfg=2.0, positive=zeros, negative=zeros))
    one = layers_of(sample(scenes, tiny, cfg=2.0, negative=zeros))
    for key, layer in nothing.items():
        assert torch.equal(layer.pixels, explicit[key].pixels)
        assert torch.equal(layer.pixels, one[key].pixels)
    prompted = layers_of(sample(scenes, tiny, cfg=2.0, positive=tiny.positive, negative=tiny.negative))
    assert not any(torch.equal(layer.pixels, prompted[key].pixels) for key, layer in nothing.items())


def test_rows_are_named(sample, scenes):
    """Every call of the model knows its layer and its positive chunk."""
    tiny = make("sd15")
    seen = []

    def note(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
        rows, positive = transformer_options["mild_rows"], transformer_options["mild_positive"]
        assert len(x) == len(transformer_options["uuids"]) * len(rows)
        chunks = [uuid in positive for uuid in transformer_options["uuids"]]
        assert chunks == [index == 0 for index in transformer_options["cond_or_uncond"]]
        seen.append(rows)
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)

    tiny.model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "note", note)
    sample(scenes, tiny, cfg=3.0, positive=tiny.positive + tiny.negative, negative=tiny.negative)
    assert {row for rows in seen for row in rows} == set(layers_of(scenes))
    assert "mild_rows" not in tiny.model.model_options["transformer_options"]


def test_references_of_the_photos_aspect_are_cropped_like_the_layer(sample, scenes):
    """Where the whole photo without the person is at hand, a crop learns from that part of it only."""
    photo = scenes[0].photo
    seen = []
    model = builtin.load_model()

    def note(executor, *args, **kwargs):
        seen.append(kwargs["references"][0])
        return executor(*args, **kwargs)

    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "note", note)
    layer = scenes[0].layers[1]
    same = torch.where(layer.hole > 0, 0.0, layer.pixels.movedim(-1, 0))
    for references, in_place in (
        (photo[None], [True]),
        (photo[None].repeat_interleave(2, 1).repeat_interleave(2, 2), [True]),
        (torch.rand(2, 20, 50, 3), [False] * 2),
    ):
        seen.clear()
        conditioning = builtin.empty_conditioning(references)
        crop = [scenes[0]._replace(layers=(layer,))]
        sample(crop, None, model=model, positive=conditioning)
        assert seen and all([reference.in_place for reference in entry] == in_place for entry in seen)
        for reference in seen[0]:
            assert reference.picture.shape[-2:] == layer.hole.shape
            if reference.in_place:
                picture = torch.where(layer.hole > 0, 0.0, reference.picture[0] / 2 + 0.5)
                assert torch.allclose(picture, same, atol=0.02)


def test_a_reference_is_looked_for_once_in_each_layer(sample, scenes, monkeypatch):
    """Not for each entry of the CONDITIONING and for both prompts."""
    asked, register = [], exemplar.register

    def note(picture, clean, known):
        asked.append(clean.shape)
        return register(picture, clean, known)

    monkeypatch.setattr(exemplar, "register", note)
    conditioning = builtin.empty_conditioning(torch.rand(2, HEIGHT, WIDTH, 3))
    sample(scenes, None, which="background", positive=conditioning * 2, negative=conditioning, cfg=2.0)
    assert len(asked) == 2 * 2  # layers x references


def test_what_is_not_cropped_is_said(comfy, scenes):
    """A reference of another shape; and a prompt for a part of the photo that no layer shows."""
    elsewhere = torch.zeros(1, HEIGHT, WIDTH)
    elsewhere[:, :4, :2] = 1
    conditioning = builtin.empty_conditioning(torch.rand(1, 40, 40, 3))
    conditioning[0][1]["mask"] = elsewhere
    given = {"model": builtin.load_model(), "layers": scenes, "positive": conditioning}
    graph = {key: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for key, value in given.items()}
    links = {key: [key, 0] for key in given}
    graph["sample"] = {"class_type": "MILD_SampleLayers", "inputs": {**WIDGETS, **links, "which": "2", "steps": 1}}
    assert comfy.run_graph(graph, wanted=["sample"]).ui["sample"]["text"][0].splitlines()[1:] == [
        "positive: no area or mask of it touches Person 2, so its first entry holds for all of it.",
        f"A reference of 40 x 40 has another shape than the photo ({WIDTH} x {HEIGHT}), so it is used whole for every "
        "layer.",
    ]


def test_a_reference_that_a_preprocessor_rounded_is_cropped(sample, scenes, monkeypatch):
    """One rule with ControlNet pictures: sides rounded to multiples of 8 show the same frame."""
    given, register = [], exemplar.register

    def note(picture, clean, known):
        given.append(picture)
        return register(picture, clean, known)

    monkeypatch.setattr(exemplar, "register", note)
    layer = scenes[0].layers[1]
    photo = torch.nn.functional.interpolate(scenes[0].photo.movedim(-1, 0)[None], (64, 80), mode="bilinear")
    crop = [scenes[0]._replace(layers=(layer,))]
    sample(crop, None, positive=builtin.empty_conditioning(photo.movedim(1, -1)), steps=1)
    (picture,) = given
    assert picture.shape[1:] == layer.hole.shape
    outside = layer.hole == 0
    assert float((picture.movedim(0, -1) / 2 + 0.5 - layer.pixels)[outside].abs().mean()) < 0.05


def test_cancel_leaves_everything_unharmed(run_node, sample, scenes, tiny):
    before = layers_of(sample(scenes, tiny))
    model = builtin.load_model() if tiny is None else tiny.model
    inputs = {"model": model, "layers": scenes, "vae": tiny and tiny.vae, **WIDGETS, "seed": 4}
    for moment in (1, 4):
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            run_node("MILD_SampleLayers", interrupt_at=moment, **inputs)
    after = layers_of(sample(scenes, tiny))
    assert all(torch.equal(layer.pixels, after[key].pixels) for key, layer in before.items())
    assert not any(layer.sampled for layer in scenes[0].layers)


def test_one_bar_and_previews_of_the_whole_photo(comfy, scenes):
    graph = {
        "model": {"class_type": "MILD_BuiltInModel", "inputs": {"model": "exemplar"}},
        "layers": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(scenes)}},
        "sample": {
            "class_type": "MILD_SampleLayers",
            "inputs": {
                "model": ["model", 0],
                "layers": ["layers", 0],
                **WIDGETS,
                "steps": 3,
                "sampler_name": "dpm_adaptive",
            },
        },
    }
    ran = comfy.run_graph(graph, wanted=["sample"])
    values = [step.value for step in ran.progress if step.node == "sample"]
    assert values == sorted(values) and values[-1] == BAR
    assert {step.maximum for step in ran.progress} == {BAR}
    previews = [step.preview[1] for step in ran.progress if step.preview]
    assert len(previews) >= 9 and all(preview.size == (WIDTH, HEIGHT) for preview in previews)


def test_nothing_to_paint_returns_the_photo(sample, scenes):
    photo = scenes[0].photo
    assert sample([Scene(photo, ())])[0].layers == ()
    empty = background(photo, (0, 0, 0, 0))
    assert sample([Scene(photo, (empty,))])[0].layers[0] is empty


def test_nan_names_the_layer(sample, scenes):
    tiny = make("sd15")

    def broken(executor, *args, **kwargs):
        return executor(*args, **kwargs) * float("nan")

    tiny.model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "nan", broken)
    with pytest.raises(ValueError, match="1/background"):
        sample(scenes, tiny)


def test_vae_is_asked_for(sample, scenes):
    tiny = make("sd15")
    with pytest.raises(ValueError, match="connect the checkpoint's VAE"):
        sample(scenes, tiny, vae=None)
    with pytest.raises(ValueError, match="vae: "):
        sample(scenes, tiny, vae=make_vae(16))
    with pytest.raises(ValueError, match="needs no VAE"):
        sample(scenes, vae=make_vae(4))


@pytest.mark.parametrize("denoise", [1.0, 0.5])
@pytest.mark.parametrize("family", [None, "sd15_inpaint"])
def test_whoever_is_erased_leaves_no_trace_in_the_photo(comfy, family, denoise):
    """From masks to the finished photo: painted green or red, somebody vanishes into the same picture, bit for bit.

    Without growth: how far a hole follows a rim depends on the colours on both of its sides.
    """
    tiny = family and make(family)
    photo = picture(120, 150)[None]
    masks = torch.zeros(3, 120, 150)
    masks[0, 30:90, 20:42] = 1
    masks[1, 40:100, 42:70] = 1  # stands in front of person 1 and hides a part of them
    masks[2, 20:80, 110:130] = 1
    results = []
    for colour in ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0)):
        painted = torch.where(masks[1][None, ..., None] > 0, torch.tensor(colour), photo)
        given = {"photo": painted, "masks": masks, "model": tiny.model if tiny else builtin.load_model()}
        links = {"model": ["model", 0], "layers": ["split", 0]}
        if tiny:
            given["vae"], links["vae"] = tiny.vae, ["vae", 0]
        graph = {
            **{
                name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for name, value in given.items()
            },
            "people": {"class_type": "MILD_PeopleFromMasks", "inputs": {"masks": ["masks", 0], **PEOPLE}},
            "choose": {"class_type": "MILD_ChoosePeople", "inputs": {"people": ["people", 0], "who": "2"}},
            "split": {
                "class_type": "MILD_Decompose",
                "inputs": {"image": ["photo", 0], "people": ["choose", 0], **SPLIT, "grow": 0.0},
            },
            "sample": {"class_type": "MILD_SampleLayers", "inputs": {**links, **WIDGETS, "denoise": denoise}},
            "photo_again": {"class_type": "MILD_Recompose", "inputs": {"layers": ["sample", 0]}},
        }
        ran = comfy.run_graph(graph, wanted=["photo_again"])
        assert {layer.domain for layer in ran.outputs["sample"][0][0].layers} == {BACKGROUND, PERSON}
        image, changed = ran.outputs["photo_again"]
        assert torch.equal(image[changed == 0], painted[changed == 0])
        assert (changed[0][masks[1] > 0] == 1).all() and not changed[0][masks[2] > 0].any()
        results.append(image)
    assert torch.equal(*results)


def test_the_node_says_what_it_did(comfy, scenes):
    graph = {
        "model": {"class_type": "MILD_BuiltInModel", "inputs": {"model": "exemplar"}},
        "layers": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(scenes)}},
        "sample": {
            "class_type": "MILD_SampleLayers",
            "inputs": {"model": ["model", 0], "layers": ["layers", 0], **WIDGETS, "which": "people"},
        },
    }
    ran = comfy.run_graph(graph, wanted=["sample"])
    (text,) = ran.ui["sample"]["text"]
    assert text.split("\n")[0] == "1 painted: Person 2; passed through: Background, Background"
    assert "Person 2: little in this photo is like what surrounds the hole" in text  # the photo is noise


def test_unknown_layer_is_named(sample, scenes):
    with pytest.raises(ValueError, match="7"):
        sample(scenes, which="7")


def test_a_layer_without_a_hole_is_told_and_passes(comfy, scenes):
    whole = scenes[0].layers[2]._replace(hole=scenes[0].layers[2].hole * 0)
    given = {"model": builtin.load_model(), "layers": [scenes[0]._replace(layers=(*scenes[0].layers[:2], whole))]}
    graph = {key: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for key, value in given.items()}
    links = {key: [key, 0] for key in given}
    graph["sample"] = {"class_type": "MILD_SampleLayers", "inputs": {**WIDGETS, **links, "which": "2"}}
    ran = comfy.run_graph(graph, wanted=["sample"])
    assert ran.outputs["sample"][0][0].layers == given["layers"][0].layers
    (text,) = ran.ui["sample"]["text"]
    assert text.startswith("Warning: nothing was painted: none of the layers") and "No hole to paint: Person 2." in text
