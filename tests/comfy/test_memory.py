"""How many layers go into one batch."""

import comfy.model_management
import comfy.sampler_helpers
import pytest
import torch

from mild.mild_core.comfy.sampling.memory import MEMORY, Memory
from mild.tests.helpers.tiny_models import make

SHAPE = (1, 4, 64, 48)
GIB = 2**30


@pytest.fixture
def patcher():
    return make("sd15").model


@pytest.fixture
def conds():
    tiny = make("sd15")
    return {"positive": comfy.sampler_helpers.convert_cond(tiny.positive),
            "negative": comfy.sampler_helpers.convert_cond(tiny.negative)}  # fmt: skip


def with_free(monkeypatch, patcher, bytes_free):
    monkeypatch.setattr(patcher, "get_free_memory", lambda device: bytes_free)
    monkeypatch.setattr(comfy.model_management, "current_loaded_models", [])
    monkeypatch.setattr(patcher, "model_size", lambda: 0)


def test_more_memory_more_rows(monkeypatch, patcher, conds):
    rows = []
    for gib in (0.0, 1, 4, 16, 64):
        with_free(monkeypatch, patcher, gib * GIB)
        rows.append(Memory(patcher).rows(SHAPE, conds))
    assert rows == sorted(rows) and rows[0] == 1 and rows[-1] > 4 * rows[1] >= 4
    larger = Memory(patcher).rows((1, 4, 128, 96), conds)
    assert larger == pytest.approx(rows[-1] / 4, abs=1)


def test_a_batch_is_what_comfyui_itself_would_run_at_once(monkeypatch, patcher, conds):
    with_free(monkeypatch, patcher, 16 * GIB)
    rows = Memory(patcher).rows(SHAPE, conds)
    need = [patcher.model.memory_required([count, *SHAPE[1:]]) * 1.5 for count in (rows, rows + 1)]
    assert need[0] <= 16 * GIB < need[1]


def test_other_models_make_room_and_the_weights_stay(monkeypatch, patcher, conds):
    class Loaded:
        device = patcher.load_device

        def model_loaded_memory(self):
            return 8 * GIB

    with_free(monkeypatch, patcher, 8 * GIB)
    alone = Memory(patcher).rows(SHAPE, conds)
    monkeypatch.setattr(comfy.model_management, "current_loaded_models", [Loaded()])
    assert Memory(patcher).rows(SHAPE, conds) == pytest.approx(2 * alone, abs=1)
    monkeypatch.setattr(patcher, "model_size", lambda: 8 * GIB)
    assert Memory(patcher).rows(SHAPE, conds) == alone


def test_save_memory(monkeypatch, patcher, conds):
    with_free(monkeypatch, patcher, 64 * GIB)
    assert Memory(patcher, "save memory").rows(SHAPE, conds) == 1
    with pytest.raises(ValueError, match="memory: got 'plenty'"):
        Memory(patcher, "plenty")
    assert MEMORY[0] == "automatic"


def test_what_was_measured_goes_before_the_estimate(monkeypatch, patcher, conds):
    """On CUDA: a batch of two rows needed 3 GiB beside the weights."""
    with_free(monkeypatch, patcher, 16 * GIB)
    monkeypatch.setattr(patcher, "load_device", torch.device("cuda", 0))
    resets = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * GIB)
    memory = Memory(patcher)
    with pytest.raises(ValueError, match="measured"):
        memory.predicted(SHAPE, 4)
    memory.watch()
    memory.learn(SHAPE, 2)
    assert resets == [patcher.load_device]
    assert memory.predicted(SHAPE, 4) == pytest.approx(6 * GIB)
    assert memory.predicted((1, 4, 128, 96), 1) == pytest.approx(6 * GIB)
    assert memory.rows(SHAPE, conds) == 9  # 16 / 1.5, with a margin


def test_nothing_is_measured_on_the_cpu(patcher, conds):
    memory = Memory(patcher)
    memory.watch()
    memory.learn(SHAPE, 2)
    assert memory.bytes_per_cell is None
