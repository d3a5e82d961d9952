"""Label maps as other nodes give them, masks or pictures, read as the numbers of a label set."""

import torch
from torch import Tensor

from ..scene import rgb
from .body_parts import SETS

VOID = 255
"""Pixels of this value belong to nobody, whatever the set."""

MOST_UNKNOWN = 0.02
"""Share of the pixels that may fit no label, as where a picture was made smaller and colours were mixed: they become
background.
"""

LEVEL_ERROR = 0.1
"""Grey levels by which a label may be off: the error of 16-bit floats."""

VOC_GREY = 128
"""The eighth colour of PASCAL VOC is a grey of this level."""

_LIP = (
    *((0, 0, 0), (128, 0, 0), (255, 0, 0), (0, 85, 0), (170, 0, 51), (255, 85, 0), (0, 0, 85), (0, 119, 221)),
    *((85, 85, 0), (0, 85, 85), (85, 51, 0), (52, 86, 128), (0, 128, 0), (0, 0, 255), (51, 170, 221)),
    *((0, 255, 255), (85, 255, 170), (170, 255, 85), (255, 255, 0), (255, 170, 0)),
)
# the colours in which the data sets LIP and CIHP themselves show their labels


def labels_of(picture: Tensor, name: str) -> Tensor:
    """Labels [B, H, W], uint8, of the set called `name` (body_parts.SETS), from what other nodes give.

    picture: [B, H, W] or [H, W] (MASK) or [B, H, W, C] (IMAGE). It holds label / 255, or the labels' numbers
    themselves; or, as IMAGE, colours: those of PASCAL VOC (as SCHP writes its maps), for LIP and CIHP also their own.
    Raises ValueError, in the socket's name, for a picture that fits no label of the set.
    """
    if not picture.is_floating_point():
        return _checked(picture.long() if picture.ndim == 3 else picture[None].long(), name)
    if picture.ndim == 2:
        picture = picture[None]
    if picture.ndim == 4:
        colours = (rgb(picture).float() * 255).round()
        grey = colours.amax(-1) == colours.amin(-1)
        levels = colours[..., 0]
        # One of the colours is a grey: a picture of it and black alone is no map of label 128.
        if not grey.all() or (int(levels.max()) == VOC_GREY and bool(((levels == 0) | (levels == VOC_GREY)).all())):
            return _from_colours(colours, name)
        picture = picture[..., 0]
    values = picture.float()
    largest = float(values.nan_to_num(posinf=0).max()) if values.numel() else 0.0
    if largest > 1:
        return _checked(_whole(values), name)
    if largest == 1 and bool(((values == 0) | (values == 1)).all()):
        raise ValueError(
            "parsing: this is a mask, black and white: it tells no parts of a body. Connect a label map, in which "
            "every part has a number of its own."
        )
    return _checked(_whole(values * 255), name)


def voc_colours(count: int) -> Tensor:
    """[count, 3], 0..255: the colours of PASCAL VOC (Everingham et al. 2010; their development kit): the bits of a
    label go in turn to red, green and blue, the lowest to the highest bit.
    """
    label = torch.arange(count)[:, None]
    bit = torch.arange(8)[:, None]
    return ((label[..., None] >> (3 * bit + torch.arange(3)) & 1) << (7 - bit)).sum(1)


def _whole(values: Tensor) -> Tensor:
    """Whole numbers; -1 where a value is none."""
    near = values.round()
    return torch.where((values - near).abs() <= LEVEL_ERROR, near, -1.0).nan_to_num(nan=-1.0).clamp(-1, 256).long()


def _checked(labels: Tensor, name: str) -> Tensor:
    """The labels, if all but a few are some of the set's."""
    labels = torch.where(labels == VOID, 0, labels)
    fits = (labels >= 0) & (labels < len(SETS[name]))
    _refuse_unknown(fits, name, "" if fits.all() else f" (the highest value is {int(labels.max())})")
    return torch.where(fits, labels, 0).to(torch.uint8)


def _from_colours(colours: Tensor, name: str) -> Tensor:
    """colours [B, H, W, 3], 0..255, whole numbers: the palette that more of the pixels fit."""
    count = len(SETS[name])
    palettes = [voc_colours(count)]
    if name in ("LIP", "CIHP"):
        palettes.append(torch.tensor(_LIP))
    weights = torch.tensor([65536, 256, 1])
    code = (colours.long() * weights.to(colours.device)).sum(-1)
    best, most = torch.zeros_like(code), -1
    for palette in palettes:
        known = (palette * weights).sum(-1).to(code.device)
        order = known.argsort()
        place = torch.searchsorted(known[order], code).clamp_max(count - 1)
        label = torch.where(known[order][place] == code, order[place], -1)
        fitting = int((label >= 0).sum())
        if fitting > most:
            best, most = label, fitting
    white = code == weights.sum() * VOID
    best = torch.where(white & (best < 0), 0, best)
    _refuse_unknown(best >= 0, name, "")
    return best.clamp_min(0).to(torch.uint8)


def _refuse_unknown(fits: Tensor, name: str, more: str) -> None:
    share = float((~fits).float().mean()) if fits.numel() else 0.0
    if share > MOST_UNKNOWN:
        raise ValueError(
            f"parsing: {max(round(100 * share), 1)} % of the pixels fit none of the {len(SETS[name])} labels of "
            f"{name}{more}. Choose the label set that the parser writes, and connect its label map itself: not "
            "smoothed, and not as an overlay on the photo."
        )
