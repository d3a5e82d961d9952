"""Parsers around stand-ins for their packages: what they are shown, whose their answer is, missing packages, wrong
files; and the real weights, where somebody has them.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import mild
from mild.mild_core.body.assign_poses import assign_poses
from mild.mild_core.body.body_parts import PARTS
from mild.mild_core.body.parsers import bodypix, mediapipe_multiclass
from mild.mild_core.body.parsers.parsed import crop_around
from mild.mild_core.body.poses import NECK, NOSE, R_ANKLE, poses_in_frames, seen
from mild.mild_core.example_photo import load_example
from mild.mild_core.image import boxes
from mild.mild_core.people.from_masks import person_from_mask

RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def part(name):
    return PARTS.index(name)


def scene(size=(300, 200), box=(60, 40, 120, 250), channels=3):
    """A photo that is red above the middle of a person's box and blue below, green outside it; the mask misses the
    left quarter of the box.
    """
    x0, y0, x1, y1 = box
    photo = torch.zeros(*size, 3)
    photo[..., 1] = 1
    middle = (y0 + y1) // 2
    photo[y0:middle, x0:x1] = torch.tensor(RED)
    photo[middle:y1, x0:x1] = torch.tensor(BLUE)
    mask = torch.zeros(size)
    mask[y0:y1, x0 + (x1 - x0) // 4 : x1] = 1
    if channels == 1:
        photo = photo[..., :1]
    if channels == 4:
        photo = torch.cat([photo, torch.zeros(*size, 1)], -1)
    return photo, person_from_mask(mask)


def test_missing_packages_and_unreadable_files_are_one_sentence(monkeypatch, litert, onnxruntime):
    with pytest.raises(ValueError, match=r"^MediaPipe multiclass: a\.onnx cannot be read"):
        mediapipe_multiclass.parser(Path("a.onnx"))
    with pytest.raises(ValueError, match=r"^BodyPix: a\.tflite cannot be read"):
        bodypix.parser(Path("a.tflite"))
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    for module, package in ((mediapipe_multiclass, "ai-edge-litert"), (bodypix, "onnxruntime")):
        with pytest.raises(ValueError, match=f"pip install {package}`.*choose another parser") as raised:
            module.parser(Path("a"))
        assert str(raised.value).count(". ") == 0


class Interpreter:
    """Stands for ai_edge_litert's: red is a face, blue is clothes, anything else background; it is rather sure."""

    output = (1, 256, 256, 6)

    def __init__(self, path, num_threads):
        if not path.endswith(".tflite"):
            raise ValueError("not a valid buffer")

    def get_input_details(self):
        return [{"index": 0, "shape": np.array((1, 256, 256, 3))}]

    def get_output_details(self):
        return [{"index": 1, "shape": np.array(self.output)}]

    def allocate_tensors(self):
        pass

    def set_tensor(self, index, picture):
        assert picture.dtype == np.float32 and picture.shape == (1, 256, 256, 3)
        assert 0 <= picture.min() and picture.max() <= 1
        self.picture = picture[0]

    def invoke(self):
        self.scores = np.zeros((1, 256, 256, 6), np.float32)
        for label, channel in ((0, 1), (3, 0), (4, 2)):
            self.scores[0, ..., label] = 6 * self.picture[..., channel]

    def get_tensor(self, index):
        return self.scores


