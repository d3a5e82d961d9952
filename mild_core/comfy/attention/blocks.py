"""Which blocks of a network: "output 3-5, middle" becomes a choice."""

import re
from collections.abc import Callable

import comfy.model_patcher

from ...people.selection import ALL as EVERYTHING
from ...people.selection import plain
from .. import layouts
from ..families import layout_of

Blocks = Callable[[layouts.Block, str], bool]
"""Whether a block's attention of this kind ("self", "joint") is chosen."""

ALL = "all"

_PART = re.compile(r"^([a-z]+)(?:\s+(\d+)(?:\s*[-\u2013~]\s*(\d+))?)?$")


def every_block(block: layouts.Block, kind: str) -> bool:
    return True


def chosen_blocks(model: comfy.model_patcher.ModelPatcher, text: str) -> Blocks:
    """The blocks that the text names: "all", or parts such as "middle", "output 3-5", "double", in any mix.

    ValueError, with the blocks that the MODEL has, where a part names none of them.
    """
    text = plain(text).lower()
    if text in EVERYTHING:
        return every_block
    network = layouts.unwrapped(model.get_model_object("diffusion_model"))
    found = layout_of(network).attentions(network)
    there = [block for attention in found for block, kind in attention.blocks if kind != layouts.CROSS]
    chosen: set[layouts.Block] = set()
    for part in re.split(r"[,;\n\u3001]", text):
        named = [block for block in there if _names(part.strip(), block)]
        if not named:
            raise ValueError(
                f"blocks: '{part.strip()}' is no block of this model. Write all, or some of: {_spoken(there)}"
            )
        chosen.update(named)
    return lambda block, kind: block in chosen


def _names(part: str, block: layouts.Block) -> bool:
    match = _PART.match(part)
    if match is None or match[1] != block[0]:
        return False
    first = 0 if match[2] is None else int(match[2])
    last = int(match[3]) if match[3] else first
    return match[2] is None or first <= int(block[1]) <= last


def _spoken(blocks: list[layouts.Block]) -> str:
    """input 1-8, middle 0, output 3-11."""
    numbers: dict[str, list[int]] = {}
    for block in blocks:
        numbers.setdefault(str(block[0]), []).append(int(block[1]))
    return ", ".join(f"{name} {min(n)}" + (f"-{max(n)}" if max(n) > min(n) else "") for name, n in numbers.items())
