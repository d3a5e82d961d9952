"""The people picker of Choose People in the real front end, in both of its ways to draw nodes."""

import json

import numpy as np
import pytest

from mild.tests.helpers.browser import load_workflow, open_front_end, press_run, wait_until_ready
from mild.tests.helpers.picker import (
    CHOOSE,
    HIGH,
    LOUPE_LINES,
    LOW,
    WAITS,
    add_node,
    body,
    boxes,
    checked,
    connect,
    gone,
    of_batch,
    on_screen,
    opened,
    paint,
    place,
    run,
    set_widget,
    shown,
    shown_by,
    status,
    upload,
    upload_masks,
    values,
    walked,
    widths,
    with_effects,
    with_large_photo,
    workflow,
)


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "nodes2"])
def page(request, server):
    with open_front_end(server, nodes2=request.param) as page:
        page.mouse.move(5, 500)
        yield page


@pytest.fixture(scope="module")
def mask_file(server) -> str:
    return upload_masks(server)


def test_choose_undo_queue_detect_anew_save_reload(page, server, mask_file):
    opened(page, workflow(mask_file, threshold=HIGH))
    entry = run(page, server)
    people = shown(entry)
    assert len(people) == 3 and gone(entry) == []
    assert "6" not in entry["outputs"], "what lies behind an empty choice must not run"
    assert "queue again" in status(page) and shown_by(page) == (0, WAITS)

    page.mouse.click(*body(page, people[1]))
    page.mouse.click(*body(page, people[2]))
    assert checked(page) == [2, 3]
    page.evaluate(f"() => {{ window.before = {CHOOSE} }}")
    page.keyboard.press("Control+z")
    page.wait_for_timeout(100)
    assert checked(page) == [2]
    assert page.evaluate(f"() => window.before === {CHOOSE}"), "the graph's own undo made the node anew"

    entry = run(page, server)
    assert gone(entry) == [2] and "6" in entry["outputs"]
    assert shown_by(page) == (1, ""), "it waits no more"
    where = shown(entry)[1]["point"]

    set_widget(page, 3, 0, LOW)
    entry = run(page, server)
    assert len(shown(entry)) == 5
    (number,) = gone(entry)
    assert number != 2 and np.allclose(shown(entry)[number - 1]["point"], where, atol=0.01)
    assert checked(page) == [number]

    saved = page.evaluate("() => window.app.rootGraph.serialize()")
    page.reload()
    wait_until_ready(page)
    opened(page, json.loads(json.dumps(saved)))
    assert "1 chosen" in page.locator(".mild-hint").text_content()
    assert gone(run(page, server)) == [number] == checked(page)
    assert page.problems == []


def test_whoever_is_gone_is_said(page, server, mask_file):
    opened(page, workflow(mask_file))
    run(page, server)
    page.mouse.click(*place(page, 1))
    set_widget(page, 3, 0, HIGH)  # the first is not found any more
    entry = run(page, server)
    assert gone(entry) == [] and "6" not in entry["outputs"]
    assert "1 clicked person is no longer there" in status(page)


def test_words_clicks_and_the_graphs_own_undo(page, server, mask_file):
    opened(page, workflow(mask_file, who="all but 2"))
    assert "all but 2" in page.locator(".mild-hint").text_content()
    run(page, server)
    assert checked(page) == [1, 3, 4, 5]
    page.mouse.click(*place(page, 2))
    assert values(page)["who"] == "" and checked(page) == [1, 2, 3, 4, 5]
    page.keyboard.press("Control+z")
    assert values(page) == {"who": "all but 2", "picked": ""} and checked(page) == [1, 3, 4, 5]
    page.keyboard.press("Control+Shift+z")
    assert checked(page) == [1, 2, 3, 4, 5]
    page.get_by_role("button", name="Nobody in this photo").click()
    assert values(page) == {"who": "", "picked": ""}
    page.get_by_role("button", name="Who goes, stays").click()
    assert checked(page) == [1, 2, 3, 4, 5]
    page.mouse.click(*place(page, 4))

    # Ctrl+Z with the focus on the graph: one step of its own, which is the last click
    page.evaluate("() => document.activeElement.blur()")
    page.locator("#graph-canvas").focus()
    page.keyboard.press("Control+z")
    page.wait_for_timeout(600)
    assert len(json.loads(values(page)["picked"])["people"]) == 5
    assert checked(page) == [1, 2, 3, 4, 5], "the people are still to be seen after the graph's undo"
    assert page.problems == []


