"""Every shipped workflow runs as it is, through the real server, as the front end itself would queue it."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import tomllib
from PIL import Image, ImageFilter

from mild import __file__ as init_file
from mild.tests.helpers.browser import graph_to_prompt, red_nodes
from mild.tests.helpers.loras import save_lora, unet_names
from mild.tests.helpers.templates import (
    SLOTS,
    nodes_of,
    wanting_models,
    with_tiny_models,
    without_detector,
)
from mild.tests.helpers.tiny_models import make
from mild.tools.find_comfyui import PACK_FOLDER

TEMPLATES = sorted((Path(init_file).parent / "workflows").glob("*.json"))
REACH = 16  # px by which a change may reach beyond the given masks: growth, and nothing else
TITLE = 30  # px above a node that its title takes
DYNAMIC = "COMFY_DYNAMICCOMBO_V3"  # an input whose choice brings inputs of its own, as name.input
GROWS = "COMFY_AUTOGROW_V3"  # an input of as many sockets as are connected, as name.socket
FEW_STEPS = 3  # random models learn nothing from more, and where the built-in one paints does not depend on them

each_template = pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)


def load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def save(graph: dict, name: str, image: list) -> None:
    graph[name] = {"class_type": "SaveImage", "inputs": {"images": image, "filename_prefix": name}}


def save_mask(graph: dict, name: str, mask: list) -> None:
    graph[f"{name}-image"] = {"class_type": "MaskToImage", "inputs": {"mask": mask}}
    save(graph, name, [f"{name}-image", 0])


def asked(inputs: dict, values: dict) -> tuple[dict, dict]:
    """The required and the optional inputs of a class by /object_info, with those that a choice of its brings."""
    required, optional = dict(inputs["required"]), dict(inputs.get("optional", {}))
    for name, (kind, *more) in inputs["required"].items():
        if kind == DYNAMIC:
            (chosen,) = (option["inputs"] for option in more[0]["options"] if option["key"] == values[name])
            for all_of_them, part in ((required, "required"), (optional, "optional")):
                all_of_them.update({f"{name}.{key}": value for key, value in chosen.get(part, {}).items()})
        elif kind == GROWS:
            template, parts = more[0]["template"], (required, optional)
            (one,) = (value for part in template["input"].values() for value in part.values())
            del required[name]
            for index in range(template["max"]):
                parts[index >= template["min"]][f"{name}.{template['prefix']}{index}"] = one
    return required, optional


def picture(result, name: str) -> np.ndarray:
    return np.asarray(Image.open(result.of(name)[0].path).convert("RGB"))


@each_template
def test_template_runs(server, browser_page, path):
    """It returns pictures, shows previews, and changes the photo where something goes and nowhere else.

    Where nobody is chosen yet, nothing is painted until somebody is clicked. Small random models of the same classes
    stand in for checkpoints.
    """
    workflow = load(path)
    graph = with_tiny_models(without_detector(graph_to_prompt(browser_page, workflow)))
    assert set(red_nodes(browser_page)) <= wanting_models(workflow)
    own = set(graph)
    (decompose,), recomposes = (nodes_of(graph, kind) for kind in ("MILD_Decompose", "MILD_Recompose"))
    results = [f"result{key}" for key in recomposes]
    choosing = nodes_of(graph, "MILD_ChoosePeople")
    samplers = nodes_of(graph, "MILD_SampleLayers") + nodes_of(graph, "KSampler")
    goes = [choosing[0], 1] if choosing else graph[decompose]["inputs"]["also_erase"]
    save(graph, "photo", graph[decompose]["inputs"]["image"])
    for name, key in zip(results, recomposes, strict=True):
        save(graph, name, [key, 0])
        save_mask(graph, f"changed-{name}", [key, 1])
    save_mask(graph, "erase", goes)
    for key in samplers:
        graph[key]["inputs"]["steps"] = FEW_STEPS if len(samplers) == 1 else 1
    for key in nodes_of(graph, "MILD_BuiltInModel"):
        graph[key]["inputs"]["quality"] = "draft"
    server.post("/free", {"free_memory": True, "unload_models": True})  # nothing comes from an earlier test's cache
    for choose in choosing:
        if not graph[choose]["inputs"]["who"] + graph[choose]["inputs"]["picked"]:
            waiting = server.run(graph)
            assert not any(waiting.of(name) for name in results) and waiting.of("photo")
            graph[choose]["inputs"]["picked"] = json.dumps({"people": [{"photo": 0, "number": 4}]})
    reported = []
    result = server.run(graph, progress=reported.append)

    files = [file for file in result.files if file.node in own]
    assert files and all(file.path.stat().st_size > 1000 for file in files)
    assert samplers and all(
        any(progress.preview for progress in reported if progress.node == key) for key in samplers
    ), "no preview while painting"
    photo, erase = picture(result, "photo"), Image.fromarray(picture(result, "erase")[..., 0])
    near = np.asarray(erase.filter(ImageFilter.MaxFilter(2 * REACH + 1))) > 0
    for name in results:
        differs = (photo != picture(result, name)).any(-1)
        assert differs[np.asarray(erase) > 127].mean() > 0.9, "what should go is still there"
        assert not (differs & ~near).any(), "pixels changed away from what goes"
        changed = picture(result, f"changed-{name}")[..., 0] > 0
        assert not (differs & ~changed).any(), "the node's own mask of changes does not say so"
    assert len({picture(result, name).tobytes() for name in results}) == len(results), "painted twice the same"
    for key in nodes_of(graph, "MILD_SampleLayers"):
        if "clip" in graph[key]["inputs"]:
            assert "the pack's own" in result.outputs[key]["text"][0]
    for key in nodes_of(graph, "MILD_LayerAdapters"):
        assert result.outputs[key]["text"][0].startswith("Nothing is chosen")


@each_template
def test_it_is_known_which_pack_each_node_is_from(path):
    """ComfyUI Manager asks for it where a node is missing;."""
    version = tomllib.loads((path.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for node in load(path)["nodes"]:
        if node["type"].startswith("MILD_"):
            assert (node["properties"]["cnr_id"], node["properties"]["ver"]) == (PACK_FOLDER, version)
        elif node["type"] != "MarkdownNote":
            assert node["properties"]["cnr_id"] == "comfy-core"


@each_template
def test_every_value_is_one_that_the_server_takes(server, browser_page, path):
    """Classes, inputs, choices and ranges, by the real server's /object_info; files to be loaded may be missing."""
    workflow = load(path)
    linked = {model["name"] for node in workflow["nodes"] for model in node["properties"].get("models", ())}
    graph = graph_to_prompt(browser_page, workflow)
    known = server.get("/object_info")
    for node in graph.values():
        required, optional = asked(known[node["class_type"]]["input"], node["inputs"])
        assert set(required) <= set(node["inputs"]) <= set(required) | set(optional), node["class_type"]
        for name, value in node["inputs"].items():
            kind, *more = {**required, **optional}[name]
            options = more[0] if more else {}
            choices = kind if isinstance(kind, list) else options.get("options")
            if kind == DYNAMIC:
                choices = [option["key"] for option in choices]
            if isinstance(value, list):
                source = graph[value[0]]["class_type"]
                assert known[source]["output"][value[1]] in kind.split(",") or "*" in kind
            elif choices is not None:
                assert value in choices or value in linked, (node["class_type"], name, value)
            elif kind in ("INT", "FLOAT"):
                assert options["min"] <= value <= options["max"], (node["class_type"], name, value)


