"""Which ComfyUI the pack needs: every place that says so says the same, and a newer one is not turned away."""

import asyncio
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import mild
from mild.tools.find_comfyui import PINNED_VERSION

ROOT = Path(mild.__file__).parent


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("pyproject.toml", 'requires-comfyui = ">={}"'),
        ("README.md", "You need ComfyUI {} or newer"),
        ("CONTRIBUTING.md", "ComfyUI {} is the oldest"),
        ("web/did_not_load.js", "const NEEDS = '{}'"),
    ],
)
def test_every_place_says_the_same(file, says):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.findall(re.escape(says).replace(r"\{\}", r"([\d.]+\d)"), text) == [mild.NEEDS]


@pytest.mark.parametrize("version", ["0.24.0", "0.9.9", "0.23"])
def test_older_is_refused(monkeypatch, version):
    monkeypatch.setitem(sys.modules, "comfyui_version", SimpleNamespace(__version__=version))
    with pytest.raises(RuntimeError, match=f"needs ComfyUI {re.escape(mild.NEEDS)} or newer, and this is {version}"):
        asyncio.run(mild.comfy_entrypoint())


@pytest.mark.parametrize("version", [mild.NEEDS, "0.24.10", PINNED_VERSION, "0.31.0-dev", "1.0"])
def test_newer_is_let_in(monkeypatch, version):
    monkeypatch.setitem(sys.modules, "comfyui_version", SimpleNamespace(__version__=version))
    extension = object()
    monkeypatch.setitem(sys.modules, "mild.nodes", SimpleNamespace(MildExtension=lambda: extension))
    assert asyncio.run(mild.comfy_entrypoint()) is extension
