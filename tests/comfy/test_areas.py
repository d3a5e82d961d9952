"""Prompts for a part of the photo, in the frame of a layer's crop."""

import comfy.sampler_helpers
import comfy.samplers
import pytest
import torch

from mild.mild_core.comfy.sampling.areas import cropped_areas
from mild.mild_core.image.fill import area_resize
from mild.mild_core.scene import Scene
from mild.tests.helpers.layers import background, layers_of, picture
from mild.tests.helpers.tiny_models import make

# isort: split
import nodes

PHOTO = (96, 128)
WHOLE = (0, 0, 128, 96)
CROP = (24, 16, 88, 64)
CELLS = (6, 8)  # of the crop, at the photo's scale


def layer_at(box, photo=0):
    return background(picture(*PHOTO), box, box, photo)


def cond_of(run_node, node, **inputs):
    """What a stock node writes onto a conditioning, as guiders keep it."""
    (conditioning,) = run_node(node, conditioning=[[torch.zeros(1, 77, 768), {}]], **inputs)
    return comfy.sampler_helpers.convert_cond(conditioning)[0]


def resolved(cond, cells):
    """What stock code makes of it when sampling begins."""
    conds = [cond]
    comfy.samplers.resolve_areas_and_cond_masks_multidim(conds, torch.Size(cells), torch.device("cpu"))
    return conds[0]


def masked(run_node, mask, bounds="default"):
    return cond_of(run_node, "ConditioningSetMask", mask=mask, strength=0.7, set_cond_area=bounds)


def in_pixels(run_node, x0, y0, x1, y1):
    """By the node's own hand: it refuses sides below 64 px only on the canvas, and photos here are small."""
    (conditioning,) = nodes.ConditioningSetArea().append([[torch.zeros(1, 77, 768), {}]], x1 - x0, y1 - y0, x0, y0, 0.6)
    return comfy.sampler_helpers.convert_cond(conditioning)[0]


def in_shares(run_node, x0, y0, x1, y1):
    sizes = {"x": x0 / 128, "y": y0 / 96, "width": (x1 - x0) / 128, "height": (y1 - y0) / 96}
    return cond_of(run_node, "ConditioningSetAreaPercentage", **sizes, strength=0.6)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_mask_is_cropped_like_the_layer(run_node, scale, dims):
    mask = torch.rand(1, *PHOTO)
    given = masked(run_node, mask.repeat_interleave(scale, 1).repeat_interleave(scale, 2))
    before = dict(given)
    cells = (1, *CELLS)[3 - dims :]
    cond = cropped_areas(given, layer_at(CROP), PHOTO, cells, [])
    expected = area_resize(mask[None, :, 16:64, 24:88], CELLS)[0]
    assert cond["mask"].shape == (1, *cells) and torch.allclose(cond["mask"].reshape(1, *CELLS), expected, atol=1e-6)
    assert cond["mask_strength"] == 0.7 and "area" not in cond and cond["cross_attn"] is given["cross_attn"]
    assert given.keys() == before.keys() and all(given[key] is before[key] for key in before)
    two = cond | {"mask": torch.cat([cond["mask"], 1 - cond["mask"]])}  # as rows of a batch
    assert torch.equal(resolved(two, cells)["mask"], two["mask"])


@pytest.mark.parametrize("bounds", ["default", "mask bounds"])
def test_a_mask_that_does_not_touch_the_crop(run_node, bounds):
    mask = torch.zeros(1, *PHOTO)
    assert cropped_areas(masked(run_node, mask, bounds), layer_at(CROP), PHOTO, CELLS, []) is None
    mask[:, :, :24] = 1
    assert cropped_areas(masked(run_node, mask, bounds), layer_at(CROP), PHOTO, CELLS, []) is None
    mask[:, 20, 24] = 1
    assert cropped_areas(masked(run_node, mask, bounds), layer_at(CROP), PHOTO, CELLS, []) is not None
    empty = torch.zeros(1, 64, 64)  # what Load Image gives for a picture without transparency
    assert cropped_areas(masked(run_node, empty, bounds), layer_at(CROP), PHOTO, CELLS, []) is None


