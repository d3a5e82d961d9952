"""Attention under rules equals the softmax written out, whatever the layout, the form and the kind of number."""

import pytest
import torch

from mild.mild_core.attention import columns
from mild.mild_core.attention.choose import COLUMNS, DENSE
from mild.mild_core.attention.evaluate import attend, attend_measured
from mild.mild_core.attention.factors import Kept, RowRule, factors
from mild.tests.helpers.attention_functions import Recorded, by_heads, fused, random_call, random_soft, reference

HEADS = 3
FORMS = (COLUMNS, DENSE)
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 1e-2}


def random_rule(tokens, regions, strength=8.0, seed=0):
    """A row's soft rule and the bias [N, N] it stands for."""
    generator = torch.Generator().manual_seed(seed)
    table = strength * torch.rand(regions, regions, generator=generator)
    table.fill_diagonal_(0)
    soft = random_soft(tokens, regions, seed)
    a, b = factors(table, soft)
    return RowRule(a, b, measured=soft), -(soft @ table @ soft.T)


def expected(call, bias, **how):
    """[B, N, heads * d] and [B, heads, N, N]."""
    out, weights = reference(*(by_heads(part, HEADS) for part in call), bias, **how)
    return out.transpose(1, 2).flatten(2), weights


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("head, regions", [(40, 3), (40, 5), (64, 4), (80, 8), (128, 9)])
def test_soft_regions_weigh_as_the_written_out_bias(head, regions, dtype, form):
    call = random_call(head=head, dtype=dtype)
    row, bias = random_rule(77, regions)
    out, mass = attend_measured(fused, *call, HEADS, rows=[row, row], form=form)
    wanted, weights = expected(call, bias)
    assert out.shape == call[0].shape and out.dtype == dtype
    assert (out.float() - wanted).abs().max() < TOLERANCE[dtype]
    assert (mass.float() - weights @ row.measured).abs().max() < TOLERANCE[dtype]
    assert (mass.float().sum(-1) - 1).abs().max() < TOLERANCE[dtype]


@pytest.mark.parametrize("strength", [50.0, 1000.0])
@pytest.mark.parametrize("form", FORMS)
def test_strong_biases_stay_exact_in_bfloat16(strength, form):
    """A bias rounded to 8 bits would be off by as much as 4."""
    call = random_call(head=64, dtype=torch.bfloat16)
    row, bias = random_rule(77, 6, strength)
    out = attend(fused, *call, HEADS, rows=[row, row], form=form)
    assert (out.float() - expected(call, bias)[0]).abs().max() < 1e-2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("by_heads_in", [False, True])
@pytest.mark.parametrize("by_heads_out", [False, True])
def test_layouts(by_heads_in, by_heads_out, form):
    call = random_call()
    row, bias = random_rule(77, 4)
    given = tuple(by_heads(part, HEADS) for part in call) if by_heads_in else call
    out = attend(
        fused, *given, HEADS, skip_reshape=by_heads_in, skip_output_reshape=by_heads_out, rows=[row, row], form=form
    )
    wanted = expected(call, bias)[0]
    torch.testing.assert_close(out, by_heads(wanted, HEADS) if by_heads_out else wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(77, 77), (2, 1, 77), (2, 77, 77), (2, 1, 77, 77), (2, HEADS, 77, 77), (1, 77)])
