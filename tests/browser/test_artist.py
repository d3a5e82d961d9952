"""What an artist does first: open our template, run it, then put in a photo of their own and paint a mask."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mild.tests.helpers.browser import open_template, paint_mask, press_run, red_nodes
from mild.tools.find_comfyui import PACK_FOLDER

TEMPLATE = "erase_people_no_download"

# What the template's notes say: what fed from the example photo is fed from a Load Image node with their photo, and
# what they paint are separate blobs.
USE_OWN_PHOTO = """async name => {
    await window.app.refreshComboInNodes()  // so that Load Image knows the file
    const graph = window.app.graph
    const example = graph.nodes.find(node => node.type === 'MILD_ExamplePhoto')
    const load = window.LiteGraph.createNode('LoadImage')
    load.pos = example.pos
    graph.add(load)
    const choice = load.widgets.find(widget => widget.name === 'image')
    choice.value = name
    choice.callback(name)
    for (const output of example.outputs)
        for (const id of [...(output.links ?? [])]) {
            const link = graph.getLink(id)
            load.connect(output.type === 'MASK' ? 1 : 0, graph.getNodeById(link.target_id), link.target_slot)
        }
    graph.remove(example)
    const people = graph.nodes.find(node => node.type === 'MILD_PeopleFromMasks')
    people.widgets.find(widget => widget.name === 'split').value = 'separate blobs'
}"""


@pytest.fixture
def photo(tmp_path):
    """A made-up scene, 200 x 150 px: a wall, a floor, and a dark figure in the middle."""
    grain = np.random.default_rng(1).integers(-12, 12, (150, 200, 1))
    scene = np.concatenate([np.full((90, 200, 3), (170, 160, 150)), np.full((60, 200, 3), (110, 80, 60))]) + grain
    image = Image.fromarray(scene.astype(np.uint8))
    ImageDraw.Draw(image).rectangle((85, 50, 115, 120), fill=(20, 30, 90))
    image.save(tmp_path / "my photo ü.png")
    return tmp_path / "my photo ü.png"


def saved_pictures(server, entry) -> list[np.ndarray]:
    return [np.asarray(Image.open(file.path).convert("RGB")) for file in server.files_of(entry["outputs"])]


def test_template_runs_and_then_runs_on_her_own_photo(browser_page, server, photo):
    open_template(browser_page, PACK_FOLDER, TEMPLATE)
    assert red_nodes(browser_page) == []
    entry = press_run(browser_page, server)
    assert entry["status"]["status_str"] == "success" and server.files_of(entry["outputs"])

    name = server.upload_image(photo)
    browser_page.evaluate(USE_OWN_PHOTO, name)
    browser_page.wait_for_timeout(1000)
    paint_mask(browser_page, "LoadImage", (0.5, 0.3), (0.5, 0.85))
    entry = press_run(browser_page, server)
    assert entry["status"]["status_str"] == "success"
    assert red_nodes(browser_page) == [] and browser_page.problems == []

    before = np.asarray(Image.open(photo))
    same_size = [picture for picture in saved_pictures(server, entry) if picture.shape == before.shape]
    changed = [(picture != before).any(-1) for picture in same_size]
    results = [where for where in changed if 0 < where.mean() < 0.5 and where[60:110, 98:102].mean() > 0.9]
    assert results, "no picture of the run differs from the photo where the mask was painted, and only about there"
    assert not any(where[:, :40].any() or where[:, 160:].any() for where in results)
