"""ComfyUI's real front end in Chromium: load workflows, turn them into prompts, see which nodes are red."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlparse

import pytest

from mild.tests.helpers import canvas

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

NOTE_ENDED = """() => {
    if (window.mildEnded) return
    window.mildEnded = new Set()
    const api = window.app.api ?? window.comfyAPI.api.api
    for (const how of ['success', 'error', 'interrupted'])
        api.addEventListener(`execution_${how}`, event => window.mildEnded.add(event.detail.prompt_id))
}"""
"""Runs of which the page has heard that they ended, and so all that came before: ComfyUI's messages come in order."""


def find_chromium() -> str | None:
    """The path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@contextmanager
def open_page(routes: dict | None = None) -> Iterator:
    """An empty Playwright page. Skips the test where there is no Chromium.

    routes: what answers in the server's place, by pattern of address. `page.problems` collects the errors that nobody
    caught.
    """
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed, so nothing ran in a browser.")
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("There is no Chromium on this machine, so nothing ran in a browser.")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        for pattern, answer in (routes or {}).items():
            page.route(pattern, answer)
        try:
            yield page
        finally:
            browser.close()


@contextmanager
def open_front_end(server, nodes2: bool = False, url: str | None = None, routes: dict | None = None) -> Iterator:
    """A page (open_page) with ComfyUI's front end, ready to be used.

    nodes2: with the front end's newer way of drawing nodes. url: where it is, if not at the server's own address.
    """
    with open_page(routes) as page:
        # a new user is greeted by a dialog over everything; this one has been here before
        server.post("/settings", {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": nodes2})
        page.goto(url or server.url)
        wait_until_ready(page)
        yield page


def wait_until_ready(page) -> None:
    """Until the workflow that the front end opens by itself is there: it would take the place of one opened before."""
    page.wait_for_function("window.app?.extensionManager?.workflow?.activeWorkflow?.activeState", timeout=60_000)


def load_workflow(page, workflow: dict) -> None:
    """Open a workflow (the front end's own format) in the page."""
    page.evaluate("workflow => window.app.loadGraphData(workflow)", workflow)


def graph_to_prompt(page, workflow: dict | None = None) -> dict:
    """The API-format graph that the front end would queue for `workflow` (for what is open, if None)."""
    if workflow is not None:
        load_workflow(page, workflow)
    return page.evaluate("async () => (await window.app.graphToPrompt()).output")


def red_nodes(page) -> list[str]:
    """The nodes of the open workflow that the front end marks as missing or wrong, as 'id: type'."""
    return page.evaluate("""() => window.app.graph.nodes
        .filter(node => node.has_errors || !(node.type in window.LiteGraph.registered_node_types))
        .map(node => `${node.id}: ${node.type}`)""")


def paint_mask(page, node_type: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Open ComfyUI's mask editor on the node and draw one stroke with the mouse; save.

    start, end: where the stroke begins and ends, as shares (0 to 1) of the editor's drawing area.
    """
    page.evaluate(
        """async type => {
        const node = window.app.graph.nodes.find(node => node.type === type)
        window.app.canvas.selectNode(node)
        await window.app.extensionManager.command.execute('Comfy.MaskEditor.OpenMaskEditor')
    }""",
        node_type,
    )
    draw_mask(page, start, end)


def draw_mask(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw one stroke in the mask editor that is open, and save; start and end as in paint_mask."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Save").wait_for()
    page.wait_for_timeout(1000)  # the editor fits the picture into its window after it has appeared
    area = dialog.locator("canvas").first.bounding_box()
    points = [(area["x"] + area["width"] * x, area["y"] + area["height"] * y) for x, y in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=20)
    page.mouse.up()
    dialog.get_by_role("button", name="Save").click()
    dialog.wait_for(state="hidden")


def open_template(page, folder: str, name: str) -> None:
    """Open a workflow as artists do: Templates, the pack's folder, the card."""
    page.get_by_role("button", name="Templates").first.click()
    page.get_by_role("dialog").get_by_text(folder, exact=True).click()
    card = page.get_by_test_id(f"template-workflow-{name}")
    card.scroll_into_view_if_needed()  # pictures of cards below the window's edge are not loaded before
    picture = card.locator("img").first
    picture.wait_for()
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())
    card.click()
    page.get_by_role("dialog").wait_for(state="hidden")


def paint_quickly(page) -> None:
    """Set the open workflow to a rough picture, for tests that ask where it changes and not how it looks."""
    page.evaluate("""() => {
        const set = (type, name, value) => {
            for (const node of window.app.graph.nodes.filter(node => node.type === type))
                node.widgets.find(widget => widget.name === name).value = value
        }
        set('MILD_BuiltInModel', 'quality', 'draft')
        set('MILD_SampleLayers', 'steps', 4)
    }""")


def press_run(page, server, groups: tuple[str, ...] = ("images",), patience: float = 300.0) -> dict:
    """Click Run and wait; return ComfyUI's history entry of the run, once the page knows and has fetched its pictures.

    groups: the lists of pictures to wait for. Image Compare has "a_images" and "b_images", and shows them with
    Nodes 2.0 alone.
    """
    fetched: set[str] = set()

    def note(response):
        query = parse_qs(urlparse(response.url).query)
        if "/view" in response.url and response.ok and "filename" in query:
            fetched.add(query["filename"][0])

    page.on("response", note)
    page.evaluate(NOTE_ENDED)
    with page.expect_response(lambda answer: answer.request.method == "POST" and "/prompt" in answer.url) as queued:
        page.get_by_role("button", name="Run", exact=True).first.click()
    prompt_id = queued.value.json()["prompt_id"]
    deadline = time.monotonic() + patience
    page.wait_for_function("id => window.mildEnded.has(id)", arg=prompt_id, timeout=1000 * patience)
    view = None
    try:
        while time.monotonic() < deadline:
            page.wait_for_timeout(20)
            entry = server.get(f"/history/{prompt_id}").get(prompt_id)
            if entry is None:
                continue
            if _pictures(entry, groups) <= fetched or entry["status"]["status_str"] != "success":
                return entry
            if view is None:  # pictures of nodes outside of the window are not fetched
                view = page.evaluate("() => [window.app.canvas.ds.scale, [...window.app.canvas.ds.offset]]")
                page.evaluate(canvas.ALL)
    finally:
        if view is not None:
            back = "([scale, offset]) => { Object.assign(window.app.canvas.ds, { scale, offset }) }"
            page.evaluate(back, view)
        page.remove_listener("response", note)
    raise AssertionError(f"After {patience:.0f} s the page does not show what the run made.")


def _pictures(entry: dict, groups: tuple[str, ...]) -> set[str]:
    return {item["filename"] for shown in entry["outputs"].values() for key in groups for item in shown.get(key, [])}
