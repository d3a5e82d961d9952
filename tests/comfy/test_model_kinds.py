"""Sample Layers with every kind of model that ComfyUI runs: what holds for one holds for all."""

import contextlib
import threading

import comfy.model_base
import comfy.patcher_extension
import psutil
import pytest
import torch

from mild.mild_core.comfy.sampling import encode
from mild.mild_core.comfy.sampling.zeroed import zeroed
from mild.mild_core.scene import Scene
from mild.tests.helpers.layers import background, check, layers_of, person, picture
from mild.tests.helpers.tiny_models import FAMILIES, made_for, make, make_vae

SETTINGS = ({"cfg": 1.0, "denoise": 1.0}, {"cfg": 7.0, "denoise": 0.6})


@pytest.fixture(autouse=True)
def smaller_native_size(monkeypatch):
    """Crops are sampled at about 64 px: four cells of Flux 2, four patches of models that work on pixels."""
    made_for(monkeypatch, 64 * 64)


@pytest.fixture(scope="module")
def scenes():
    """Two background crops of one size, which are sampled as one batch, and a person of another."""
    photo = picture()
    layers = (
        background(photo, (20, 10, 30, 30), box=(0, 2, 40, 42)),
        background(photo, (60, 20, 70, 41), box=(43, 9, 83, 49), tail="-2"),
        person(photo, 2, (10, 15, 22, 45), (22, 20, 30, 40), (3, 8, 36, 53)),
    )
    return [Scene(photo, layers)]


@pytest.fixture(params=FAMILIES, scope="module")
def tiny(request):
    return make(request.param)


def one(scenes, index=0):
    """The scene with one of its layers."""
    return [scenes[0]._replace(layers=scenes[0].layers[index : index + 1])]


def erased_painted(scenes, colour=(0.0, 1.0, 0.0)):
    """The same layers whose holes hide somebody else."""
    layers = (
        layer._replace(pixels=torch.where(layer.hole[..., None] > 0, torch.tensor(colour), layer.pixels))
        for layer in scenes[0].layers
    )
    return [scenes[0]._replace(layers=tuple(layers))]


def prompts(tiny):
    return {"positive": tiny.positive, "negative": tiny.negative}


def equal(first, second):
    first, second = layers_of(first), layers_of(second)
    return first.keys() == second.keys() and all(
        torch.equal(layer.pixels, second[key].pixels) for key, layer in first.items()
    )


@contextlib.contextmanager
def called(tiny):
    """Notes which layers the model is called with."""
    rows = []

    def note(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
        rows.append(transformer_options["mild_rows"])
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)

    tiny.model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "called", note)
    yield rows
    tiny.model.remove_wrappers_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "called")


@pytest.mark.parametrize("settings", SETTINGS, ids=["cfg1", "cfg7"])
def test_only_holes_change_and_the_erased_never_matter(sample, scenes, tiny, settings):
    result = sample(scenes, tiny, **prompts(tiny), **settings)
    check(scenes, result)
    for old, new in zip(layers_of(scenes).values(), layers_of(result).values(), strict=True):
        assert (new.pixels - old.pixels)[old.hole > 0].abs().mean() > 1e-3
    painted = erased_painted(scenes)
    repeated = sample(painted, tiny, **prompts(tiny), **settings)
    check(painted, repeated)
    assert equal(result, repeated)


def test_a_layer_alone_is_the_layer_among_others(sample, scenes, tiny):
    settings = {**prompts(tiny), **SETTINGS[1]}
    with called(tiny) as rows:
        together = sample(scenes, tiny, **settings)[0].layers
    assert any(row[:2] == ("1/background", "1/background-2") for row in rows)
    for index, layer in enumerate(together[:2]):
        (alone,) = sample(one(scenes, index), tiny, **settings)[0].layers
        assert torch.allclose(alone.pixels, layer.pixels, atol=1e-4)


def test_zeroed_text_is_what_the_model_reads(tiny):
    ((text, values),) = zeroed(tiny.model)
    ((own, more),) = tiny.positive
    assert text.shape == own.shape and not text.any()
    pooled = more.get("pooled_output")
    # Flux makes do without: it then reads zeros.
    if pooled is None or isinstance(tiny.model.model, comfy.model_base.Flux):
        assert values == {}
    else:
        assert values["pooled_output"].shape == pooled.shape and not values["pooled_output"].any()


@pytest.mark.parametrize("sampler_name", ["lcm", "euler"])
def test_few_steps_without_a_prompt(sample, scenes, tiny, sampler_name):
    """Distilled models: 4 steps, cfg 1."""
    scheduler = "sgm_uniform" if sampler_name == "lcm" else "simple"
    result = sample(one(scenes), tiny, steps=4, sampler_name=sampler_name, scheduler=scheduler)
    check(one(scenes), result)
    assert not equal(result, one(scenes))


SOFT = {"sd15": 4, "flux_fill": 4, "qwen_image": 5}
"""Dimensions of the mask that Differential Diffusion gets."""