def test_a_connected_text_cannot_be_clicked_away(page, server, mask_file):
    flow = workflow(mask_file)
    add_node(flow, 7, "PrimitiveString", (-260, 40), [200, 60], ["2"])
    connect(flow, 7, 0, 5, "who", "STRING", widget=True)
    opened(page, flow)
    assert gone(run(page, server)) == [2]
    page.mouse.click(*place(page, 4))
    assert checked(page) == [2] and values(page)["picked"] == "" and "connected" in status(page)
    page.get_by_role("button", name="Paint more").click()
    paint(page, place(page, 4))
    page.keyboard.press("Escape")
    picked = json.loads(values(page)["picked"])
    assert len(picked["strokes"]) == 1 and picked["people"] == [] and values(page)["who"] == "", (
        "a mask can be corrected"
    )
    page.keyboard.press("Control+z")
    assert values(page)["picked"] == ""
    set_widget(page, 7, 0, "")
    assert gone(run(page, server)) == []
    page.mouse.click(*place(page, 4))
    assert gone(run(page, server)) == [4]


def test_nothing_leaks_to_the_graph(page, server, mask_file):
    opened(page, workflow(mask_file))
    run(page, server)
    view = "() => [window.app.canvas.ds.scale, ...window.app.canvas.ds.offset, ...Array.from(" + CHOOSE + ".pos)]"
    before = page.evaluate(view)
    width = page.locator(".mild-stage image").bounding_box()["width"]
    x, y = place(page, 3)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -240)
    page.wait_for_timeout(100)
    zoomed = page.locator(".mild-stage image").bounding_box()
    assert zoomed["width"] > 1.3 * width
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y - 40, steps=5)
    page.mouse.up()
    moved = page.locator(".mild-stage image").bounding_box()
    assert (moved["x"], moved["y"]) == pytest.approx((zoomed["x"] - 60, zoomed["y"] - 40), abs=2)
    assert checked(page) == [], "a drag is no click"
    page.mouse.click(*place(page, 3))
    page.keyboard.press("Delete")
    page.keyboard.press("0")
    page.wait_for_timeout(100)
    assert page.locator(".mild-stage image").bounding_box()["width"] == pytest.approx(width, abs=1)
    assert page.evaluate(view) == pytest.approx(before)


def test_keyboard_alone(page, server, mask_file):
    opened(page, workflow(mask_file))
    run(page, server)
    boxes(page).first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert checked(page) == [1, 2]
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+y")
    page.keyboard.press("Control+z")
    assert checked(page) == [1]
    assert walked(page, "Right", "Right", "Right", "Right", "Left") == [3, 4, 5, 5, 4]
    assert walked(page, "Down", "Up") == [5, 4], "the fifth stands below the fourth"


def test_forty_people_each_with_a_target(page, server):
    """Every number badge takes a click anywhere within 24 px, however close the people stand."""
    people = np.zeros((576, 768))
    y, x = np.mgrid[:576, :768]
    for index in range(40):
        row, column = divmod(index, 10)
        place_x, place_y = 60 + column * 62 + row * 9, 130 + row * 62
        people[(x - place_x) ** 2 / 26**2 + (y - place_y) ** 2 / 29**2 < 1] = (index + 1) / 255
    flow = workflow(upload(server, people, "forty.png"), split="label image")
    next(one for one in flow["nodes"] if one["id"] == 3)["mode"] = 4  # no threshold
    opened(page, flow)
    assert len(shown(run(page, server))) == 40
    centres = [place(page, number) for number in range(1, 41)]
    for number, (left, top) in enumerate(centres, 1):
        page.mouse.click(left + 7 * (-1) ** number, top - 7)
    assert checked(page) == list(range(1, 41))
    for left, top in centres[::8]:
        page.mouse.click(left, top)
    staying = [number for number in range(1, 41) if number % 8 != 1]
    assert checked(page) == staying
    assert [pick["number"] for pick in json.loads(values(page)["picked"])["people"]] == staying


def test_a_batch_has_pages(page, server, mask_file):
    opened(page, of_batch(workflow(mask_file)))
    run(page, server)
    page.mouse.click(*place(page, 1))
    page.get_by_role("button", name="Next photo").click()
    assert checked(page) == []
    page.mouse.click(*place(page, 3))
    page.keyboard.press("PageUp")
    assert checked(page) == [1]
    entry = run(page, server)
    photos = entry["outputs"]["5"]["mild_people"]
    assert [[one["number"] for one in photo["people"] if one["erased"]] for photo in photos] == [[1], [3]]
    page.get_by_role("button", name="Who goes, stays").click(modifiers=["Shift"])
    picks = json.loads(values(page)["picked"])["people"]
    assert {(pick["photo"], pick["number"]) for pick in picks} == {(0, n) for n in (2, 3, 4, 5)} | {
        (1, n) for n in (1, 2, 4, 5)
    }
    assert page.problems == []


