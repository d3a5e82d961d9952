"""Bodies from what other nodes saw to painted layers: every prior alone, all together, and whatever goes wrong.

Read Bodies -> Split into Layers, Load Body Guidance -> Guide by Bodies -> Sample Layers, through ComfyUI's executor,
with a guidance file of random weights and a small random SD1.5.
"""

import itertools

import comfy.model_management
import pytest
import torch

from mild.mild_core.body.body_parts import PARTS, SETS
from mild.mild_core.comfy.find import parse_people
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.tests.helpers.bodies import pose_frame
from mild.tests.helpers.in_process import InProcess
from mild.tests.helpers.layers import SPLIT, WIDGETS, check, layers_of, picture
from mild.tests.helpers.tiny_controlnets import apply, make_controlnet
from mild.tests.helpers.tiny_guidance import save_random
from mild.tests.helpers.tiny_models import make
from mild.tests.unit.test_found import standing

pytestmark = pytest.mark.usefixtures("small_native_size")

SIZE = (97, 131)
KEPT, GOES, BESIDE = (18, 8, 58, 92), (42, 16, 86, 95), (98, 12, 126, 90)
ROUNDING = 2e-3
"""Of a picture in 0..1."""

READ = {"labels": "LIP", "parser": parse_people.CONNECTED, "invert_depth": False, "min_confidence": 0.3}
GUIDE = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "relations": 1.0}
SAMPLE = WIDGETS | {"steps": 1, "cfg": 3.0, "ground": "neutral"}

PLACES = {"strength": 1.0, "relations": 0.0}
"""Guide by Bodies with maps alone."""

TOKENS = {"strength": 0.0, "relations": 1.0}
"""With relations in the text alone."""


def people_of(size=SIZE, boxes=(KEPT, GOES, BESIDE), photo=0):
    """Ovals; the second one goes, and hides a part of the first."""
    y, x = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    masks = []
    for x0, y0, x1, y1 in boxes:
        away = ((x - (x0 + x1) / 2) / ((x1 - x0) / 2)) ** 2 + ((y - (y0 + y1) / 2) / ((y1 - y0) / 2)) ** 2
        masks.append((away < 1).float())
    masks[0] = masks[0] * (1 - masks[1])
    people = [person_from_mask(mask, photo) for mask in masks]
    return numbered([person._replace(erased=place == 1) for place, person in enumerate(people)])


def pose(box, score=0.9):
    """[18, 3]: somebody who stands in the box."""
    return standing((box[0] + box[2]) / 2, box[1] + 3, box[3] - box[1] - 8, score).joints


def frame(*poses, size=SIZE):
    """As pose nodes give a photo's (POSE_KEYPOINT)."""
    return pose_frame(*poses, size=size)


def parsing_of(size=SIZE, boxes=(KEPT, GOES, BESIDE)):
    """A label map (LIP) as MASK [1, h, w]: hair, coat and trousers from top to bottom."""
    labels = torch.zeros(1, *size)
    for x0, y0, x1, y1 in boxes:
        for share, name in ((0.0, "hair"), (0.2, "upper clothes"), (0.55, "trousers")):
            number = SETS["LIP"].index(PARTS.index(name))
            labels[0, y0 + round(share * (y1 - y0)) : y1, x0:x1] = number / 255
    return labels


@pytest.fixture(scope="module")
def tiny():
    return make("sd15")


@pytest.fixture
def guidance(mild_folder, tiny):
    """guidance(...): the name of a file in models/mild; zero: as it is before training."""
    return lambda **changes: save_random(mild_folder, tiny, **changes).name


