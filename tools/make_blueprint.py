"""Makes the subgraph blueprint Erase People out of the first template: `uv run tools/make_blueprint.py`

ComfyUI lists what lies in subgraphs/ in the node library and in the search, as one node. Inside are the template's own
nodes, with their values, from People from Masks to Recompose Photo. To be run again when one of them gets a new input.
"""

import json
import uuid
from typing import Any

import pack

SOURCE = pack.ROOT / "workflows" / "01 Erase people, no download.json"
TARGET = pack.ROOT / "subgraphs" / "Erase People.json"
NAME = "Erase People"
DESCRIPTION = (
    "Whoever the mask covers disappears from the photo; every other pixel stays. Nothing to download. who says which "
    "of them go; to click instead, empty it, open the node, and use Choose People inside."
)
ALIASES = ["remove person", "erase people", "object removal", "inpaint", "clean plate", "eraser"]
ID = str(uuid.uuid5(uuid.NAMESPACE_URL, "mild-layers/Erase People"))

KINDS = (
    "MILD_PeopleFromMasks",
    "MILD_ProposeEffects",
    "MILD_ChoosePeople",
    "MILD_Decompose",
    "MILD_BuiltInModel",
    "MILD_SampleLayers",
    "MILD_Recompose",
)
FACE = {
    "image": [
        ("MILD_PeopleFromMasks", "image"),
        ("MILD_ProposeEffects", "image"),
        ("MILD_ChoosePeople", "image"),
        ("MILD_Decompose", "image"),
    ],
    "mask": [("MILD_PeopleFromMasks", "masks")],
    "people": [("MILD_PeopleFromMasks", "people")],
    "who": [("MILD_ChoosePeople", "who")],
    "grow": [("MILD_Decompose", "grow")],
    "seed": [("MILD_SampleLayers", "seed")],
}
"""What comes into the node, in this order, and where it goes inside."""
TYPES = {"image": "IMAGE", "mask": "MASK", "people": "MILD_PEOPLE", "who": "STRING", "grow": "FLOAT", "seed": "INT"}
VALUES = {"who": "all"}  # what is masked goes, unless the artist says otherwise
RESULTS = {"photo": ("IMAGE", 0), "changed": ("MASK", 1)}
"""What comes out: the outputs of Recompose Photo."""

ENTRANCE, EXIT = -10, -20  # ids of the two ends of a subgraph
SIZE = [330, 260]


def main() -> None:
    TARGET.parent.mkdir(exist_ok=True)
    workflow = blueprint(json.loads(SOURCE.read_text(encoding="utf-8")))
    text = json.dumps(workflow, indent=1, ensure_ascii=False) + "\n"
    TARGET.write_text(text, encoding="utf-8", newline="\n")
    print(f"{TARGET.name}: {len(workflow['definitions']['subgraphs'][0]['nodes'])} nodes inside")


def blueprint(template: dict) -> dict:
    """The workflow of one node, whose inside are the template's nodes."""
    nodes = {node["type"]: node for node in template["nodes"] if node["type"] in KINDS}
    ids = {node["id"] for node in nodes.values()}
    links = [
        dict(zip(("id", "origin_id", "origin_slot", "target_id", "target_slot", "type"), link, strict=True))
        for link in template["links"]
        if link[1] in ids and link[3] in ids
    ]
    for node in nodes.values():
        for one in node["inputs"]:
            one["link"] = next((link["id"] for link in links if ends_at(link, node, one)), None)
        for slot, one in enumerate(node["outputs"]):
            here = (node["id"], slot)
            one["links"] = [link["id"] for link in links if (link["origin_id"], link["origin_slot"]) == here]
    choose = nodes["MILD_ChoosePeople"]
    choose["widgets_values"] = [VALUES["who"], ""]
    entrances = [entrance(number, name, nodes, links) for number, name in enumerate(FACE)]
    exits = [way_out(number, name, nodes, links) for number, name in enumerate(RESULTS)]
    left = min(node["pos"][0] for node in nodes.values())
    right = max(node["pos"][0] + node["size"][0] for node in nodes.values())
    top = min(node["pos"][1] for node in nodes.values())
    inside = {
        "id": ID,
        "version": 1,
        "state": {
            "lastGroupId": 0,
            "lastNodeId": max(ids),
            "lastLinkId": max(link["id"] for link in links),
            "lastRerouteId": 0,
        },
        "revision": 0,
        "config": {},
        "name": NAME,
        "description": DESCRIPTION,
        "inputNode": {"id": ENTRANCE, "bounding": [left - 250, top, 130, 20 * len(entrances) + 40]},
        "outputNode": {"id": EXIT, "bounding": [right + 120, top, 130, 20 * len(exits) + 40]},
        "inputs": entrances,
        "outputs": exits,
        "widgets": [],
        "nodes": [nodes[kind] for kind in KINDS],
        "groups": [],
        "links": links,
        "extra": {},
    }
    return {
        "revision": 0,
        "last_node_id": 1,
        "last_link_id": 0,
        "nodes": [outside(nodes)],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [inside]},
        "extra": {"BlueprintDescription": DESCRIPTION, "BlueprintSearchAliases": ALIASES},
    }


