"""Erase People, one node for newcomers: listed by the server, placed in the front end, run inside of subgraphs."""

import numpy as np
import pytest
from PIL import Image

from mild.tests.helpers import canvas
from mild.tests.helpers.browser import graph_to_prompt, open_front_end, red_nodes
from mild.tests.helpers.templates import nodes_of
from mild.tools.find_comfyui import PACK_FOLDER

NAME = "Erase People"

WIRE = """file => {
    const graph = window.app.graph
    const [node] = graph.nodes
    const load = window.LiteGraph.createNode('LoadImage')
    graph.add(load)
    load.widgets.find(widget => widget.name === 'image').value = file
    load.connect(0, node, node.inputs.findIndex(input => input.name === 'image'))
    load.connect(1, node, node.inputs.findIndex(input => input.name === 'mask'))
    const save = window.LiteGraph.createNode('SaveImage')
    graph.add(save)
    node.connect(0, save, 0)
    return {
        inputs: node.inputs.map(input => input.name),
        outputs: node.outputs.map(output => output.name),
        widgets: node.widgets.map(widget => [widget.name, widget.value]),
    }
}"""

NEST = """title => {
    const graph = window.app.graph
    let outer = graph.nodes.find(node => node.title === title)
    for (let i = 0; i < 2; i++) outer = graph.convertToSubgraph(new Set([outer])).node
}"""


def place_by_search(page) -> None:
    """Double click on the empty canvas, the name, Enter, and a click where the node is to stand."""
    page.evaluate("() => window.app.graph.clear()")
    canvas.settle(page)  # or the double click still meets the node that was there
    page.mouse.dblclick(800, 600)
    page.get_by_role("search").get_by_role("combobox").fill(NAME)
    found = page.get_by_role("option").first
    found.filter(has_text=NAME).filter(has_text="Blueprint").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_function("() => window.app.graph.nodes.length === 1")
    page.mouse.click(800, 600)
    assert page.evaluate("() => window.app.graph.nodes.map(node => node.title)") == [NAME]


@pytest.fixture
def photo(tmp_path, server):
    """A wall with a dark figure, and a mask over it in the alpha channel, as the mask editor saves it."""
    rng = np.random.default_rng(1)
    pixels = np.full((60, 80, 4), 255, np.uint8)
    pixels[..., :3] = 150 + rng.integers(-12, 12, (60, 80, 1))
    pixels[20:50, 30:42, :3] = (20, 30, 90)
    pixels[18:52, 28:44, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "figure.png")
    return server.upload_image(tmp_path / "figure.png"), pixels


def test_the_server_lists_it(server):
    listed = [one for one in server.get("/global_subgraphs").values() if one["source"] == "custom_node"]
    assert [(one["name"], one["info"]["node_pack"]) for one in listed] == [(NAME, f"custom_nodes.{PACK_FOLDER}")]


@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_it_runs_where_it_is_placed_and_inside_of_two_subgraphs(server, photo, nodes2):
    file, pixels = photo
    with open_front_end(server, nodes2=nodes2) as page:
        place_by_search(page)
        made = page.evaluate(WIRE, file)
        assert made["inputs"] == ["image", "mask", "people", "who", "grow", "seed"]
        assert made["outputs"] == ["photo", "changed"]
        assert [name for name, _ in made["widgets"]] == ["who", "grow", "seed"] and made["widgets"][0][1] == "all"
        for depth in (1, 3):
            if depth > 1:
                page.evaluate(NEST, NAME)
            graph = graph_to_prompt(page)
            assert red_nodes(page) == [] and page.problems == []
            (sampler,), (save,) = nodes_of(graph, "MILD_SampleLayers"), nodes_of(graph, "SaveImage")
            assert sampler.count(":") == depth
            graph[sampler]["inputs"]["steps"] = 2
            picture = np.asarray(Image.open(server.run(graph).of(save)[0].path).convert("RGB"))
            differs = (picture != pixels[..., :3]).any(-1)
            assert differs[24:46, 32:40].mean() > 0.9 and not differs[:, :15].any() and not differs[:8].any()
