"""Find People through ComfyUI's own executor."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import mild
from mild.tests.helpers.in_process import GraphInvalid

# isort: split
import comfy.model_management
import folder_paths

from mild.mild_core.body.poses import seen
from mild.mild_core.comfy.find import find_people, weight_files
from mild.mild_core.comfy.find import openpose as find_openpose
from mild.mild_core.comfy.find import sam2 as find_sam2
from mild.mild_core.find import weight_sources
from mild.tests.helpers.bodies import pose_frame
from mild.tests.unit.test_found import standing

SIZE = (97, 131)
FIND = {
    "detector": find_people.CONNECTED,
    "masks": find_people.AS_FOUND,
    "labels": "person",
    "max_people": 100,
    "min_size": 0.0,
    "overlap": 0.8,
}
MOVENET = {
    "detector": find_people.MOVENET,
    "detector.model": weight_files.ABSENT,
    "detector.threshold": 0.1,
    "detector.closer": 2,
}


def photos(count=1, channels=3, size=SIZE):
    return torch.rand(count, *size, channels, generator=torch.Generator().manual_seed(0))


def box(x, y, width, height, **more):
    """As RTDETR_detect gives it; SAM3_Detect leaves the label away."""
    return {"x": float(x), "y": float(y), "width": float(width), "height": float(height), **more}


def frame(*people, size=SIZE):
    """As SDPoseKeypointExtractor gives it."""
    made = pose_frame(*(one.joints for one in people), size=size)
    for one in made["people"]:
        one["face_keypoints_2d"] = [0.0] * 210
    return made


@pytest.fixture
def find(run_node):
    def find(image, **inputs):
        return run_node("MILD_FindPeople", image=image, **(FIND | inputs))

    return find


def summary(people):
    return [(person.photo, person.number, person.box) for person in people]


def test_boxes_of_rt_detr(find):
    detections = [
        [box(70, 10, 30, 60, label="person", score=0.9), box(5, 20, 20, 50, label="person", score=0.8)],
        [box(3, 4, 50, 60, label="dog", score=0.99), box(-20, 50, 40, 90, label="person", score=0.7)],
        [],
    ]
    people, preview, boxes = find(photos(3), boxes=detections)
    assert summary(people) == [(0, 1, (5, 20, 25, 70)), (0, 2, (70, 10, 100, 70)), (1, 1, (0, 50, 20, 97))]
    assert all(person.mask.all() and person.joints is None for person in people)
    assert preview.shape == (3, *SIZE, 3)
    assert [len(one) for one in boxes] == [2, 1, 0] and boxes[0][0] == detections[0][0]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_poses_of_sdpose(find, channels):
    people, _, boxes = find(photos(1, channels), poses=[frame(standing(90, 5, 85), standing(30, 5, 80))])
    assert [person.number for person in people] == [1, 2] and people[0].box[0] < people[1].box[0]
    for person, one in zip(people, (standing(30, 5, 80), standing(90, 5, 85)), strict=True):
        assert torch.allclose(person.joints, one.joints)
        assert 0.1 < person.mask.mean() < 0.9 and person.size == SIZE
    assert len(boxes[0]) == 2


def test_frames_with_nobody_and_missing_joints(find):
    half = standing(60, 5, 85)
    half.joints[8:14] = 0
    nobody = torch.zeros(18, 3)
    without_joints = {"people": [{}], "canvas_width": 1, "canvas_height": 1}
    frames = [frame(), frame(half, half._replace(joints=nobody)), without_joints]
    people, _, _ = find(photos(3), poses=frames)
    assert [(person.photo, int(seen(person.joints).sum())) for person in people] == [(1, 12)]
    assert people[0].mask[60:].sum() == 0  # no legs: they were not seen


def test_a_pose_of_another_canvas_size(find):
    small, large = standing(60, 5, 85), standing(120, 10, 170)
    one, _, _ = find(photos(), poses=[frame(small)])
    other, _, _ = find(photos(), poses=[frame(large, size=(194, 262))])
    assert torch.allclose(one[0].joints, other[0].joints) and one[0].box == other[0].box


def test_boxes_and_poses_of_the_same_people(find):
    one = standing(40, 5, 80)
    x0, y0, x1, y1 = one.box
    boxes = [[box(x0, y0, x1 - x0, y1 - y0), box(100, 20, 20, 50)]]
    people, _, _ = find(photos(), boxes=boxes, poses=[frame(one)])
    assert [person.joints is None for person in people] == [False, True]
    filled, _, _ = find(photos(), boxes=boxes, poses=[frame(one)], masks=find_people.BOXES)
    assert all(person.mask.all() for person in filled) and torch.equal(filled[0].joints, people[0].joints)
    assert not people[0].mask.all()


@pytest.mark.parametrize("empty", [[], [[]]])
def test_nobody_found_is_no_error(find, comfy, empty):
    people, preview, boxes = find(photos(), boxes=empty)
    assert people == [] and boxes == [[]] and preview.shape == (1, *SIZE, 3)
    people, _, _ = find(photos(), poses=[frame()])
    assert people == []


def test_what_is_left_out_is_said(comfy):
    outside, tiny, cat = box(-50, 0, 20, 20), box(60, 5, 2, 2), box(9, 9, 9, 9, label="cat")
    detections = [outside, box(10, 10, 30, 60), box(11, 10, 30, 60), tiny, cat]
    give = {
        name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
        for name, value in (("boxes", [detections]), ("image", photos()))
    }
    links = {"boxes": ["boxes", 0], "image": ["image", 0]}
    graph = give | {"find": {"class_type": "MILD_FindPeople", "inputs": {**FIND, "min_size": 0.1, **links}}}
    ran = comfy.run_graph(graph, wanted=["find"])
    text = ran.ui["find"]["text"][0]
    assert (
        "1 person" in text and "2 too small" in text and "1 box not labelled person" in text and "the whole box" in text
    )
    assert len(ran.outputs["find"][0]) == 1 and len(ran.ui["find"]["images"]) == 1
    assert comfy.run_graph(graph, wanted=["find"]).executed == []  # queued again, nothing is done twice


def test_a_hundred_people_and_people_of_two_pixels(find):
    crowd = [[box(10 * (i % 13), 8 * (i // 13), 8, 7) for i in range(100)]]
    people, _, _ = find(photos(), boxes=crowd)
    assert [person.number for person in people] == list(range(1, 101))
    assert len(find(photos(), boxes=crowd, max_people=7)[0]) == 7
    people, _, _ = find(photos(), boxes=[[box(10.5, 10.5, 2, 1)]], poses=[frame(standing(60, 60, 2))])
    assert len(people) == 2 and all(person.mask.sum() > 0.5 for person in people)


def test_only_who_is_missing_is_added(find):
    first, _, _ = find(photos(2), boxes=[[box(10, 10, 30, 60)], []])
    more, _, boxes = find(
        photos(2), boxes=[[box(11, 11, 30, 60), box(70, 5, 20, 50)], [box(1, 1, 50, 50)]], people=first
    )
    assert summary(more) == [(0, 1, (10, 10, 40, 70)), (0, 2, (70, 5, 90, 55)), (1, 2, (1, 1, 51, 51))]
    assert more[0] is first[0] and [len(one) for one in boxes] == [1, 1]


def test_nothing_connected_says_what_to_connect(find):
    with pytest.raises(ValueError, match="^detector: .*connect boxes"):
        find(photos())


@pytest.mark.parametrize(
    "inputs",
    [
        {"boxes": "text"},
        {"boxes": [[box(1, 2, 3, 4)]] * 3},
        {"poses": [frame()] * 3},
        {"poses": 7},
        {"boxes": [[]], "image": torch.full((1, 8, 8, 3), float("nan"))},
    ],
)
def test_bad_input_names_its_socket(find, inputs):
    if isinstance(inputs.get("boxes"), str):  # text would be a widget's value
        inputs = {"boxes": [["text"]]}
    socket = "image" if "image" in inputs else next(iter(inputs))
    with pytest.raises(ValueError, match=f"^{socket}: "):
        find(**({"image": photos()} | inputs))


def test_a_missing_file_says_what_to_put_where(find):
    absent = weight_files.ABSENT
    openpose = {"detector": find_people.OPENPOSE, "detector.model": absent, "detector.threshold": 0.3}
    onnx = {"masks": find_people.SAM2_ONNX, "masks.encoder": absent, "masks.decoder": absent, "masks.prompts": "box"}
    package = {"masks": find_sam2.FINDER, "masks.model": absent, "masks.prompts": "box"}
    for inputs in (MOVENET, MOVENET | {"detector": find_people.MEDIAPIPE}, openpose, onnx, package):
        with pytest.raises(ValueError, match="models/detection.*nothing is downloaded"):
            find(photos(), boxes=[[box(1, 2, 30, 40)]], **inputs)


def test_a_file_of_another_machine_is_refused_by_comfyui(find):
    with pytest.raises(GraphInvalid, match="detector"):
        find(photos(), **(MOVENET | {"detector.model": "somebody/elses.tflite"}))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """weights(*names): files without weights in a folder of the artist's; at the end all folders are as before."""
    for key in ("detection", weight_files.KEY):
        paths, extensions = folder_paths.folder_names_and_paths.get(key, ([], set()))
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, (list(paths), extensions))
    folder_paths.add_model_folder_path("detection", str(tmp_path))

    def weights(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"no weights")
        return tmp_path

    return weights