def test_copy_and_paste(page, server, mask_file):
    opened(page, workflow(mask_file))
    run(page, server)
    page.mouse.click(*place(page, 2))
    picked = values(page)["picked"]
    page.evaluate(f"""() => {{
        const canvas = window.app.canvas
        canvas.deselectAll?.()
        canvas.select({CHOOSE})
        canvas.copyToClipboard()
        canvas.pasteFromClipboard({{ connectInputs: true }})
    }}""")
    page.wait_for_timeout(300)
    pasted = page.evaluate("""() => window.app.graph.nodes.filter(node => node.type === 'MILD_ChoosePeople')
        .map(node => node.widgets.find(widget => widget.name === 'picked').value)""")
    assert pasted == [picked, picked]
    assert "1 chosen" in page.locator(".mild-hint").all_text_contents()[-1]
    assert page.problems == []


def test_inside_a_subgraph(page, server, mask_file):
    opened(page, workflow(mask_file))
    page.evaluate("""() => {
        const graph = window.app.graph
        const { subgraph } = graph.convertToSubgraph(new Set([4, 5].map(id => graph.getNodeById(id))))
        window.app.canvas.setGraph(subgraph)
        window.app.canvas.ds.scale = 1
        const node = subgraph.nodes.find(node => node.type === 'MILD_ChoosePeople')
        window.app.canvas.ds.offset = [500 - node.pos[0], 150 - node.pos[1]]
        window.app.canvas.setDirty(true, true)
    }""")
    page.wait_for_timeout(500)
    entry = run(page, server)
    assert any(":" in key for key in entry["outputs"])
    page.mouse.click(*place(page, 3))
    assert gone(run(page, server)) == [3] == checked(page)
    page.evaluate("() => window.app.canvas.setGraph(window.app.rootGraph)")
    page.wait_for_timeout(300)
    saved = page.evaluate("() => window.app.rootGraph.serialize()")
    load_workflow(page, saved)
    page.wait_for_timeout(300)
    assert gone(press_run(page, server, groups=(), patience=40)) == [3]
    assert shown_by(page) == (1, "")
    # Outside of the subgraph, too, nothing of the last run stays when nobody is chosen any more.
    page.evaluate("""() => {
        const { subgraph } = window.app.graph.nodes.find(node => node.subgraph)
        const choose = subgraph.nodes.find(node => node.type === 'MILD_ChoosePeople')
        choose.widgets.find(widget => widget.name === 'picked').value = ''
    }""")
    press_run(page, server, groups=(), patience=40)
    assert shown_by(page) == (0, WAITS)
    assert page.problems == []


def test_the_brush_and_clicks_are_undone_in_turn_and_kept(page, server, mask_file):
    opened(page, workflow(mask_file, threshold=HIGH))
    first, second, _ = shown(run(page, server))
    before = widths(page)
    page.mouse.click(*body(page, second))
    page.keyboard.press("b")
    assert page.get_by_role("button", name="Paint more").get_attribute("aria-pressed") == "true"
    x, y = body(page, second)
    paint(page, (x, y), (x - 50, y - 5))
    page.keyboard.press("b")
    assert max(widths(page)) > before[0] + 50 and checked(page) == [2]
    page.mouse.click(*body(page, first))
    page.keyboard.press("e")
    paint(page, body(page, first))
    stages = [values(page)["picked"]]
    for _ in range(4):
        page.keyboard.press("Control+z")
        stages.append(values(page)["picked"])
    kept = [json.loads(stage or "{}") for stage in stages]
    assert [len(stage.get("strokes", [])) for stage in kept] == [2, 1, 1, 0, 0]
    assert [len(stage.get("people", [])) for stage in kept] == [2, 2, 1, 1, 0]
    assert widths(page) == before
    for _ in range(4):
        page.keyboard.press("Control+y")
    assert values(page)["picked"] == stages[0] and "Queue to apply" in status(page)

    entry = run(page, server)
    assert gone(entry) == [1, 2] and "Corrected by the brush: Person 1, Person 2." in entry["outputs"]["5"]["text"][0]
    hole = [one for one in shown(entry)[0]["rings"] if len(one) < 80]
    assert shown(entry)[1]["before"]["box"] == second["box"] and hole, "the dot is a hole in the first"
    assert "Queue to apply" not in status(page) and gone(run(page, server)) == [1, 2]
    page.keyboard.press("Escape")
    saved = page.evaluate("() => window.app.rootGraph.serialize()")
    opened(page, json.loads(json.dumps(saved)))
    assert values(page)["picked"] == stages[0]
    assert gone(run(page, server)) == [1, 2] and len(stages[0]) < 700
    page.get_by_role("button", name="Paint more").click()
    page.get_by_role("button", name="Remove all strokes").click()
    assert widths(page) == pytest.approx(before, abs=1) and checked(page) == [1, 2]
    assert page.problems == []


