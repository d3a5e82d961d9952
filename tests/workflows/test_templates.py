"""Every shipped workflow runs as it is, through the real server, as the front end itself would queue it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mild import __file__ as init_file
from mild.tests.helpers.browser import graph_to_prompt, red_nodes
from mild.tests.helpers.templates import nodes_of, wanting_models, without_detector

TEMPLATES = sorted((Path(init_file).parent / "workflows").glob("*.json"))
REACH = 16  # px by which a change may reach beyond the given masks: growth, and nothing else


def save(graph: dict, name: str, image: list) -> None:
    graph[name] = {"class_type": "SaveImage", "inputs": {"images": image, "filename_prefix": name}}


def save_mask(graph: dict, name: str, mask: list) -> None:
    graph[f"{name}-image"] = {"class_type": "MaskToImage", "inputs": {"mask": mask}}
    save(graph, name, [f"{name}-image", 0])


def picture(result, name: str) -> np.ndarray:
    return np.asarray(Image.open(result.of(name)[0].path).convert("RGB"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_template_runs(server, browser_page, path):
    """It returns pictures, shows previews, and changes the photo where people go and nowhere else.

    Where nobody is chosen yet, nothing is painted until somebody is clicked.
    """
    workflow = json.loads(path.read_text(encoding="utf-8"))
    graph = without_detector(graph_to_prompt(browser_page, workflow))
    assert set(red_nodes(browser_page)) <= wanting_models(workflow)
    own = set(graph)
    (decompose,), (choose,), (recompose,) = (
        nodes_of(graph, kind) for kind in ("MILD_Decompose", "MILD_ChoosePeople", "MILD_Recompose")
    )
    save(graph, "photo", graph[decompose]["inputs"]["image"])
    save(graph, "result", [recompose, 0])
    save_mask(graph, "changed", [recompose, 1])
    save_mask(graph, "erase", [choose, 1])
    server.post("/free", {"free_memory": True, "unload_models": True})  # nothing comes from an earlier test's cache
    if not graph[choose]["inputs"]["who"]:
        waiting = server.run(graph)
        assert not waiting.of("result") and waiting.of("photo")
        graph[choose]["inputs"]["picked"] = json.dumps({"people": [{"photo": 0, "number": 4}]})
    reported = []
    result = server.run(graph, progress=reported.append)

    files = [file for file in result.files if file.node in own]
    assert files and all(file.path.stat().st_size > 1000 for file in files)
    assert reported and any(progress.preview for progress in reported)
    photo, after = picture(result, "photo"), picture(result, "result")
    differs = (photo != after).any(-1)
    erase = Image.fromarray(picture(result, "erase")[..., 0])
    near = np.asarray(erase.filter(ImageFilter.MaxFilter(2 * REACH + 1))) > 0
    assert differs[np.asarray(erase) > 127].mean() > 0.9, "people are still there"
    assert not (differs & ~near).any(), "pixels changed away from those who go"
    changed = picture(result, "changed")[..., 0] > 0
    assert not (differs & ~changed).any(), "the node's own mask of changes does not say so"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_template_can_be_seen_and_understood(path):
    """A thumbnail for the template browser, notes that say what to change, and a look at before and after."""
    with Image.open(path.with_suffix(".jpg")) as thumbnail:
        assert thumbnail.format == "JPEG" and min(thumbnail.size) >= 200
    assert path.with_suffix(".jpg").stat().st_size < 200_000  # every user of the pack downloads it
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    notes = [node["widgets_values"][0] for node in nodes if node["type"] in ("MarkdownNote", "Note")]
    assert any("Load Image" in note for note in notes)
    compare = [node for node in nodes if node["type"] == "ImageCompare"]
    assert compare and all(one["link"] is not None for one in compare[0]["inputs"][:2])
