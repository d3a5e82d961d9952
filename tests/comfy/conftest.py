"""Imports ComfyUI before the test modules of this folder, which may then import its modules on top; and what several
of them sample with.
"""

import mild.tests.helpers.in_process  # noqa: F401

# isort: split
import folder_paths
import pytest
import torch
from comfy.samplers import CFGGuider, sampler_object
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise

from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.scene import Scene
from mild.tests.helpers.layers import WIDGETS, background, person, picture
from mild.tests.helpers.tiny_guidance import load_counting, save_random
from mild.tests.helpers.tiny_models import made_for, make


@pytest.fixture(scope="module")
def tiny():
    """tiny(family): one small random model of each family for all tests of a file."""
    made = {}
    return lambda family: made.get(family) or made.setdefault(family, make(family))


@pytest.fixture(scope="module")
def guidance(tmp_path_factory):
    """guidance(tiny, ...): a file of random weights for this model, loaded; its network.runs tells its runs."""
    folder = tmp_path_factory.mktemp("mild")
    return lambda tiny, *args, **changes: load_counting(save_random(folder, tiny, *args, **changes))


@pytest.fixture
def mild_folder(tmp_path, monkeypatch):
    """An empty folder in place of models/mild."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "mild", ([str(tmp_path)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


@pytest.fixture
def loras_folder(tmp_path, monkeypatch):
    """An empty folder in place of models/loras."""
    folder = tmp_path / "loras"
    folder.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(folder)], {".safetensors", ".pt"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return folder


@pytest.fixture
def adapted(run_node):
    """adapted(model, layers, background_lora="a.safetensors", ...): MODEL and both CLIPs that the node returns."""

    def run(model, layers, **changes):
        widgets = {"background_lora": "none", "background_strength": 1.0, "person_lora": "none", "person_strength": 1.0}
        inputs = {**widgets, "people": "all", "which": "all", **changes}
        return run_node("MILD_LayerAdapters", model=model, layers=layers, **inputs)

    return run


@pytest.fixture
def small_native_size(monkeypatch):
    """Crops are sampled at about 96 px instead of 512 or 1,024: random models learn nothing from more."""
    made_for(monkeypatch, 96 * 96)


@pytest.fixture(scope="module")
def scenes():
    """One photo, two background crops and one person, all of different sizes."""
    photo = picture()
    layers = (
        background(photo, (20, 10, 40, 50)),
        background(photo, (60, 20, 70, 41), box=(50, 9, 83, 52), tail="-2"),
        person(photo, 2, (10, 15, 22, 45), (22, 20, 30, 40), (3, 8, 36, 53)),
    )
    return [Scene(photo, layers)]


@pytest.fixture
def alike():
    """Layers of one size, so that they are one batch: two holes of a background, and a person."""
    photo = picture()
    box = (3, 8, 36, 53)
    return [Scene(photo, (
        background(photo, (10, 10, 20, 40), box=box), background(photo, (12, 20, 33, 31), box=box, tail="-2"),
        person(photo, 2, (10, 15, 22, 45), (22, 20, 30, 40), box),
    ))]  # fmt: skip


@pytest.fixture
def sample(run_node):
    """sample(scenes, tiny or None for the built-in model, ...): the scenes that the node returns."""

    def run(scenes, tiny=None, **changes):
        model = builtin.load_model() if tiny is None else tiny.model
        inputs = {
            "model": model,
            "vae": tiny and tiny.vae,
            **WIDGETS,
            **changes,
        }
        return run_node("MILD_SampleLayers", layers=scenes, **inputs)[0]

    return run


@pytest.fixture
def advanced(run_node):
    """advanced(tiny, scenes, ...): the same of Sample Layers (Advanced), by default with CFG Guider and euler."""

    def run(tiny, scenes, positive=None, negative=None, guider=None, scheduler="normal", steps=2, **changes):
        if guider is None:
            guider = CFGGuider(tiny.model)
            guider.set_conds(positive or tiny.positive, negative or tiny.negative)
            guider.set_cfg(4.0)
        (sigmas,) = run_node("BasicScheduler", model=tiny.model, scheduler=scheduler, steps=steps, denoise=1.0)
        inputs = {"which": "all", "ground": "plate", "start": "automatic", "memory": "automatic", **changes}
        return run_node(
            "MILD_SampleLayersAdvanced",
            noise=Noise_RandomNoise(3),
            guider=guider,
            sampler=sampler_object("euler"),
            sigmas=sigmas,
            layers=scenes,
            vae=tiny.vae,
            **inputs,
        )[0]

    return run


@pytest.fixture
def erasing(run_node):
    """erasing(model, mask or scenes, guidance or None, ...): the MODEL that the node returns."""

    def run(model, where, guidance=None, suppression=0.3, suppressed=0.25, until=1.0, grow=0.0, which="all"):
        method = {"suppression": suppression, "suppressed": suppressed, "until": until}
        name = "attention alone"
        if guidance is not None:
            method["guidance"], name = float(guidance), "attentive eraser"
        socket = "mask" if isinstance(where, torch.Tensor) else "layers"
        nested = {f"method.{key}": value for key, value in method.items()}
        return run_node(
            "MILD_AttentionEraser", model=model, method=name, grow=grow, which=which, **{socket: where}, **nested
        )[0]

    return run


@pytest.fixture
def erasing_by(run_node):
    """erasing_by(method, model, mask or scenes, ...): the same for the methods that have blocks and steps."""

    def run(name, model, where, blocks="all", start=0.0, end=1.0, grow=0.0, which="all", vae=None):
        method = {"method.blocks": blocks, "method.start_percent": start, "method.end_percent": end}
        given = {"mask" if isinstance(where, torch.Tensor) else "layers": where}
        if vae is not None:
            given["vae"] = vae
        return run_node("MILD_AttentionEraser", model=model, method=name, grow=grow, which=which, **given, **method)[0]

    return run