@each_template
def test_models_can_be_fetched(server, path):
    """Every file that a loader names has a link, of that name, into a folder that ComfyUI knows."""
    folders = set(server.get("/models"))
    for node in load(path)["nodes"]:
        models = node["properties"].get("models", [])
        assert bool(models) == (node["type"] in SLOTS)
        for model in models:
            assert set(model) == {"name", "url", "directory"}
            assert model["name"] in node["widgets_values"]
            assert model["url"].startswith("https://") and model["url"].endswith("/" + model["name"])
            assert model["directory"] in folders


@each_template
def test_template_can_be_seen_and_understood(path):
    """A thumbnail for the template browser, notes that say what to change, and a look at before and after."""
    with Image.open(path.with_suffix(".jpg")) as thumbnail:
        assert thumbnail.format == "JPEG" and min(thumbnail.size) >= 200
    assert path.with_suffix(".jpg").stat().st_size < 200_000  # every user of the pack downloads it
    nodes = load(path)["nodes"]
    notes = [node["widgets_values"][0] for node in nodes if node["type"] in ("MarkdownNote", "Note")]
    assert any("choose a file" in note or "**Load Image**: choose your photo" in note for note in notes)
    if any(node["properties"].get("models") for node in nodes):
        assert any("licen" in note.lower() for note in notes), "models have a licence"
    compare = [node for node in nodes if node["type"] == "ImageCompare"]
    assert compare and all(one["link"] is not None for one in compare[0]["inputs"][:2])


