"""The benchmark of finding people counts what it says, and fetches nothing that lies there."""

from pathlib import Path

import numpy as np
import pytest

import mild
from mild.benchmarks.quality import find_people
from mild.benchmarks.shared import rivals, weights


def mask(x0, y0, x1, y1):
    result = np.zeros((50, 80), bool)
    result[y0:y1, x0:x1] = True
    return result


def test_everybody_is_matched_once():
    people = [mask(0, 0, 20, 40), mask(30, 0, 50, 40)]
    exact = find_people.score(people[::-1], people)
    assert exact.matched == [1, 1] and exact.spurious == 0
    twice = find_people.score([people[0], mask(0, 0, 20, 38)], people)
    assert twice.matched == [1, 0] and twice.spurious == 1
    half = find_people.score([mask(30, 0, 50, 16)], people)
    assert half.matched == [0, pytest.approx(0.4)] and half.spurious == 1
    assert find_people.score([], people) == ([0, 0], 0)


def test_true_boxes_are_tight():
    photo = find_people.Photo("", np.zeros((50, 80, 3), np.float32), [mask(3, 4, 20, 40)])
    assert find_people.true_boxes(photo) == [{"x": 3, "y": 4, "width": 17, "height": 36}]


def test_weights_that_lie_there_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(weights.shutil, "which", lambda name: None)
    with pytest.raises(rivals.Unavailable, match="npm"):
        weights.weights(weights.YOLO)
    (tmp_path / "yolo11n-seg.onnx").write_bytes(b"x")
    assert weights.weights(weights.YOLO, tmp_path) == tmp_path / "yolo11n-seg.onnx"


def test_only_the_benchmark_knows_the_agpl_weights():
    """By name or licence, in no node, help page or template."""
    root = Path(mild.__file__).parent
    for folder in ("nodes", "mild_core", "web", "locales", "workflows"):
        for path in (root / folder).rglob("*"):
            if path.suffix in (".py", ".md", ".json", ".js"):
                assert "yolo11" not in path.read_text(encoding="utf-8").lower(), path
