"""ControlNets: every row of a batch gets what its layer shows of their pictures, and the originals stay as they are."""

import comfy.controlnet
import comfy.sample
import comfy.samplers
import comfy.utils
import pytest
import torch

from mild.mild_core.comfy.sampling.controlnets import Hints
from mild.mild_core.image.fill import area_resize
from mild.mild_core.pairing import dealt
from mild.mild_core.scene import Scene
from mild.tests.helpers import tiny_controlnets
from mild.tests.helpers.attention import close
from mild.tests.helpers.layers import WIDGETS, background, layers_of, picture
from mild.tests.helpers.tiny_controlnets import KINDS, make_controlnet

HEIGHT, WIDTH = 97, 131
BOXES = [(0, 0, 64, 48), (67, 49, 131, 97), (30, 20, 94, 68)]
SIZE = (48, 64)  # the boxes' own
APPLY = tiny_controlnets.SPAN | {"strength": 0.8}


@pytest.fixture
def apply(run_node):
    """apply(tiny, kind or ControlNet, image, ...): positive and negative with a ControlNet on them."""

    def run(tiny, control, image, positive=None, negative=None, **changes):
        control = make_controlnet(control, tiny) if isinstance(control, str) else control
        vae = tiny.vae if getattr(control, "latent_format", None) else None
        inputs = {**APPLY, **changes, "vae": vae}
        return tiny_controlnets.apply(run_node, tiny, control, image, positive, negative, **inputs)

    return run


def layers_at(boxes, photos=None):
    photos = photos or [0] * len(boxes)
    photo = picture(HEIGHT, WIDTH)
    return [
        background(photo, (box[0], box[1], box[2], box[3]), box, index, f"-{number}")
        for number, (box, index) in enumerate(zip(boxes, photos, strict=True))
    ]