def ends_at(link: dict, node: dict, one: dict) -> bool:
    return link["target_id"] == node["id"] and node["inputs"][link["target_slot"]] is one


def entrance(number: int, name: str, nodes: dict[str, dict], links: list[dict]) -> dict[str, Any]:
    """One of the subgraph's inputs, with its links to the nodes inside."""
    made = []
    for kind, inner in FACE[name]:
        node = nodes[kind]
        slot = next(index for index, one in enumerate(node["inputs"]) if one["name"] == inner)
        link = add_link(links, ENTRANCE, number, node["id"], slot, TYPES[name])
        node["inputs"][slot]["link"] = link
        made.append(link)
    return {"id": name_id("in", name), "name": name, "type": TYPES[name], "linkIds": made}


def way_out(number: int, name: str, nodes: dict[str, dict], links: list[dict]) -> dict[str, Any]:
    """One of the subgraph's outputs, with its link from Recompose Photo."""
    kind, slot = RESULTS[name]
    node = nodes["MILD_Recompose"]
    link = add_link(links, node["id"], slot, EXIT, number, kind)
    node["outputs"][slot]["links"].append(link)
    return {"id": name_id("out", name), "name": name, "type": kind, "linkIds": [link]}


def add_link(links: list[dict], origin: int, origin_slot: int, target: int, target_slot: int, kind: str) -> int:
    key = max(link["id"] for link in links) + 1
    links.append(
        {"id": key, "origin_id": origin, "origin_slot": origin_slot, "target_id": target, "target_slot": target_slot,
         "type": kind}
    )  # fmt: skip
    return key


def outside(nodes: dict[str, dict]) -> dict[str, Any]:
    """The node itself: sockets, and the widgets on its face."""
    widgets = [name for name in FACE if "widget" in inner_input(nodes, name)]
    inputs = [
        {"name": name, "type": TYPES[name], **({"widget": {"name": name}} if name in widgets else {}), "link": None}
        for name in FACE
    ]
    proxies = [[str(nodes[FACE[name][0][0]]["id"]), FACE[name][0][1]] for name in widgets]
    sign = nodes["MILD_Recompose"]["properties"]
    return {
        "id": 1,
        "type": ID,
        "pos": [0, 0],
        "size": SIZE,
        "flags": {},
        "order": 0,
        "mode": 0,
        "title": NAME,
        "inputs": inputs,
        "outputs": [{"name": name, "type": kind, "links": []} for name, (kind, _) in RESULTS.items()],
        "properties": {"proxyWidgets": proxies, "cnr_id": sign["cnr_id"], "ver": sign["ver"]},
        "widgets_values": [],
    }


def inner_input(nodes: dict[str, dict], name: str) -> dict:
    kind, inner = FACE[name][0]
    return next(one for one in nodes[kind]["inputs"] if one["name"] == inner)


def name_id(side: str, name: str) -> str:
    return str(uuid.uuid5(uuid.UUID(ID), f"{side}/{name}"))


if __name__ == "__main__":
    main()
