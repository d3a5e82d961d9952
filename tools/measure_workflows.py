"""How large the nodes of a workflow want to be, in both ways in which the front end draws them."""

import copy
import json
import math
from pathlib import Path
from typing import NamedTuple

import pack  # noqa: F401
from PIL import Image

from mild.tests.helpers import canvas
from mild.tests.helpers.browser import open_front_end
from mild.tools.comfyui import Server

GRID = 10
TITLE = 30
WIDTHS = {
    "MarkdownNote": 440,
    "MILD_ChoosePeople": 480,
    "MILD_Decompose": 330,
    "MILD_AttentionGap": 620,
    "MILD_ExamplePhoto": 240,
    "ImageCompare": 460,
    "SaveImage": 420,
    "PreviewImage": 420,
    "LoadImage": 300,
    "CheckpointLoaderSimple": 380,
    "ControlNetLoader": 440,
    "UNETLoader": 380,
    "DualCLIPLoader": 400,
    "CLIPTextEncode": 340,
    "Reroute": 80,
}
WIDTH = 310
HEIGHTS = {
    "MILD_ChoosePeople": 640,
    "ImageCompare": 480,
    "SaveImage": 460,
    "PreviewImage": 420,
    "MILD_AttentionGap": 560,
    "CLIPTextEncode": 130,
    "LoadImage": 400,
}
"""At least: what shows a picture shows it large enough to be looked at."""

STAND_INS = {"MILD_ExamplePhoto": "LoadImage", "MILD_PeopleFromMasks": "MILD_FindPeople"}
"""What artists put in the place of a node: there is room for it too."""

SLOTS = """() => window.app.graph.nodes.map(node => [String(node.id), [
    (node.inputs ?? []).map((_, i) => node.getInputPos(i)).map(([x, y]) => [x - node.pos[0], y - node.pos[1]]),
    (node.outputs ?? []).map((_, i) => node.getOutputPos(i)).map(([x, y]) => [x - node.pos[0], y - node.pos[1]])
]])"""

# A note is as tall as its text: the front end gives it a box that scrolls.
NOTES = """() => window.app.graph.nodes.filter(node => node.type === 'MarkdownNote').map(node => {
    const element = document.querySelector(`[data-node-id="${node.id}"]`) ?? node.widgets[0].element
    const text = element.querySelector('.ProseMirror, .tiptap, .comfy-markdown-content') ?? element
    return [String(node.id), text.scrollHeight / (element.closest('[data-node-id]') ? 1 : 1)]
})"""


class Sizes(NamedTuple):
    """Sizes of a node, in the graph's units."""

    own: tuple[int, int]  # what the file says: width, and height without the title
    box: tuple[int, int]  # that is kept free: with the title, and with room for what may take its place
    slots: tuple[list, list]  # inputs and outputs, from the node's position


def measured(base: Path, workflows: dict[str, dict]) -> tuple[dict[str, dict[int, Sizes]], str]:
    """The sizes of all nodes of all workflows, by name and node; and the version of ComfyUI."""
    with Server(base=base) as server:
        Image.new("RGB", (600, 900), "#778").save(base / canvas.PORTRAIT)
        server.upload_image(base / canvas.PORTRAIT)
        info = server.get("/object_info")
        small = {name: shrunk(workflow) for name, workflow in workflows.items()}
        found: dict[str, list[tuple[dict, dict, dict]]] = {name: [] for name in workflows}
        for nodes2 in (False, True):
            with open_front_end(server, nodes2=nodes2) as page:
                for name, workflow in small.items():
                    found[name].append(look(page, workflow, info))
        version = server.get("/system_stats")["system"]["comfyui_version"]
    return {name: sizes(small[name], found[name]) for name in workflows}, version


def shrunk(workflow: dict) -> dict:
    """A workflow whose nodes are as small as they go, far from each other, with those that may take a node's place."""
    result = copy.deepcopy(workflow)
    for group in result["groups"]:
        group["bounding"] = [0, -5000, 100, 100]
    for node in list(result["nodes"]):
        node["size"] = [WIDTHS.get(node["type"], WIDTH), 20]
        if node["type"] in STAND_INS:
            kind = STAND_INS[node["type"]]
            result["nodes"].append(stand_in(kind, node["id"]))
        if node["type"] == "LoadImage":
            node["widgets_values"][0] = canvas.PORTRAIT
    for index, node in enumerate(result["nodes"]):
        node["pos"] = [700 * (index % 6), 1000 * (index // 6)]
    result["extra"] = {}
    return result


def stand_in(kind: str, of: int) -> dict:
    values = [canvas.PORTRAIT, "image"] if kind == "LoadImage" else []
    return {
        "id": 10_000 + of,
        "type": kind,
        "pos": [0, 0],
        "size": [WIDTHS.get(kind, WIDTH), 20],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "properties": {},
        "widgets_values": values,
    }


def look(page, workflow: dict, info: dict) -> tuple[dict, dict, dict]:
    """Boxes, slots and heights of notes of an open workflow, as after a run."""
    canvas.open_as_template(page, workflow)
    page.evaluate("() => { window.app.canvas.ds.scale = 1; window.app.canvas.setDirty(true, true) }")
    canvas.settle(page)
    notes = dict(page.evaluate(NOTES))
    canvas.show_as_after_a_run(page, info)
    return canvas.boxes(page), dict(page.evaluate(SLOTS)), notes


def sizes(workflow: dict, found: list[tuple[dict, dict, dict]]) -> dict[int, Sizes]:
    """What both ways of drawing want, put together."""
    result = {}
    by_id = {node["id"]: node for node in workflow["nodes"]}
    for key, node in by_id.items():
        if key >= 10_000:
            continue
        width, height = wanted(node, [one[0][str(key)] for one in found], [one[2].get(str(key), 0) for one in found])
        box = [width, height + TITLE]
        other = by_id.get(10_000 + key)
        if other is not None:
            w, h = wanted(other, [one[0][str(other["id"])] for one in found], [])
            box = [max(box[0], w), max(box[1], h + TITLE)]
        inputs, outputs = found[0][1][str(key)]
        right = width if node["type"] != "Reroute" else box[0]
        outputs = [[right, y] for _, y in outputs]
        result[key] = Sizes((width, height), (box[0], box[1]), (inputs, outputs))
    return result


def wanted(node: dict, boxes: list, notes: list[float]) -> tuple[int, int]:
    """Width, and height without the title, on the grid."""
    width = max(box[2] for box in boxes)
    height = max(box[3] for box in boxes) - TITLE
    if node["type"] == "MarkdownNote":
        height = max([height, *(note + 40 for note in notes)])
    height = max(height, HEIGHTS.get(node["type"], 0))
    return math.ceil(width / GRID) * GRID, math.ceil(height / GRID) * GRID


if __name__ == "__main__":
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        paths = {Path(name).stem: json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]}
        for name, one in measured(Path(folder), paths)[0].items():
            print(name)
            for key, size in one.items():
                print("  ", key, size.own, size.box)
