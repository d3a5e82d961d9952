"""Choose the faster form of an attention under rules, by a table of measured times.

forms.json holds what `benchmarks/cost/attention.py --write-table` measured: for each kind of device, head size and
number of tokens, how many times as long as plain attention each form took.
"""

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

COLUMNS = "columns"
DENSE = "dense"

TABLE = Path(__file__).with_name("forms.json")

MOST_DENSE = 2**22
"""Queries times keys of a bias that is built as a matrix, at most; beyond this its memory would matter."""
WORTH = 0.95
"""Share of the columns' time: the matrix is built only where it takes at most so much."""


class Measured(NamedTuple):
    """One entry of the table; columns and dense in multiples of plain attention's time."""

    device: str  # torch's type: "cpu", "cuda"
    head: int
    tokens: int
    columns: float
    dense: float


@lru_cache(maxsize=8)
def table(path: Path = TABLE) -> tuple[Measured, ...]:
    """The measured table; read once."""
    entries = json.loads(path.read_text(encoding="utf-8"))["entries"]
    return tuple(Measured(*(entry[name] for name in Measured._fields)) for entry in entries)


def form(head: int, queries: int, keys: int, device: str, known: tuple[Measured, ...] | None = None) -> str:
    """COLUMNS or DENSE, by the nearest entry of this kind of device: that of the nearest head size, there that of the
    nearest number of tokens (by ratio). COLUMNS where nothing of the kind was measured.

    known: another table in place of the committed one.
    """
    entries = [entry for entry in (table() if known is None else known) if entry.device == device]
    if not entries or queries * keys > MOST_DENSE:
        return COLUMNS
    tokens = math.sqrt(queries * keys)
    nearest = min(
        entries,
        key=lambda entry: (abs(math.log(entry.head / head)), abs(math.log(entry.tokens / max(tokens, 1)))),
    )
    return DENSE if nearest.dense <= WORTH * nearest.columns else COLUMNS
