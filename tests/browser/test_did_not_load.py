"""What an artist has where the picker's JavaScript, or every node of ours, did not load."""

import json

import pytest

from mild import NEEDS
from mild.tests.helpers.browser import graph_to_prompt, load_workflow, open_front_end, press_run, wait_until_ready
from mild.tests.helpers.picker import (
    CHOOSE,
    checked,
    gone,
    opened,
    run,
    shown,
    status,
    upload_masks,
    values,
    workflow,
)

PICKER_FILE = "**/people_picker.js*"
CLICKS = json.dumps({"people": [{"photo": 0, "number": 2}, {"photo": 0, "number": 4}]})


@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_clicks_outlive_a_picker_that_does_not_load(server, nodes2):
    """Opened, run and saved without the picker, then opened with it."""
    flow = workflow(upload_masks(server), picked=CLICKS)
    with open_front_end(server, nodes2=nodes2, routes={PICKER_FILE: lambda route: route.abort()}) as page:
        load_workflow(page, flow)
        assert page.locator(".mild-stage").count() == 0
        assert values(page) == {"who": "", "picked": CLICKS}
        entry = press_run(page, server, groups=(), patience=40)
        assert gone(entry) == [2, 4] and len(shown(entry)) == 5
        saved = page.evaluate("() => window.app.rootGraph.serialize()")

        page.unroute(PICKER_FILE)
        page.reload()
        wait_until_ready(page)
        opened(page, saved)
        assert values(page) == {"who": "", "picked": CLICKS}
        assert graph_to_prompt(page)["5"]["inputs"]["picked"] == CLICKS
        assert page.evaluate(f"() => {CHOOSE}.inputs.map(input => input.name)") == ["people", "image", "who"]
        assert gone(run(page, server)) == [2, 4] == checked(page) and "2 of 5 go" in status(page)
        assert page.problems == []


def test_a_socket_saved_by_a_former_version_goes(server):
    """Where the picker did not load, a former version had a socket in its place; unconnected, it means nothing."""
    flow = workflow(upload_masks(server), who="2")
    choosing = next(one for one in flow["nodes"] if one["type"] == "MILD_ChoosePeople")
    choosing["inputs"].insert(1, {"name": "picked", "type": "STRING", "link": None})
    choosing["widgets_values"] = ["2"]
    for link in flow["links"]:
        if link[3:5] == [5, 1]:
            link[4] = 2  # the photo's socket comes after it
    with open_front_end(server) as page:
        opened(page, flow)
        assert page.evaluate(f"() => {CHOOSE}.inputs.map(input => input.name)") == ["people", "image", "who"]
        assert graph_to_prompt(page)["5"]["inputs"] == {"people": ["4", 0], "image": ["1", 0], "who": "2", "picked": ""}
        assert gone(run(page, server)) == [2] == checked(page)


def test_the_browser_says_that_the_nodes_did_not_load(server):
    """As with a ComfyUI that is too old: it serves our JavaScript, and has none of our nodes."""

    def without_ours(route):
        answer = route.fetch()
        info = {key: node for key, node in answer.json().items() if not key.startswith("MILD_")}
        route.fulfill(response=answer, json=info)

    def older(route):
        answer = route.fetch()
        stats = answer.json()
        stats["system"]["comfyui_version"] = "0.20.1"
        route.fulfill(response=answer, json=stats)

    routes = {"**/object_info": without_ours, "**/system_stats": older}
    with open_front_end(server, routes=routes) as page:
        toast = page.get_by_role("alert").filter(has_text="MILD")
        toast.wait_for()
        assert f"need ComfyUI {NEEDS} or newer, and this is 0.20.1" in toast.text_content()
        assert page.problems == []
