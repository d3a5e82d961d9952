"""The rule's benchmark compares the same scenes with each other, and tells both halves apart."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import mild

sys.path.append(str(Path(mild.__file__).parent / "benchmarks"))

import same_part  # noqa: E402


def result(scene, row, value):
    return SimpleNamespace(scene=SimpleNamespace(name=scene), row=row, scores=SimpleNamespace(completed_lpips=value))


def test_scenes_are_compared_one_by_one_and_in_halves():
    names = ["b", "a", "d", "c"]
    changes = [-0.1, 0.2, -0.3, 0.0]
    results = []
    for name, change, level in zip(names, changes, (0.2, 0.9, 0.4, 0.1), strict=True):
        results += [result(name, "with", level + change), result(name, "without", level)]
    lines = same_part.differences(results, "without", "with", names).splitlines()
    assert [line.split()[5] for line in lines] == ["all", "even", "odd"]
    for line, mean, count in zip(lines, (-0.05, -0.2, 0.1), (4, 2, 2), strict=True):
        assert f"{mean:+.4f} ±" in line and f"n = {count}" in line
    assert "better 2, worse 1" in lines[0] and "better 2, worse 0" in lines[1] and "better 0, worse 1" in lines[2]


def test_what_cannot_be_measured_does_not_count():
    results = [result("a", "with", math.nan), result("a", "without", 0.1), result("b", "with", 0.3)]
    results.append(result("b", "without", 0.2))
    assert "+0.1000" in same_part.differences(results, "without", "with", ["a", "b"]).splitlines()[0]
