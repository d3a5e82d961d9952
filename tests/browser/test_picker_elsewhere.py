"""The people picker where ComfyUI lies below a URL prefix, and clicks where the picker does not load."""

import json

import pytest

from mild.tests.helpers.browser import graph_to_prompt, load_workflow, open_front_end, press_run, wait_until_ready
from mild.tests.helpers.picker import (
    CHOOSE,
    checked,
    gone,
    opened,
    place,
    run,
    shown,
    status,
    upload_masks,
    values,
    workflow,
)
from mild.tests.helpers.prefix import below_prefix

PICKER_FILE = "**/people_picker.js*"
CLICKS = json.dumps({"people": [{"photo": 0, "number": 2}, {"photo": 0, "number": 4}]})


def test_below_a_prefix(server):
    with below_prefix(server, "/user/ann/comfy") as proxy, open_front_end(server, url=proxy.url) as page:
        opened(page, workflow(upload_masks(server)))
        run(page, server)
        # the photo too, not only the outlines
        page.wait_for_function("""async () => {
            const picture = new Image()
            picture.src = document.querySelector('.mild-stage image').getAttribute('href')
            await picture.decode()
            return picture.naturalWidth > 0
        }""")
        style = "() => getComputedStyle(document.querySelector('.mild-stage')).overflow"
        assert page.evaluate(style) == "hidden", "the picker's style sheet is missing"
        page.mouse.click(*place(page, 3))
        assert gone(run(page, server)) == [3] == checked(page)
        # the front end itself asks for its icons there
        assert [path for path in proxy.outside if not path.startswith("/assets/")] == [] and page.problems == []


@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_clicks_outlive_a_picker_that_does_not_load(server, nodes2):
    """Opened, run and saved without the picker, then opened with it."""
    flow = workflow(upload_masks(server), picked=CLICKS)
    with open_front_end(server, nodes2=nodes2, without=PICKER_FILE) as page:
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