def test_folders_are_merged_and_nobody_elses_lists_grow(weights, tmp_path):
    others = {key: (list(paths), list(known)) for key, (paths, known) in folder_paths.folder_names_and_paths.items()}
    weights("a.tflite", "sub/b.onnx", "c.txt", "d.safetensors")
    mine = tmp_path / "of the artist"
    folder_paths.add_model_folder_path(weight_files.KEY, str(mine))
    weight_files.register()
    paths, _ = folder_paths.folder_names_and_paths[weight_files.KEY]
    assert str(mine) in paths and str(tmp_path) in paths and len(paths) == len(set(paths))
    movenet = weight_sources.MOVENET
    assert weight_files.present(movenet) == ["a.tflite"]
    only_b = movenet._replace(fits=lambda name: name == "b.onnx")
    assert [name.replace("\\", "/") for name in weight_files.present(only_b)] == ["sub/b.onnx"]
    assert weight_files.present(movenet._replace(fits=lambda name: name.endswith(".txt"))) == []
    assert weight_files.Weights(False).path_of("a.tflite", "x", movenet) == tmp_path / "a.tflite"
    for key, (paths, known) in others.items():
        if key != weight_files.KEY:
            now = folder_paths.folder_names_and_paths[key]
            assert (list(now[0]), list(now[1])) == (paths, known)
    assert folder_paths.get_filename_list("detection") == ["d.safetensors"]


