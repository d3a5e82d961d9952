"""The pack in ComfyUI's real front end, in Chromium."""

import pytest

from mild.tests.helpers.browser import graph_to_prompt, load_workflow, red_nodes


def workflow_of(*types: str) -> dict:
    """A workflow (the front end's format) with one unconnected node of each type."""
    nodes = [
        {
            "id": i + 1,
            "type": name,
            "pos": [300 * i, 0],
            "size": [280, 200],
            "flags": {},
            "order": i,
            "mode": 0,
            "properties": {},
        }
        for i, name in enumerate(types)
    ]
    return {
        "version": 0.4,
        "last_node_id": len(nodes),
        "last_link_id": 0,
        "nodes": nodes,
        "links": [],
        "groups": [],
        "config": {},
        "extra": {},
    }


@pytest.fixture
def ours(server) -> list[str]:
    return sorted(key for key in server.get("/object_info") if key.startswith("MILD_"))


def test_every_node_can_be_placed(browser_page, ours):
    prompt = graph_to_prompt(browser_page, workflow_of(*ours))
    assert sorted(node["class_type"] for node in prompt.values()) == ours
    assert red_nodes(browser_page) == []
    assert browser_page.problems == []


def test_nobody_is_told_that_our_nodes_did_not_load(browser_page):
    assert browser_page.get_by_role("alert").filter(has_text="MILD").count() == 0


def test_a_node_that_nobody_has_is_red(browser_page):
    load_workflow(browser_page, workflow_of("EmptyImage", "MILD_NoSuchNode"))
    assert red_nodes(browser_page) == ["2: MILD_NoSuchNode"]


def test_the_front_end_speaks_our_words(browser_page, server, ours):
    """Titles come from the translations, under the id of the node."""
    load_workflow(browser_page, workflow_of(*ours))
    titles = browser_page.evaluate("() => window.app.graph.nodes.map(node => node.title)")
    info = server.get("/object_info")
    assert titles == [info[key]["display_name"] for key in ours]


@pytest.mark.parametrize(("method", "own"), [
    ("attentive eraser", {"guidance": 8.5, "suppression": 0.35, "suppressed": 0.2, "until": 0.9}),
    ("attention alone", {"suppression": 0.35, "suppressed": 0.2, "until": 0.9}),
    ("self-rectifying attention", {"blocks": "middle", "start_percent": 0.1, "end_percent": 0.8}),
    ("adaeraser", {"blocks": "middle", "start_percent": 0.1, "end_percent": 0.8}),
])  # fmt: skip
def test_a_choice_that_brings_inputs_of_its_own_opens_as_it_was_saved(browser_page, method, own):
    """Erase by Attention: widgets lie by position, those of the choice behind it. Saved before `vae` was added."""
    workflow = workflow_of("MILD_AttentionEraser")
    names = ["method", *(f"method.{name}" for name in own), "grow", "which"]
    values = [method, *own.values(), 1.5, "2"]
    sockets = [{"name": name, "type": kind, "link": None} for name, kind in
               (("model", "MODEL"), ("mask", "MASK"), ("layers", "MILD_LAYERS"))]  # fmt: skip
    widgets = [{"name": name, "type": "*", "widget": {"name": name}, "link": None} for name in names]
    workflow["nodes"][0] |= {"inputs": [*sockets, *widgets], "widgets_values": values}
    for _ in range(2):  # and as the front end saves it again
        prompt = graph_to_prompt(browser_page, workflow)
        assert prompt["1"]["inputs"] == dict(zip(names, values, strict=True))
        workflow = browser_page.evaluate("() => window.app.graph.serialize()")


def test_a_workflow_saved_with_an_input_that_was_taken_out_still_opens(browser_page):
    """Built-in Model had a last widget, same_part: set by hand in one node, by a link in the other."""

    def saved(number, values, link):
        sockets = [("references", "IMAGE", None), ("model", "COMBO", None), ("same_part", "FLOAT", link)]
        inputs = [{"name": name, "type": kind, "link": link} for name, kind, link in sockets]
        for one in inputs[1:]:
            one["widget"] = {"name": one["name"]}
        return {
            "id": number,
            "type": "MILD_BuiltInModel",
            "pos": [400 * number, 0],
            "size": [270, 122],
            "flags": {},
            "order": number,
            "mode": 0,
            "inputs": inputs,
            "widgets_values": values,
            "properties": {},
            "outputs": [{"name": name, "type": name, "links": None} for name in ("MODEL", "VAE", "CONDITIONING")],
        }

    number = {
        "id": 3,
        "type": "PrimitiveFloat",
        "pos": [0, 0],
        "size": [270, 58],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [{"name": "value", "type": "FLOAT", "widget": {"name": "value"}, "link": None}],
        "outputs": [{"name": "FLOAT", "type": "FLOAT", "links": [1]}],
        "widgets_values": [0.4],
        "properties": {},
    }
    workflow = {
        "version": 0.4,
        "last_node_id": 3,
        "last_link_id": 1,
        "links": [[1, 3, 0, 2, 2, "FLOAT"]],
        "groups": [],
        "nodes": [saved(1, ["exemplar", 0.7], None), saved(2, ["exemplar", 0], 1), number],
        "config": {},
        "extra": {},
    }
    prompt = graph_to_prompt(browser_page, workflow)
    assert [prompt[name]["inputs"] for name in "12"] == [{"model": "exemplar", "quality": "normal"}] * 2
    assert red_nodes(browser_page) == []
    assert browser_page.problems == []
