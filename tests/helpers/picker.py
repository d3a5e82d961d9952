"""The people picker of Choose People as an artist meets it in the browser: a workflow around it, where things are on
the screen, and who goes.
"""

import io

import numpy as np
from PIL import Image

from mild.mild_core.example_photo import load_example
from mild.tests.helpers.browser import load_workflow, press_run
from mild.tests.helpers.given_effects import NODE as GIVE_EFFECTS

LOW, HIGH = 0.3, 0.7  # thresholds: at HIGH, whoever is drawn in half grey is not found

WAITS = "Waits for a choice in Choose People."

CHOOSE = "window.app.graph.nodes.find(node => node.type === 'MILD_ChoosePeople')"

LOUPE_LINES = """() => {
    const loupe = document.querySelector('.mild-loupe')
    const row = loupe.getContext('2d').getImageData(0, loupe.height / 2 - 7, loupe.width, 1).data
    const reds = Array.from({ length: loupe.width }, (_, x) => row[4 * x])
    return reds.filter((red, x) => x && red - reds[x - 1] > 25 && red - reds[x + 1] > 25).length
}"""
"""How many single pixels of a row near the loupe's middle are lighter than those on both sides."""

DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
"""Resolves when what is known by now has been drawn."""


def upload_masks(server) -> str:
    """The example's people in one mask: the first and the fourth in half grey. (Two who touch become one blob.)"""
    masks = load_example().masks.numpy()
    levels = np.array([0.5, 1, 1, 0.5, 1, 1])[:, None, None]
    return upload(server, (masks * levels).max(0), "levels.png")


def upload(server, picture: np.ndarray, name: str) -> str:
    file = io.BytesIO()
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(file, "PNG")
    return server.upload_image(file.getvalue(), name)


OUTPUTS = {
    "MILD_ExamplePhoto": ("image", "masks", "background"),
    "MILD_PeopleFromMasks": ("people", "preview"),
    "MILD_ChoosePeople": ("people", "erase", "keep"),
}
"""What the outputs are called, where there are several."""


def add_node(flow, number, kind, place, size, values=None):
    """Add a node to a workflow, with this id and these widget values."""
    one = {"id": number, "type": kind, "pos": list(place), "size": size, "flags": {}, "order": number, "mode": 0}
    flow["nodes"].append(one | {"properties": {}, "inputs": [], "outputs": [], "widgets_values": values or []})
    flow["last_node_id"] = max(flow["last_node_id"], number)


def connect(flow, source, slot, target, name, kind, widget=False):
    """Connect an output (node and number) to an input (node and name) of this type, in place of what was there.

    The front end wants every link at both of its ends. widget: the input belongs to a widget.
    """
    nodes = {one["id"]: one for one in flow["nodes"]}
    flow["last_link_id"] += 1
    inputs = nodes[target]["inputs"]
    place = next((index for index, one in enumerate(inputs) if one["name"] == name), len(inputs))
    if place == len(inputs):
        inputs.append({"name": name, "type": kind, **({"widget": {"name": name}} if widget else {})})
    else:
        old = inputs[place]["link"]
        flow["links"] = [link for link in flow["links"] if link[0] != old]
        for output in (output for one in flow["nodes"] for output in one["outputs"]):
            output["links"] = [link for link in output["links"] if link != old]
    inputs[place]["link"] = flow["last_link_id"]
    outputs = nodes[source]["outputs"]
    names = OUTPUTS.get(nodes[source]["type"], (kind,))
    outputs += [{"name": more, "type": kind, "links": []} for more in names[len(outputs) :]]
    outputs[slot] |= {"type": kind, "links": [*outputs[slot]["links"], flow["last_link_id"]]}
    flow["links"].append([flow["last_link_id"], source, slot, target, place, kind])


def workflow(mask: str, who: str = "", threshold: float = LOW, split: str = "separate blobs", picked: str = "") -> dict:
    """Photo, mask -> threshold -> people -> choose -> preview of the mask."""
    flow = {"version": 0.4, "last_node_id": 0, "last_link_id": 0, "nodes": [], "links": [], "groups": [], "config": {}}
    flow["extra"] = {"ds": {"scale": 1, "offset": [300, 120]}}
    add_node(flow, 1, "MILD_ExamplePhoto", (0, 40), [200, 120])
    add_node(flow, 2, "LoadImageMask", (0, 220), [200, 120], [mask, "red"])
    add_node(flow, 3, "ThresholdMask", (0, 400), [200, 60], [threshold])
    add_node(flow, 4, "MILD_PeopleFromMasks", (0, 580), [220, 120], [split, 1])
    add_node(flow, 5, "MILD_ChoosePeople", (260, 40), [480, 560], [who, picked])
    add_node(flow, 6, "MaskPreview", (800, 40), [200, 200])
    connect(flow, 2, 0, 3, "mask", "MASK")
    connect(flow, 3, 0, 4, "masks", "MASK")
    connect(flow, 1, 0, 4, "image", "IMAGE")
    connect(flow, 4, 0, 5, "people", "MILD_PEOPLE")
    connect(flow, 1, 0, 5, "image", "IMAGE")
    connect(flow, 5, 1, 6, "mask", "MASK")
    return flow


