"""ComfyUI loads the pack as it loads any other: from a folder with any name, and without our tests' arrangements."""

import json
import subprocess

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
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["loaded"], done.stderr
    assert told["nodes"] == sorted(node.GET_SCHEMA().node_id for node in register_pack())
    assert all(name.startswith("MILD_") for name in told["nodes"]) and all(told["names"].values())
    assert told["web"] == {folder: str(pack / "web")}
    assert str(pack) not in told["path"] and told["outside"] == []
    assert "WARNING" not in done.stderr and "Traceback" not in done.stderr


def test_the_copy_is_what_an_artist_needs(tmp_path):
    pack = copy_pack(tmp_path)
    names = {path.name for path in pack.iterdir()}
    assert {"__init__.py", "nodes", "mild_core", "web", "locales", "workflows", "pyproject.toml", "LICENSE"} <= names
    assert not names & {"tests", "benchmarks", "tools", ".git", ".venv", ".comfyui", "__pycache__", "shared"}
