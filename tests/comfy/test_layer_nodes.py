"""Get Layer and Put Layer Back: one layer for ComfyUI's own nodes, and nothing of the photo is lost on the way."""

import pytest
import torch

from mild.mild_core.comfy.sampling.groups import layer_seed
from mild.mild_core.image import boxes
from mild.mild_core.layers.decompose import decompose
from mild.mild_core.layers.recompose import recompose
from mild.mild_core.layers.work_size import SIZE_MODES
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.scene import Scene
from mild.tests.helpers.in_process import GraphInvalid
from mild.tests.helpers.layers import background, layers_of, picture
from mild.tests.helpers.tiny_models import make

SMALL = 96 * 96 / 1024**2
"""Megapixels of crops for random models, as the fixture small_native_size says for Sample Layers."""

PERSON_LAYER = "1/person-1"


def split(photos=1):
    """Somebody in red, whose right half stands behind somebody in green, who goes; the photo is 110 x 130 px."""
    person_mask, front = torch.zeros(110, 130), torch.zeros(110, 130)
    person_mask[12:100, 30:62] = 1
    front[20:104, 50:84] = 1
    generator = torch.Generator().manual_seed(0)
    photo = 0.6 + 0.2 * torch.rand(110, 130, 1, generator=generator).expand(-1, -1, 3).contiguous()
    photo = torch.where(person_mask[..., None] > 0, torch.tensor((0.8, 0.1, 0.1)), photo)
    photo = torch.where(front[..., None] > 0, torch.tensor((0.0, 1.0, 0.0)), photo)
    people = numbered([person_from_mask(person_mask * (1 - front)), person_from_mask(front)])
    people = [person._replace(erased=person.number == 2) for person in people]
    return decompose(
        photo.expand(photos, -1, -1, -1),
        [person._replace(photo=index) for index in range(photos) for person in people],
    )


@pytest.fixture
def get(run_node):
    def get(layers, which="background", megapixels=SMALL, multiple=16):
        return run_node("MILD_GetLayer", layers=layers, which=which, megapixels=megapixels, multiple=multiple)

    return get


@pytest.fixture
def put(run_node):
    def put(layers, image, which="background"):
        return run_node("MILD_PutLayer", layers=layers, image=image, which=which)[0]

    return put


def only_that_hole_changed(before, after, which):
    """Everything but the hole of that layer is bit for bit as before, other layers are the same objects."""
    old, new = layers_of(before), layers_of(after)
    assert list(old) == list(new)
    for name in old:
        if name == which:
            outside = old[name].hole == 0
            assert new[name].sampled and not torch.equal(new[name].pixels, old[name].pixels)
            assert torch.equal(new[name].pixels[outside], old[name].pixels[outside])
            assert torch.equal(new[name].alpha[outside], old[name].alpha[outside])
            same = new[name]._replace(pixels=old[name].pixels, alpha=old[name].alpha, sampled=old[name].sampled)
            assert all(a is b for a, b in zip(same, old[name], strict=True) if isinstance(a, torch.Tensor))
        else:
            assert new[name] is old[name]