@pytest.mark.parametrize("name", ["../secret.tflite", "/etc/passwd", "..\\secret.tflite", "not there.tflite"])
def test_a_path_never_leaves_its_folder(weights, name):
    (weights("a.tflite").parent / "secret.tflite").write_bytes(b"secret")
    with pytest.raises(ValueError, match="models/detection"):
        weight_files.Weights(False).path_of(name, "x", weight_sources.MOVENET)


def test_a_missing_package_is_said_through_the_node(find, weights, monkeypatch):
    weights("a.tflite", "sam2_hiera_tiny.pt")
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter", "sam2", "sam2.build_sam"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match="pip install ai-edge-litert"):
        find(photos(), **(MOVENET | {"detector.model": "a.tflite"}))
    sam2 = {"masks": find_sam2.FINDER, "masks.model": "sam2_hiera_tiny.pt", "masks.prompts": "box"}
    with pytest.raises(ValueError, match="pip install sam2"):
        find(photos(), boxes=[[box(1, 2, 30, 40)]], **sam2)


@pytest.fixture
def movenet(monkeypatch, weights):
    """A detector in MoveNet's place: it sees the box around what is white."""
    weights("a.tflite")

    def finder(path, threshold):
        def look(photo):
            y, x = (photo[..., 0] > 0.99).nonzero(as_tuple=True)
            if not len(x):
                return []
            height = float(y.max() - y.min()) + 1
            return [standing((float(x.min()) + float(x.max())) / 2, float(y.min()), height)]

        return look

    monkeypatch.setattr(find_people.movenet, "finder", finder)
    return MOVENET | {"detector.model": "a.tflite"}


def white(*place):
    photo = torch.full((1, *SIZE, 3), 0.4)
    photo[0, place[1] : place[3], place[0] : place[2]] = 1
    return photo


