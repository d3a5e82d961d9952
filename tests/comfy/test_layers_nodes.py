"""People from Masks, Choose People, Split into Layers and Recompose Photo, through ComfyUI's own executor."""

import pytest
import torch

from mild.mild_core.scene import BACKGROUND, PERSON
from mild.tests.helpers.in_process import GraphInvalid, Many
from mild.tests.helpers.layers import SPLIT as WITH_SNAP

SIZE = (97, 131)
FROM_MASKS = {"split": "one person per mask", "photo": 1}
SPLIT = {name: value for name, value in WITH_SNAP.items() if name != "snap"}  # as API workflows once had it


def figure(*box, size=SIZE, value=1.0):
    mask = torch.zeros(size)
    mask[box[1] : box[3], box[0] : box[2]] = value
    return mask


def photos(count=1, channels=3, size=SIZE):
    return torch.rand(count, *size, channels, generator=torch.Generator().manual_seed(0))


LEFT, RIGHT = figure(10, 20, 30, 80), figure(28, 15, 50, 90)
TWO = torch.stack([RIGHT, LEFT])  # given right to left: numbers must not follow the order of masks


@pytest.fixture
def people_of(run_node):
    """people_of(masks, who): the people of these masks, with a choice made."""

    def people_of(masks, who="all", **inputs):
        people, *_ = run_node("MILD_PeopleFromMasks", masks=masks, **(FROM_MASKS | inputs))
        return run_node("MILD_ChoosePeople", people=people, who=who)[0]

    return people_of


@pytest.fixture
def split(run_node):
    """split(image, people, ...): layers and preview."""

    def split(image, people, **inputs):
        return run_node("MILD_Decompose", image=image, people=people, **(SPLIT | inputs))

    return split


def summary(people):
    return [(person.photo, person.number, person.box) for person in people]


def test_a_batch_of_masks_from_left_to_right(run_node):
    people, preview, _ = run_node("MILD_PeopleFromMasks", masks=TWO, image=photos(), **FROM_MASKS)
    assert summary(people) == [(0, 1, (10, 20, 30, 80)), (0, 2, (28, 15, 50, 90))]
    assert preview.shape == (1, *SIZE, 3)


@pytest.mark.parametrize(
    "masks",
    [
        Many([TWO]),
        TWO,
        TWO[:, None],
        TWO[..., None].expand(-1, -1, -1, 3),
    ],
)
def test_masks_come_in_many_shapes(run_node, masks):
    people, *_ = run_node("MILD_PeopleFromMasks", masks=masks, **FROM_MASKS)
    assert [person.box for person in people] == [(10, 20, 30, 80), (28, 15, 50, 90)]


def test_one_painted_mask_with_several_people(run_node):
    painted = (figure(5, 5, 25, 60) + figure(60, 5, 80, 60))[None]
    people, *_ = run_node("MILD_PeopleFromMasks", masks=painted, **(FROM_MASKS | {"split": "separate blobs"}))
    assert [person.box for person in people] == [(5, 5, 25, 60), (60, 5, 80, 60)]
    one_each = torch.cat([painted, figure(1, 1, 30, 30)[None]])
    people, preview, _ = run_node("MILD_PeopleFromMasks", masks=one_each, split="separate blobs", photo=3)
    assert [(person.photo, person.number) for person in people] == [(2, 1), (2, 2), (3, 1)]
    assert preview.shape[0] == 4


@pytest.mark.parametrize("as_image", [False, True])
def test_label_images(run_node, as_image):
    labels = figure(5, 5, 25, 60, value=2 / 255) + figure(60, 5, 80, 60, value=1 / 255)
    masks = labels[None, ..., None].expand(-1, -1, -1, 3) if as_image else labels[None]
    photo = photos(size=(194, 262))
    people, *_ = run_node("MILD_PeopleFromMasks", masks=masks, image=photo, split="label image", photo=1)
    assert summary(people) == [(0, 1, (120, 10, 160, 120)), (0, 2, (10, 10, 50, 120))]


def test_a_photo_is_no_label_image(run_node):
    with pytest.raises(ValueError, match="masks: .*different colours"):
        run_node("MILD_PeopleFromMasks", masks=photos(), split="label image", photo=1)


def test_masks_of_another_size_are_fitted_to_the_photo(run_node):
    people, preview, _ = run_node("MILD_PeopleFromMasks", masks=TWO, image=photos(size=(291, 393)), **FROM_MASKS)
    assert people[0].size == (291, 393) and people[0].box == (30, 60, 90, 240)
    assert preview.shape == (1, 291, 393, 3)


def test_people_are_added_to_people(run_node):
    first, *_ = run_node("MILD_PeopleFromMasks", masks=TWO, **FROM_MASKS)
    more, *_ = run_node("MILD_PeopleFromMasks", masks=figure(0, 0, 5, 9)[None], people=first, **FROM_MASKS)
    assert [person.number for person in more] == [1, 2, 3]
    assert more[2].box == (0, 0, 5, 9)


