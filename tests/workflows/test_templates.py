"""Every shipped workflow runs as it is, through the real server, as the front end itself would queue it."""

import json
from pathlib import Path

import pytest
from mild import __file__ as init_file
from mild.tests.helpers.browser import graph_to_prompt, red_nodes

TEMPLATES = sorted((Path(init_file).parent / "workflows").glob("*.json"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_template_runs(server, browser_page, path):
    graph = graph_to_prompt(browser_page, json.loads(path.read_text(encoding="utf-8")))
    assert red_nodes(browser_page) == []
    server.post("/free", {"free_memory": True, "unload_models": True})  # nothing comes from an earlier test's cache
    reported = []
    result = server.run(graph, progress=reported.append)
    assert result.files and all(file.path.stat().st_size > 1000 for file in result.files)
    assert reported and any(progress.preview for progress in reported)