def test_a_detector_adds_to_what_is_connected(find, movenet):
    image = torch.cat([white(20, 10, 50, 90), torch.full((1, *SIZE, 3), 0.4)])
    people, _, _ = find(image, **movenet)
    assert [person.photo for person in people] == [0] and people[0].joints is not None
    people, _, _ = find(image, boxes=[[box(15, 5, 40, 90)], [box(3, 3, 20, 20)]], **movenet)
    assert [(person.photo, person.joints is None) for person in people] == [(0, False), (1, True)]


def test_finding_shows_progress_and_can_be_cancelled(comfy, movenet):
    image = {"class_type": "TEST_Give", "inputs": {"key": comfy.give(white(20, 10, 50, 90).repeat(2, 1, 1, 1))}}
    graph = {
        "image": image,
        "find": {"class_type": "MILD_FindPeople", "inputs": FIND | movenet | {"image": ["image", 0]}},
    }
    progress = comfy.run_graph(graph, wanted=["find"]).progress
    assert progress[-1].value == progress[-1].maximum == 2 * 5
    graph["find"]["inputs"]["overlap"] = 0.7
    with pytest.raises(comfy_interrupt()):
        comfy.run_graph(graph, wanted=["find"], interrupt_at=1)


def comfy_interrupt():
    return comfy.model_management.InterruptProcessingException


def test_openpose_of_controlnet_aux(monkeypatch, tmp_path):
    """Around a stand-in for the package's Body, which gives joints in pixels of the smaller picture it was shown."""
    one = standing(600, 100, 900).joints

    class Body:
        def __init__(self, path):
            self.model = torch.nn.Linear(1, 1)

        def __call__(self, picture):
            assert picture.dtype == np.uint8 and picture.shape[2] == 3 and max(picture.shape) <= 1024
            scale = picture.shape[1] / 1500
            rows = [[float(x) * scale - 0.5, float(y) * scale - 0.5, 0.8, i] for i, (x, y, _) in enumerate(one)]
            subset = np.full((2, 20), -1.0)
            subset[0, :18] = np.arange(18)
            subset[0, 7] = -1
            return np.array(rows), subset

    for name in ("controlnet_aux", "controlnet_aux.open_pose"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    monkeypatch.setitem(sys.modules, "controlnet_aux.open_pose.body", SimpleNamespace(Body=Body))
    found = find_openpose.openpose(tmp_path / "body_pose_model.pth", 0.3)(torch.rand(1200, 1500, 3))
    assert len(found) == 1
    known = [joint for joint in range(18) if joint != 7]
    assert torch.allclose(found[0].joints[known, :2], one[known, :2], atol=0.5) and not seen(found[0].joints)[7]
    assert find_openpose.openpose(tmp_path / "body_pose_model.pth", 0.9)(torch.rand(1200, 1500, 3)) == []


def test_dwpose_asks_for_what_it_needs(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mmcv", None)
    with pytest.raises(ValueError, match="pip install mmcv"):
        find_openpose.dwpose(tmp_path / "yolox_l.pth", tmp_path / "dw.pth", 0.3)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("sam2_hiera_tiny.pt", "configs/sam2/sam2_hiera_t.yaml"),
        ("sam2.1_hiera_base_plus.pt", "configs/sam2.1/sam2.1_hiera_b+.yaml"),
        ("SAM2_1_Hiera_Large-fp16.safetensors", "configs/sam2.1/sam2.1_hiera_l.yaml"),
    ],
)
def test_the_name_of_a_checkpoint_tells_its_configuration(tmp_path, name, config):
    assert find_sam2.config_of(tmp_path / name) == config
    with pytest.raises(ValueError, match="tiny, small, base or large"):
        find_sam2.config_of(tmp_path / "sam2.pt")


# ---- the real packages, where somebody has them (the benchmark fetches their weights into out/cache)


def fetched(name):
    path = Path(mild.__file__).parent / "out" / "cache" / name
    if not path.is_file():
        pytest.skip(f"{name} is not fetched: benchmarks/quality/find_people.py does")
    return path


def on_the_example_photo(run_node, path, **inputs):
    """Whom the node finds in the example photo, and its true masks."""
    folder_paths.add_model_folder_path("detection", str(path.parent))
    image, masks, *_ = run_node("MILD_ExamplePhoto")
    people, _, _ = run_node("MILD_FindPeople", image=image, **(FIND | inputs))
    return people, masks


