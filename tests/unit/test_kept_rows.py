"""Attention rows that are kept within a bound."""

import itertools

import pytest
import torch

from mild.mild_core.attention.kept_rows import KeptRows

SIZES = {"a": 40, "b": 10, "c": 10, "d": 40}
"""Bytes for each of two prompts."""


def filled(most, names):
    kept = KeptRows(list(SIZES), most)
    for block, whose in names:
        kept.keep(block, whose, SIZES[block], lambda block=block: torch.zeros(SIZES[block], dtype=torch.uint8))
        assert kept.bytes <= most
    return kept


@pytest.mark.parametrize(
    ("most", "expected"), [(200, "abcd"), (199, "ac"), (100, "ac"), (99, "a"), (80, "a"), (79, ""), (0, "")]
)
def test_what_is_left_does_not_depend_on_who_came_first(most, expected):
    """Nor on how prompts are shared out among calls of the model."""
    names = list(itertools.product(SIZES, range(2)))
    for order in (names, names[::-1], sorted(names, key=lambda name: name[1])):
        kept = filled(most, order)
        for _ in range(2):
            assert "".join(block for block in SIZES if kept.takes_part(block)) == expected
            left = [kept.get(*name) for name in order if kept.takes_part(name[0])]
            assert kept.bytes == sum(rows.numel() * rows.element_size() for rows in left)
            assert all(kept.get(*name) is None for name in order if not kept.takes_part(name[0]))
            for block, whose in order:  # asked again
                kept.keep(block, whose, SIZES[block], lambda block=block: torch.zeros(SIZES[block], dtype=torch.uint8))
        assert kept.none == (expected == "")


def test_blocks_that_were_let_go_stay_so():
    kept = filled(100, itertools.product(SIZES, range(2)))
    kept.clear()
    assert kept.bytes == 0 and kept.get("a", 0) is None
    kept.keep("b", 0, 10, lambda: torch.zeros(10, dtype=torch.uint8))
    assert kept.get("b", 0) is None and kept.bytes == 0