@pytest.mark.parametrize("box", [(30, 30, 40, 41), (0, 0, 128, 96), (80, 56, 128, 96)])
def test_bounds_are_those_that_stock_code_finds(run_node, box):
    """But of this layer's mask alone: in a batch it would take those of all rows."""
    mask = torch.zeros(1, *PHOTO)
    mask[:, box[1] : box[3], box[0] : box[2]] = 1
    cells = (24, 32)
    cond = cropped_areas(masked(run_node, mask, "mask bounds"), layer_at(CROP), PHOTO, cells, [])
    cut = area_resize(mask[None, :, 16:64, 24:88], cells)[0]
    expected = resolved(masked(run_node, cut, "mask bounds"), cells)
    mine = resolved(cond, cells)
    assert mine["area"] == expected["area"] and torch.allclose(mine["mask"], expected["mask"])


def test_masks_of_several_photos_and_of_another_shape(run_node):
    masks = torch.rand(2, *PHOTO)
    for photo in (0, 1, 2):
        cond = cropped_areas(masked(run_node, masks), layer_at(CROP, photo), PHOTO, CELLS, [])
        expected = cropped_areas(masked(run_node, masks[photo % 2]), layer_at(CROP), PHOTO, CELLS, [])
        assert torch.equal(cond["mask"], expected["mask"])
    square = torch.rand(1, 100, 100)
    cond = cropped_areas(masked(run_node, square), layer_at(CROP), PHOTO, (10, 10), [])
    assert torch.allclose(cond["mask"], area_resize(square[None], (10, 10))[0], atol=1e-6)


@pytest.mark.parametrize("set_area", [in_pixels, in_shares])
@pytest.mark.parametrize(
    ("box", "area"),
    [
        ((32, 24, 72, 48), (3, 5, 1, 1)),
        ((0, 0, 64, 96), (6, 5, 0, 0)),  # clipped
        ((64, 0, 128, 40), (3, 3, 0, 5)),
        ((0, 0, 128, 96), "whole"),
        ((24, 16, 88, 64), "whole"),
        ((88, 0, 128, 96), None),  # beside
        ((0, 64, 64, 96), None),
    ],
)
def test_an_area_in_cells_of_the_crop(run_node, set_area, box, area):
    given = set_area(run_node, *box)
    for cells in (CELLS, (1, *CELLS)):
        cond = cropped_areas(given, layer_at(CROP), PHOTO, cells, [])
        if area is None:
            assert cond is None
        elif area == "whole":
            assert "area" not in cond and cond["strength"] == 0.6
        else:
            assert cond["area"] == area and cond["strength"] == 0.6
            height, width, top, left = area  # stock code can read it, for latents with frames too
            found = comfy.samplers.get_area_and_mult(resolved(cond, cells), torch.zeros(1, 4, *cells), torch.ones(1))
            assert found.input_x.shape[-2:] == (height, width)
            assert found.area[-2:] == [top, left]
    # Twice as many cells: the same place.
    finer = cropped_areas(given, layer_at(CROP), PHOTO, (12, 16), [])
    if isinstance(area, tuple):
        assert finer["area"] == tuple(2 * value for value in area)


def test_the_whole_photo_keeps_its_areas(run_node):
    cells = (12, 16)
    for given in (in_pixels(run_node, 16, 24, 80, 88), in_shares(run_node, 16, 24, 80, 88)):
        cond = cropped_areas(given, layer_at(WHOLE), PHOTO, cells, [])
        assert tuple(cond["area"]) == tuple(resolved(given, cells)["area"])


def test_a_film_s_area_has_its_last_two_sizes(run_node):
    """("percentage", frames, h, w, z, y, x), as Conditioning Set Area Percentage Video writes it."""
    sizes = {"width": 0.25, "height": 0.5, "temporal": 1.0, "x": 0.5, "y": 0.25, "z": 0.0, "strength": 1.0}
    given = cond_of(run_node, "ConditioningSetAreaPercentageVideo", **sizes)
    cond = cropped_areas(given, layer_at(WHOLE), PHOTO, (1, 12, 16), [])
    assert cond["area"] == (6, 4, 3, 8)