@pytest.mark.parametrize(
    ("package", "kind", "name", "threshold"),
    [
        ("ai_edge_litert", find_people.MOVENET, weight_sources.MOVENET.file.name, 0.1),
        ("mediapipe", find_people.MEDIAPIPE, weight_sources.MEDIAPIPE.file.name, 0.5),
    ],
)
def test_the_real_detectors_find_the_people_of_the_example_photo(run_node, weights, package, kind, name, threshold):
    pytest.importorskip(package)
    settings = {"detector.model": name, "detector.threshold": threshold, "detector.closer": 2}
    people, masks = on_the_example_photo(run_node, fetched(name), detector=kind, **settings)
    assert people
    for person in people:
        x0, y0, x1, y1 = person.box
        assert max(float(mask[y0:y1, x0:x1].sum() / mask.sum()) for mask in masks) > 0.3
        assert int(seen(person.joints).sum()) >= 3


def test_the_sam2_package_with_random_weights(run_node, weights):
    build = pytest.importorskip("sam2.build_sam")
    folder = weights()
    model = build.build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", None, device="cpu")
    torch.save({"model": model.state_dict()}, folder / "sam2.1_hiera_tiny.pt")
    sam2 = {"masks": find_sam2.FINDER, "masks.model": "sam2.1_hiera_tiny.pt", "masks.prompts": "box and joints"}
    one = standing(60, 5, 85)
    people, _, _ = run_node("MILD_FindPeople", image=photos(), poses=[frame(one)], **(FIND | sam2))
    assert len(people) == 1 and people[0].mask.shape == (
        people[0].box[3] - people[0].box[1],
        people[0].box[2] - people[0].box[0],
    )
    torch.save({"model": {"x": torch.zeros(1)}}, folder / "sam2.1_hiera_small.pt")
    with pytest.raises(ValueError, match="does not fit SAM 2"):
        wrong = sam2 | {"masks.model": "sam2.1_hiera_small.pt"}
        run_node("MILD_FindPeople", image=photos(), poses=[frame(one)], **(FIND | wrong))


# ---- what ComfyUI's own nodes make and take


def test_frames_made_by_sdpose_itself(find):
    """133 joints (COCO-WholeBody) through the function that SDPose's node calls; the second photo shows nobody."""
    from comfy_extras.nodes_sdpose import _to_openpose_frames

    true = standing(60, 5, 85).joints
    points, scores = np.zeros((133, 2), np.float32), np.zeros(133, np.float32)
    coco = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
    points[:17], scores[:17] = true[list(coco), :2].numpy(), 0.9
    scores[9] = 0.0  # the left wrist was not found
    frames = _to_openpose_frames([[points], []], [[scores], []], *SIZE)
    people, _, _ = find(photos(2), poses=frames)
    assert [person.photo for person in people] == [0]
    known = [joint for joint in range(18) if joint != 7]
    assert torch.allclose(people[0].joints[known, :2], true[known, :2], atol=1e-3)
    assert seen(people[0].joints).tolist() == [joint != 7 for joint in range(18)]


def test_core_draws_our_boxes(find):
    from comfy_extras.nodes_rtdetr import DrawBBoxes

    image = torch.zeros(2, *SIZE, 3)
    _, _, boxes = find(image, boxes=[[box(70, 10, 30, 60, label="person", score=0.9)], []])
    drawn = DrawBBoxes.execute(boxes, image)[0]
    y, x = drawn[0].amax(-1).nonzero(as_tuple=True)
    assert abs(int(x.min()) - 70) <= 3 and abs(int(y.max()) - 70) <= 3 and drawn[1].sum() == 0


@pytest.mark.parametrize(("name", "known"), [("detector", "MoveNet"), ("masks", "boxes")])
def test_an_unknown_choice_is_named(find, name, known):
    """Of a workflow made with another version, or an API client's: ComfyUI hands on nothing then."""
    with pytest.raises(ValueError, match=f"{name}: this version of the pack does not know what was chosen.*{known}"):
        find(photos(), boxes=[[box(10, 10, 30, 60)]], **{name: "of another version"})