def test_everything_painted_away_and_back(page, server, mask_file):
    """With a text in who, which stays as it is."""
    opened(page, workflow(mask_file, threshold=HIGH, who="all but 3"))
    second = shown(run(page, server))[1]
    page.get_by_role("button", name="Paint away").click()
    page.get_by_label("Size of the brush").fill("100")
    paint(page, body(page, second))
    assert values(page)["who"] == "all but 3" and len(widths(page)) == 2
    entry = run(page, server)
    assert "Person 2 is left out: the brush took away all of their mask." in entry["outputs"]["5"]["text"][0]
    assert gone(entry) == [1] and [one["number"] for one in shown(entry)] == [1, 3]
    page.get_by_role("button", name="Undo").click()
    assert len(widths(page)) == 3 and values(page) == {"who": "all but 3", "picked": ""}
    assert checked(page) == [1, 2]


def test_shadows_and_carried_things_are_taken_or_refused(page, server, mask_file):
    opened(page, with_effects(workflow(mask_file, threshold=HIGH)))
    first, second, _ = shown(run(page, server))
    shadow, thing = first["effects"]
    page.mouse.click(*body(page, shadow))
    assert values(page)["picked"] == "", "the shadow of somebody who stays is nothing to be clicked"
    page.mouse.click(*body(page, first))
    page.mouse.click(*body(page, second))
    assert status(page).startswith("2 of 3 go: 1 with shadow, carried; 2 with shadow, carried")
    page.mouse.click(*body(page, shadow))
    (refused,) = json.loads(values(page)["picked"])["effects"]
    assert (refused["number"], refused["kind"], refused["taken"]) == (1, "shadow", False)
    page.get_by_label("carried by Person 2").focus()
    page.keyboard.press("Space")
    assert status(page).startswith("2 of 3 go: 1 with carried; 2 with shadow")
    entry = run(page, server)
    assert "2 of 3 disappear: Person 1 with carried; Person 2 with shadow" in entry["outputs"]["5"]["text"][0]
    assert "Queue to apply" not in status(page)
    page.mouse.click(*body(page, shadow))
    assert len(json.loads(values(page)["picked"])["effects"]) == 1, "taken again, as it was proposed"
    page.keyboard.press("Control+z")
    assert status(page).startswith("2 of 3 go: 1 with carried; 2 with shadow") and page.problems == []


def test_the_brush_on_24_megapixels_shows_every_pixel(page, server):
    lines = np.zeros((20, 20))
    lines[:, ::2] = 1  # of one pixel, a stroke's length right of the person
    person = np.zeros((400, 600))
    person[150:250, 300:340] = 1
    opened(page, with_large_photo(workflow(upload(server, person, "one.png")), upload(server, lines, "lines.png")))
    entry = run(page, server)
    assert entry["outputs"]["5"]["mild_people"][0]["full"]["filename"].endswith(".jpg")
    boxes(page).first.focus()
    page.keyboard.press("b")
    start, end = on_screen(page, 0.53, 0.5), on_screen(page, 3610 / 6000, 0.5)
    page.mouse.move(*start)
    page.wait_for_function("() => !document.querySelector('.mild-loupe').hidden")
    page.mouse.down()
    page.mouse.move(*end, steps=10)
    page.wait_for_function(f"() => ({LOUPE_LINES})() >= 4")  # lines of one pixel, once all pixels have come
    page.mouse.up()
    (stroke,) = json.loads(values(page)["picked"])["strokes"]
    assert stroke["points"][-2] == pytest.approx(3610 / 6000, abs=0.002) and len(stroke["points"]) <= 8
    end = stroke["points"][-2] + stroke["size"] / 2
    assert widths(page) == [pytest.approx(6000 * end - 3000, abs=8)] and page.problems == []