@pytest.fixture
def litert(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", SimpleNamespace(Interpreter=Interpreter))


def check_halves(parsed, person, upper, lower):
    """The upper half is one part, the lower half another, both surely; where the mask is empty nothing is."""
    high, wide = person.mask.shape
    assert parsed.box == person.box and parsed.parts.shape == parsed.sure.shape == (high, wide)
    assert parsed.parts.dtype == torch.uint8 and 0 <= parsed.sure.min() and parsed.sure.max() <= 1
    rim = max(2, high // 20)
    inside = slice(rim, wide - rim)
    assert (parsed.parts[rim : high // 2 - rim, inside] == part(upper)).all()
    assert (parsed.parts[high // 2 + rim : high - rim, inside] == part(lower)).all()
    assert (parsed.sure[rim : high // 2 - rim, inside] > 0.7).all()
    outside = person.mask == 0
    assert not parsed.parts[outside].any() and not parsed.sure[outside].any()


@pytest.mark.parametrize(
    ("size", "box", "channels"),
    [((300, 200), (60, 40, 120, 250), 3), ((601, 333), (0, 0, 333, 601), 4), ((97, 131), (70, 50, 131, 97), 3)],
)
def test_mediapipe_answers_in_the_photos_pixels(litert, size, box, channels):
    photo, person = scene(size, box, channels)
    parsed = mediapipe_multiclass.parser(Path("a.tflite"))(photo, person)
    check_halves(parsed, person, "face", "clothes")
    assert parsed.joints is None


def test_mediapipe_says_how_little_it_knows_where_it_sees_no_person(litert):
    photo, person = scene()
    photo[:] = torch.tensor(GREEN)
    parsed = mediapipe_multiclass.parser(Path("a.tflite"))(photo, person)
    assert parsed.sure.max() < 0.05


def test_mediapipe_refuses_other_models(litert, monkeypatch):
    monkeypatch.setattr(Interpreter, "output", (1, 256, 256, 1))
    with pytest.raises(ValueError, match="another kind of model"):
        mediapipe_multiclass.parser(Path("selfie.tflite"))


class Session:
    """Stands for onnxruntime's BodyPix: red is the left half of a face, blue the back of a left lower leg, and the
    nose is where green and red together (yellow) are strongest; a right ankle is seen everywhere, but faintly.
    """

    names = bodypix.OUTPUTS

    def __init__(self, path, options, providers):
        if not path.endswith(".onnx"):
            raise RuntimeError("no graph was found")

    def get_inputs(self):
        return [SimpleNamespace(name="input")]

    def get_outputs(self):
        return [SimpleNamespace(name=name) for name in self.names]

    def run(self, names, given):
        picture = given["input"]
        assert picture.dtype == np.float32 and picture.shape[0] == 1 and picture.shape[3] == 3
        assert picture.shape[1] % 16 == 1 and picture.shape[2] % 16 == 1
        assert -1 <= picture.min() and picture.max() <= 1
        self.seen = picture.shape
        cells = (picture[0, ::8, ::8] + 1) / 2
        red, green, blue = (cells[..., channel] for channel in range(3))
        answer = {
            "segments": 10 * np.maximum(red, blue)[..., None] - 5,
            "part_heatmaps": np.zeros((*red.shape, 24)),
            "heatmaps": np.full((*red.shape, 17), -9.0),
            "short_offsets": np.zeros((*red.shape, 34)),
        }
        answer["part_heatmaps"][..., 0] = 8 * red
        answer["part_heatmaps"][..., 19] = 8 * blue
        answer["heatmaps"][..., 0] = 12 * np.minimum(red, green) - 6
        answer["heatmaps"][..., 16] = -2
        answer["short_offsets"][..., 0], answer["short_offsets"][..., 17] = 3.0, -2.0
        return [answer[name][None].astype(np.float32) for name in names]


@pytest.fixture
def onnxruntime(monkeypatch):
    options = SimpleNamespace(add_session_config_entry=lambda key, value: None)
    fake = SimpleNamespace(SessionOptions=lambda: options, InferenceSession=Session)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)


@pytest.mark.parametrize(
    ("size", "box", "channels"),
    [((300, 200), (60, 40, 120, 250), 3), ((601, 333), (0, 0, 333, 601), 4), ((97, 131), (70, 50, 131, 97), 3)],
)
def test_bodypix_answers_in_the_photos_pixels(onnxruntime, size, box, channels):
    photo, person = scene(size, box, channels)
    check_halves(bodypix.parser(Path("a.onnx"))(photo, person), person, "face", "left lower leg")


@pytest.mark.parametrize("size", [(600, 400), (250, 900)])
def test_joints_of_bodypix_lie_where_heat_and_offset_say(onnxruntime, size):
    photo, mask = torch.zeros(*size, 3), torch.zeros(size)
    box = (size[1] // 4, size[0] // 8, size[1] * 3 // 4, size[0] * 7 // 8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    person = person_from_mask(mask)
    crop = crop_around(person)
    scale = max(boxes.width(crop), boxes.height(crop)) / bodypix.SIDE
    y, x = size[0] * 2 // 5, size[1] * 3 // 5
    reach = int(8 * scale)
    photo[y - reach : y + reach, x - reach : x + reach, :2] = 1
    joints = bodypix.parser(Path("a.onnx"))(photo, person).joints
    # y before x in the offsets; the brightest cells reach as far as the spot does
    assert (joints[NOSE, 0] - (x - 2 * scale)).abs() <= reach + 8 * scale
    assert (joints[NOSE, 1] - (y + 3 * scale)).abs() <= reach + 8 * scale
    assert joints.shape == (18, 3) and joints[NOSE, 2] > 0.9 and not seen(joints)[NECK]
    assert float(joints[R_ANKLE, 2]) == pytest.approx(float(torch.sigmoid(torch.tensor(-2.0))), rel=1e-3)


def test_a_joint_that_lies_on_somebody_else_is_left_out(onnxruntime):
    photo, mask = torch.zeros(400, 400, 3), torch.zeros(400, 400)
    photo[100:140, 280:320, :2] = 1  # beside the person, within the crop
    mask[50:350, 100:220] = 1
    person = person_from_mask(mask)
    assert crop_around(person)[2] > 320
    joints = bodypix.parser(Path("a.onnx"))(photo, person).joints
    assert not seen(joints)[NOSE]


def test_bodypix_refuses_other_models(onnxruntime, monkeypatch):
    monkeypatch.setattr(Session, "names", ("heatmaps", "segments"))
    with pytest.raises(ValueError, match="not the file it should be: choose a BodyPix"):
        bodypix.parser(Path("posenet.onnx"))


@pytest.mark.parametrize("module", [mediapipe_multiclass, bodypix])
@pytest.mark.parametrize(
    ("size", "box"), [((1, 1), (0, 0, 1, 1)), ((5, 900), (0, 0, 900, 5)), ((40, 30), (9, 9, 10, 11))]
)
def test_tiny_and_odd_people(litert, onnxruntime, module, size, box):
    mask = torch.zeros(size)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    person = person_from_mask(mask)
    for channels in (1, 3, 4):
        name = "a.tflite" if module is mediapipe_multiclass else "a.onnx"
        parsed = module.parser(Path(name))(torch.rand(*size, channels), person)
        assert parsed.parts.shape == person.mask.shape and parsed.sure.isfinite().all()
        assert parsed.joints is None or parsed.joints.isfinite().all()


# ---- the real weights, where somebody has them


ROOT = Path(mild.__file__).parent


def real(name):
    """A file of weights: fetched by a benchmark, or beside the repository."""
    for folder in (ROOT / "out" / "cache", ROOT.parent / "shared" / "models"):
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"{name} is not there")


def example():
    """The example photo [H, W, 3], its people and their true joints."""
    one = load_example()
    people = [person_from_mask(mask) for mask in one.masks]
    size = (int(one.photo.shape[1]), int(one.photo.shape[2]))
    (poses,) = poses_in_frames(one.poses, [size])
    matches, _ = assign_poses(people, poses)
    return one.photo[0], people, matches


def test_the_real_bodypix_on_the_example_photo():
    pytest.importorskip("onnxruntime")
    parse = bodypix.parser(real("bodypix_mobilenet050_stride8.onnx"))
    photo, people, matches = example()
    near = total = 0
    for person, match in zip(people, matches, strict=True):
        parsed = parse(photo, person)
        true = match.joints
        size = max(boxes.width(person.box), boxes.height(person.box))
        both = (true[:, 2] > 0.5) & (parsed.joints[:, 2] > 0.5)
        near += int(((parsed.joints - true)[both, :2].norm(dim=-1) < 0.1 * size).sum())
        total += int(both.sum())
        here = parsed.parts[(person.mask > 0.5) & (parsed.sure > 0.4)]
        assert len(here) > 0.4 * float((person.mask > 0.5).sum())
        assert {part("torso"), part("face")} <= set(here.tolist())
    assert total >= 16 and near > 0.7 * total


def test_the_real_mediapipe_on_the_example_photo():
    pytest.importorskip("ai_edge_litert")
    parse = mediapipe_multiclass.parser(real("selfie_multiclass_256x256.tflite"))
    photo, people, _ = example()
    nearest = max(people, key=lambda person: float(person.mask.sum()))
    parsed = parse(photo, nearest)
    known = parsed.parts[(nearest.mask > 0.5) & (parsed.sure > 0.4)]
    assert len(known) > 0.4 * float((nearest.mask > 0.5).sum())
    assert part("clothes") in known.tolist()