def with_effects(flow: dict) -> dict:
    """The same workflow, in which everyone has a shadow and carries something."""
    add_node(flow, 9, GIVE_EFFECTS, (-260, 40), [200, 60])
    connect(flow, 4, 0, 9, "people", "MILD_PEOPLE")
    connect(flow, 9, 0, 5, "people", "MILD_PEOPLE")
    return flow


def with_large_photo(flow: dict, detail: str) -> dict:
    """The same workflow with a grey photo of 6000 x 4000 px in place of the example's, and an uploaded picture in it at
    (3600, 1990). Nothing else shows it: previews of that size take seconds.
    """
    add_node(flow, 10, "EmptyImage", (-260, 40), [200, 60], [6000, 4000, 1, 0x404040])
    add_node(flow, 11, "LoadImage", (-260, 240), [200, 60], [detail])
    add_node(flow, 12, "ImageCompositeMasked", (-260, 440), [200, 60], [3600, 1990, False])
    connect(flow, 10, 0, 12, "destination", "IMAGE")
    connect(flow, 11, 0, 12, "source", "IMAGE")
    connect(flow, 12, 0, 5, "image", "IMAGE")
    for one in flow["nodes"]:
        if one["type"] == "MaskPreview":
            one["mode"] = 2
    return flow


def of_batch(flow: dict) -> dict:
    """The same workflow with its photo and its mask twice, as a batch: threshold -> picture -> twice -> people."""
    add_node(flow, 7, "MaskToImage", (-260, 40), [200, 60])
    for number in (8, 9):
        add_node(flow, number, "RepeatImageBatch", (-260, 40), [200, 60], [2])
    connect(flow, 3, 0, 7, "mask", "MASK")
    connect(flow, 7, 0, 8, "image", "IMAGE")
    connect(flow, 8, 0, 4, "masks", "IMAGE")
    connect(flow, 1, 0, 9, "image", "IMAGE")
    for number in (4, 5):
        connect(flow, 9, 0, number, "image", "IMAGE")
    return flow


def opened(page, flow: dict) -> None:
    load_workflow(page, flow)
    page.locator(".mild-stage").wait_for()


def run(page, server) -> dict:
    """Press Run; return ComfyUI's history entry, once the picker shows what came."""
    entry = press_run(page, server, groups=(), patience=40)
    assert entry["status"]["status_str"] == "success"
    page.locator(".mild-checkboxes input").first.wait_for(state="attached")
    page.evaluate(DRAWN)
    return entry


def shown(entry: dict) -> list[dict]:
    """The people of the (first) photo, as the node gave them to the picker."""
    return next(one["mild_people"] for one in entry["outputs"].values() if "mild_people" in one)[0]["people"]


def gone(entry: dict) -> list[int]:
    return [person["number"] for person in shown(entry) if person["erased"]]


def boxes(page):
    """The checkboxes that stand for people."""
    return page.locator(".mild-checkboxes input:not(.mild-effect)")


def checked(page) -> list[int]:
    return [i + 1 for i, on in enumerate(boxes(page).evaluate_all("all => all.map(one => one.checked)")) if on]


def place(page, number: int) -> tuple[float, float]:
    """Where on the screen the number badge of a person stands."""
    area = boxes(page).nth(number - 1).bounding_box()
    return area["x"] + area["width"] / 2, area["y"] + area["height"] / 2


def body(page, thing: dict) -> tuple[float, float]:
    """Where on the screen a person or an effect is, from what the node gave."""
    return on_screen(page, *thing["point"])


def widths(page) -> list[float]:
    """How wide the people are drawn, in pixels of the photo, the narrowest first."""
    return page.evaluate("""() => [...document.querySelectorAll('g.mild-person .mild-line')]
        .map(line => line.getBBox().width).sort((a, b) => a - b)""")


def on_screen(page, x: float, y: float) -> tuple[float, float]:
    """Where on the screen a point of the photo (shares of its sides) is."""
    area = page.locator(".mild-stage image").bounding_box()
    return area["x"] + x * area["width"], area["y"] + y * area["height"]


def paint(page, *points: tuple[float, float]) -> None:
    """Paint a line through these places of the screen, with the brush that is on."""
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def values(page) -> dict[str, str]:
    return page.evaluate(f"() => Object.fromEntries({CHOOSE}.widgets.map(widget => [widget.name, widget.value]))")


def status(page) -> str:
    return page.locator(".mild-status").text_content()


def shown_by(page) -> tuple[int, str]:
    """What the preview behind the choice shows: how many pictures, and which text of a node's own."""
    page.wait_for_timeout(300)
    return tuple(
        page.evaluate("""() => {
        const node = window.app.rootGraph.getNodeById(6)
        const pictures = Math.max(window.app.nodeOutputs['6']?.images?.length ?? 0, node.imgs?.length ?? 0)
        return [pictures, node.widgets?.find(widget => widget.name === '$$node-text-preview')?.value ?? '']
    }""")
    )


def walked(page, *arrows: str) -> list[int]:
    """On whom the focus is after each of these arrow keys."""
    people = []
    for arrow in arrows:
        page.keyboard.press(f"Arrow{arrow}")
        label = page.evaluate("() => document.activeElement.getAttribute('aria-label')")
        people.append(int(label.removeprefix("Person ")))
    return people


def set_widget(page, node_id: int, index: int, value) -> None:
    page.evaluate(
        "([id, index, value]) => { window.app.graph.getNodeById(id).widgets[index].value = value }",
        [node_id, index, value],
    )
