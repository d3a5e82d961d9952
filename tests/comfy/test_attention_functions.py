"""Rules through each of ComfyUI's own attention functions."""

import pytest
import torch
from comfy.ldm.modules import attention

from mild.mild_core.attention.evaluate import attend, attend_measured
from mild.mild_core.attention.factors import RowRule, factors, row_rule
from mild.mild_core.attention.regions import HOLE, on_grid
from mild.mild_core.attention.rule import attentive_eraser
from mild.tests.helpers.attention_functions import by_heads, random_call, random_soft, reference

HEADS = 3
FUNCTIONS = {
    "basic": attention.attention_basic,
    "split": attention.attention_split,
    "sub_quad": attention.attention_sub_quad,
    "pytorch": attention.attention_pytorch,
}


@pytest.mark.parametrize("form", ["columns", "dense"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("reshaped", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_of_comfyui_weighs_alike(name, reshaped, dtype, form):
    table = torch.tensor([[0.0, 2, 9, 2], [7, 0, 8, 8], [0, 0, 0, 3], [5, 0, 0, 0]])
    soft = random_soft(77, 4)
    row = RowRule(*factors(table, soft), measured=soft)
    call = random_call(dtype=dtype)
    given = [by_heads(part, HEADS) for part in call] if reshaped else call
    out, mass = attend_measured(
        FUNCTIONS[name], *given, HEADS, skip_reshape=reshaped, rows=[row, None], form=form, attn_precision=torch.float32
    )
    bias = torch.stack([-(soft @ table @ soft.T), torch.zeros(77, 77)])[:, None]
    wanted, weights = reference(*(by_heads(part, HEADS) for part in call), bias)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-2
    assert (out.float() - wanted.transpose(1, 2).flatten(2)).abs().max() < tolerance
    assert (mass[0].float() - weights[0] @ soft).abs().max() < tolerance


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_forbidden_has_no_influence(name, whole):
    mask = torch.zeros(88, 56)
    mask[20:50, 10:40] = 1
    regions = on_grid({HOLE: mask}, (11, 7))
    row = row_rule(attentive_eraser(regions.names), regions)
    q, k, v = random_call()
    out = attend(FUNCTIONS[name], q, k, v, HEADS, rows=[row, row], whole=whole)
    gone = regions.touched[:, 1]
    for part in (k, v):
        part[:, gone] = 30 * torch.randn_like(part[:, gone])
    assert torch.equal(attend(FUNCTIONS[name], q, k, v, HEADS, rows=[row, row], whole=whole), out)
