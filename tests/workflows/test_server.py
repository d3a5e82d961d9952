"""What the server gives the front end of the pack."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mild import __file__ as init_file
from mild.tools.comfyui import GraphRefused, Interrupted, NodeFailed
from mild.tools.find_comfyui import PACK_FOLDER

ROOT = Path(init_file).parent


def pixels(file) -> bytes:
    """The file itself also holds the graph that made it."""
    return Image.open(file.path).tobytes()


@pytest.fixture(scope="module")
def nodes(server):
    return {key: info for key, info in server.get("/object_info").items() if key.startswith("MILD_")}


def test_nodes_are_there(nodes):
    golden = json.loads((ROOT / "tests" / "golden" / "schemas.json").read_text(encoding="utf-8"))
    assert set(nodes) == set(golden)
    assert {info["python_module"] for info in nodes.values()} == {f"custom_nodes.{PACK_FOLDER}"}


def test_help_pages_are_served(server, nodes):
    for node in nodes:
        for page in (f"{node}.md", f"{node}/zh.md"):  # the front end asks for its own language first
            assert len(server.get(f"/extensions/{PACK_FOLDER}/docs/{page}")) > 100, page


def test_translations_are_served(server, nodes):
    translations = server.get("/i18n")
    for language in ("en", "zh"):
        assert set(nodes) <= set(translations[language]["nodeDefs"])


def test_templates_are_served(server):
    names = server.get("/workflow_templates")[PACK_FOLDER]
    assert sorted(names) == sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
    for name in names:
        assert server.get(f"/api/workflow_templates/{PACK_FOLDER}/{name}.json")["nodes"]
        assert (ROOT / "workflows" / f"{name}.jpg").stat().st_size > 1000


def test_runs_and_returns_files(server):
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 33, "height": 17, "batch_size": 2, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "MILD"}},
    }
    result = server.run(graph)
    assert [file.kind for file in result.of("2")] == ["output", "output"]
    name = server.upload_image(result.files[0].read(), "Größe 1.png")
    assert name == "Größe 1.png"
    graph["1"] = {"class_type": "LoadImage", "inputs": {"image": name}}
    again = server.run(graph)
    assert pixels(again.of("2")[0]) == pixels(result.files[0])


def test_refused_graph_names_the_node(server):
    graph = {
        "7": {"class_type": "EmptyImage", "inputs": {"width": 0, "height": 17, "batch_size": 2, "color": 255}},
        "8": {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}},
    }
    with pytest.raises(GraphRefused, match=r"EmptyImage \(node 7\): Value 0 smaller than min of 1") as caught:
        server.run(graph)
    assert set(caught.value.node_errors) == {"7"}


def test_failing_node_is_named_and_the_next_run_is_unharmed(server):
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "2": {
            "class_type": "MILD_PeopleFromMasks",
            "inputs": {"masks": ["1", 0], "split": "one person per mask", "photo": 1},
        },
        "3": {"class_type": "MILD_ChoosePeople", "inputs": {"people": ["2", 0], "who": "7"}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "5": {"class_type": "MaskPreview", "inputs": {"mask": ["3", 1]}},
    }
    with pytest.raises(NodeFailed) as caught:
        server.run(graph)
    assert caught.value.node_type.startswith("MILD_") and caught.value.exception_type == "ValueError"
    del graph["2"], graph["3"], graph["5"]
    assert server.run(graph).files


def test_a_graph_with_an_input_that_was_taken_out_still_runs(server):
    """Scripts that were written for Built-in Model's former same_part, as a value and as a link."""
    graph = {
        "number": {"class_type": "PrimitiveFloat", "inputs": {"value": 0.4}},
        "photo": {"class_type": "EmptyImage", "inputs": {"width": 48, "height": 32, "batch_size": 1, "color": 99}},
        "value": {"class_type": "MILD_BuiltInModel", "inputs": {"model": "exemplar", "same_part": 0.7}},
        "link": {"class_type": "MILD_BuiltInModel", "inputs": {"model": "exemplar", "same_part": ["number", 0]}},
    }
    for name in ("value", "link"):
        graph[f"{name} latent"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["photo", 0], "vae": [name, 1]}}
        graph[f"{name} sample"] = {
            "class_type": "KSampler",
            "inputs": {
                "model": [name, 0],
                "positive": [name, 2],
                "negative": [name, 2],
                "latent_image": [f"{name} latent", 0],
                "seed": 1,
                "steps": 1,
                "cfg": 1.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
            },
        }
        graph[f"{name} photo"] = {
            "class_type": "VAEDecode",
            "inputs": {"samples": [f"{name} sample", 0], "vae": [name, 1]},
        }
        graph[f"{name} save"] = {"class_type": "PreviewImage", "inputs": {"images": [f"{name} photo", 0]}}
    done = server.run(graph)
    assert done.of("value save") and done.of("link save")


def test_cancel_and_previews_while_sampling(server):
    """The built-in model fills a hole in very many steps; Cancel comes after the first; the next run is whole."""
    graph = {
        "photo": {"class_type": "EmptyImage", "inputs": {"width": 96, "height": 64, "batch_size": 1, "color": 99}},
        "hole": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 24, "height": 24}},
        "none": {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 96, "height": 64}},
        "mask": {
            "class_type": "MaskComposite",
            "inputs": {"destination": ["none", 0], "source": ["hole", 0], "x": 30, "y": 20, "operation": "add"},
        },
        "model": {"class_type": "MILD_BuiltInModel", "inputs": {"model": "exemplar"}},
        "latent": {"class_type": "VAEEncode", "inputs": {"pixels": ["photo", 0], "vae": ["model", 1]}},
        "masked": {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["latent", 0], "mask": ["mask", 0]}},
        "sample": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["model", 0],
                "positive": ["model", 2],
                "negative": ["model", 2],
                "latent_image": ["masked", 0],
                "seed": 1,
                "steps": 2000,
                "cfg": 1.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
            },
        },
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sample", 0], "vae": ["model", 1]}},
        "save": {"class_type": "PreviewImage", "inputs": {"images": ["decode", 0]}},
    }
    seen = []

    def cancel(progress):
        seen.append(progress)
        if progress.node == "sample" and progress.value == 1:
            server.interrupt()

    with pytest.raises(Interrupted, match="sample"):
        server.run(graph, progress=cancel)
    assert max(progress.value for progress in seen) < 2000
    graph["sample"]["inputs"]["steps"] = 3
    seen.clear()
    assert server.run(graph, progress=seen.append).of("save")
    assert any(progress.preview for progress in seen)
