"""The people picker of Choose People as an artist meets it in the browser: a workflow around it, where things are on
the screen, and who goes.
"""

import io

import numpy as np
from PIL import Image

from mild.mild_core.example_photo import load_example
from mild.tests.helpers.browser import load_workflow, press_run

LOW, HIGH = 0.3, 0.7  # thresholds: at HIGH, whoever is drawn in half grey is not found

CHOOSE = "window.app.graph.nodes.find(node => node.type === 'MILD_ChoosePeople')"


def upload_masks(server) -> str:
    """The example's people in one mask: the first and the fourth in half grey. (Two who touch become one blob.)"""
    masks = load_example().masks.numpy()
    levels = np.array([0.5, 1, 1, 0.5, 1, 1])[:, None, None]
    return upload(server, (masks * levels).max(0), "levels.png")


def upload(server, picture: np.ndarray, name: str) -> str:
    file = io.BytesIO()
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(file, "PNG")
    return server.upload_image(file.getvalue(), name)


def node(number, kind, x, size, values=None, links=()):
    """A node of a workflow; links: (name of the input, type, link's id)."""
    inputs = [{"name": name, "type": kind, "link": link} for name, kind, link in links]
    return {
        "id": number,
        "type": kind,
        "pos": [x, 40],
        "size": size,
        "flags": {},
        "order": number,
        "mode": 0,
        "properties": {},
        "inputs": inputs,
        "widgets_values": values or [],
    }


def workflow(mask: str, who: str = "", threshold: float = LOW, split: str = "separate blobs", picked: str = "") -> dict:
    """Photo, mask -> threshold -> people -> choose -> preview of the mask."""
    nodes = [
        node(1, "MILD_ExamplePhoto", 0, [200, 120]),
        node(2, "LoadImageMask", 0, [200, 120], [mask, "red"]),
        node(3, "ThresholdMask", 0, [200, 60], [threshold], [("mask", "MASK", 1)]),
        node(4, "MILD_PeopleFromMasks", 0, [220, 120], [split, 1], [("masks", "*", 2), ("image", "IMAGE", 3)]),
        node(
            5,
            "MILD_ChoosePeople",
            260,
            [480, 560],
            [who, picked],
            [("people", "MILD_PEOPLE", 4), ("image", "IMAGE", 5)],
        ),
        node(6, "MaskPreview", 800, [200, 200], links=[("mask", "MASK", 6)]),
    ]
    for index, one in enumerate(nodes[:4]):
        one["pos"][1] = 40 + 180 * index
    links = [
        [1, 2, 0, 3, 0, "MASK"],
        [2, 3, 0, 4, 0, "MASK"],
        [3, 1, 0, 4, 1, "IMAGE"],
        [4, 4, 0, 5, 0, "MILD_PEOPLE"],
        [5, 1, 0, 5, 1, "IMAGE"],
        [6, 5, 1, 6, 0, "MASK"],
    ]
    outputs = {
        1: ("image", "masks", "background"),
        2: ("MASK",),
        3: ("MASK",),
        4: ("people", "preview"),
        5: ("people", "erase", "keep"),
    }
    for one in nodes:  # the front end wants every link at both of its ends
        names = outputs.get(one["id"], ())
        mine = [[link for link in links if link[1:3] == [one["id"], slot]] for slot in range(len(names))]
        one["outputs"] = [
            {"name": name, "type": out[0][5] if out else "*", "links": [link[0] for link in out]}
            for name, out in zip(names, mine, strict=True)
        ]
    return {
        "version": 0.4,
        "last_node_id": 6,
        "last_link_id": 6,
        "nodes": nodes,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {"ds": {"scale": 1, "offset": [300, 120]}},
    }


def opened(page, flow: dict) -> None:
    load_workflow(page, flow)
    page.locator(".mild-stage").wait_for()


def run(page, server) -> dict:
    """Press Run; return ComfyUI's history entry, once the picker shows what came."""
    entry = press_run(page, server, groups=(), patience=40)
    assert entry["status"]["status_str"] == "success"
    page.locator(".mild-checkboxes input").first.wait_for(state="attached")
    page.wait_for_timeout(150)
    return entry


def shown(entry: dict) -> list[dict]:
    """The people of the (first) photo, as the node gave them to the picker."""
    return next(one["mild_people"] for one in entry["outputs"].values() if "mild_people" in one)[0]["people"]


def gone(entry: dict) -> list[int]:
    return [person["number"] for person in shown(entry) if person["erased"]]


def boxes(page):
    return page.locator(".mild-checkboxes input")


def checked(page) -> list[int]:
    return [i + 1 for i, on in enumerate(boxes(page).evaluate_all("all => all.map(one => one.checked)")) if on]


def place(page, number: int) -> tuple[float, float]:
    """Where on the screen the number badge of a person stands."""
    area = boxes(page).nth(number - 1).bounding_box()
    return area["x"] + area["width"] / 2, area["y"] + area["height"] / 2


def body(page, person: dict) -> tuple[float, float]:
    """Where on the screen a person is, from what the node gave."""
    area = page.locator(".mild-stage image").bounding_box()
    return area["x"] + person["point"][0] * area["width"], area["y"] + person["point"][1] * area["height"]


def values(page) -> dict[str, str]:
    return page.evaluate(f"() => Object.fromEntries({CHOOSE}.widgets.map(widget => [widget.name, widget.value]))")


def status(page) -> str:
    return page.locator(".mild-status").text_content()


def set_widget(page, node_id: int, index: int, value) -> None:
    page.evaluate(
        "([id, index, value]) => { window.app.graph.getNodeById(id).widgets[index].value = value }",
        [node_id, index, value],
    )
