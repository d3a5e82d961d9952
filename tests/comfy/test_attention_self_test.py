"""An attention function that cannot carry a rule's numbers is found out, and PyTorch's own does its work."""

import logging

import comfy.ldm.flux.math
import comfy.ldm.modules.attention as core
import pytest
import torch

from mild.mild_core.attention import evaluate
from mild.mild_core.attention.factors import RowRule
from mild.mild_core.comfy.attention import catch, self_test
from mild.tests.helpers.attention import Noting, sampled
from mild.tests.helpers.tiny_models import make

OVERRIDE = "optimized_attention_override"


def quantising(q, k, v, heads, *args, **kwargs):
    """As SageAttention has it: keys rounded to int8, with one scale for each block of 64 tokens."""

    def rounded(block):
        scale = block.float().abs().amax((-2, -1), keepdim=True) / 127
        return ((block / scale).round() * scale).to(block.dtype)

    def by_heads(tensor):
        return tensor if tensor.ndim == 4 else tensor.unflatten(-1, (heads, -1)).transpose(1, 2)

    keys = torch.cat([rounded(block) for block in by_heads(k).split(64, -2)], -2)
    keys = keys if k.ndim == 4 else keys.transpose(1, 2).flatten(2)
    return core.attention_pytorch(q, keys, v, heads, *args, **kwargs)


def own_scale(q, k, v, heads, *args, scale=None, **kwargs):
    """Heeds no scale that it is given, as SageAttention 3."""
    return core.attention_pytorch(q, k, v, heads, *args, **kwargs)


def failing(*args, **kwargs):
    raise RuntimeError("no kernel for heads of 72")


def hollow(q, k, v, heads, *args, **kwargs):
    return core.attention_pytorch(q, k, v, heads, *args, **kwargs) * float("nan")


def like(width, split, dtype):
    return torch.zeros((1, 3, 5, width) if split else (1, 5, 3 * width), dtype=dtype)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(("width", "dtype"), [(48, torch.float32), (72, torch.bfloat16)])
def test_comfyuis_functions_are_exact_and_quantising_ones_not(width, dtype, split):
    q = like(width, split, dtype)
    for function in (core.attention_pytorch, core.attention_sub_quad, core.attention_split, core.attention_basic):
        assert self_test.exact(function, q, 3, _inside_attn_wrapper=True)
    for function in (quantising, own_scale, failing, hollow):
        assert not self_test.exact(function, q, 3, _inside_attn_wrapper=True)


def test_the_samplers_noise_does_not_depend_on_it():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    self_test.exact(core.attention_sub_quad, like(48, True, torch.float32), 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_each_function_is_tried_once():
    tried = []

    def noting(q, *args, **kwargs):
        tried.append((q.dtype, q.shape[-1]))
        return quantising(q, *args, **kwargs)

    outcomes, functions = self_test.SelfTest(), {"noting": noting, "PyTorch's": self_test.PYTORCH}
    for _ in range(2):
        for width, dtype in ((48, torch.float32), (72, torch.float32), (48, torch.bfloat16)):
            assert outcomes.choose(functions, like(width, True, dtype), 3) is self_test.PYTORCH
    assert tried == [(torch.float32, 48), (torch.float32, 72), (torch.bfloat16, 48)]


def biased(inner, site, q, k, v, heads, *args, **kwargs):
    """Self-attention: the first half of the queries looks away from the last half of the keys."""
    if site.kind == "cross":
        return inner(q, k, v, heads, *args, **kwargs)
    side = (torch.arange(q.shape[-2]) * 2 >= q.shape[-2]).float()[:, None]
    rows = [RowRule(a=-300 * (1 - side), b=side)] * len(q)
    return evaluate.attend(inner, q, k, v, heads, *args, rows=rows, form="columns", whole=inner.whole, **kwargs)


def overridden(model, override):
    model = model.clone()
    model.model_options["transformer_options"][OVERRIDE] = override
    return model


class Fake:
    """Another node's override that computes attention by itself, in a quantising function."""

    def __init__(self, function):
        self.function, self.calls = function, []

    def __call__(self, func, q, k, v, heads, *args, **kwargs):
        self.calls.append(((q.shape[-1] if q.ndim == 4 else q.shape[-1] // heads), q.shape[-2]))
        return self.function(q, k, v, heads, *args, **kwargs)


def test_a_rule_under_a_quantising_override(caplog):
    """Blocks with a rule are computed by PyTorch's attention, all others by the override, as the artist chose."""
    tiny = make("sdxl")  # heads of 64, with a rule 72
    fake, exact = Fake(quantising), Fake(core.attention_pytorch)
    for _ in range(2):  # queued twice: each sampling tries for itself
        fake.calls.clear()
        caplog.clear()
        with caplog.at_level(logging.INFO):
            result = sampled(tiny, overridden(catch.put(tiny.model, Noting(change=biased), "test"), fake))
        # tried around ComfyUI's function and around PyTorch's, and then left out
        assert [call for call in fake.calls if call[0] != 64] == [(72, self_test.TOKENS)] * 2
        assert (64, 16) in fake.calls
        assert sum("PyTorch's own is used" in record.getMessage() for record in caplog.records) == 1
    expected = sampled(tiny, overridden(catch.put(tiny.model, Noting(change=biased), "test"), exact))
    assert {call for call in exact.calls if call[0] == 72} == {(72, self_test.TOKENS), (72, 16), (72, 4)}
    # what is left between them is the override's own rounding, in cross-attention
    rounding = (sampled(tiny, overridden(tiny.model, fake)) - sampled(tiny)).abs().mean()
    assert (result - expected).abs().mean() < 3 * rounding < 0.1 * (result - sampled(tiny)).abs().mean()


def test_a_rule_under_a_quantising_function(monkeypatch):
    """As with --use-sage-attention: a node's override that hands on keeps its say, with PyTorch's attention inside."""
    tiny, handed = make("flux"), []

    def polite(func, q, k, v, heads, *args, **kwargs):
        handed.append((q.shape[-1], q.shape[-2]))
        return func(q, k, v, heads, *args, **kwargs)

    expected = sampled(tiny, overridden(catch.put(tiny.model, Noting(change=biased), "test"), polite))
    handed.clear()
    monkeypatch.setattr(comfy.ldm.flux.math, "optimized_attention", core.wrap_attn(quantising))
    result = sampled(tiny, overridden(catch.put(tiny.model, Noting(change=biased), "test"), polite))
    assert torch.allclose(result, expected, atol=1e-4)
    assert {width for width, tokens in handed if tokens != 2048} == {40}
