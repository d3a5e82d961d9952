"""Find People in the real front end: each detector and each kind of mask brings its own settings."""

from mild.tests.helpers.browser import graph_to_prompt, load_workflow, red_nodes

CHOOSE = """([detector, masks]) => {
    const node = window.app.graph.nodes[0]
    for (const [name, value] of [["detector", detector], ["masks", masks]]) {
        const widget = node.widgets.find(widget => widget.name === name)
        widget.value = value
        widget.callback?.(value)
    }
}"""


def workflow() -> dict:
    node = {
        "id": 1,
        "type": "MILD_FindPeople",
        "pos": [0, 0],
        "size": [400, 300],
        "flags": {},
        "order": 0,
        "mode": 0,
        "properties": {},
    }
    return {
        "version": 0.4,
        "last_node_id": 1,
        "last_link_id": 0,
        "nodes": [node],
        "links": [],
        "groups": [],
        "config": {},
        "extra": {},
    }


def test_settings_follow_the_choice_and_survive_saving(browser_page):
    page = browser_page
    load_workflow(page, workflow())
    plain = graph_to_prompt(page)["1"]["inputs"]
    assert plain["detector"] == "only what is connected" and not any("." in name for name in plain)
    page.evaluate(CHOOSE, ["MoveNet", "SAM 2 (ONNX)"])
    page.wait_for_function("() => window.app.graph.nodes[0].widgets.some(widget => widget.name === 'masks.prompts')")
    chosen = graph_to_prompt(page)["1"]["inputs"]
    assert chosen["detector.threshold"] == 0.1 and chosen["detector.closer"] == 2 and chosen["masks.prompts"] == "box"
    assert {name for name in chosen if "." not in name} == set(plain)
    page.evaluate("""() => {
        window.app.graph.nodes[0].widgets.find(widget => widget.name === 'detector.threshold').value = 0.25
    }""")
    saved = page.evaluate("() => window.app.graph.serialize()")
    again = graph_to_prompt(page, saved)["1"]["inputs"]
    assert again == chosen | {"detector.threshold": 0.25}
    # what was saved before fetch_when_missing came, which is why that is the last of the values
    older = saved["nodes"][0]["widgets_values"].pop()
    assert older is False and graph_to_prompt(page, saved)["1"]["inputs"] == again
    page.evaluate(CHOOSE, ["only what is connected", "as found"])
    assert graph_to_prompt(page)["1"]["inputs"] == plain
    assert red_nodes(page) == [] and page.problems == []
