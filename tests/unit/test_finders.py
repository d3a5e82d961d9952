"""Finders around stand-ins for their packages: places in the photo, missing packages, wrong files."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mild.mild_core.body.poses import L_ANKLE, NOSE, seen
from mild.mild_core.find.finders import mediapipe_pose, movenet, sam2_onnx
from mild.mild_core.find.sam_prompts import JOINTS, prompts
from mild.mild_core.optional_packages import optional_module
from mild.tests.unit.test_found import standing


def absent(monkeypatch, *names):
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_a_missing_package_is_one_sentence(monkeypatch):
    absent(monkeypatch, "ai_edge_litert", "ai_edge_litert.interpreter", "mediapipe", "onnxruntime")
    for start, package in (
        (lambda: movenet.finder(Path("x.tflite"), 0.1), "ai-edge-litert"),
        (lambda: mediapipe_pose.finder(Path("x.task"), 0.1).__enter__(), "mediapipe"),
        (lambda: sam2_onnx.Sam2Onnx(Path("x.onnx"), Path("y.onnx")), "onnxruntime"),
    ):
        with pytest.raises(ValueError, match=f"pip install {package}`") as raised:
            start()
        assert str(raised.value).count(". ") == 0


def test_a_package_that_does_not_load_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_package_of_a_test.py").write_text("raise RuntimeError('no such chip')", encoding="utf-8")
    (tmp_path / "needy_package_of_a_test.py").write_text("import not_there_at_all", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="no such chip"):
        optional_module("broken_package_of_a_test", "broken", "Finder")
    with pytest.raises(ValueError, match="misses another one, 'not_there_at_all'"):
        optional_module("needy_package_of_a_test", "needy", "Finder")


class Interpreter:
    """Stands for ai_edge_litert's: finds one person whose nose is the brightest pixel, and shows what it was given."""

    shapes: list = []
    output = (1, 6, 56)

    def __init__(self, path, num_threads):
        if not path.endswith(".tflite"):
            raise ValueError("not a valid buffer")

    def get_input_details(self):
        return [{"index": 0}]

    def get_output_details(self):
        return [{"index": 1, "shape": np.array(self.output)}]

    def resize_tensor_input(self, index, shape, strict):
        assert shape[0] == 1 and shape[3] == 3 and shape[1] % 32 == 0 and shape[2] % 32 == 0
        self.shapes.append(shape)

    def allocate_tensors(self):
        pass

    def set_tensor(self, index, picture):
        assert picture.dtype == np.uint8
        self.picture = picture[0, ..., 0]

    def invoke(self):
        height, width = self.picture.shape
        y, x = np.unravel_index(self.picture.argmax(), self.picture.shape)
        row = np.zeros((6, 56), np.float32)
        row[0, :3] = (y + 0.5) / height, (x + 0.5) / width, 0.9
        row[0, 48:51] = (y + 0.5) / height, (x + 0.5) / width, 0.05  # an ankle that is only guessed
        row[0, 51:] = 0.1, 0.2, 0.3, 0.4, 0.6
        row[1, 55] = 0.05
        self.rows = row[None]

    def get_tensor(self, index):
        return self.rows


@pytest.fixture
def litert(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", SimpleNamespace(Interpreter=Interpreter))


@pytest.mark.parametrize(("size", "channels"), [((240, 400), 3), ((701, 333), 1), ((40, 30), 4)])
def test_movenet_finds_the_place_in_the_photo(litert, size, channels):
    photo = torch.zeros(*size, channels)
    y, x = size[0] * 3 // 4, size[1] // 3
    photo[y - 3 : y + 4, x - 3 : x + 4] = 1
    (one,) = movenet.finder(Path("a.tflite"), 0.1)(photo)
    scale = max(size) / movenet.SIDE
    assert (one.joints[NOSE, :2] - torch.tensor([x + 0.5, y + 0.5])).abs().max() <= max(scale, 1) * 4
    assert one.score == pytest.approx(0.6) and not seen(one.joints)[L_ANKLE]
    assert 0 < one.box[0] < one.box[2] and 0 < one.box[1] < one.box[3]
    assert movenet.finder(Path("a.tflite"), 0.7)(photo) == []


def test_movenet_refuses_other_models(litert, monkeypatch):
    with pytest.raises(ValueError, match=r"^MoveNet: a\.onnx cannot be read"):
        movenet.finder(Path("a.onnx"), 0.1)
    monkeypatch.setattr(Interpreter, "output", (1, 1, 17, 3))
    with pytest.raises(ValueError, match="another kind of model"):
        movenet.finder(Path("single.tflite"), 0.1)


class Session:
    """Stands for onnxruntime's: the encoder is told apart by its name, the decoder draws a disc around the points."""

    def __init__(self, path, options, providers):
        self.names = ["image"] if "encoder" in path else ["image_embed", "point_coords", "point_labels", "mask_input"]

    def get_inputs(self):
        return [
            SimpleNamespace(name=name) for name in [*self.names, "has_mask_input"][: 1 if "image" in self.names else 9]
        ]

    def get_outputs(self):
        return [SimpleNamespace(name=name) for name in ("image_embed", "unused")]

    def run(self, names, given):
        if "image" in given:
            assert given["image"].shape == (1, 3, 1024, 1024) and given["image"].dtype == np.float32
            return [np.zeros((1, 256, 64, 64), np.float32), np.zeros(1)]
        assert "unused" not in given and given["point_coords"].shape[:2] == given["point_labels"].shape
        x, y = given["point_coords"][0].mean(0) / 4
        rows, columns = np.mgrid[:256, :256] + 0.5
        disc = 9.0 - np.hypot(rows - y, columns - x)
        return [np.stack([disc, disc - 5, disc - 8])[None].astype(np.float32), np.array([[0.9, 0.5, 0.1]], np.float32)]


@pytest.fixture
def onnxruntime(monkeypatch):
    options = SimpleNamespace(add_session_config_entry=lambda key, value: None)
    fake = SimpleNamespace(SessionOptions=lambda: options, InferenceSession=Session)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)


@pytest.mark.parametrize("size", [(300, 800), (900, 400)])
def test_sam_is_asked_in_its_own_pixels_and_answers_in_the_photos(onnxruntime, size):
    one = standing(0.6 * size[1], 0.2 * size[0], 0.6 * size[0])
    steps = []
    segmenter = sam2_onnx.Sam2Onnx(Path("an_encoder.ort"), Path("a_decoder.onnx"))
    asked = prompts([one, one], JOINTS)
    first, second = segmenter.masks(torch.rand(*size, 3), asked, lambda: steps.append(1))
    assert len(steps) == 3 and torch.equal(first[0], second[0])
    mask, box = first
    place = asked[0].points[asked[0].labels == 1].mean(0)
    middle = torch.tensor([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    assert (middle - place).abs().max() <= 4 and mask.max() > 0.9


def test_sam_tells_files_apart(onnxruntime):
    with pytest.raises(ValueError, match="not the file it should be"):
        sam2_onnx.Sam2Onnx(Path("an_encoder.ort"), Path("another_encoder.ort"))