def test_gligen_boxes_are_mapped(run_node):
    texts = [torch.randn(1, 768) for _ in range(3)]
    boxes = [(3, 4, 2, 4), (12, 16, 0, 0), (2, 2, 10, 14)]  # h, w, y, x in cells of 8 px
    given = {"gligen": ("position", "model", [(text, *box) for text, box in zip(texts, boxes, strict=True)])}
    kind, model, mapped = cropped_areas(given, layer_at(CROP), PHOTO, (12, 16), [])["gligen"]
    assert (kind, model) == ("position", "model") and len(mapped) == 2
    assert mapped[0][0] is texts[0] and mapped[0][1:] == (6, 8, 0, 2)
    assert mapped[1][0] is texts[1] and mapped[1][1:] == (12, 16, 0, 0)
    assert given["gligen"][2][0][1:] == boxes[0]
    other = {"gligen": ("position_empty", "model")}
    assert cropped_areas(other, layer_at(CROP), PHOTO, CELLS, [])["gligen"] is other["gligen"]


def test_what_has_no_place_stays_as_it_is():
    cond = {"cross_attn": torch.zeros(1, 77, 768), "strength": 0.5, "uuid": 1}
    assert cropped_areas(cond, layer_at(CROP), PHOTO, CELLS, []) == cond


@pytest.mark.usefixtures("small_native_size")
@pytest.mark.parametrize("family", ["sd15", "qwen_image"])  # latents without frames and with
def test_rows_of_a_batch_get_their_own_masks(run_node, sample, family):
    tiny = make(family)
    photo = picture(*PHOTO)
    boxes = [CROP, (64, 48, 128, 96)]
    layers = [background(photo, (b[0] + 16, b[1] + 16, b[0] + 48, b[1] + 32), b, tail=f"-{b[0]}") for b in boxes]
    mask = torch.zeros(1, *PHOTO)
    mask[:, :, :100] = torch.linspace(0, 1, 100)
    inputs = {"strength": 1.0, "set_cond_area": "default"}
    (left,) = run_node("ConditioningSetMask", conditioning=tiny.positive, mask=mask, **inputs)
    (right,) = run_node("ConditioningSetMask", conditioning=tiny.negative, mask=1 - mask, **inputs)
    settings = {"positive": left + right, "negative": tiny.negative, "cfg": 2.0, "steps": 1}
    together = layers_of(sample([Scene(photo, tuple(layers))], tiny, **settings))
    for layer in layers:
        alone = layers_of(sample([Scene(photo, (layer,))], tiny, **settings))
        assert torch.allclose(together[layer.id].pixels, alone[layer.id].pixels, atol=1e-4)
    other = layers_of(sample([Scene(photo, tuple(layers))], tiny, **settings | {"positive": tiny.positive}))
    assert not torch.allclose(together[layers[0].id].pixels, other[layers[0].id].pixels, atol=1e-3)


@pytest.mark.parametrize("bounds", ["default", "mask bounds"])
def test_a_layer_of_the_whole_photo_is_painted_as_without_layers(run_node, bounds):
    tiny = make("sd15")
    mask = torch.zeros(1, *PHOTO)
    mask[:, 16:64, 40:120] = 1
    (left,) = run_node("ConditioningSetMask", conditioning=tiny.positive, mask=mask, strength=1.0, set_cond_area=bounds)
    (right,) = run_node(
        "ConditioningSetAreaPercentage", conditioning=tiny.negative, x=0.5, y=0.25, width=0.5, height=0.5, strength=0.8
    )
    samples = []
    for ours in (False, True):
        guider = comfy.samplers.CFGGuider(tiny.model)
        guider.set_conds(left + right, tiny.negative)
        guider.set_cfg(3.0)
        if ours:
            guider.original_conds = {
                name: [cropped_areas(cond, layer_at(WHOLE), PHOTO, (12, 16), []) for cond in conds]
                for name, conds in guider.original_conds.items()
            }
        noise = torch.randn(1, 4, 12, 16, generator=torch.Generator().manual_seed(2))
        sigmas = comfy.samplers.calculate_sigmas(tiny.model.get_model_object("model_sampling"), "normal", 1)
        sampler = comfy.samplers.sampler_object("euler")
        samples.append(guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=1))
    assert torch.allclose(*samples, atol=1e-5)