@pytest.mark.parametrize("family, denoise", [("sd15", 0.6), ("sd15_inpaint", 1.0), ("flux_fill", 1.0)])
def test_plain_nodes_paint_what_sample_layers_paints(comfy, small_native_size, family, denoise):
    """KSampler on the picture and the mask, with the layer's own noise, gives Sample Layers' layer; person too."""
    tiny = make(family)
    widgets = {"steps": 2, "cfg": 2.0, "sampler_name": "euler", "scheduler": "normal", "denoise": denoise}
    give = {
        name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
        for name, value in (
            ("layers", split()),
            ("model", tiny.model),
            ("vae", tiny.vae),
            ("positive", tiny.positive),
            ("negative", tiny.negative),
        )
    }
    sampled = {
        "class_type": "MILD_SampleLayers",
        "inputs": {name: [name, 0] for name in give}
        | widgets
        | {"seed": 7, "which": "all", "ground": "plate", "start": "noise"},
    }
    graph = {**give, "sampled": sampled}
    layers = ["layers", 0]
    for which in ("1/background", PERSON_LAYER):
        graph |= by_plain_nodes(which, layers, widgets | {"seed": layer_seed(7, which)}, channels=family != "sd15")
        layers = [f"put {which}", 0]
    ran = comfy.run_graph(graph, wanted=["sampled", layers[0]])
    ours, plain = (layers_of(ran.outputs[name][0]) for name in ("sampled", layers[0]))
    for name in ours:
        assert plain[name].sampled
        assert torch.allclose(plain[name].pixels, ours[name].pixels, atol=2e-4)
        assert torch.allclose(plain[name].alpha, ours[name].alpha, atol=2e-3)


def by_plain_nodes(which, layers, widgets, channels):
    """Get Layer, ComfyUI's own nodes, Put Layer Back; channels: the model has inpaint channels."""
    out = f"get {which}"
    graph = {
        out: {
            "class_type": "MILD_GetLayer",
            "inputs": {"layers": layers, "which": which, "megapixels": SMALL, "multiple": 16},
        },
        f"decode {which}": {
            "class_type": "VAEDecode",
            "inputs": {"samples": [f"sample {which}", 0], "vae": ["vae", 0]},
        },
        f"put {which}": {
            "class_type": "MILD_PutLayer",
            "inputs": {"layers": layers, "image": [f"decode {which}", 0], "which": which},
        },
    }
    if channels:
        inputs = {"positive": ["positive", 0], "negative": ["negative", 0], "vae": ["vae", 0], "noise_mask": True}
        inputs |= {"pixels": [out, 0], "mask": [out, 1]}
        graph[f"inpaint {which}"] = {"class_type": "InpaintModelConditioning", "inputs": inputs}
        conds = {name: [f"inpaint {which}", slot] for slot, name in enumerate(("positive", "negative", "latent_image"))}
    else:
        graph[f"encode {which}"] = {"class_type": "VAEEncode", "inputs": {"pixels": [out, 0], "vae": ["vae", 0]}}
        inputs = {"samples": [f"encode {which}", 0], "mask": [out, 1]}
        graph[f"masked {which}"] = {"class_type": "SetLatentNoiseMask", "inputs": inputs}
        conds = {"positive": ["positive", 0], "negative": ["negative", 0], "latent_image": [f"masked {which}", 0]}
    graph[f"sample {which}"] = {"class_type": "KSampler", "inputs": {"model": ["model", 0], **conds, **widgets}}
    return graph


