"""Read Bodies through ComfyUI's own executor."""

import sys
from types import SimpleNamespace

import pytest
import torch

from mild.tests.helpers.in_process import GraphInvalid

# isort: split
import comfy.model_management
import folder_paths

from mild.mild_core.body.body_parts import PARTS, SETS
from mild.mild_core.body.parsers.parsed import Parsed
from mild.mild_core.body.poses import L_WRIST, seen
from mild.mild_core.comfy.find import parse_people, weight_files
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.tests.comfy.test_find_people import SIZE, frame, photos, weights
from mild.tests.unit.test_found import standing
from mild.tests.unit.test_parsers import real

__all__ = ["weights"]

Interrupted = comfy.model_management.InterruptProcessingException

READ = {"labels": "ATR", "parser": parse_people.CONNECTED, "invert_depth": False, "min_confidence": 0.3}
BODYPIX = {"parser": parse_people.BODYPIX, "parser.model": weight_files.ABSENT}
MEDIAPIPE = {"parser": parse_people.MEDIAPIPE, "parser.model": weight_files.ABSENT}

LEFT, RIGHT = (10, 5, 45, 95), (80, 8, 120, 92)
HAIR = SETS["ATR"].index(PARTS.index("hair"))
COAT = SETS["ATR"].index(PARTS.index("upper clothes"))


def person(box, photo=0, erased=False):
    mask = torch.zeros(SIZE)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    # No box: what fills its box counts as half known.
    mask[box[1], box[0]] = 0
    return person_from_mask(mask, photo)._replace(erased=erased)


def two(photo=0):
    return numbered([person(LEFT, photo), person(RIGHT, photo)])


def pose_in(box):
    return standing((box[0] + box[2]) / 2, box[1] + 3, box[3] - box[1] - 8)


@pytest.fixture
def read(run_node):
    def read(image, people, **inputs):
        return run_node("MILD_Morphology", image=image, people=people, **(READ | inputs))

    return read


