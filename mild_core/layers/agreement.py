"""Layers that are painted at the same time agree where they meet: each is told what the others show there.

The paper gives no equations for this; these are this project's own. The layers l of one photo lie in one frame, back to
front. x_l is what a layer is at a step: what is predicted of it in its hole h_l, what is known of it elsewhere. With
its opacity a_l,

    s_l = a_l prod_(m in front of l) (1 - a_m)    how much of l is seen
    o_l = sum_m s_m - s_l                         how much is seen of the others
    C   = sum_l s_l x_l / sum_l s_l               the picture that all of them make: what is agreed
    d_l = G(o_l (C - x_l)) / G(o_l)               how far l is from it where others are seen: low frequencies only
    b_l = h_l o_l min(1, 2 G(s_l))                the band along the seam, on the others' side of it, inside the hole
    x_l <- x_l + w b_l d_l

G is a Gaussian of `spread` cells; b_l falls from 1 at the seam to nothing some two spreads beyond. What is seen of a
layer alone is never changed directly, what is known of it not at all. A layer that already shows the others' colours
where they will cover it stays as it is.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.fill import area_resize
from ..scene import PERSON, Layer


def seen(layers: Sequence[Layer], cells: tuple[int, int]) -> Tensor:
    """[L, 1, h, w], 0..1: how much of each layer is seen in the picture that they make, in cells; together 1, or less
    where there is no background among them.

    layers: of one photo, all on one crop. Who is where inside the holes is what is likely before anything is painted.
    Where several pieces of a background lie, each has its own hole, and the first one the rest.
    """
    order = sorted(range(len(layers)), key=lambda row: layers[row].rank, reverse=True)
    back = next((row for row, layer in enumerate(layers) if layer.domain != PERSON), None)
    if back is not None:  # behind every person and, but for its own hole, behind the other pieces
        order = [row for row in order if row != back] + [back]
    left = torch.ones(1, 1, *cells, device=layers[0].hole.device)
    shown = [left] * len(layers)
    for row in order:
        opacity = left.new_ones(()) if row == back else area_resize(_opacity(layers[row])[None, None], cells)
        shown[row] = left * opacity
        left = left * (1 - opacity)
    return torch.cat(shown)


def told(layers: Sequence[Layer], cells: tuple[int, int]) -> Tensor:
    """[L, 1, h, w], 0..1: where each layer may be told of the others, in cells. Of a full plate what is behind people
    who are seen is left alone: they do not belong into it, and whoever moves them sees it.
    """
    everywhere = torch.ones(1, 1, *cells, device=layers[0].hole.device)
    return torch.cat(
        [
            everywhere if layer.reveal is None else area_resize((layer.reveal > 0)[None, None].float(), cells)
            for layer in layers
        ]
    )


def agreed(x: Tensor, known: Tensor, hole: Tensor, shown: Tensor, spread: float, weight: Tensor) -> Tensor:
    """The predictions x [L, C, h, w] of layers that lie in one frame, brought nearer to what they agree on.

    known [L, C, h, w]: what is known of each outside its hole [L, 1, h, w], 0..1; shown: as `seen` gives it; spread: of
    the Gaussian, in cells, above 0; weight [L, 1, h or 1, w or 1]: w, 0..1.
    """
    own = torch.lerp(known, x, hole)
    together = (shown * own).sum(0, keepdim=True) / shown.sum(0, keepdim=True).clamp_min(1e-6)
    others = shown.sum(0, keepdim=True) - shown
    apart = blurred(others * (together - own), spread) / blurred(others, spread).clamp_min(1e-6)
    return x + weight * band(hole, shown, spread) * apart


def band(hole: Tensor, shown: Tensor, spread: float) -> Tensor:
    """[L, 1, h, w], 0..1: the cells of each layer's hole where others are seen, near to where it is seen itself."""
    return hole * (shown.sum(0, keepdim=True) - shown) * (2 * blurred(shown, spread)).clamp(0, 1)


def blurred(picture: Tensor, spread: float) -> Tensor:
    """Gaussian blur of [B, C, h, w]; beyond the border nothing counts.

    Where the spread is many cells, as with models that work on pixels, larger cells show the same low frequencies in a
    small part of the time: within 0.03 of the exact blur of values in 0..1, on a picture wider than the spread.
    """
    size = (picture.shape[-2], picture.shape[-1])
    cells = _coarser(size, spread)
    picture = area_resize(picture, cells)
    for along in (-2, -1):
        picture = _blurred_along(picture, spread * cells[along] / size[along], along)
    if cells != size:
        picture = F.interpolate(picture, size=size, mode="bilinear", align_corners=False)
    return picture


def _coarser(size: tuple[int, int], spread: float) -> tuple[int, int]:
    """Height and width in cells of about a quarter of the spread; as they are where that is less than two."""
    side = max(1, int(spread / 4))
    return -(-size[0] // side), -(-size[1] // side)


def _blurred_along(picture: Tensor, spread: float, along: int) -> Tensor:
    reach = max(1, round(3 * spread))
    window = torch.exp(-torch.arange(-reach, reach + 1, device=picture.device).square() / (2 * spread**2))
    shape, pad = ((1, 1, -1, 1), (reach, 0)) if along == -2 else ((1, 1, 1, -1), (0, reach))
    window = window.to(picture).view(shape)
    flat = picture.reshape(-1, 1, *picture.shape[-2:])
    counted = F.conv2d(torch.ones_like(flat[:1]), window, padding=pad)
    return (F.conv2d(flat, window, padding=pad) / counted).view_as(picture)


def _opacity(layer: Layer) -> Tensor:
    """[h, w], 0..1: where the layer is, as far as that is known before its hole is painted."""
    inside = layer.hole > 0
    if layer.domain != PERSON:
        return inside.float()
    alpha = layer.alpha.float()
    return alpha if layer.likely is None else torch.where(inside, layer.likely.float(), alpha)
