"""Files of body guidance: what Load Body Guidance lists and loads, and what not."""

import pytest
import safetensors.torch
import torch

from mild.mild_core.comfy.families import body_config_of
from mild.mild_core.comfy.guidance.body_control import MorphologyControl
from mild.mild_core.comfy.guidance.load import ABSENT, files, load_guidance
from mild.mild_core.guidance.network import MorphologyGuidance, save_guidance
from mild.tests.helpers.tiny_models import randomize


def test_a_file_is_listed_and_loaded(mild_folder, run_node, tiny):
    config = body_config_of(tiny("sd15").model.model)
    (mild_folder / "below").mkdir()
    save_guidance(mild_folder / "below" / "körper 1.safetensors", randomize(MorphologyGuidance(config), 0), config)
    (mild_folder / "sma_gains.safetensors").write_bytes(b"")
    assert [name.replace("\\", "/") for name in files()] == ["below/körper 1.safetensors"]
    (control,) = run_node("MILD_LoadMorphologyGuidance", file=files()[0])
    assert isinstance(control, MorphologyControl) and control.config == config


def test_without_files(mild_folder, run_node):
    assert files() == [ABSENT]
    with pytest.raises(ValueError, match="models/mild"):
        run_node("MILD_LoadMorphologyGuidance", file=ABSENT)


@pytest.mark.parametrize("case", ["checkpoint", "labels", "missing", "unexpected", "shape", "integers", "text", "pt"])
def test_what_is_refused_in_one_sentence(tmp_path, tiny, case):
    config = body_config_of(tiny("sd15").model.model)
    weights, metadata = MorphologyGuidance(config).state_dict(), config.metadata()
    path = tmp_path / "a.safetensors"
    words = {
        "checkpoint": "not a file of body guidance", "labels": "another label set", "missing": "1 are missing",
        "unexpected": "1 are unknown, such as 'more'", "shape": "'enter.bias' has shape",
        "integers": "type torch.int", "text": "damaged or no safetensors", "pt": "no safetensors file",
    }[case]  # fmt: skip
    if case == "checkpoint":
        metadata = {}
    elif case == "labels":
        metadata["maps"] = "other"
    elif case == "missing":
        del weights["enter.bias"]
    elif case == "unexpected":
        weights["more"] = torch.zeros(1)
    elif case == "shape":
        weights["enter.bias"] = torch.zeros(3)
    elif case == "integers":
        weights["enter.bias"] = weights["enter.bias"].int()
    if case == "text":
        path.write_text("no weights", encoding="utf-8")
    elif case == "pt":
        path = tmp_path / "a.pt"
        torch.save(weights, path)
    else:
        safetensors.torch.save_file(weights, path, metadata=metadata)
    with pytest.raises(ValueError, match=words) as raised:
        load_guidance(path)
    assert str(raised.value).startswith(path.name) and str(raised.value).count(". ") == 0