@each_template
def test_nodes_stand_apart_and_in_groups(path):
    """No node covers another one, and every node but notes stands in exactly one group."""
    workflow = load(path)
    places = {node["id"]: (*node["pos"], *node["size"]) for node in workflow["nodes"]}
    for (one, (x, y, w, h)), (other, (x2, y2, w2, h2)) in combinations(places.items(), 2):
        apart = x + w <= x2 or x2 + w2 <= x or y + h <= y2 - TITLE or y2 + h2 <= y - TITLE
        assert apart, f"{path.stem}: nodes {one} and {other} overlap"
    for node in workflow["nodes"]:
        x, y, w, h = places[node["id"]]
        around = [
            group["title"]
            for group in workflow["groups"]
            if (box := group["bounding"])[0] <= x
            and box[1] <= y - TITLE
            and x + w <= box[0] + box[2]
            and y + h <= box[1] + box[3]
        ]
        assert len(around) == 1 or (not around and node["type"] == "MarkdownNote"), (node["type"], around)


def test_those_that_need_no_download_come_first():
    """ComfyUI shows the names of the files, and can sort by them: there is nothing else to order a pack's templates."""
    downloads = [any(node["properties"].get("models") for node in load(path)["nodes"]) for path in TEMPLATES]
    assert downloads == sorted(downloads) and downloads.count(False) == 3
    assert [path.stem[:3] for path in TEMPLATES] == [f"{number:02} " for number in range(1, len(TEMPLATES) + 1)]


def test_the_way_that_is_switched_off_runs_too(server, browser_page):
    """KSampler with Erase by Attention as published: what the node's own mask covers is painted anew, nothing else."""
    workflow = load(next(path for path in TEMPLATES if path.stem == "10 Attentive Eraser with SDXL"))
    off = {str(node["id"]) for node in workflow["nodes"] if node["mode"] == 2}
    for node in workflow["nodes"]:
        node["mode"] = 0 if node["mode"] == 2 else node["mode"]
    graph = with_tiny_models(graph_to_prompt(browser_page, workflow))
    for key in nodes_of(graph, "SaveImage") + nodes_of(graph, "MILD_Recompose") + nodes_of(graph, "MILD_SampleLayers"):
        del graph[key]
    graph = {key: node for key, node in graph.items() if node["class_type"] != "ImageCompare"}
    (sampler,), (composite,) = (nodes_of(graph, kind) for kind in ("KSampler", "ImageCompositeMasked"))
    (noise,) = nodes_of(graph, "SetLatentNoiseMask")
    assert {sampler, composite, noise} <= off
    graph[sampler]["inputs"]["steps"] = FEW_STEPS
    hidden, (example,) = graph[noise]["inputs"]["mask"], nodes_of(graph, "MILD_ExamplePhoto")
    assert graph[hidden[0]]["class_type"] == "MILD_AttentionEraser" and graph[composite]["inputs"]["mask"] == hidden
    save_mask(graph, "hidden", hidden)
    save(graph, "result", [composite, 0])
    save(graph, "photo", [example, 0])
    result = server.run(graph)
    differs = (picture(result, "photo") != picture(result, "result")).any(-1)
    inside = picture(result, "hidden")[..., 0] > 0
    assert 0 < inside.mean() < 0.5 and not (differs & ~inside).any()
    assert differs[inside].mean() > 0.9


def test_two_adapters_in_one_pass_with_files(server, browser_page):
    """Each kind of layer gets the file that is chosen for it."""
    (path,) = (path for path in TEMPLATES if path.stem.startswith("15 "))
    folder = server.base / "models" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(("place", "clothes")):
        modules = unet_names(make("sdxl").model, "middle_block_1_transformer_blocks_0_attn2_to_v")
        save_lora(folder / f"{name}.safetensors", modules, seed=seed)
    graph = with_tiny_models(graph_to_prompt(browser_page, load(path)))
    (adapters,), (sampler,) = (nodes_of(graph, kind) for kind in ("MILD_LayerAdapters", "MILD_SampleLayers"))
    graph[sampler]["inputs"] |= {"steps": 1, "start": "noise"}  # what an exemplar fill adds: the test above
    graph[adapters]["inputs"] |= {"background_lora": "place.safetensors", "person_lora": "clothes.safetensors"}
    result = server.run(graph)
    text = result.outputs[adapters]["text"][0]
    assert "Background: place.safetensors, strength 1." in text and "Person 3: clothes.safetensors, strength 1." in text
    assert "1 module of the model, for these layers alone and in one pass with the others" in text
    assert "2 painted: Background, Person 3" in result.outputs[sampler]["text"][0]