def test_empty_masks_are_left_out_and_said(comfy):
    graph = {
        "masks": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(torch.cat([TWO, torch.zeros(1, *SIZE)]))}},
        "people": {"class_type": "MILD_PeopleFromMasks", "inputs": {"masks": ["masks", 0], **FROM_MASKS}},
    }
    ran = comfy.run_graph(graph, wanted=["people"])
    assert len(ran.outputs["people"][0]) == 2
    shown = ran.ui["people"]
    assert "2 people" in shown["text"][0] and "1 empty mask" in shown["text"][0]
    assert len(shown["images"]) == 1
    assert comfy.run_graph(graph, wanted=["people"]).executed == []  # queued again, nothing is done twice


def test_no_masks_at_all_leave_the_photo_as_it_is(people_of, split, run_node):
    people = people_of(torch.zeros(1, 64, 64))
    assert people == []
    layers, preview = split(photos(), people)
    assert preview.shape == (1, *SIZE, 3)
    image, changed = run_node("MILD_Recompose", layers=layers)
    assert torch.equal(image, photos()) and not changed.any()


@pytest.mark.parametrize(
    "masks, words",
    [(torch.full((1, 9, 9), float("nan")), "masks: .*NaN"), (torch.zeros(2, 3, 4, 5, 6), "masks: .*shape")],
)
def test_broken_masks_are_named(run_node, masks, words):
    with pytest.raises(ValueError, match=words):
        run_node("MILD_PeopleFromMasks", masks=masks, **FROM_MASKS)


def test_choice_as_masks(run_node):
    people, *_ = run_node("MILD_PeopleFromMasks", masks=TWO, **FROM_MASKS)
    chosen, erase, keep = run_node("MILD_ChoosePeople", people=people, image=photos(2), who="all but 1")
    assert [person.erased for person in chosen] == [False, True]
    assert erase.shape == keep.shape == (2, *SIZE)
    assert torch.equal(erase[0], RIGHT) and torch.equal(keep[0], LEFT)
    assert not erase[1].any() and not keep[1].any()
    assert not any(person.erased for person in people), "the choice must not leak into the people before it"


def test_choices_that_name_nobody(run_node):
    people, *_ = run_node("MILD_PeopleFromMasks", masks=TWO, **FROM_MASKS)
    with pytest.raises(ValueError, match="no person 7; this photo has 1-2"):
        run_node("MILD_ChoosePeople", people=people, who="7")
    far, *_ = run_node("MILD_PeopleFromMasks", masks=TWO, split="one person per mask", photo=3)
    with pytest.raises(ValueError, match="image: there are people in 3 photos, but image holds 1"):
        run_node("MILD_ChoosePeople", people=far, image=photos(), who="all")


def test_splitting_shows_what_will_happen(comfy, people_of):
    people = people_of(TWO, "2")
    graph = {
        "image": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(photos())}},
        "people": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(people)}},
        "split": {"class_type": "MILD_Decompose", "inputs": {"image": ["image", 0], "people": ["people", 0], **SPLIT}},
        "photo": {"class_type": "MILD_Recompose", "inputs": {"layers": ["split", 0]}},
    }
    ran = comfy.run_graph(graph, wanted=["photo"])
    layers, preview = ran.outputs["split"]
    assert [layer.domain for layer in layers[0].layers] == [BACKGROUND, PERSON]
    assert (preview[0] - photos()[0]).abs().amax(-1)[20:80, 32:48].mean() > 0.05
    assert ran.ui["split"]["images"] and "Person 1 (stays)" in ran.ui["split"]["text"][0]
    image, changed = ran.outputs["photo"]
    assert torch.equal(image, photos()) and not changed.any()
    assert "Not sampled" in ran.ui["photo"]["text"][0]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("who", ["none", "1", "2", "all"])
def test_from_photo_to_photo_with_the_built_in_model(run_node, people_of, split, channels, who):
    image = photos(1, channels)
    layers, _ = split(image, people_of(TWO, who))
    if layers[0].layers:
        model, vae, empty = run_node("MILD_BuiltInModel", model="exemplar")
        (layers,) = run_node(
            "MILD_SampleLayers",
            model=model,
            layers=layers,
            seed=0,
            steps=2,
            denoise=1.0,
            cfg=1.0,
            sampler_name="euler",
            scheduler="normal",
            which="all",
            ground="plate",
        )
    result, changed = run_node("MILD_Recompose", layers=layers)
    assert result.shape == image.shape and changed.shape == image.shape[:3]
    seen = {
        "none": torch.zeros(SIZE),
        "1": LEFT * (1 - RIGHT),
        "2": RIGHT * (1 - LEFT),
        "all": torch.maximum(LEFT, RIGHT),
    }
    reach = torch.nn.functional.max_pool2d(seen[who][None], 33, 1, 16)[0] > 0
    assert torch.equal(result[0][~reach], image[0][~reach])
    assert changed[0][seen[who] > 0].float().mean() > 0.9 if who != "none" else not changed.any()
    stays = {"none": torch.maximum(LEFT, RIGHT), "1": RIGHT, "2": LEFT, "all": torch.zeros(SIZE)}[who]
    touched = torch.nn.functional.max_pool2d(seen[who][None], 3, 1, 1)[0] > 0
    untouched = (stays > 0) & ~touched
    assert torch.equal(result[0][untouched], image[0][untouched])


