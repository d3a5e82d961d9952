"""Regions on token grids, tables, what is measured, and which form is chosen."""

import pytest
import torch

from mild.mild_core.attention import choose
from mild.mild_core.attention.choose import COLUMNS, DENSE, Measured
from mild.mild_core.attention.evaluate import attend_measured
from mild.mild_core.attention.factors import factors, row_rule
from mild.mild_core.attention.gap import gap
from mild.mild_core.attention.regions import HOLE, REST, SHOWN, Span, on_grid, on_spans, tiles
from mild.mild_core.attention.rule import Schedule, sma
from mild.tests.helpers.attention_functions import by_heads, fused, random_call, random_soft, reference


def random_masks(size=(97, 131), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(size, generator=generator) for name in (HOLE, "person 1", "person 2")}


@pytest.mark.parametrize("grid", [(10, 7), (19, 13), (1, 1), (97, 131), (120, 140), (64, 96)])
@pytest.mark.parametrize("kind", ["random", "empty", "full", "half"])
def test_membership_sums_to_one_on_any_grid(grid, kind):
    masks = random_masks()
    if kind != "random":
        masks = {name: torch.full((97, 131), {"empty": 0.0, "full": 1.0, "half": 0.5}[kind]) for name in masks}
    regions = on_grid(masks, grid)
    assert regions.names == (REST, HOLE, "person 1", "person 2")
    assert regions.soft.shape == regions.touched.shape == (grid[0] * grid[1], 4)
    assert (regions.soft >= 0).all() and (regions.soft.sum(1) - 1).abs().max() < 1e-5
    assert regions.touched[regions.soft > 0.01].all()
    rest = {"empty": 1.0, "full": 0.0, "half": 0.0}.get(kind)
    if rest is not None:
        assert (regions.soft[:, 0] - rest).abs().max() < 1e-5 and (regions.touched[:, 0] == bool(rest)).all()


def test_membership_is_the_area_covered():
    mask = torch.zeros(90, 60)
    mask[13:77, 22:41] = 1
    soft = on_grid({HOLE: mask}, (9, 7)).soft[:, 1].reshape(9, 7)
    assert soft.sum() / 63 == pytest.approx(mask.mean().item(), abs=1e-5)
    assert soft[4, 3] == 1 and soft[1, 3] == pytest.approx(0.7)


def test_text_and_reference_tokens_have_regions_of_their_own():
    masks = random_masks()
    spans = [
        Span("image", 12, 70, (10, 7)), Span("text", 0, 12), Span("reference", 82, 70, (10, 7)), Span("padding", 152, 3)
    ]  # fmt: skip
    regions = on_spans(masks, spans)
    assert set(regions.names) == {REST, *masks, SHOWN, "text", "padding"}
    assert (regions.soft.sum(1) - 1).abs().max() < 1e-5
    column = {name: regions.soft[:, n] for n, name in enumerate(regions.names)}
    alone = on_grid(masks, (10, 7))
    for n, name in enumerate(alone.names):
        assert torch.equal(column[name][12:82], alone.soft[:, n])
        assert torch.equal(column[SHOWN if name == HOLE else name][82:152], alone.soft[:, n])
    assert (column["text"][:12] == 1).all() and (column["padding"][152:] == 1).all()
    assert not column[HOLE][82:].any()
    # what a rule does not know keeps its plain attention
    rule = sma((REST, *masks))
    row = row_rule(rule, regions)
    bias = row.a @ row.b.T
    image = slice(12, 82)
    torch.testing.assert_close(bias[image, image], -(alone.soft @ rule.table() @ alone.soft.T), atol=1e-4, rtol=0)
    assert not bias[:12].any() and not bias[:, :12].any() and not bias[152:].any() and not bias[:, 152:].any()


@pytest.mark.parametrize("spans", [[Span("text", 0, 5), Span("image", 6, 4, (2, 2))], [Span("image", 0, 5, (2, 2))]])
def test_spans_that_do_not_fit(spans):
    with pytest.raises(ValueError, match="tokens: "):
        on_spans(random_masks(), spans)


def test_tiles_tell_where():
    where = tiles((7, 10), (3, 4))
    assert where.shape == (70, 12) and (where.sum(1) - 1).abs().max() < 1e-5
    assert (where.sum(0) - 70 / 12).abs().max() < 1e-4
    assert where[0].argmax() == 0 and where[69].argmax() == 11 and where[9].argmax() == 3


@pytest.mark.parametrize("own", [REST, "person 1"])
def test_a_hole_looks_less_at_others_than_plainly(own):
    """What the preset is for, in every pathway."""
    masks = random_masks()
    masks = {name: (mask > 0.6).float() for name, mask in masks.items()}
    regions = on_grid(masks, (11, 7))
    call = random_call(rows=1)
    foreign = [n for n, name in enumerate(regions.names) if name not in (own, HOLE)]
    place = regions.names.index(own)
    found = []
    for strength in (0.0, 1.0, 2.0):
        row = row_rule(sma(regions.names, own), regions, strength=strength, measured=regions.soft)
        _, mass = attend_measured(fused, *call, 3, rows=[row])
        found.append(gap(mass, regions.soft[:, 1], [place, 1], foreign).mean())
    assert found[0] < found[1] < found[2] <= 1


