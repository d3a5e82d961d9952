"""ComfyUI loads the pack as it loads any other: from a folder with any name, and without our tests' arrangements."""

import asyncio
import json
import logging
import subprocess

import comfyui_version
import pytest

import nodes
from mild import NEEDS
from mild.tests.helpers.in_process import register_pack
from mild.tools.find_comfyui import copy_pack, find_comfyui

PROGRAM = """
import asyncio, json, sys
comfyui, base, pack = sys.argv[1:]
sys.path[0] = comfyui
sys.argv[1:] = ["--cpu", "--base-directory", base]
import comfy.options
comfy.options.enable_args_parsing()
import utils.extra_config
import nodes
before = set(nodes.NODE_CLASS_MAPPINGS)
loaded = asyncio.run(nodes.load_custom_node(pack, before))
print(json.dumps({
    "loaded": loaded,
    "nodes": sorted(set(nodes.NODE_CLASS_MAPPINGS) - before),
    "names": {key: nodes.NODE_DISPLAY_NAME_MAPPINGS.get(key) for key in set(nodes.NODE_CLASS_MAPPINGS) - before},
    "web": nodes.EXTENSION_WEB_DIRS,
    "path": sys.path,
    "outside": sorted({name for name in sys.modules if name.split(".")[0] in ("mild", "mild_core", "tools")}),
}))
"""


def test_loads_from_any_folder(tmp_path):
    folder = "MILD v0.1 für 测试"
    base = tmp_path / "ComfyUI für alle"
    pack = copy_pack(base / "custom_nodes", folder)
    comfyui = find_comfyui()
    command = [comfyui.python, "-X", "utf8", "-c", PROGRAM, str(comfyui.path), str(base), str(pack)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["loaded"], done.stderr
    assert report["nodes"] == sorted(node.GET_SCHEMA().node_id for node in register_pack())
    assert all(name.startswith("MILD_") for name in report["nodes"]) and all(report["names"].values())
    assert report["web"] == {folder: str(pack / "web")}
    assert str(pack) not in report["path"] and report["outside"] == []
    assert "WARNING" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("version", ["0.16.3", "0.20.1", "0.24.0"])
def test_too_old_a_comfyui_is_told_so(tmp_path, monkeypatch, caplog, version):
    """In one sentence, and no node is there: in such a version they would fail late, or change the picture."""
    monkeypatch.setattr(comfyui_version, "__version__", version)
    for registry in ("NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "EXTENSION_WEB_DIRS", "LOADED_MODULE_DIRS"):
        monkeypatch.setattr(nodes, registry, {})
    pack = copy_pack(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert not asyncio.run(nodes.load_custom_node(str(pack)))
    assert nodes.NODE_CLASS_MAPPINGS == {}
    assert [record.message for record in caplog.records] == [
        f"Error while calling comfy_entrypoint in {pack}: MILD needs ComfyUI {NEEDS} or newer, and this is {version}: "
        "its nodes are left out. Update ComfyUI."
    ]
    assert nodes.EXTENSION_WEB_DIRS == {pack.name: str(pack / "web")}, "nobody tells the browser"


def test_the_copy_is_what_an_artist_needs(tmp_path):
    pack = copy_pack(tmp_path)
    names = {path.name for path in pack.iterdir()}
    assert {"__init__.py", "nodes", "mild_core", "web", "locales", "workflows", "pyproject.toml", "LICENSE"} <= names
    assert not names & {"tests", "benchmarks", "tools", ".git", ".venv", ".comfyui", "__pycache__", "shared"}
