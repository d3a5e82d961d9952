"""Work out which token of an attention belongs to which region.

Soft membership (area averages, each row sums to 1) serves rules that weigh; touched cells (any part of a token counts)
serve hard ones, so that a hole thinner than a token is still seen.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image import boxes
from ..image.framed import crop_of

REST = "rest"
"""What no mask covers: in a background's pathway, the background that stays."""
HOLE = "hole"
SHOWN = "erased"
"""The hole's place in a reference picture: there it shows those who are to vanish."""
IMAGE = "image"
REFERENCE = "reference"
TEXT = "text"
PADDING = "padding"

TOUCHED = 0.5 / 255
"""Value of a mask (0..1) above which it counts as touching a token: half a grey level."""


class Span(NamedTuple):
    """Tokens of one kind, one after another."""

    kind: str  # "image", "reference", "text", "padding"
    start: int
    length: int
    grid: tuple[int, int] | None = None  # height, width in tokens, of pictures


class Members(NamedTuple):
    """Regions of N tokens. A column per name."""

    names: tuple[str, ...]
    soft: Tensor  # [N, R], float32, 0..1, rows sum to 1
    touched: Tensor  # [N, R], bool


def on_grid(masks: Mapping[str, Tensor], grid: tuple[int, int]) -> Members:
    """Regions of a picture's tokens, row by row.

    masks: [H, W] each, 0..1, all of one size, which need not fit the grid (height, width in tokens); REST, the first
    column, is what they leave. Where they overlap they share a token in proportion.
    """
    if not masks:
        one = torch.ones(grid[0] * grid[1], 1)
        return Members((REST,), one, one > 0)
    stack = torch.stack([mask.float() for mask in masks.values()]).clamp(0, 1)
    rest = (1 - stack.sum(0, keepdim=True)).clamp(min=0)
    stack = torch.cat([rest, stack])
    stack = stack / stack.sum(0, keepdim=True)
    size = (stack.shape[1], stack.shape[2])
    soft = crop_of(stack[None], boxes.whole(size), size, grid)[0].flatten(1).T.clamp(min=0)
    most = F.adaptive_max_pool2d(stack[None], grid)[0].flatten(1).T
    # a grid finer than the masks is filled by interpolation, which reaches beyond the pixel that lies below a token
    touched = torch.maximum(most, soft) > TOUCHED
    return Members((REST, *masks), (soft / soft.sum(1, keepdim=True)).contiguous(), touched.contiguous())


def on_spans(masks: Mapping[str, Tensor], spans: Sequence[Span]) -> Members:
    """Regions of all tokens of an attention whose tokens are `spans`, in any order.

    A reference picture shows the same photo, so it has the image's regions, except that what lies in the hole there is
    SHOWN. Every other kind of token is a region named after it. ValueError where spans overlap or leave a gap.
    """
    others = tuple(dict.fromkeys(span.kind for span in spans if span.kind not in (IMAGE, REFERENCE)))
    shown = (SHOWN,) if HOLE in masks and any(span.kind == REFERENCE for span in spans) else ()
    names = (REST, *masks, *shown, *others)
    spans = sorted(spans, key=lambda span: span.start)
    soft: list[Tensor] = []
    touched: list[Tensor] = []
    reached = 0
    for span in spans:
        if span.start != reached:
            raise ValueError(f"tokens: {span.kind} starts at {span.start}, but the tokens before it end at {reached}")
        reached += span.length
        if span.kind in (IMAGE, REFERENCE):
            if span.grid is None or span.grid[0] * span.grid[1] != span.length:
                raise ValueError(f"tokens: {span.length} of {span.kind} do not fill a grid of {span.grid}")
            part = on_grid(masks, span.grid)
            own = [SHOWN if span.kind == REFERENCE and name == HOLE else name for name in part.names]
        else:
            one = torch.ones(span.length, 1, device=next(iter(masks.values())).device if masks else None)
            part, own = Members((span.kind,), one, one > 0), [span.kind]
        places = [names.index(name) for name in own]
        for parts, member in ((soft, part.soft), (touched, part.touched)):
            wide = member.new_zeros(span.length, len(names))
            wide[:, places] = member
            parts.append(wide)
    return Members(names, torch.cat(soft), torch.cat(touched))


def tiles(grid: tuple[int, int], count: tuple[int, int]) -> Tensor:
    """[N, T]: which of count (down, across) equal tiles each token of a grid lies in, shared at their edges: measured
    in place of regions, they show where in the picture a query looks.
    """
    across, down = _shares(grid[1], count[1]), _shares(grid[0], count[0])
    return (down[:, None, :, None] * across[None, :, None, :]).flatten(2).flatten(0, 1)


def _shares(cells: int, parts: int) -> Tensor:
    """[cells, parts]: how much of each of `cells` equal pieces of a side lies in each of `parts` equal ones."""
    cell, part = (torch.arange(n, dtype=torch.float32) / n for n in (cells, parts))
    last = torch.minimum(cell[:, None] + 1 / cells, part + 1 / parts)
    return (last - torch.maximum(cell[:, None], part)).clamp(min=0) * cells
