"""What is forbidden has no influence, bit for bit; what a query may not see is what its regions may not see."""

import pytest
import torch

from mild.mild_core.attention.evaluate import attend, attend_measured
from mild.mild_core.attention.factors import row_rule
from mild.mild_core.attention.gap import gap
from mild.mild_core.attention.regions import HOLE, on_grid
from mild.mild_core.attention.rule import Schedule, attentive_eraser, off, sma, sra
from mild.tests.helpers.attention_functions import Recorded, by_heads, fused, random_call, reference

GRID, HEADS = (11, 7), 3
TOKENS = 77
HALVES = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 1e-2}


def masks(hole=(slice(20, 50), slice(10, 40))):
    """A hole and a person who overlaps it, on a frame of 88 x 56 px."""
    stack = {HOLE: torch.zeros(88, 56), "person 1": torch.zeros(88, 56)}
    stack[HOLE][hole] = 1
    stack["person 1"][30:70, 35:50] = 1
    return stack


def members(**kwargs):
    return on_grid(masks(**kwargs), GRID)


def sees(rule, regions):
    """[N, N]: the keys that each query may see, by the definition."""
    touched = regions.touched
    seen = torch.ones(len(touched), len(touched), dtype=torch.bool)
    for i, query in enumerate(regions.names):
        for j, key in enumerate(regions.names):
            if rule.forbidden[rule.regions.index(query), rule.regions.index(key)]:
                seen &= ~(touched[:, i, None] & touched[:, j])
    return seen


RULES = {"attentive eraser": attentive_eraser, "sra": sra}


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", RULES)
def test_forbidden_keys_are_left_out(name, dtype, whole):
    regions = members()
    rule = RULES[name](regions.names)
    row = row_rule(rule, regions, progress=0.1, measured=regions.soft)
    call = random_call(rows=3, tokens=TOKENS, dtype=dtype)
    out, mass = attend_measured(fused, *call, HEADS, rows=[row, None, row], whole=whole)
    scale = torch.ones(TOKENS, 1)
    if rule.query_scale:
        scale[regions.touched[:, regions.names.index(HOLE)]] = 0.3
    split = [by_heads(part, HEADS) for part in call]
    wanted, weights = reference(*split, query_scale=scale, seen=sees(rule, regions))
    wanted[1] = reference(*split)[0][1]
    assert (out.float() - wanted.transpose(1, 2).flatten(2)).abs().max() < HALVES[dtype]
    measured = ~mass.isnan()
    assert (mass.float() - weights @ regions.soft)[measured].abs().max() < HALVES[dtype]
    assert not measured[1].any() and measured[0, ..., 0].all()
    # nobody may look at the hole, or only those may who are not in it
    hole = regions.names.index(HOLE)
    blind = torch.ones(TOKENS, dtype=torch.bool) if rule.query_scale else regions.touched[:, hole]
    assert torch.equal(~measured[0, ..., hole], blind.expand(HEADS, -1))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("dtype", HALVES)
def test_what_is_forbidden_has_no_influence_bit_for_bit(dtype, whole):
    regions = members()
    row = row_rule(attentive_eraser(regions.names), regions)
    q, k, v = random_call(tokens=TOKENS, dtype=dtype)
    out = attend(fused, q, k, v, HEADS, rows=[row, row], whole=whole)
    gone = regions.touched[:, regions.names.index(HOLE)]
    assert 0 < gone.sum() < TOKENS
    for part in (k, v):
        part[:, gone] = 30 * torch.randn_like(part[:, gone])
    assert torch.equal(attend(fused, q, k, v, HEADS, rows=[row, row], whole=whole), out)
    if not whole:  # they are not even read
        v[:, gone] = float("nan")
        assert torch.equal(attend(fused, q, k, v, HEADS, rows=[row, row]), out)
        assert not torch.equal(attend(fused, q, k, v, HEADS, rows=[None, row])[0], out[0])


def test_only_the_hole_is_kept_from_seeing_itself():
    """SRA: other queries see all there is, in one call of their own."""
    regions = members()
    row = row_rule(sra(regions.names), regions)
    hole = regions.touched[:, regions.names.index(HOLE)]
    function = Recorded()
    attend(function, *random_call(tokens=TOKENS), HEADS, rows=[row, row])
    sizes = {(args[0].shape[2], args[1].shape[2]) for args, _ in function.calls}
    inside = int(hole.sum())
    assert sizes == {(inside, TOKENS - inside), (TOKENS - inside, TOKENS)}


