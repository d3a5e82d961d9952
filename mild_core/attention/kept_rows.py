"""Attention rows that are kept from one call of the model to the next, within a bound on all of them together."""

import threading
from collections.abc import Callable, Hashable, Sequence

from torch import Tensor


class KeptRows:
    """Rows by block, and by whose they are (prompt, row of the latent).

    Bytes are counted as they are kept: each block's at its own number of tokens, summed over all blocks, prompts and
    rows of the latent, on whichever device they are. Where the next ones would be too many, every second block is let
    go, then every second of those left: for all prompts and rows alike, whoever came first. Blocks that were let go
    stay so at later noise levels, which keep as much.
    """

    def __init__(self, blocks: Sequence[Hashable], most: int):
        """blocks: in the network's order; most: bytes."""
        self.most, self.stride = most, 1  # of `stride` blocks one takes part
        self._order = {block: number for number, block in enumerate(blocks)}
        self._sizes: dict[tuple[Hashable, Hashable], int] = {}  # booked before the rows are made
        self._rows: dict[tuple[Hashable, Hashable], Tensor] = {}
        self._lock = threading.Lock()  # ComfyUI calls the model in one thread for each GPU

    @property
    def bytes(self) -> int:
        return sum(self._sizes.values())

    @property
    def none(self) -> bool:
        """Whether no block takes part: the first one's rows alone would be too many."""
        return self.stride >= 2 * len(self._order)

    def takes_part(self, block: Hashable) -> bool:
        return self._order[block] % self.stride == 0 and not self.none

    def keep(self, block: Hashable, whose: Hashable, size: int, made: Callable[[], Tensor]) -> None:
        """size: bytes of the rows, which are made only where there is room for them."""
        with self._lock:
            self._sizes.pop((block, whose), None)
            while self.takes_part(block) and self.bytes + size > self.most:
                self.stride *= 2
                for name in [name for name in self._sizes if not self.takes_part(name[0])]:
                    del self._sizes[name]
                    self._rows.pop(name, None)
            if not self.takes_part(block):
                return
            self._sizes[block, whose] = size
        rows = made()
        with self._lock:
            if self.takes_part(block):  # still
                self._rows[block, whose] = rows

    def get(self, block: Hashable, whose: Hashable) -> Tensor | None:
        return self._rows.get((block, whose))

    def clear(self) -> None:
        self._sizes.clear()
        self._rows.clear()
