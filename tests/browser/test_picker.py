"""The people picker of Choose People in the real front end, in both of its ways to draw nodes."""

import json

import numpy as np
import pytest

from mild.mild_core.example_photo import load_example
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.outlines import outlines
from mild.mild_core.people.picked import Pick, people_picked
from mild.mild_core.people.selection import choose
from mild.mild_core.scene import Person
from mild.tests.helpers.browser import load_workflow, open_front_end, press_run, wait_until_ready
from mild.tests.helpers.picker import (
    CHOOSE,
    HIGH,
    LOW,
    body,
    boxes,
    checked,
    gone,
    node,
    opened,
    place,
    run,
    set_widget,
    shown,
    status,
    upload,
    upload_masks,
    values,
    workflow,
)
from mild.tools.find_comfyui import PACK_FOLDER


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
    assert "queue again" in status(page)

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
    text = node(7, "PrimitiveString", -260, [200, 60], ["2"])
    text["outputs"] = [{"name": "STRING", "type": "STRING", "links": [7]}]
    flow["nodes"].append(text)
    flow["links"].append([7, 7, 0, 5, 2, "STRING"])
    who = {"name": "who", "type": "STRING", "widget": {"name": "who"}, "link": 7}
    next(one for one in flow["nodes"] if one["id"] == 5)["inputs"].append(who)
    opened(page, flow)
    assert gone(run(page, server)) == [2]
    page.mouse.click(*place(page, 4))
    assert checked(page) == [2] and values(page)["picked"] == "" and "connected" in status(page)
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


def walked(page, *arrows: str) -> list[int]:
    """On whom the focus is after each of these arrow keys."""
    people = []
    for arrow in arrows:
        page.keyboard.press(f"Arrow{arrow}")
        label = page.evaluate("() => document.activeElement.getAttribute('aria-label')")
        people.append(int(label.removeprefix("Person ")))
    return people


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
    for left, top in centres[::2]:
        page.mouse.click(left, top)
    assert checked(page) == list(range(2, 41, 2))
    order = [pick["number"] for pick in json.loads(values(page)["picked"])["people"]]
    assert order == list(range(2, 41, 2))


def test_a_batch_has_pages(page, server, mask_file):
    flow = workflow(mask_file)
    ends = {"MASK": "mask", "IMAGE": "image"}
    twice = ("RepeatImageBatch", "IMAGE", [2])
    extra = [(7, "MaskToImage", "MASK", []), (8, *twice), (9, *twice)]
    for number, kind, takes, settings in extra:
        one = node(number, kind, -260, [200, 60], settings, [(ends[takes], takes, 10 + number)])
        one["outputs"] = [{"name": "IMAGE", "type": "IMAGE", "links": []}]
        flow["nodes"].append(one)
    # threshold -> picture -> twice -> people; photo -> twice -> people and choose
    flow["links"] = [
        [1, 2, 0, 3, 0, "MASK"],
        [17, 3, 0, 7, 0, "MASK"],
        [18, 7, 0, 8, 0, "IMAGE"],
        [2, 8, 0, 4, 0, "IMAGE"],
        [19, 1, 0, 9, 0, "IMAGE"],
        [3, 9, 0, 4, 1, "IMAGE"],
        [5, 9, 0, 5, 1, "IMAGE"],
        [4, 4, 0, 5, 0, "MILD_PEOPLE"],
        [6, 5, 1, 6, 0, "MASK"],
    ]
    for one in flow["nodes"]:
        for slot, output in enumerate(one["outputs"]):
            output["links"] = [link[0] for link in flow["links"] if link[1:3] == [one["id"], slot]]
    opened(page, flow)
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
    assert page.problems == []


SPELLINGS = (
    "all",
    " Everyone ",
    "*",
    "none",
    "no one",
    "1",
    "1,3",
    "3 , 1",
    "1 3",
    "1;3\n5",
    "1 and 3",
    "2-4",
    "4 - 2",
    "2\u20134, 1",
    "1\uff0c3\u30015",
    "all but 2",
    "all except 2-4",
    "everyone without 1 and 5",
    "person 2",
    "Ada, 4",
    "all but ada",
    "7",
    "all but 9",
    "the tall one",
    "-3",
    "0",
    "1-99999999999",
    "全部",
    "所有人",
    "没有",
    "全不选",
    "除了2",
    "除了2、4以外的所有人",
    "全部除了2到4",
    "大家，除了1和5之外",
    "１，３；５",
    "2～4",
    "1号、第3号 以及 5號",
    "人物 2、人物 4",
    "ａｌｌ　ｂｕｔ　２",
    "Ａｄａ",
    "小红",
    "除了9",
)


def test_the_picker_reads_words_as_the_node_does(page):
    names = ["Person 1", "Person 2", "Person 3", "Ada", "Person 5"]
    people = [{"number": number, "name": name, "rings": []} for number, name in enumerate(names, 1)]
    read = page.evaluate(
        """async ([path, people, texts]) => {
            const { named } = await import(path)
            return texts.map(text => { const keys = named(text, [{ people }]); return keys && [...keys] })
        }""",
        [f"/extensions/{PACK_FOLDER}/picker/choice.js", people, SPELLINGS],
    )
    mask = load_example().masks[0, :1, :1]
    here = [Person(one["name"], one["number"], 0, (4, 4), (0, 0, 1, 1), mask) for one in people]
    for text, keys in zip(SPELLINGS, read, strict=True):
        try:
            expected = {f"0/{person.number}" for person in choose(here, text) if person.erased}
        except ValueError:
            expected = None
        assert (None if keys is None else set(keys)) == expected, text


def test_the_picker_places_clicks_as_the_node_does(page):
    """Wherever a click does not lie within a few pixels of an edge, where outlines and masks may differ."""
    masks = load_example().masks
    height, width = masks.shape[1:]
    people = numbered([person_from_mask(mask) for mask in masks])
    drawn = [
        {
            "number": person.number,
            "name": person.name,
            "box": line.box,
            "point": line.point,
            "rings": [ring.ravel().tolist() for ring in line.rings],
        }
        for person, line in zip(people, outlines(people, (height, width)), strict=True)
    ]
    random = np.random.default_rng(4)
    picks, expected = [], []
    for _ in range(400):
        someone = people[random.integers(len(people))]
        x, y = random.uniform(someone.box[:2], someone.box[2:])
        number = int(random.integers(1, 9))
        around = {
            tuple(one.number for one in people_picked(people, [Pick(0, number, point)])[0] if one.erased)
            for point in (
                (np.clip((x + dx) / width, 0, 1), np.clip((y + dy) / height, 0, 1))
                for dx in (-3, 0, 3)
                for dy in (-3, 0, 3)
            )
        }
        if len(around) == 1:
            picks.append({"photo": 0, "number": number, "x": x / width, "y": y / height})
            expected.append([f"0/{one}" for one in around.pop()])
    assert len(picks) > 100 and [] in expected
    found = page.evaluate(
        """async ([path, photo, picks]) => {
            const { placed } = await import(path)
            return picks.map(pick => [...placed([pick], [photo]).keys.keys()])
        }""",
        [f"/extensions/{PACK_FOLDER}/picker/choice.js", {"width": width, "height": height, "people": drawn}, picks],
    )
    assert found == expected