@pytest.mark.parametrize("which", ["background", "1", PERSON_LAYER])
def test_the_picture_never_shows_who_is_erased(get, put, which):
    """Painted green or purple wherever the person was seen, they vanish into the same picture, now and once painted."""
    pictures = []
    for colour in (torch.tensor((0.0, 1.0, 0.0)), torch.tensor((1.0, 0.0, 1.0))):
        (scene,) = split()
        own = [
            layer._replace(pixels=torch.where(layer.hole[..., None] == 1, colour, layer.pixels))
            for layer in scene.layers
        ]
        photo = scene.photo.clone()
        part = boxes.cut(photo, own[0].box)
        part.copy_(torch.where(own[0].hole[..., None] == 1, colour, part))
        layers = [Scene(photo, tuple(own))]
        first, mask = get(layers, which)
        painted = put(layers, torch.full((1, 9, 9, 3), 0.3), "background")
        second, _ = get(painted, which)
        pictures.append((first, second, mask))
    for first, second in zip(*pictures, strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(pictures[0][0], pictures[0][1])


@pytest.mark.parametrize("mode", SIZE_MODES)
@pytest.mark.parametrize("multiple, megapixels", [(16, 0.25), (16, 0.0), (32, 0.05), (1, 0.0), (7, 0.02), (256, 1.0)])
def test_sizes_and_masks_suit_latents(get, multiple, megapixels, mode):
    photo = picture(97, 141)
    layer = background(photo, (50, 30, 63, 71), box=(20, 3, 120, 90), size_mode=mode)
    image, mask = get([Scene(photo, (layer,))], megapixels=megapixels, multiple=multiple)
    height, width = image.shape[1:3]
    assert mask.shape == (1, height, width) and height % multiple == 0 and width % multiple == 0
    cell = multiple if multiple % 2 else multiple // 2
    cells = torch.nn.functional.avg_pool2d(mask, cell)
    assert bool(((cells == 0) | (cells == 1)).all()) and 0 < mask.mean() < 1 or multiple == 256
    covered = torch.nn.functional.interpolate(mask[None], size=(87, 100), mode="nearest-exact")[0, 0]
    near = torch.nn.functional.max_pool2d(covered[None, None], 3, 1, 1)[0, 0]  # a pixel of rounding
    assert (near[layer.hole > 0] == 1).all()
    if (multiple, megapixels) == (1, 0.0):
        assert image.shape == (1, 87, 100, 3) and torch.equal(mask[0], layer.hole)
        assert torch.equal(image[0][layer.hole == 0], layer.pixels[layer.hole == 0])
    if megapixels and mode == "detail" and multiple == 16:
        assert 0.9 < height * width / (megapixels * 1024**2) < 1.1


@pytest.mark.parametrize("which", ["1/background", PERSON_LAYER])
@pytest.mark.parametrize("shape", [(8, 8, 1), (200, 131, 4), (300, 300, 3)])
def test_any_picture_goes_into_the_hole_and_nowhere_else(put, which, shape):
    layers = split()
    image = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1)) * 1.4 - 0.2
    after = put(layers, image, which)
    only_that_hole_changed(layers, after, which)
    new = layers_of(after)[which]
    assert torch.isfinite(new.pixels).all() and 0 <= new.pixels.min() and new.pixels.max() <= 1
    result = recompose(after)
    assert result.outside == 0
    if which == "1/background":
        hole = layers_of(layers)[which].hole > 0
        assert result.changed[0].sum() <= hole.sum() and result.changed.any()


def test_what_was_handed_out_comes_back(get, put):
    """Unpainted, at the photo's own scale: the background's hole holds its smooth fill, and the person goes nowhere."""
    layers = split()
    for which in ("background", PERSON_LAYER):
        image, _ = get(layers, which, megapixels=0, multiple=1)
        again, _ = get(put(layers, image, which), which, megapixels=0, multiple=1)
        if which == "background":
            assert torch.equal(again, image)
        else:
            assert (again - image).abs().mean() < 0.05


def test_somebody_stands_on_the_background_once_it_is_painted(get, put):
    layers = split()
    wall = torch.tensor((0.1, 0.2, 0.9)).expand(1, 9, 9, 3)
    done = put(layers, wall)
    before, _ = get(layers, "1", megapixels=0, multiple=1)
    after, mask = get(done, "1", megapixels=0, multiple=1)
    old = layers_of(layers)[PERSON_LAYER]
    assert torch.equal(before[0][(old.alpha == 0) & (old.hole == 0)].unique(dim=0), torch.tensor([old.ground]))
    assert ((after[0] - wall[0, 0, 0]).abs().amax(-1)[mask[0] > 0] < 0.01).any(), "the wall is seen beside the person"
    flat = layers_of(put(done, wall, "1"))[PERSON_LAYER]
    assert flat.alpha[old.hole > 0].mean() < 0.3, "nothing but wall was painted, so hardly anything is a person"
    red = layers_of(put(done, torch.tensor((0.8, 0.1, 0.1)).expand(1, 9, 9, 3), "1"))[PERSON_LAYER]
    assert red.alpha[old.hole > 0].mean() > flat.alpha[old.hole > 0].mean() + 0.3