def test_protect_and_also_erase(people_of, split):
    people = people_of(LEFT[None])
    protect, extra = figure(0, 0, 131, 40)[None], figure(90, 50, 110, 90)[None]
    layers, _ = split(photos(), people, protect=protect, also_erase=extra)
    for layer in layers[0].layers:
        x0, y0, x1, y1 = layer.box
        assert not layer.hole[protect[0, y0:y1, x0:x1] > 0].any()
        assert (layer.hole[extra[0, y0:y1, x0:x1] > 0] == 1).all()
    everything, _ = split(photos(), people, protect=torch.ones(1, 5, 5))
    assert everything[0].layers == ()


@pytest.mark.parametrize(
    "image, changes, words",
    [
        (torch.full((1, 9, 9, 3), float("nan")), {}, "image: .*NaN"),
        (torch.zeros(1, 9, 9, 2), {}, "image: .*1, 3 or 4 channels"),
        (photos(), {"protect": torch.full((1, 9, 9), float("inf"))}, "protect: .*NaN"),
        (photos(2), {"also_erase": torch.zeros(3, 9, 9)}, "also_erase: got 3 masks for 2 photos"),
    ],
)
def test_broken_inputs_are_named(people_of, split, image, changes, words):
    people = people_of(LEFT[None])
    with pytest.raises(ValueError, match=words):
        split(image, people, **changes)


def test_a_hole_over_the_whole_photo_says_what_to_do(people_of, split):
    with pytest.raises(ValueError, match="nothing is left to learn from"):
        split(photos(), people_of(torch.ones(1, *SIZE)))


def test_widgets_out_of_range_are_refused_by_comfyui(people_of, split):
    with pytest.raises(GraphInvalid):
        split(photos(), people_of(LEFT[None]), contact=3)


def test_inputs_are_left_alone(people_of, split, run_node):
    image = photos()
    people = people_of(TWO, "2")
    before = [person.mask.clone() for person in people]
    layers, _ = split(image, people, background="full plate")
    run_node("MILD_Recompose", layers=layers)
    assert torch.equal(image, photos())
    assert all(torch.equal(person.mask, mask) for person, mask in zip(people, before, strict=True))


def tinted(layers, shift):
    """Layers as if a model had painted their holes in the photo's colours, but off by `shift`."""
    done = []
    for scene in layers:
        own = []
        for layer in scene.layers:
            x0, y0, x1, y1 = layer.box
            right = scene.photo[y0:y1, x0:x1, :3] + shift
            pixels = torch.where((layer.hole > 0)[..., None], right, layer.pixels)
            own.append(layer._replace(pixels=pixels, sampled=True))
        done.append(scene._replace(layers=tuple(own)))
    return done


def test_seam_and_grain_are_the_artists_choice(people_of, split, run_node):
    image = 0.4 + 0.1 * photos(1, size=(200, 260))
    layers, _ = split(image, people_of(figure(90, 50, 160, 150, size=(200, 260))[None]))
    layers = tinted(layers, 0.1)
    off = {}
    for seam in ("none", "mean", "gradient"):
        result, changed = run_node("MILD_Recompose", layers=layers, seam=seam, grain=False)
        off[seam] = float((result - image)[changed > 0].mean())
    assert off["none"] > 0.06
    assert abs(off["mean"]) < 0.01 and abs(off["gradient"]) < 0.02
    as_new, _ = run_node("MILD_Recompose", layers=layers)
    by_name, _ = run_node("MILD_Recompose", layers=layers, seam="mean", grain=True)
    assert torch.equal(as_new, by_name), "a graph that says nothing gets what a new node has"
    flat = [
        scene._replace(
            layers=tuple(
                layer._replace(pixels=layer.pixels.masked_fill((layer.hole > 0)[..., None], 0.45))
                for layer in scene.layers
            )
        )
        for scene in layers
    ]
    smooth, changed = run_node("MILD_Recompose", layers=flat, grain=False)
    grainy, _ = run_node("MILD_Recompose", layers=flat, grain=True)
    again, _ = run_node("MILD_Recompose", layers=flat, grain=True)
    assert grainy[changed > 0].std() > 1.5 * smooth[changed > 0].std() and torch.equal(grainy, again)
    with pytest.raises(GraphInvalid):
        run_node("MILD_Recompose", layers=layers, seam="poisson")