@pytest.fixture
def paint(comfy, tiny, guidance):
    """paint(...): the scenes that Sample Layers returns; vanilla: without Guide by Bodies.

    image, people, and what goes into Read Bodies (poses, parsing, depth); split: its morphology also goes to Split into
    Layers; edit: what becomes of the morphology before it goes on; settings of Guide by Bodies.
    """

    def run(
        image=None, people=None, vanilla=False, split=False, edit=None, file=None, control=None, runner=comfy,
        sampler=None, **settings,
    ):  # fmt: skip
        seen = {name: settings.pop(name) for name in ("poses", "parsing", "depth") if name in settings}
        image = picture(*SIZE)[None] if image is None else image
        people = people_of() if people is None else people
        positive, negative = tiny.positive, tiny.negative
        if control is not None:
            positive, negative = apply(runner.run_node, tiny, control, image, strength=0.7)
        given = {
            "image": image, "people": people, "positive": positive, "negative": negative, "model": tiny.model,
            "vae": tiny.vae, **seen,
        }  # fmt: skip
        graph = {
            name: {"class_type": "TEST_Give", "inputs": {"key": runner.give(value)}} for name, value in given.items()
        }
        link = {name: [name, 0] for name in given}
        photo = {"image": link["image"], "people": link["people"]}
        graph["read"] = {
            "class_type": "MILD_Morphology",
            "inputs": {**READ, **photo, **{key: link[key] for key in seen}},
        }
        morphology = ["read", 0]
        if edit is not None:
            (bodies,) = [runner.run_graph(graph, wanted=["read"]).outputs["read"][0]]
            graph["edited"] = {
                "class_type": "TEST_Give",
                "inputs": {"key": runner.give([edit(of_photo) for of_photo in bodies])},
            }
            morphology = ["edited", 0]
        graph["split"] = {"class_type": "MILD_Decompose", "inputs": {**SPLIT, "grow": 0.01, "feather": 2.0, **photo}}
        if split:
            graph["split"]["inputs"]["morphology"] = morphology
        prompts = {"positive": link["positive"], "negative": link["negative"]}
        if not vanilla:
            graph["load"] = {"class_type": "MILD_LoadMorphologyGuidance", "inputs": {"file": file or guidance()}}
            graph["guide"] = {
                "class_type": "MILD_ApplyMorphology",
                "inputs": {**GUIDE, **settings, **prompts, "guidance": ["load", 0], "morphology": morphology},
            }
            prompts = {"positive": ["guide", 0], "negative": ["guide", 1]}
        graph["sample"] = {
            "class_type": "MILD_SampleLayers",
            "inputs": {
                **SAMPLE, **(sampler or {}), **prompts, "model": link["model"], "vae": link["vae"],
                "layers": ["split", 0],
            },
        }  # fmt: skip
        ran = runner.run_graph(graph, wanted=["sample"])
        before, after = ran.outputs["split"][0], ran.outputs["sample"][0]
        check(before, after)
        return after

    return run


def equal(one, other, tolerance=0.0):
    """Whether all layers of both have the same pixels."""
    ones, others = layers_of(one), layers_of(other)
    assert ones.keys() == others.keys() and len(ones) > 1
    return all(torch.allclose(ones[key].pixels, others[key].pixels, rtol=0, atol=tolerance) for key in ones)


def all_differ(one, other, least=ROUNDING):
    """Whether every layer of the one is another picture."""
    others = layers_of(other)
    return all(float((layer.pixels - others[key].pixels).abs().max()) > least for key, layer in layers_of(one).items())


POSES = [frame(pose(KEPT), pose(GOES), pose(BESIDE))]


def test_each_prior_alone_and_all_together_change_the_picture(paint):
    vanilla = paint(vanilla=True)
    nearer = torch.linspace(0, 1, SIZE[1]).expand(1, *SIZE)[..., None].expand(1, *SIZE, 3)
    found = {
        "vanilla": vanilla,
        "places": paint(**PLACES),
        "pose": paint(**PLACES, poses=POSES),
        "parsing": paint(**PLACES, parsing=parsing_of()),
        "relations": paint(**TOKENS),
        "pose in tokens": paint(**TOKENS, poses=POSES),
        "everything": paint(poses=POSES, parsing=parsing_of(), depth=nearer),
    }
    assert all(all_differ(one, vanilla) for name, one in found.items() if name != "vanilla")
    pixels = {name: layers_of(scenes)["1/person-1"].pixels for name, scenes in found.items()}  # no background: no body
    for name, other in itertools.combinations(pixels, 2):
        assert not torch.allclose(pixels[name], pixels[other], atol=ROUNDING), (name, other)


def test_another_order_changes_the_text(paint):
    """Who is in front, from a depth picture, where outlines leave it open."""
    boxes = ((18, 8, 56, 92), (60, 8, 96, 92), (98, 12, 126, 90))
    people = people_of(boxes=boxes)
    left = torch.linspace(1, 0, SIZE[1]).expand(1, *SIZE)[..., None].expand(1, *SIZE, 3)
    for way in (PLACES, TOKENS):
        assert not equal(paint(people=people, depth=left, **way), paint(people=people, depth=1 - left, **way), ROUNDING)


def test_before_training_it_is_vanilla_to_the_bit(paint, guidance):
    everything = {"poses": POSES, "parsing": parsing_of()}
    assert equal(paint(**everything, file=guidance(zero=True)), paint(vanilla=True))


def unsure(morphology):
    """The same with no confidence in anything."""
    bodies = []
    for body in morphology.bodies:
        joints = None if body.joints is None else body.joints * torch.tensor([1.0, 1.0, 0.0])
        parts_sure = None if body.parts_sure is None else torch.zeros_like(body.parts_sure)
        bodies.append(body._replace(sure=0.0, joints=joints, parts_sure=parts_sure))
    return morphology._replace(bodies=tuple(bodies))


def test_no_confidence_is_vanilla_to_the_bit(paint):
    everything = {"poses": POSES, "parsing": parsing_of()}
    assert equal(paint(**everything, edit=unsure), paint(vanilla=True))
    assert equal(paint(strength=0.0, relations=0.0, **everything), paint(vanilla=True))