def test_soft_and_hard_rules_hold_together():
    regions = members()
    soft, hard = sma(regions.names), sra(regions.names)
    rule = soft._replace(forbidden=hard.forbidden)
    row = row_rule(rule, regions, measured=regions.soft)
    call = random_call(tokens=TOKENS)
    split = [by_heads(part, HEADS) for part in call]
    bias = -(regions.soft @ rule.table() @ regions.soft.T)
    wanted, weights = reference(*split, bias, seen=sees(rule, regions))
    for how in ({"form": "columns"}, {"form": "dense"}, {"whole": True, "form": "columns"}):
        out, mass = attend_measured(fused, *call, HEADS, rows=[row, row], **how)
        torch.testing.assert_close(out, wanted.transpose(1, 2).flatten(2), atol=1e-4, rtol=0)
        known = ~mass.isnan()
        torch.testing.assert_close(mass[known], (weights @ regions.soft)[known], atol=1e-4, rtol=0)


@pytest.mark.parametrize("whole", [False, True])
def test_rows_with_other_numbers_of_regions(whole):
    """What is removed in one row reads "not measured" there, whatever its neighbour measures."""
    first, second = members(), on_grid({HOLE: masks()[HOLE]}, GRID)
    rows = [row_rule(attentive_eraser(one.names), one, measured=one.soft) for one in (first, second)]
    _, mass = attend_measured(fused, *random_call(tokens=TOKENS), HEADS, rows=rows, whole=whole)
    assert mass.shape[-1] == 3
    assert mass[:, :, :, 1].isnan().all() and not mass[:, :, :, [0, 2]].isnan().any()
    assert (mass[1, ..., 2] == 0).all() and (mass[1, ..., 0] - 1).abs().max() < 1e-4


@pytest.mark.parametrize("gain", [torch.full((HEADS,), 1e-3), torch.tensor([0.0, 1.0, 7.0])])
def test_gains_do_not_weaken_what_is_forbidden(gain):
    regions = members()
    rule = sma(regions.names)._replace(forbidden=attentive_eraser(regions.names).forbidden)
    row = row_rule(rule, regions, gain=gain)
    q, k, v = random_call(tokens=TOKENS)
    out = attend(fused, q, k, v, HEADS, rows=[row, row], whole=True)
    gone = regions.touched[:, regions.names.index(HOLE)]
    v[:, gone] = 0
    assert torch.equal(attend(fused, q, k, v, HEADS, rows=[row, row], whole=True), out)


def test_a_query_without_any_key_stays_plain_and_is_counted():
    regions = members(hole=(slice(None), slice(None)))
    call = random_call(tokens=TOKENS)
    changed = row_rule(attentive_eraser(regions.names), regions)
    assert changed.blind == TOKENS and not changed.kept and not changed.plain
    row = row_rule(attentive_eraser(regions.names, scale=1.0), regions)
    assert row.blind == TOKENS and row.plain
    assert torch.equal(attend(fused, *call, HEADS, rows=[row, None]), fused(*call, HEADS))
    measuring = row._replace(measured=regions.soft)
    out, mass = attend_measured(fused, *call, HEADS, rows=[measuring, row])
    torch.testing.assert_close(out, fused(*call, HEADS), atol=1e-5, rtol=0)
    assert (mass[0].sum(-1) - 1).abs().max() < 1e-4 and mass[1].isnan().all()


def test_an_empty_hole_forbids_nothing():
    regions = members(hole=(slice(0, 0), slice(0, 0)))
    for rule in (attentive_eraser(regions.names), sra(regions.names)):
        row = row_rule(rule, regions)
        assert row is None or (not row.kept and (row.query_scale == 1).all())


def test_one_thin_line_counts_as_touched():
    regions = members(hole=(slice(None), slice(13, 14)))
    column = regions.touched[:, regions.names.index(HOLE)].reshape(GRID)
    assert column[:, 1].all() and column.sum() == GRID[0]


@pytest.mark.parametrize("make", [sma, attentive_eraser, sra])
def test_strength_0_and_no_rule_are_nothing(make):
    regions = members()
    assert row_rule(make(regions.names), regions, strength=0) is None
    assert row_rule(off(regions.names), regions) is None


def test_what_is_over_is_nothing():
    regions = members()
    rule = attentive_eraser(regions.names, when=Schedule(0, 0.5))
    assert row_rule(rule, regions, 0.4).kept and row_rule(rule, regions, 0.6) is None
    suppressed = [row_rule(attentive_eraser(regions.names), regions, at).query_scale for at in (0.1, 0.3)]
    assert suppressed[0].min() == pytest.approx(0.3) and suppressed[1] is None


def test_the_gap_of_a_removed_region_is_not_measured():
    regions = members()
    row = row_rule(attentive_eraser(regions.names), regions, measured=regions.soft)
    _, mass = attend_measured(fused, *random_call(tokens=TOKENS), HEADS, rows=[row, row])
    hole, person = (regions.names.index(name) for name in (HOLE, "person 1"))
    inside = regions.soft[:, hole]
    assert gap(mass, inside, own=[0], foreign=[hole]).isnan().all()
    assert gap(mass, inside, own=[0], foreign=[person]).abs().max() <= 1
