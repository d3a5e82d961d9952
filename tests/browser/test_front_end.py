"""The pack in ComfyUI's real front end, in Chromium."""

import json
from pathlib import Path

import pytest

from mild import __file__ as init_file
from mild.tests.helpers.browser import graph_to_prompt, load_workflow, red_nodes
from mild.tests.helpers.templates import wanting_models

ROOT = Path(init_file).parent
TEMPLATES = sorted((ROOT / "workflows").glob("*.json"))


def workflow_of(*types: str) -> dict:
    """A workflow (the front end's format) with one unconnected node of each type."""
    nodes = [{"id": i + 1, "type": name, "pos": [300 * i, 0], "size": [280, 200], "flags": {}, "order": i, "mode": 0,
              "properties": {}} for i, name in enumerate(types)]
    return {"version": 0.4, "last_node_id": len(nodes), "last_link_id": 0, "nodes": nodes, "links": [], "groups": [],
            "config": {}, "extra": {}}


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


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_template_opens_without_a_red_node(browser_page, path):
    """But for a loader whose file nobody has here: that one names where to get it."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    prompt = graph_to_prompt(browser_page, workflow)
    assert set(red_nodes(browser_page)) <= wanting_models(workflow)
    assert any(node["class_type"].startswith("MILD_") for node in prompt.values())
    assert browser_page.problems == []
