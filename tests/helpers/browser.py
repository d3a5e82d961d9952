"""ComfyUI's real front end in Chromium: load workflows, turn them into prompts, see which nodes are red."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


def find_chromium() -> str | None:
    """The path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@contextmanager
def open_front_end(server) -> Iterator:
    """A Playwright page with ComfyUI's front end, ready to be used. Skips the test where there is no Chromium.

    `page.problems` collects what the page's console called an error.
    """
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed, so nothing ran in a browser.")
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("There is no Chromium on this machine, so nothing ran in a browser.")
    # a new user is greeted by a dialog over everything; this one has been here before
    server.post("/settings", {"Comfy.TutorialCompleted": True})
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(server.url)
        page.wait_for_function("window.app?.graph && window.app.extensionManager?.workflow", timeout=60_000)
        try:
            yield page
        finally:
            browser.close()


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