@pytest.mark.parametrize("way", [PLACES, TOKENS], ids=["maps", "tokens"])
def test_what_estimators_get_wrong_is_as_if_they_had_said_nothing(paint, way):
    """A pose of somebody else, an empty frame, joints nobody can have: nothing is raised, and nothing comes of it."""
    nothing = paint(**way)
    stranger = pose((60, 2, 70, 14))
    wild = pose(KEPT)
    wild[:, :2] = torch.tensor([-1e7, 3e8])
    no_number = pose(KEPT)
    no_number[:, 0] = float("nan")
    for poses in ([frame(stranger)], [frame()], [frame(wild)], [frame(no_number)]):
        assert equal(paint(poses=poses, **way), nothing)


@pytest.mark.parametrize("way", [PLACES, TOKENS], ids=["maps", "tokens"])
def test_one_joint_that_leaves_the_photo_fades_out(paint, way):
    """The nearer it is to where nobody can be, the less it matters; beyond, it is not there."""

    def without(morphology):
        joints = morphology.bodies[0].joints.clone()
        joints[4, 2] = 0
        first = morphology.bodies[0]._replace(joints=joints)
        return morphology._replace(bodies=(first, *morphology.bodies[1:]))

    def at(x):
        def moved(morphology):
            joints = morphology.bodies[0].joints.clone()
            joints[4] = torch.tensor([x, 40.0, 0.9])
            first = morphology.bodies[0]._replace(joints=joints)
            return morphology._replace(bodies=(first, *morphology.bodies[1:]))

        return paint(poses=POSES, edit=moved, **way)

    gone = paint(poses=POSES, edit=without, **way)
    assert not equal(at(20.0), gone, ROUNDING)
    for x in (1e7, float("nan")):
        assert equal(at(x), gone, ROUNDING)


def test_queued_twice_and_in_a_fresh_comfyui_it_is_the_same(paint):
    everything = {"poses": POSES, "parsing": parsing_of(), "split": True}
    first = paint(**everything)
    comfy.model_management.unload_all_models()
    with InProcess() as other:
        assert equal(paint(**everything, runner=other), first)
        assert equal(paint(**everything, runner=other, sampler={"seed": 9}), first) is False
        assert equal(paint(**everything, runner=other, sampler={"seed": 3}), first)


def test_a_batch_of_two_photos_is_each_by_itself(paint):
    images = torch.stack([picture(*SIZE), picture(*SIZE, seed=5)])
    boxes = ((10, 10, 50, 90), (36, 14, 80, 94), (92, 12, 126, 90))
    people = [people_of(), people_of(boxes=boxes)]
    poses = [POSES[0], frame(*(pose(box) for box in boxes))]
    parsing = torch.cat([parsing_of(), parsing_of(boxes=boxes)])
    everyone = people[0] + people_of(boxes=boxes, photo=1)
    together = layers_of(paint(images, everyone, poses=poses, parsing=parsing, split=True))
    # Noise belongs to (seed, layer id), and the photo's number is part of the id: the first photo alone has the same.
    alone = layers_of(paint(images[:1], people[0], poses=poses[:1], parsing=parsing[:1], split=True))
    for key, layer in alone.items():
        assert torch.allclose(layer.pixels, together[key].pixels, atol=ROUNDING)
    other = layers_of(paint(images, everyone, poses=[poses[0], frame()], parsing=parsing))
    same = layers_of(paint(images, everyone, poses=poses, parsing=parsing))
    for key, layer in other.items():
        assert torch.allclose(layer.pixels, same[key].pixels, atol=ROUNDING) == key.startswith("1/")


@pytest.mark.parametrize("size", [(61, 83), (128, 72), (90, 201)])
def test_odd_sizes(paint, size):
    scale = size[1] / SIZE[1], size[0] / SIZE[0]
    boxes = [tuple(round(value * scale[place % 2]) for place, value in enumerate(box)) for box in (KEPT, GOES, BESIDE)]
    given = {
        "image": picture(*size)[None], "people": people_of(size, boxes), "parsing": parsing_of(size, boxes),
        "poses": [frame(*(pose(box) for box in boxes), size=size)],
    }  # fmt: skip
    plain = paint(given["image"], given["people"], vanilla=True)
    assert all_differ(paint(**given), plain)
    layers = layers_of(paint(**given, split=True))  # poses may lead to further layers
    assert layers.keys() >= layers_of(plain).keys()


def test_with_another_controlnet(paint, tiny):
    """Both count, whichever was put on first; and the other one alone is what it was."""
    control = make_controlnet("controlnet", tiny)
    everything = {"poses": POSES, "parsing": parsing_of()}
    alone, both = paint(vanilla=True, control=control), paint(**everything, control=control)
    assert all_differ(alone, both) and all_differ(both, paint(**everything)) and all_differ(alone, paint(vanilla=True))
    assert equal(paint(**everything, control=control, edit=unsure), alone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_files_of_every_precision(paint, guidance, dtype):
    everything = {"poses": POSES, "parsing": parsing_of()}
    stored = paint(**everything, file=guidance(dtype=dtype))
    assert all_differ(stored, paint(vanilla=True))