def test_presets_are_the_tables_of_the_design():
    names = (REST, HOLE, "a", "b", "text")
    table = sma(names, strong=8, medium=2, mild=1).table(0.0)
    assert torch.equal(table, torch.tensor([[0, 2, 2, 2, 0], [0, 1, 8, 8, 0], *[[0] * 5] * 3]).float())
    assert sma(names).table(0.9)[1, 1] == 0
    person = sma(names, "a", strong=8).table(0.9)
    assert person[1].tolist() == [8, 0, 0, 8, 0] and not person[[0, 2, 3, 4]].any()
    with pytest.raises(ValueError, match="regions: there is no 'c'"):
        sma(names, "c")


def test_schedules_hold_and_fade():
    schedule = Schedule(0.1, 0.5, 0.2)
    assert [schedule.at(p) for p in (0.0, 0.1, 0.5, 0.8, 1.0)] == [0, 1, 1, 0, 0]
    assert schedule.at(0.6) == pytest.approx(0.5)
    assert [Schedule(0, 0.5).at(p) for p in (0.5, 0.51)] == [1, 0] and Schedule().at(1.0) == 1


@pytest.mark.parametrize("seed", range(6))
def test_factors_are_the_table_with_no_more_columns_than_needed(seed):
    generator = torch.Generator().manual_seed(seed)
    table = torch.randint(0, 3, (6, 6), generator=generator).float() * 4
    table[seed % 3 :: 2] = table[seed % 3]  # some regions look alike
    soft = random_soft(50, 6, seed)
    a, b = factors(table, soft)
    torch.testing.assert_close(a @ b.T, -(soft @ table @ soft.T), atol=1e-4, rtol=0)
    rows, across = ({tuple(line) for line in side.tolist() if any(line)} for side in (table, table.T))
    assert a.shape[1] == b.shape[1] == min(len(rows), len(across))


def test_a_hole_that_avoids_eight_people_needs_one_column():
    names = (REST, HOLE, *(f"person {n}" for n in range(8)))
    a, _ = factors(sma(names, "person 3").table(0.9), random_soft(20, 10))
    assert a.shape == (20, 1)
    assert factors(torch.zeros(10, 10), random_soft(20, 10)) == (None, None)


def test_the_gap_is_the_definition():
    call = [by_heads(part, 3) for part in random_call(rows=2)]
    soft = random_soft(77, 4)
    _, weights = reference(*call)
    mass = weights @ soft
    counts = torch.rand(77)
    counts[:20] = 0
    looked = mass[..., [0, 2]].sum(-1) - mass[..., 3]
    wanted = (looked * counts).sum(-1) / counts.sum()
    torch.testing.assert_close(gap(mass, counts, [0, 2], [3]), wanted)
    mass[:, :, :20] = float("nan")  # which does not count
    torch.testing.assert_close(gap(mass, counts, [0, 2], [3]), wanted)
    assert gap(mass, torch.zeros(77), [0], [1]).isnan().all()


@pytest.mark.parametrize("leak, value", [(0.0, 1.0), (1.0, -1.0), (0.25, 0.5)])
def test_the_gap_reaches_from_minus_one_to_one(leak, value):
    mass = torch.tensor([1 - leak, leak]).expand(1, 2, 9, 2)
    assert gap(mass, torch.ones(9), [0], [1]).tolist() == [[value, value]]


def test_the_faster_form_is_chosen_from_what_was_measured():
    known = (
        Measured("cpu", 40, 1024, 1.3, 1.1), Measured("cpu", 40, 4096, 1.1, 1.4),
        Measured("cpu", 128, 1024, 1.1, 1.3), Measured("cuda", 40, 1024, 1.1, 2.0),
    )  # fmt: skip
    assert choose.form(48, 900, 900, "cpu", known) == DENSE
    assert choose.form(40, 3000, 3000, "cpu", known) == COLUMNS
    assert choose.form(160, 900, 900, "cpu", known) == COLUMNS
    assert choose.form(40, 900, 900, "cuda", known) == COLUMNS
    assert choose.form(40, 900, 900, "mps", known) == COLUMNS
    assert choose.form(40, 2**13, 2**13, "cpu", (Measured("cpu", 40, 2**13, 2.0, 1.0),)) == COLUMNS


def test_the_committed_table_is_read():
    for entry in choose.table():
        assert entry.head > 0 and entry.tokens > 0 and entry.columns > 0 and entry.dense > 0