@pytest.fixture
def text(comfy):
    """text(**inputs): what the node writes on itself."""

    def text(**inputs):
        graph = {"node": {"class_type": "MILD_Morphology", "inputs": dict(READ)}}
        for name, value in inputs.items():
            if isinstance(value, (str, int, float, bool)):
                graph["node"]["inputs"][name] = value
            else:
                graph[name] = {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
                graph["node"]["inputs"][name] = [name, 0]
        return comfy.run_graph(graph, wanted=["node"]).ui["node"]["text"][0]

    return text


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_nothing_connected_still_tells_places(read, text, channels):
    ((one,), preview) = read(photos(1, channels), two())
    assert [body.number for body in one.bodies] == [1, 2] and one.size == SIZE and one.photo == 0
    assert all(body.joints is None and body.parts is None for body in one.bodies)
    assert one.own.shape[0] == 2 and one.own.isfinite().all() and one.pairs.shape[:2] == (2, 2)
    assert preview.shape[0] == 1 and preview.shape[-1] == 3 and 0 <= preview.min() and preview.max() <= 1
    assert "nothing is known but their places" in text(image=photos(1, channels), people=two())


def test_nobody_at_all(read, text):
    ((one,), preview) = read(photos(), [])
    assert one.bodies == () and one.own.shape[0] == 0 and preview.shape[0] == 1
    assert "Nobody is here" in text(image=photos(), people=[])


def test_poses_alone_go_to_the_person_on_whom_they_lie(read, text):
    left, right, stranger = pose_in(LEFT), pose_in(RIGHT), standing(62, 30, 20)
    poses = [frame(right, stranger, left)]
    ((one,), _) = read(photos(), two(), poses=poses)
    for body, true in zip(one.bodies, (left, right), strict=True):
        both = seen(body.joints) & seen(true.joints)
        assert both.sum() > 12 and torch.allclose(body.joints[both, :2], true.joints[both, :2])
    assert len(one.nobody) == 1 and torch.allclose(one.nobody[0][:, :2], stranger.joints[:, :2])
    said = text(image=photos(), people=two(), poses=poses)
    assert "2 bodies: 2 with a pose, 0 with body parts" in said and "1 pose fits nobody and is left out" in said


def test_a_pose_of_somebody_else_an_empty_frame_and_wild_joints(read, text):
    wild = pose_in(LEFT)
    wild.joints[3:] = torch.tensor([-1e7, 3e8, 1.0])
    not_a_number = pose_in(LEFT)
    not_a_number.joints[:, 0] = float("nan")
    for poses in ([frame(standing(62, 30, 20))], [frame()], [frame(wild)], [frame(not_a_number)]):
        ((one,), preview) = read(photos(), two(), poses=poses)
        assert one.own.isfinite().all() and one.pairs.isfinite().all() and preview.isfinite().all()
        for body in one.bodies:
            if body.joints is not None:
                assert body.joints.isfinite().all()
                x, y = body.joints[seen(body.joints), :2].unbind(-1)
                assert bool(((x >= 0) & (x < SIZE[1]) & (y >= 0) & (y < SIZE[0])).all())
    ((one,), _) = read(photos(), two(), poses=[frame(standing(62, 30, 20))])
    assert all(body.joints is None for body in one.bodies)
    two_strangers = [frame(standing(62, 30, 20), standing(60, 5, 15))]
    assert "2 poses fit nobody and are left out" in text(image=photos(), people=two(), poses=two_strangers)


def test_joints_below_the_confidence_count_as_not_seen(read):
    pose = pose_in(LEFT)
    pose.joints[L_WRIST, 2] = 0.25
    found = [read(photos(), two(), poses=[frame(pose)], min_confidence=least)[0][0].bodies[0] for least in (0.2, 0.3)]
    assert [bool(seen(body.joints)[L_WRIST]) for body in found] == [True, False]


def label_map(size=SIZE):
    labels = torch.zeros(size)
    labels[: size[0] // 3] = HAIR
    labels[size[0] // 3 :] = COAT
    return labels / 255


@pytest.mark.parametrize("kind", ["mask", "image", "channel", "small"])
def test_parsing_alone(read, text, kind):
    labels = label_map((40, 50) if kind == "small" else SIZE)
    given = {
        "mask": labels[None],
        "image": labels[None, ..., None].repeat(1, 1, 1, 3),
        "channel": labels[None, ..., None],
    }
    parsing = given.get(kind, labels[None])
    ((one,), _) = read(photos(), two(), parsing=parsing)
    for body in one.bodies:
        assert body.joints is None and set(body.parts.unique().tolist()) <= {0, *(SETS["ATR"][i] for i in (HAIR, COAT))}
        x0, y0, x1, y1 = body.parts_box
        high, wide = body.parts.shape
        assert (wide, high) == (x1 - x0, y1 - y0)
        assert (
            PARTS[int(body.parts[3, wide // 2])] == "hair" and PARTS[int(body.parts[-3, wide // 2])] == "upper clothes"
        )
    assert "0 with a pose, 2 with body parts" in text(image=photos(), people=two(), parsing=parsing)


def test_another_set_of_labels_says_something_else(read):
    as_atr, as_lip = (
        read(photos(), two(), parsing=label_map()[None], labels=name)[0][0].bodies[0] for name in ("ATR", "LIP")
    )
    assert PARTS[int(as_atr.parts[-3, 10])] == "upper clothes" and int(as_lip.parts[-3, 10]) == COAT


def test_a_batch_of_photos_and_people_of_both(read, text):
    people = two(0) + [one._replace(erased=one.number == 1) for one in two(1)]
    poses = [frame(), frame(pose_in(LEFT))]
    (read_, preview) = read(photos(2), people, poses=poses, parsing=label_map()[None])
    assert [one.photo for one in read_] == [0, 1] and [len(one.bodies) for one in read_] == [2, 2]
    assert [body.joints is not None for one in read_ for body in one.bodies] == [False, False, True, False]
    assert [body.erased for body in read_[1].bodies] == [True, False] and preview.shape[0] == 2
    said = text(image=photos(2), people=people, poses=poses)
    assert "Photo 2: 2 bodies: 1 with a pose" in said


def test_depth_as_picture_or_mask_tells_who_is_in_front(read):
    people = numbered([person((20, 10, 70, 80)), person((60, 10, 110, 80))])
    near = torch.zeros(1, *SIZE)
    near[..., 70:] = 1
    fronts = []
    for depth, invert in ((near, False), (near[..., None].repeat(1, 1, 1, 3), False), (near, True)):
        ((one,), _) = read(photos(), people, depth=depth, invert_depth=invert)
        fronts.append(one.pairs[0, 1].tolist())
    assert fronts[0] == fronts[1] and fronts[0] != fronts[2]


def test_queued_twice_nothing_is_done_twice(comfy):
    give = {
        name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
        for name, value in (("image", photos()), ("people", two()), ("poses", [frame(pose_in(LEFT))]))
    }
    links = {name: [name, 0] for name in give}
    graph = give | {"node": {"class_type": "MILD_Morphology", "inputs": READ | links}}
    assert "node" in comfy.run_graph(graph, wanted=["node"]).executed
    assert comfy.run_graph(graph, wanted=["node"]).executed == []


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"poses": [frame()] * 3}, "^poses: "),
        ({"poses": 7.5}, "^poses: "),
        ({"parsing": torch.ones(1, *SIZE)}, "^parsing: this is a mask"),
        ({"parsing": torch.zeros(1, 3, 5, 7, 2)}, "^parsing: "),
        ({"parsing": torch.zeros(5, *SIZE)}, "^parsing: "),
        ({"depth": torch.zeros(3, *SIZE)}, "^depth: "),
        ({"image": torch.full((1, *SIZE, 3), float("nan"))}, "^image: "),
        ({"people": two(1)}, "^people: "),
    ],
)
def test_bad_input_names_its_socket(read, inputs, words):
    inputs = {"image": photos(), "people": two()} | inputs
    if isinstance(inputs.get("poses"), float):  # a number would be a widget's value
        inputs["poses"] = ["text"]
    with pytest.raises(ValueError, match=words):
        read(**inputs)


def test_a_missing_file_says_what_to_put_where(read):
    for parser, name in ((BODYPIX, "BodyPix"), (MEDIAPIPE, "MediaPipe multiclass")):
        with pytest.raises(ValueError, match=f"^{name}: put .*models/detection.*nothing is downloaded"):
            read(photos(), two(), **parser)


def test_a_file_of_another_machine_is_refused_by_comfyui(read):
    with pytest.raises(GraphInvalid, match="parser"):
        read(photos(), two(), **(BODYPIX | {"parser.model": "somebody/elses/bodypix.onnx"}))


def test_a_missing_package_is_said_through_the_node(read, weights, monkeypatch):
    weights("bodypix.onnx", "selfie_multiclass.tflite", "movenet.tflite")
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match="pip install onnxruntime.*choose another parser"):
        read(photos(), two(), **(BODYPIX | {"parser.model": "bodypix.onnx"}))
    with pytest.raises(ValueError, match="pip install ai-edge-litert.*choose another parser"):
        read(photos(), two(), **(MEDIAPIPE | {"parser.model": "selfie_multiclass.tflite"}))
    with pytest.raises(GraphInvalid):
        read(photos(), two(), **(MEDIAPIPE | {"parser.model": "movenet.tflite"}))


@pytest.fixture
def parser(monkeypatch, weights):
    """A parser in BodyPix's place: everything in a person's upper half is face, with high confidence, the rest torso,
    with low confidence; the joints stand in the person's box.
    """
    weights("bodypix.onnx")

    def make(path):
        def parse(photo, one):
            high, wide = one.mask.shape
            parts = torch.full((high, wide), PARTS.index("face"), dtype=torch.uint8)
            parts[high // 2 :] = PARTS.index("torso")
            sure = torch.full((high, wide), 0.9)
            sure[high // 2 :] = 0.25
            joints = pose_in(one.box).joints.clone()
            joints[L_WRIST, 2] = 0.1
            return Parsed(one.box, parts, sure, joints)

        return parse

    monkeypatch.setattr(parse_people, "bodypix", SimpleNamespace(parser=make))
    return BODYPIX | {"parser.model": "bodypix.onnx"}


def test_a_parser_gives_parts_and_a_pose_to_who_has_none(read, parser):
    ((one,), _) = read(photos(), two(), **parser)
    for body in one.bodies:
        assert PARTS[int(body.parts[5, 5])] == "face" and int(body.parts[-5, 5]) == 0
        assert seen(body.joints).sum() > 12 and not seen(body.joints)[L_WRIST]
    given = pose_in(LEFT)
    given.joints[:, 0] += 2
    given.joints[12:, 2] = 0  # the parser sees more of the person
    ((one,), _) = read(photos(), two(), poses=[frame(given)], **parser)
    both = seen(one.bodies[0].joints) & seen(given.joints)
    assert torch.allclose(one.bodies[0].joints[both, :2], given.joints[both, :2])
    assert one.bodies[1].joints is not None
    ((one,), _) = read(photos(), two(), min_confidence=0.0, **parser)
    assert PARTS[int(one.bodies[0].parts[-5, 5])] == "torso"


def test_what_is_connected_counts_before_what_a_parser_says(read, parser):
    labels = label_map()
    labels[:50] = 0
    ((one,), _) = read(photos(), two(), parsing=labels[None], **parser)
    parts = one.bodies[0].parts
    assert PARTS[int(parts[5, 5])] == "face" and PARTS[int(parts[-5, 5])] == "upper clothes"


def test_parsing_people_shows_progress_and_can_be_cancelled(comfy, parser):
    give = {
        name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
        for name, value in (("image", photos()), ("people", two()))
    }
    graph = give | {
        "node": {"class_type": "MILD_Morphology", "inputs": READ | parser | {name: [name, 0] for name in give}}
    }
    progress = comfy.run_graph(graph, wanted=["node"]).progress
    assert progress[-1].value == progress[-1].maximum == 2
    graph["node"]["inputs"]["min_confidence"] = 0.5
    with pytest.raises(Interrupted):
        comfy.run_graph(graph, wanted=["node"], interrupt_at=1)


def test_people_of_masks_of_another_size_than_the_photo(read, parser):
    large = photos(size=(2 * SIZE[0], 3 * SIZE[1]))
    ((one,), _) = read(large, two(), **parser)
    assert one.size == (2 * SIZE[0], 3 * SIZE[1])
    for body, box in zip(one.bodies, (LEFT, RIGHT), strict=True):
        assert body.box == body.parts_box == (3 * box[0], 2 * box[1], 3 * box[2], 2 * box[3])
        assert PARTS[int(body.parts[5, 20])] == "face" and body.parts.shape == body.mask.shape


@pytest.mark.parametrize(
    ("package", "kind", "name"),
    [
        ("onnxruntime", parse_people.BODYPIX, "bodypix_mobilenet050_stride8.onnx"),
        ("ai_edge_litert", parse_people.MEDIAPIPE, "selfie_multiclass_256x256.tflite"),
    ],
)
def test_the_real_parsers_on_the_example_photo(run_node, read, weights, package, kind, name):
    pytest.importorskip(package)
    folder_paths.add_model_folder_path("detection", str(real(name).parent))
    image, masks, *_ = run_node("MILD_ExamplePhoto")
    people = numbered([person_from_mask(mask) for mask in masks])
    ((one,), preview) = read(image, people, parser=kind, **{"parser.model": name})
    assert preview.isfinite().all() and len(one.bodies) == len(people)
    assert sum(body.parts is not None and bool((body.parts > 0).any()) for body in one.bodies) >= 3
    with_pose = [body.joints is not None for body in one.bodies]
    assert all(with_pose) if kind == parse_people.BODYPIX else not any(with_pose)


def test_an_unknown_parser_is_named(read):
    """Of a workflow made with another version, or an API client's: ComfyUI hands on nothing then."""
    with pytest.raises(ValueError, match="parser: this version of the pack does not know what was chosen.*BodyPix"):
        read(photos(), two(), parser="of another version")
