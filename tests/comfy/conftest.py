"""Imports ComfyUI before the test modules of this folder, which may then import its modules on top; and what several
of them sample layers with.
"""

import mild.tests.helpers.in_process  # noqa: F401

# isort: split
import pytest

from mild.mild_core.comfy import builtin_model
from mild.mild_core.comfy.sampling import encode
from mild.mild_core.scene import Scene
from mild.tests.helpers.layers import WIDGETS, background, person, picture


@pytest.fixture
def small_native_size(monkeypatch):
    """Crops are sampled at about 96 px instead of 512 or 1,024: random models learn nothing from more."""
    monkeypatch.setattr(encode, "NATIVE_PIXELS", ())
    monkeypatch.setattr(encode, "NATIVE_PIXELS_OF_OTHERS", 96 * 96)


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
def sample(run_node):
    """sample(scenes, tiny or None for the built-in model, ...): the scenes that the node returns."""

    def run(scenes, tiny=None, **changes):
        model = builtin_model.load_model() if tiny is None else tiny.model
        inputs = {
            "model": model,
            "vae": tiny and tiny.vae,
            **WIDGETS,
            **changes,
        }
        return run_node("MILD_SampleLayers", layers=scenes, **inputs)[0]

    return run
