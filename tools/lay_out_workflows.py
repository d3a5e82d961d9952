"""Lays the templates out anew, so that they can be read at first sight: `uv run tools/lay_out_workflows.py [NAME ...]`

Each template is opened in the real front end (Chromium), in the classic canvas and in Nodes 2.0, as it is and as after
a run, and its nodes are measured in both. Then they stand in columns, in the order of the wires, each group in columns
of its own; nodes are as large as the larger of both wants them. A wire that would pass under a node takes a lane above
the groups. Which node belongs to which group is read from the file: so a new node is put into its group in the front
end, anywhere in it, and this is run again. What the file says otherwise stays: values, links, texts.

Also written: the view at which a template opens (web/templates.js), and which pack a node is from.
"""

import json
import math
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pack
import routes
import tomllib
from measure_workflows import Sizes, measured

WORKFLOWS = pack.ROOT / "workflows"
VERSION = tomllib.loads((pack.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
NAME = "mild-layers"

TITLE = 30  # a node's title stands above its position
BETWEEN = 80  # between columns: wires turn here
BELOW = 40  # between nodes of a column
PADDING = 30  # between nodes and the border of their group
ROOM_BELOW = 40  # more of it below: front ends before 1.47 draw some nodes taller
GROUP_TITLE = 40
LANE = 26  # between wires that run side by side above the groups
NOTE_GAP = 50
NOTE_ROOM = 1.5  # front ends before 1.47 draw the text of notes larger, and notes so much taller, with Nodes 2.0
FRONT_END_ONLY = ("MarkdownNote", "Note", "Reroute")
START = "Start here"

WINDOW = (80, 100, 1560, 975)  # of 1600 x 1000: what the front end's bars leave free: left, top, right, bottom
LARGEST, SMALLEST = 1.0, 0.66  # zoom at which a template opens


def main() -> None:
    paths = sorted(WORKFLOWS.glob("*.json"))
    if sys.argv[1:]:
        paths = [path for path in paths if any(path.stem.startswith(name) for name in sys.argv[1:])]
    workflows = {path: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    with tempfile.TemporaryDirectory() as base:
        sizes, core = measured(Path(base), {path.stem: workflow for path, workflow in workflows.items()})
    for path, workflow in workflows.items():
        laid_out(workflow, sizes[path.stem])
        signed(workflow, core)
        text = json.dumps(without_nothing(workflow), indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8", newline="\n")
        scale = workflow["extra"]["ds"]["scale"]
        print(f"{path.stem}: {len(workflow['nodes'])} nodes, opens at {scale:.2f}")


def laid_out(workflow: dict, sizes: dict[int, Sizes]) -> None:
    """Give all nodes of a workflow their places and sizes, groups their borders, wires their lanes, and the view."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    notes = [node for node in workflow["nodes"] if node["type"] == "MarkdownNote"]
    links = [routes.Link(*link[:5]) for link in workflow["links"]]
    members = membership(workflow)
    ranks = group_ranks(members, links)
    for key, node in nodes.items():
        node["size"] = list(sizes[key].own)
    start = next(note for note in notes if note["title"] == START)

    x = 0.0
    stacks: dict[int, list[int]] = defaultdict(list)
    for index, rank in ranks.items():
        stacks[rank].append(index)
    borders: dict[int, list[float]] = {}
    tops = {}
    for rank in sorted(stacks):
        y, widest = 0.0, 0.0
        for row, index in enumerate(sorted(stacks[rank])):
            y += row * (NOTE_GAP + LANE * 4)
            width, height = place_group(members[index], links, nodes, sizes, x, y)
            borders[index] = [x, y, width, height]
            tops[index] = y
            y, widest = y + height, max(widest, width)
        x += widest + BETWEEN / 2
    for index, group in enumerate(workflow["groups"]):
        group["bounding"] = borders[index]
    place_notes(start, [note for note in notes if note is not start])
    boxes = {key: (*node["pos"], sizes[key].own[0], sizes[key].own[1]) for key, node in nodes.items()}
    rows = {key: tops[index] for index, keys in members.items() for key in keys}
    lanes = routes.routed(links, boxes, {key: sizes[key].slots for key in nodes}, rows, LANE)
    write_lanes(workflow, lanes)
    view = opening_view(start, borders[min(stacks[0])], lanes)
    workflow["extra"] |= {"ds": view, "mild_opening_view": True}


def membership(workflow: dict) -> dict[int, list[int]]:
    """The nodes of each group, by the group's index: those whose middle lies in it."""
    members: dict[int, list[int]] = {index: [] for index in range(len(workflow["groups"]))}
    for node in workflow["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        middle = node["pos"][0] + node["size"][0] / 2, node["pos"][1] + node["size"][1] / 2
        around = [
            index
            for index, group in enumerate(workflow["groups"])
            if all(0 <= middle[i] - group["bounding"][i] <= group["bounding"][2 + i] for i in (0, 1))
        ]
        if len(around) != 1:
            raise SystemExit(f"{node['type']} ({node['id']}) stands in {len(around)} groups: put it into one.")
        members[around[0]].append(node["id"])
    return members


def group_ranks(members: dict[int, list[int]], links: list[routes.Link]) -> dict[int, int]:
    """How many groups come before each: groups of the same rank stand one above the other."""
    of = {key: index for index, keys in members.items() for key in keys}
    after = {(of[link.origin], of[link.target]) for link in links if of[link.origin] != of[link.target]}
    return longest_paths(list(members), after)


def longest_paths(keys: list[int], edges: set[tuple[int, int]]) -> dict[int, int]:
    """How many edges lead to each key at most. Exits where they run in a circle."""
    ranks = dict.fromkeys(keys, 0)
    for _ in range(len(keys) + 1):
        changed = False
        for one, other in edges:
            if ranks[other] <= ranks[one]:
                ranks[other], changed = ranks[one] + 1, True
        if not changed:
            return ranks
    raise SystemExit(f"Wires run to and fro between {sorted({key for edge in edges for key in edge})}: group anew.")


def columns(keys: list[int], links: list[routes.Link]) -> list[list[int]]:
    """The nodes of one group in columns: each as far to the left as its wires let it, but beside whom it feeds."""
    inside = {(link.origin, link.target) for link in links if link.origin in keys and link.target in keys}
    ranks = longest_paths(keys, inside)
    for key in sorted(keys, key=lambda key: -ranks[key]):
        fed = [ranks[other] for one, other in inside if one == key]
        if fed:
            ranks[key] = min(fed) - 1
        elif not any(other == key for _, other in inside) and any(link.origin == key for link in links):
            ranks[key] = max(ranks.values())  # what only others need stands beside them
    result: list[list[int]] = [[] for _ in range(max(ranks.values()) + 1)]
    for key in keys:
        result[ranks[key]].append(key)
    return [column for column in result if column]


def place_group(
    keys: list[int], links: list[routes.Link], nodes: dict[int, dict], sizes: dict[int, Sizes], x: float, y: float
) -> tuple[float, float]:
    """Place the nodes of a group whose upper left corner is given. Returns its width and height."""
    left, bottom = x + PADDING, y
    for column in columns(keys, links):
        wide = max(sizes[key].box[0] for key in column)
        top = y + GROUP_TITLE + PADDING
        for key in sorted(column, key=lambda key: order(key, links, nodes)):
            nodes[key]["pos"] = [round(left), round(top + TITLE)]
            top += sizes[key].box[1] + BELOW
        bottom = max(bottom, top - BELOW)
        left += wide + BETWEEN
    return round(left - BETWEEN + PADDING - x), round(bottom + PADDING + ROOM_BELOW - y)


def order(key: int, links: list[routes.Link], nodes: dict[int, dict]) -> tuple:
    """What a column is sorted by: nodes stand level with those they are fed by, then with those they feed."""
    fed = [nodes[link.origin]["pos"][1] + 20 * link.origin_slot for link in links if link.target == key]
    feeds = [link.target_slot for link in links if link.origin == key]
    photo = nodes[key]["type"] in ("Reroute", "LoadImage", "MILD_ExamplePhoto", "ImageCompare")
    return not photo, min(fed, default=math.inf), min(feeds, default=0), key


def place_notes(start: dict, others: list[dict]) -> None:
    """The first note stands before the first group, the others below it."""
    y = float(TITLE)
    for note in (start, *others):
        note["pos"] = [-note["size"][0] - NOTE_GAP, round(y)]
        y += NOTE_ROOM * note["size"][1] + TITLE + BELOW


def write_lanes(workflow: dict, lanes: routes.Lanes) -> None:
    """Put the points where wires turn into a workflow."""
    extra = workflow["extra"] = {
        key: value for key, value in workflow["extra"].items() if key not in ("reroutes", "linkExtensions")
    }
    if lanes.points:
        extra["reroutes"] = [
            {"id": key, **({"parentId": point.parent} if point.parent else {}), "pos": [round(point.x), round(point.y)],
             "linkIds": sorted(point.links)}
            for key, point in sorted(lanes.points.items())
        ]  # fmt: skip
        extra["linkExtensions"] = [{"id": link, "parentId": point} for link, point in sorted(lanes.last.items())]


def opening_view(start: dict, group: list[float], lanes: routes.Lanes) -> dict[str, Any]:
    """The front end's `ds`: the first note and the first group in a window of 1600 x 1000, as large as they go."""
    left, right = start["pos"][0], group[0] + group[2]
    above = [point.y - LANE for point in lanes.points.values() if point.x <= right]
    top = min([start["pos"][1] - TITLE, group[1], *above])
    height = max(start["pos"][1] + start["size"][1], group[1] + group[3]) - top
    scale = min(LARGEST, (WINDOW[2] - WINDOW[0]) / (right - left), (WINDOW[3] - WINDOW[1]) / height)
    scale = round(max(SMALLEST, scale), 3)
    return {"scale": scale, "offset": [round(WINDOW[0] / scale - left, 1), round(WINDOW[1] / scale - top, 1)]}


def signed(workflow: dict, core: str) -> None:
    """Write down which pack each node is from, and of which version: it is asked for where a node is missing."""
    for node in workflow["nodes"]:
        if node["type"].startswith("MILD_"):
            node["properties"] |= {"cnr_id": NAME, "ver": VERSION}
        elif node["type"] not in FRONT_END_ONLY:
            node["properties"] |= {"cnr_id": "comfy-core", "ver": core}


def without_nothing(value: Any) -> Any:
    """The workflow without the fields that the front end's check of it fills with null; a slot's link may be null."""
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if one is not None or key in ("link", "links")}
        return {key: without_nothing(one) for key, one in kept.items()}
    return [without_nothing(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