def test_a_batch_of_photos_by_id(get, put, run_node):
    layers = split(photos=2)
    with pytest.raises(ValueError, match=r"which: 'background' names 2 parts .* 1/background .*, 2/background "):
        get(layers)
    with pytest.raises(ValueError, match=r"which: 'people' names 2 layers.*2/person-1 \(Person 1\)"):
        put(layers, torch.zeros(1, 8, 8, 3), "people")
    image, _ = get(layers, "2/background")
    after = put(layers, image * 0.5, "2/background")
    only_that_hole_changed(layers, after, "2/background")
    assert after[0] is layers[0]


@pytest.mark.parametrize("which", ["7", "sofa", "", "background, 1"])
def test_what_is_not_one_layer_is_said(get, put, which):
    layers = split()
    for run in (lambda: get(layers, which), lambda: put(layers, torch.zeros(1, 8, 8, 3), which)):
        with pytest.raises(ValueError, match="^which: .*(background|nothing is written)"):
            run()


def test_nobody_who_stays_was_hidden(get):
    photo = picture()
    with pytest.raises(ValueError, match="which: .*people.*1/background"):
        get([Scene(photo, (background(photo, (20, 10, 40, 50)),))], "people")
    with pytest.raises(ValueError, match="layers: .*nobody is chosen"):
        get([Scene(photo, ())])


@pytest.mark.parametrize(
    "image, words",
    [(torch.full((1, 9, 9, 3), float("nan")), "image: .*NaN"), (torch.zeros(1, 9, 9, 2), "image: .*1, 3 or 4")],
)
def test_broken_pictures_are_named(put, image, words):
    with pytest.raises(ValueError, match=words):
        put(split(), image)


def test_widgets_out_of_range_are_refused(get):
    with pytest.raises(GraphInvalid):
        get(split(), multiple=0)


def test_the_nodes_say_what_they_did(comfy):
    photo = picture()
    flat = background(photo, (20, 10, 40, 50), tail="-2", name="Wall", hole=torch.zeros(photo.shape[:2]))
    layers = [Scene(photo, (background(photo, (20, 10, 40, 50)), flat))]

    def text(image, which):
        graph = {
            "layers": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(layers)}},
            "image": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(image)}},
            "put": {
                "class_type": "MILD_PutLayer",
                "inputs": {"layers": ["layers", 0], "image": ["image", 0], "which": which},
            },
            "get": {
                "class_type": "MILD_GetLayer",
                "inputs": {"layers": ["put", 0], "which": which, "megapixels": 0.0, "multiple": 16},
            },
        }
        ran = comfy.run_graph(graph, wanted=["get"])
        assert len(ran.ui["get"]["images"]) == 1
        return ran.outputs["put"][0], ran.ui["put"]["text"][0], ran.ui["get"]["text"][0]

    _, said, of_get = text(torch.zeros(1, 64, 80, 3), "1/background")
    assert said == "Background (1/background): painted." and "83 x 61 px" in of_get and "80 x 64" in of_get
    assert "the first was taken" in text(torch.zeros(2, 64, 80, 3), "1/background")[1]
    assert "stretched" in text(torch.zeros(1, 500, 80, 3), "1/background")[1]
    after, said, of_get = text(torch.zeros(1, 64, 80, 3), "Wall")
    assert "no hole" in said and "no hole" in of_get
    assert after[0].layers[1] is flat


def test_inputs_are_left_alone(get, put):
    layers = split()
    before = [layer.pixels.clone() for layer in layers[0].layers]
    image, _ = get(layers, "1")
    with torch.inference_mode():
        image.zero_()  # whatever later nodes do with it
    put(layers, image, "1")
    assert all(torch.equal(layer.pixels, old) for layer, old in zip(layers[0].layers, before, strict=True))
