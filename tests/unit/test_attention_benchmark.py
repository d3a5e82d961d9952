"""The benchmark of attention compares like with like, and counts memory."""

import pytest
import torch

from mild.benchmarks.cost import attention as benchmark
from mild.benchmarks.cost import held
from mild.mild_core.attention.gap import gap
from mild.tests.helpers.attention_functions import by_heads, reference

CPU = torch.device("cpu")


@pytest.fixture
def case():
    return benchmark.make_case(40, 12, 2, 1, CPU)


def test_rows_of_one_rule_give_one_result(case):
    made = benchmark.make_rows(case)
    for name in ("dense", "materialised"):
        torch.testing.assert_close(made[name](), made["sma"](), atol=1e-4, rtol=0)
    assert not torch.allclose(made["sma"](), made["plain"](), atol=1e-3)
    wanted, weights = reference(*(by_heads(part, 2) for part in case[:3]))
    torch.testing.assert_close(made["plain"](), wanted.transpose(1, 2).flatten(2), atol=1e-4, rtol=0)
    soft = benchmark.regions(4, 12, CPU).soft
    members = benchmark.regions(4, 12, CPU)
    hole = members.touched[:, members.names.index("hole")]
    logits = torch.einsum("bhnd,bhmd->bhnm", *(by_heads(part, 2) for part in case[:2])) * 40**-0.5
    for name, ban in (("sra", hole[:, None] & hole), ("adaeraser", hole.expand(144, -1))):  # compared with itself: gone
        expected = logits.masked_fill(ban, float("-inf")).softmax(-1) @ by_heads(case[2], 2)
        torch.testing.assert_close(made[name](), expected.transpose(1, 2).flatten(2), atol=1e-4, rtol=0)
    assert (made["sma + gap"]() > gap(weights @ soft, soft[:, 1], (0, 1), (2, 3))).all()


@pytest.mark.parametrize("count", [4, 8])
def test_every_region_is_there(count):
    regions = benchmark.regions(count, 16, CPU)
    assert len(regions.names) == count and regions.touched.any(0).all()
    assert benchmark.unlike(count, 16, CPU).a.shape[1] == count


def test_held_counts_what_lives_at_once():
    numbers = torch.zeros(1000)

    def run():
        first = numbers + 1
        part = first[:10]
        del first
        kept = part * 2
        many = [numbers * n for n in range(5)]
        del many
        return kept

    # beside the tensors, torch holds a number or two
    assert held.most_held(run, CPU) == pytest.approx(4 * (1000 + 10 + 5 * 1000), abs=64)
    assert held.most_held(lambda: numbers[:5], CPU) == 0


def test_ratios_are_those_of_the_same_turn():
    mine, plain = benchmark.Times([2.0, 6.0, 20.0]), benchmark.Times([1.0, 3.0, 5.0])
    assert mine.over(plain) == [2.0, 2.0, 4.0] and mine.against(plain) == "2.00 (2.00-4.00)"
    found = {"small": {"a": mine, "b": plain}, "large": {"a": plain, "b": mine}}
    assert benchmark.worst(found, "a", "b") == "2.000 (small)"
    assert benchmark.worst(found, "a", "b", largest=False) == "0.500 (large)"
    assert benchmark.worst(found, "a", "c") == "not measured"