def sampled(tiny, positive, negative, rows, size=SIZE, hints=None, cfg=3.0, of=3, steps=1):
    """Samples of these rows of a batch of `of`, each from its own noise; hints: copies in place of the ControlNets."""
    guider = comfy.samplers.CFGGuider(tiny.model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    if hints is not None:
        for conds in guider.original_conds.values():
            for cond in conds:
                cond["control"] = hints.copied(cond["control"])
    shape = tiny.shape(size[0] // 8, size[1] // 8, of)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(5))[rows]
    sigmas = comfy.samplers.calculate_sigmas(tiny.model.get_model_object("model_sampling"), "normal", steps)
    sampler = comfy.samplers.sampler_object("euler")
    try:
        return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=1)
    finally:
        if hints is not None:
            hints.cleanup()


@pytest.mark.parametrize(("kind", "rows"), [*((kind, 2) for kind in KINDS), ("controlnet", 1), ("controlnet", 3)])
def test_rows_get_their_layers_part_of_the_picture(apply, tiny, kind, rows):
    model = tiny(KINDS[kind])
    control = make_controlnet(kind, model)
    photo = picture(HEIGHT, WIDTH)[None]
    hints = Hints(layers_at(BOXES[:rows]), [(HEIGHT, WIDTH)], SIZE)
    conds = apply(model, control, photo)
    batch = sampled(model, *conds, list(range(rows)), hints=hints)
    for row, (x0, y0, x1, y1) in enumerate(BOXES[:rows]):
        by_hand = sampled(model, *apply(model, control, photo[:, y0:y1, x0:x1]), [row])
        assert close(batch[row], by_hand[0])
    assert not close(batch[:1], sampled(model, model.positive, model.negative, [0]))
    if rows > 1:
        assert not close(batch[1:2], sampled(model, *apply(model, control, photo[:, :48, :64]), [1]))


def test_positive_and_negative_share_one_copy_of_the_chain(apply, tiny):
    model = tiny("sd15")
    photo = picture(HEIGHT, WIDTH)[None]
    positive, negative = apply(model, "t2i", photo, strength=0.3, start_percent=0.1, end_percent=0.9)
    positive, negative = apply(model, "controlnet", photo, positive, negative, strength=0.5)
    hints = Hints(layers_at(BOXES[:2]), [(HEIGHT, WIDTH)], SIZE)
    original = positive[0][1]["control"]
    copy = hints.copied(original)
    assert copy is hints.copied(negative[0][1]["control"]) and copy is not original
    assert type(copy) is comfy.controlnet.ControlNet and type(copy.previous_controlnet) is comfy.controlnet.T2IAdapter
    assert copy.previous_controlnet is hints.copied(original.previous_controlnet)
    assert copy.strength == 0.5 and copy.previous_controlnet.strength == 0.3
    assert copy.previous_controlnet.timestep_percent_range == (0.1, 0.9)
    assert copy.control_model is original.control_model and original.previous_controlnet.previous_controlnet is None
    assert copy.cond_hint_original.shape == copy.previous_controlnet.cond_hint_original.shape == (2, 3, *SIZE)


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_a_chain_of_two(apply, tiny, cfg):
    model = tiny("sd15")
    photo, other = picture(HEIGHT, WIDTH)[None], picture(HEIGHT, WIDTH, seed=7)[None]

    def chain(crop):
        conds = apply(model, first, photo[crop])
        return apply(model, second, other[crop], *conds, start_percent=0.0, end_percent=0.5)

    first, second = make_controlnet("controlnet", model), make_controlnet("t2i", model)
    hints = Hints(layers_at(BOXES[:2]), [(HEIGHT, WIDTH)], SIZE)
    batch = sampled(model, *chain(slice(None)), [0, 1], hints=hints, cfg=cfg, steps=2)
    for row, (x0, y0, x1, y1) in enumerate(BOXES[:2]):
        alone = sampled(model, *chain((slice(None), slice(y0, y1), slice(x0, x1))), [row], cfg=cfg, steps=2)
        assert close(batch[row], alone[0])


@pytest.mark.parametrize("kind", ["controlnet", "control_lora", "t2i", "flux_latents"])
def test_the_original_is_unharmed(apply, tiny, kind):
    model = tiny(KINDS[kind])
    photo = picture(HEIGHT, WIDTH)[None]
    conds = apply(model, kind, photo)
    original = conds[0][0][1]["control"]
    hint = original.cond_hint_original
    before = sampled(model, *conds, [0], size=(96, 128))
    hints = Hints(layers_at(BOXES[:2]), [(HEIGHT, WIDTH)], SIZE)
    copy = hints.copied(original)
    sampled(model, *conds, [0, 1], hints=hints)
    assert copy.cond_hint is None and copy.timestep_range is None
    assert original.cond_hint_original is hint and original.cond_hint is None
    assert torch.equal(sampled(model, *conds, [0], size=(96, 128)), before)


@pytest.mark.parametrize("kind", ["controlnet", "control_lora", "t2i"])
def test_cleanup_after_an_error(apply, tiny, kind):
    """Also before anything has run, and again afterwards; then the same Hints serve once more."""
    model = tiny("sd15")
    conds = apply(model, "controlnet", picture(HEIGHT, WIDTH)[None])
    conds = apply(model, kind, picture(HEIGHT, WIDTH)[None], *conds)
    hints = Hints(layers_at(BOXES[:2]), [(HEIGHT, WIDTH)], SIZE)
    copy = hints.copied(conds[0][0][1]["control"])
    hints.cleanup()
    hints.cleanup()
    again = hints.copied(conds[0][0][1]["control"])
    assert again is not copy and torch.equal(again.cond_hint_original, copy.cond_hint_original)

    def fail(*_, **__):
        raise KeyError("stopped")

    again.control_merge = fail
    with pytest.raises(KeyError):
        sampled(model, *conds, [0, 1], hints=hints)
    assert again.cond_hint is None and again.previous_controlnet.cond_hint is None


def test_a_picture_of_another_shape_is_used_whole_and_said_so(apply, tiny):
    model = tiny("sd15")
    control = make_controlnet("controlnet", model)
    square = picture(64, 64, seed=3)[None]
    conds = apply(model, control, square)
    hints = Hints(layers_at(BOXES[:2]), [(HEIGHT, WIDTH)], SIZE)
    batch = sampled(model, *conds, [0, 1], hints=hints)
    assert hints.notes == [
        "A ControlNet picture of 64 x 64 has another shape than the photo (131 x 97), "
        "so it is used whole for every layer."
    ]
    for row in (0, 1):
        assert close(batch[row], sampled(model, *conds, [row])[0])  # stock code takes the middle


@pytest.mark.parametrize("size", [(HEIGHT * 2, WIDTH * 2), (96, 128), (48, 64), (96, 136), (65, 88)])
def test_pictures_of_the_photos_shape_in_any_size(apply, tiny, size):
    """Also rounded to multiples of 8 or 64: a picture that is stretched over the photo is in its frame."""
    model = tiny("sd15")
    ramp = torch.linspace(0.5, WIDTH - 0.5, WIDTH)[None, :, None] / WIDTH
    image = area_resize(ramp.expand(HEIGHT, WIDTH, 3).movedim(-1, 0)[None], size).movedim(1, -1)
    control = apply(model, "controlnet", image)[0][0][1]["control"]
    hints = Hints(layers_at(BOXES), [(HEIGHT, WIDTH)], SIZE)
    rows = hints.copied(control).cond_hint_original
    assert hints.notes == [] and rows.shape == (3, 3, *SIZE)
    for row, (x0, _, x1, _) in zip(rows, BOXES, strict=True):
        expected = (x0 + (torch.arange(64) + 0.5) * (x1 - x0) / 64) / WIDTH
        inner = slice(4, -4)  # a ramp cannot go on beyond the photo's edge
        assert torch.allclose(row[:, :, inner], expected[inner].expand(3, 48, -1), atol=0.5 / WIDTH)


def test_a_picture_that_is_the_photo_lies_on_it_to_the_pixel(apply, tiny):
    model = tiny("sd15")
    photo = picture(HEIGHT, WIDTH)
    control = apply(model, "controlnet", photo[None])[0][0][1]["control"]
    boxes = [(3, 1, 131, 97), (0, 0, 128, 96)]
    for layer in layers_at(boxes):
        for size in ((96, 128), (48, 64), (24, 32)):
            rows = Hints([layer], [(HEIGHT, WIDTH)], size).copied(control).cond_hint_original
            assert torch.allclose(rows, area_resize(layer.pixels.movedim(-1, 0)[None], size), atol=1e-6)


def test_marks_stay_marks(apply, tiny):
    """Inpaint ControlNets read -1 where they are to paint; a mean of a mark and a colour would be neither."""
    model = tiny("sd15")
    photo = picture(HEIGHT, WIDTH)[None].clone()
    photo[:, 20:60, 30:71] = -1
    control = apply(model, "controlnet", photo)[0][0][1]["control"]
    for size in ((16, 24), (48, 64), (136, 184)):
        rows = Hints(layers_at(BOXES), [(HEIGHT, WIDTH)], size).copied(control).cond_hint_original
        assert bool((rows == -1).any()) and not bool(((rows < 0) & (rows > -1)).any())


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_batch_of_photos(apply, tiny, batch):
    """As many pictures as photos: each layer gets its photo's. Fewer are dealt out in turn, as stock code does, and
    that is said.
    """
    model = tiny("sd15")
    images = torch.stack([picture(HEIGHT, WIDTH, seed) for seed in range(batch)])
    control = apply(model, "controlnet", images)[0][0][1]["control"]
    photos = [1, 0, 2]
    hints = Hints(layers_at(BOXES, photos), [(HEIGHT, WIDTH)] * 3, SIZE)
    rows = hints.copied(control).cond_hint_original
    note = dealt("ControlNet pictures", batch, 3)
    assert hints.notes == ([note] if batch == 2 else [])
    for row, photo, (x0, y0, x1, y1) in zip(rows, photos, BOXES, strict=True):
        assert torch.equal(row.movedim(0, -1), images[photo % batch, y0:y1, x0:x1])


def test_pictures_of_layers_are_said_to_be_theirs(apply, tiny):
    """Two photos with three layers, and three pictures."""
    model = tiny("sd15")
    images = torch.stack([picture(HEIGHT, WIDTH, seed) for seed in range(3)])
    control = apply(model, "controlnet", images)[0][0][1]["control"]
    layers = layers_at(BOXES, [0, 0, 1])
    scenes = [Scene(picture(HEIGHT, WIDTH), tuple(layers[:2])), Scene(picture(HEIGHT, WIDTH), tuple(layers[2:]))]
    hints = Hints(layers, [(HEIGHT, WIDTH)] * 2, SIZE, scenes)
    rows = hints.copied(control).cond_hint_original
    assert hints.notes == ["ControlNet pictures: there are as many as layers (3), so each layer got its own."]
    for row, image, (x0, y0, x1, y1) in zip(rows, images, BOXES, strict=True):
        assert torch.equal(row.movedim(0, -1), image[y0:y1, x0:x1])


@pytest.mark.parametrize("mask_size", [(HEIGHT, WIDTH), (HEIGHT * 2, WIDTH * 2), (HEIGHT, HEIGHT)])
def test_inpaint_masks_are_cropped_with_their_picture(run_node, tiny, mask_size):
    model = tiny("flux")
    photo = picture(HEIGHT, WIDTH)[None]
    mask = torch.zeros(1, *mask_size)
    mask[:, mask_size[0] // 4 : mask_size[0] // 2, mask_size[1] // 3 :] = 1
    control = make_controlnet("flux_inpaint", model)

    def apply_mask(photo, mask):
        inputs = {"positive": model.positive, "negative": model.negative, "vae": model.vae, **APPLY}
        return run_node("ControlNetInpaintingAliMamaApply", control_net=control, image=photo, mask=mask, **inputs)

    conds = apply_mask(photo, mask)
    hints = Hints(layers_at(BOXES[:2]), [(HEIGHT, WIDTH)], SIZE)
    batch = sampled(model, *conds, [0, 1], hints=hints)
    over_photo = comfy.utils.common_upscale(mask[:, None], WIDTH, HEIGHT, "nearest-exact", "center")[:, 0]
    for row, (x0, y0, x1, y1) in enumerate(BOXES[:2]):
        by_hand = apply_mask(photo[:, y0:y1, x0:x1], over_photo[:, y0:y1, x0:x1])
        assert close(batch[row], sampled(model, *by_hand, [row])[0])
    assert not close(batch, sampled(model, *apply_mask(photo, 1 - mask), [0, 1], hints=hints))


def test_extra_hooks_and_settings_come_along(apply, tiny, run_node):
    model = tiny("sd15")
    control = apply(model, "controlnet", picture(HEIGHT, WIDTH)[None])[0][0][1]["control"]
    control.set_extra_arg("control_type", [3])
    control.extra_hooks = comfy.hooks.HookGroup()
    control.extra_hooks.add(comfy.hooks.TransformerOptionsHook())
    copy = Hints(layers_at(BOXES[:1]), [(HEIGHT, WIDTH)], SIZE).copied(control)
    assert copy.extra_args == {"control_type": [3]} and copy.extra_args is not control.extra_args
    assert copy.get_extra_hooks() and copy.get_extra_hooks()[0].hooks == control.extra_hooks.hooks


@pytest.mark.usefixtures("small_native_size")
def test_sample_layers_shows_each_layer_its_part(apply, tiny, sample, comfy):
    """What lies beside a layer's crop has no say in it, alone or in a batch; a picture of another shape is noted."""
    model = tiny("sd15")
    photo, control = picture(HEIGHT, WIDTH), make_controlnet("controlnet", model)
    layers = [
        background(photo, (box[0] + 20, box[1] + 16, box[0] + 40, box[1] + 32), box, tail=f"-{number}")
        for number, box in enumerate(BOXES[:2])
    ]
    scenes = [Scene(photo, tuple(layers))]
    other = photo.clone()
    other[:48, :64] = 1 - other[:48, :64]  # the first layer's part

    def painted(image, scenes=scenes):
        positive, negative = apply(model, control, image[None])
        return layers_of(sample(scenes, model, positive=positive, negative=negative, steps=1))

    together, changed = painted(photo), painted(other)
    first, second = (layer.id for layer in layers)
    assert torch.allclose(together[second].pixels, changed[second].pixels, atol=1e-4)
    assert not torch.allclose(together[first].pixels, changed[first].pixels, atol=1e-2)
    alone = painted(photo, [Scene(photo, (layers[1],))])
    assert torch.allclose(together[second].pixels, alone[second].pixels, atol=1e-4)

    positive, negative = apply(model, control, picture(64, 64)[None])
    inputs = {"model": model.model, "vae": model.vae, "layers": scenes, "positive": positive, "negative": negative}
    graph = {name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for name, value in inputs.items()}
    links = {name: [name, 0] for name in inputs}
    graph["sample"] = {"class_type": "MILD_SampleLayers", "inputs": {**WIDGETS, **links}}
    text = comfy.run_graph(graph, wanted=["sample"]).ui["sample"]["text"][0]
    assert text.count("A ControlNet picture of 64 x 64 has another shape than the photo (131 x 97)") == 1


class OtherPacksControl(comfy.controlnet.ControlBase):
    """As packs write them: a copy() of their own, a mask for the effect, maybe a picture of another kind."""

    def __init__(self, setting):
        super().__init__()
        self.setting = setting
        self.mask_cond_hint_original = None

    def copy(self):
        copy = OtherPacksControl(self.setting)
        self.copy_to(copy)
        copy.mask_cond_hint_original = self.mask_cond_hint_original
        return copy


def test_objects_of_other_packs():
    hints = Hints(layers_at(BOXES[:2]), [(HEIGHT, WIDTH)], SIZE)
    without = OtherPacksControl("own")
    copy = hints.copied(without)
    assert type(copy) is OtherPacksControl and copy is not without and copy.setting == "own"
    assert copy.cond_hint_original is None and copy.mask_cond_hint_original is None
    control = OtherPacksControl("own").set_cond_hint(picture(HEIGHT, WIDTH).movedim(-1, 0)[None], 0.4)
    control.mask_cond_hint_original = torch.rand(1, HEIGHT, WIDTH)
    control.set_previous_controlnet(without)
    copy = hints.copied(control)
    assert copy.previous_controlnet is hints.copied(without) and copy.strength == 0.4
    for row, (x0, y0, x1, y1) in enumerate(BOXES[:2]):
        assert torch.equal(copy.mask_cond_hint_original[row], control.mask_cond_hint_original[0, y0:y1, x0:x1])
    hints.cleanup()