@pytest.mark.parametrize("family", SOFT)
def test_differential_diffusion_gets_a_soft_mask(sample, scenes, run_node, family):
    tiny = make(family)
    (model,) = run_node("DifferentialDiffusion", model=tiny.model, strength=1.0)
    stock = model.model_options["denoise_mask_function"]
    given, used = [], []

    def note(sigma, denoise_mask, extra_options):
        given.append(denoise_mask)
        used.append(stock(sigma, denoise_mask, extra_options=extra_options))
        return used[-1]

    model.model_options["denoise_mask_function"] = note
    photo = scenes[0].photo
    layer = background(photo, (4, 6, 36, 38), box=(0, 2, 40, 42))
    layer.hole[4:10, 4:36] = 0.8  # a part of it is feathered
    soft = [Scene(photo, (layer,))]
    settings = {"steps": 4, "scheduler": "simple", "model": model}
    result = sample(soft, tiny, **settings)
    check(soft, result)
    assert equal(result, sample(erased_painted(soft), tiny, **settings))
    for mask in given:
        assert mask.ndim == SOFT[family] and mask.shape[-2:] == given[0].shape[-2:]
        assert ((mask > 0) & (mask < 1)).any() and (mask == 1).any()
    # It paints more and more of the hole, from its middle outwards.
    assert all((later >= earlier).all() for earlier, later in zip(used, used[1:4], strict=False))
    assert 0 < used[0].sum() < used[3].sum()
    given.clear()
    sample(soft, tiny, **settings | {"model": tiny.model})
    assert given == []


def test_without_it_a_cell_is_in_the_hole_or_not(scenes):
    tiny = make("sd15")
    hole = scenes[0].layers[0].hole * 0.3
    layer = scenes[0].layers[0]._replace(hole=hole)
    space = encode.latent_space(tiny.model, tiny.vae)
    crop = encode.encode(layer, torch.rand(1, 40, 40, 3), space)
    assert set(crop.hole.unique().tolist()) == {0.0, 1.0}
    soft = encode.encode(layer, torch.rand(1, 40, 40, 3), space._replace(soft_masks=True))
    assert torch.equal(soft.hole > 0, crop.hole > 0) and soft.hole.max() < 0.31


@pytest.mark.parametrize(("family", "channels", "frames"), [
    ("sd15", 16, False), ("flux", 4, False), ("flux", 16, True), ("flux2", 16, False), ("qwen_image", 4, False),
    ("chroma_radiance", 4, False), ("sd3", 3, False),
])  # fmt: skip
def test_a_vae_of_another_model_is_named(sample, scenes, family, channels, frames):
    with pytest.raises(ValueError, match="^vae: it gives latents of"):
        sample(one(scenes), make(family), vae=make_vae(channels, frames=frames))


@contextlib.contextmanager
def most_memory():
    """Notes how many bytes more than before the process holds at most."""
    process, over = psutil.Process(), threading.Event()
    before, most = process.memory_info().rss, [0]

    def watch():
        while not over.wait(0.002):
            most[0] = max(most[0], process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def test_a_crop_of_20_megapixels(sample, scenes):
    """Sampled at the model's size, returned at its own, without many copies of it on the way."""
    tiny = make("flux_fill")  # it gets the visible picture too
    sample(scenes, tiny)  # what is loaded once is not counted
    photo = picture(80, 100).repeat_interleave(50, 0).repeat_interleave(50, 1)
    layer = background(photo, (2000, 1500, 2600, 2300))
    large = [Scene(photo, (layer,))]
    with most_memory() as most:
        (result,) = sample(large, tiny)[0].layers
    outside = layer.hole == 0
    assert torch.equal(result.pixels[outside], photo[outside]) and torch.isfinite(result.pixels).all()
    assert not torch.equal(result.pixels, photo)
    assert most[0] < 4 * photo.nbytes  # one of them is the result


@pytest.mark.parametrize("family", ["qwen_image", "flux2", "chroma_radiance"])
def test_nan_names_the_layer(sample, scenes, family):
    tiny = make(family)

    def broken(executor, *args, **kwargs):
        return executor(*args, **kwargs) * float("nan")

    tiny.model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "nan", broken)
    with pytest.raises(ValueError, match="1/background"):
        sample(one(scenes), tiny)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_model_needs_is_read_from_it(monkeypatch, family):
    monkeypatch.undo()
    tiny = make(family)
    space = encode.latent_space(tiny.model, tiny.vae)
    native = {"sd15": 512, "sd15_inpaint": 512, "sd2": 768, "sd2_inpaint": 512}.get(family, 1024)
    assert space.native_pixels == native**2
    assert space.inpaint_channels == family.endswith(("inpaint", "fill"))
    assert space.ratio == tiny.cell and space.multiple == (32 if family == "flux2" else 16)
    crop = background(torch.rand(768, 1024, 3), (300, 300, 400, 500), (100, 128, 868, 768))
    height, width = encode.work_size_of(crop, (768, 1024), space)
    assert height % space.multiple == width % space.multiple == 0
    assert abs(width / height / (768 / 640) - 1) < 0.1