@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
def test_a_mask_is_handed_on(shape, kind, form):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) > 0.3
    mask[..., 0] = True
    added = mask if kind == torch.bool else torch.where(mask, 0.5, -3.0)
    wide = added[None, None] if added.ndim == 2 else added[:, None] if added.ndim == 3 else added
    call = random_call()
    row, bias = random_rule(77, 4)
    other = RowRule(kept=(Kept(torch.arange(30), torch.arange(9, 77)), Kept(torch.arange(30, 77), None)))
    seen = torch.ones(2, 1, 77, 77, dtype=torch.bool)
    seen[1, :, :30, :9] = False
    bias = torch.stack([bias, torch.zeros_like(bias)])[:, None]
    if kind == torch.bool:
        seen = seen & wide
    else:
        bias = bias + wide
    out = attend(fused, *call, HEADS, added, rows=[row, other], form=form)
    torch.testing.assert_close(out, expected(call, bias, seen=seen)[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [0.05, 1.0])
@pytest.mark.parametrize("form", FORMS)
def test_a_scale_holds_for_the_logits_and_not_for_the_bias(scale, form):
    call = random_call()
    row, bias = random_rule(77, 4)
    out = attend(fused, *call, HEADS, rows=[row, row], form=form, scale=scale)
    torch.testing.assert_close(out, expected(call, bias, scale=scale)[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_gains_are_per_head(form):
    call = random_call()
    row, bias = random_rule(77, 4)
    gain = torch.tensor([0.0, 1.0, 2.5])
    out = attend(fused, *call, HEADS, rows=[row._replace(gain=gain), row], form=form)
    bias = torch.stack([gain[:, None, None] * bias, bias.expand(3, 77, 77)])
    torch.testing.assert_close(out, expected(call, bias)[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", [*FORMS, None])
def test_what_is_kept_from_call_to_call_changes_nothing(form):
    memo = {}
    (first, _), (second, _) = random_rule(77, 3), random_rule(77, 3, seed=1)
    gained = second._replace(gain=torch.tensor([0.5, 1.0, 2.0]))
    for seed, rows, scale in ((0, [first, None], None), (1, [first, second], None), (2, [first, None], 0.3)):
        for dtype, rules in ((torch.float32, rows), (torch.bfloat16, rows), (torch.float32, [gained, gained])):
            call = random_call(dtype=dtype, seed=seed)
            how = {"rows": rules, "form": form, "scale": scale}
            once, again = (attend(fused, *call, HEADS, memo=memo, **how) for _ in range(2))
            assert torch.equal(once, attend(fused, *call, HEADS, **how)) and torch.equal(once, again)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_each_row_has_its_own_rule(form, whole):
    call = random_call(rows=4)
    (first, bias), (second, other_bias) = random_rule(77, 3), random_rule(77, 6, seed=1)
    rows = [first, None, second, first]
    out, mass = attend_measured(fused, *call, HEADS, rows=rows, form=form, whole=whole)
    biases = torch.stack([bias, torch.zeros_like(bias), other_bias, bias])[:, None]
    wanted, weights = expected(call, biases)
    torch.testing.assert_close(out, wanted, atol=1e-4, rtol=0)
    assert mass.shape == (4, HEADS, 77, 6) and mass[1].isnan().all()
    torch.testing.assert_close(mass[2], weights[2] @ second.measured, atol=1e-4, rtol=0)
    torch.testing.assert_close(mass[3, ..., :3], weights[3] @ first.measured, atol=1e-4, rtol=0)
    assert (mass[3, ..., 3:] == 0).all()


def test_keys_of_another_length():
    call = random_call(keys=33)
    a, b = torch.randn(77, 2), torch.randn(33, 2)
    out, mass = attend_measured(fused, *call, HEADS, rows=[RowRule(a, b, measured=random_soft(33, 3))] * 2)
    wanted, weights = expected(call, a @ b.T)
    torch.testing.assert_close(out, wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(mass, weights @ random_soft(33, 3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("reshaped", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_keys_of_fewer_heads(reshaped, form):
    q, k, v = random_call(rows=2, heads=6, tokens=50, head=16)
    k, v = k[..., :32], v[..., :32]
    row, bias = random_rule(50, 3)
    given = (by_heads(q, 6), by_heads(k, 2), by_heads(v, 2)) if reshaped else (q, k, v)
    out = attend(fused, *given, 6, skip_reshape=reshaped, enable_gqa=True, rows=[row, row], form=form)
    k, v = (by_heads(part, 2).repeat_interleave(3, 1) for part in (k, v))
    wanted = reference(by_heads(q, 6), k, v, bias)[0]
    torch.testing.assert_close(out, wanted.transpose(1, 2).flatten(2), atol=1e-4, rtol=0)


def test_nothing_to_do_is_the_callers_own_call():
    call, function = random_call(), Recorded()
    mask, options = torch.zeros(77, 77), {"any": "thing"}
    out, mass = attend_measured(function, *call, HEADS, mask, rows=[None, None], transformer_options=options)
    assert torch.equal(out, fused(*call, HEADS, mask)) and mass is None
    (args, kwargs), *more = function.calls
    assert not more and all(given is own for given, own in zip(args, (*call, HEADS, mask), strict=True))
    assert list(kwargs) == ["transformer_options"] and kwargs["transformer_options"] is options


def test_queries_keys_and_values_reach_the_function_unchanged():
    call, function = random_call(), Recorded()
    row, _ = random_rule(77, 4)
    attend(function, *call, HEADS, rows=[row, row], attn_precision=torch.float32, scale=0.1, flag=3, form=COLUMNS)
    for (*tensors, heads), kwargs in function.calls:
        assert kwargs["attn_precision"] is torch.float32 and kwargs["flag"] == 3 and kwargs["scale"] == 0.1
        assert all(part.shape[1] == heads and part.shape[-1] == 48 for part in tensors)
    for n, part in enumerate(call):
        reached = torch.cat([args[n][..., :40].flatten(0, 1) for args, _ in function.calls])
        assert torch.equal(reached, by_heads(part, HEADS).flatten(0, 1))


def test_extra_memory_is_bounded(monkeypatch):
    """What a call copies is a share of q, k and v, as long as its pieces keep the device busy."""
    from mild.mild_core.attention import evaluate

    monkeypatch.setattr(evaluate, "LEAST_QUERIES_ELSEWHERE", 1)
    row, bias = random_rule(200, 5)
    for rows, heads in ((1, 10), (4, 8), (9, 3)):
        call, function = random_call(rows=rows, heads=heads, tokens=200), Recorded()
        out = attend(function, *call, heads, rows=[row] * rows, form=COLUMNS)
        wanted = reference(*(by_heads(part, heads) for part in call), bias)[0]
        torch.testing.assert_close(out, wanted.transpose(1, 2).flatten(2), atol=1e-4, rtol=0)
        given = sum(part.numel() for part in call)
        for (*tensors, _), _ in function.calls:
            assert 4 / 3 * sum(part.numel() for part in tensors) <= 0.25 * given


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("strength", [1e-3, 1.0, 1e3, 1e6])
def test_columns_stay_small(strength, dtype):
    """On both sides, whatever the strength: half precision ends at 65504."""
    soft = random_soft(77, 4)
    a, b = factors(strength * (1 - torch.eye(4)), soft)
    added = columns.of_rows([RowRule(a, b)], torch.zeros(1, HEADS, 77, 160), torch.zeros(1, HEADS, 77, 160))
    tails = columns.tails(added, 160, dtype, 160**-0.5)
    most = [part.abs().max() for part in (tails.q, tails.k)]
    assert max(most) <= columns.LARGEST and max(most) <= 8 * min(most)


def test_rows_and_tokens_that_do_not_fit():
    call = random_call()
    with pytest.raises(ValueError, match="rows: 1 rules meet a batch of 2"):
        attend(fused, *call, HEADS, rows=[None])
    with pytest.raises(ValueError, match="tokens: a rule of 60 meets an attention of 77"):
        attend(fused, *call, HEADS, rows=[random_rule(60, 3)[0], None])
