"""Fixtures for every test. The pack is loaded once, as the package `mild`; so is what stands in tests/helpers.

    def test_mask_is_inverted(run_node):
        (inverted,) = run_node("InvertMask", mask=torch.zeros(1, 9, 7))

`comfy`, `run_node`, `run_graph`: real ComfyUI in this process, on the CPU. `server`: real ComfyUI over HTTP, with the
pack as its only custom node. `browser_page`: its front end in Chromium. They are loaded for the tests that ask.
"""

import os
import runpy
from pathlib import Path

import pytest

# threads that wait must not spin: on a busy machine a small model then takes ten seconds in place of half a second.
# OpenMP reads this when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Small models are many small operations: with one thread the whole suite takes 14 minutes in place of 16 on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

runpy.run_path(str(Path(__file__).resolve().parent.parent / "tools" / "pack.py"))  # makes `mild` importable


@pytest.fixture
def comfy():
    """ComfyUI in this process, with an empty cache: see tests/helpers/in_process.py."""
    from mild.tests.helpers.in_process import InProcess

    with InProcess() as comfy:
        yield comfy


@pytest.fixture
def run_node(comfy):
    """run_node(node_id, **inputs): the node's outputs as a tuple. Tensors, models and lists are inputs like others."""
    return comfy.run_node


@pytest.fixture
def run_graph(comfy):
    """run_graph(graph): an API-format graph through ComfyUI's own executor; returns a Ran."""
    return comfy.run_graph


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A running ComfyUI whose base folder has a space and a letter beyond ASCII in its name, as many users' have.

    Beside the pack it has a node that gives small random models (tests/helpers/tiny_loaders.py), and a photo where
    ComfyUI keeps its own example.
    """
    from mild.tests.helpers import tiny_loaders
    from mild.tests.helpers.templates import PHOTO_FILE, photo_with_spot
    from mild.tools.comfyui import Server
    from mild.tools.find_comfyui import PACK_FOLDER

    base = tmp_path_factory.mktemp("ComfyUI für alle", numbered=False)
    extra = tiny_loaders.install(base / "custom_nodes")
    with Server(base=base, arguments=("--whitelist-custom-nodes", PACK_FOLDER, extra)) as server:
        server.upload_image(photo_with_spot(), PHOTO_FILE)
        yield server


@pytest.fixture(scope="module")
def browser_page(server):
    """A page of the real front end, ready to load workflows. Skips where there is no Chromium."""
    from mild.tests.helpers.browser import open_front_end

    with open_front_end(server) as page:
        yield page
