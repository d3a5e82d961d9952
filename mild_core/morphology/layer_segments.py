"""Which body segment each pixel of a person's layer belongs to, the hidden part included.

What is seen of her goes by the parsing; clothes that span several segments are divided by the nearest limb of her
skeleton, and so is everything where there is no parsing. What is hidden goes by the nearest limb of the completed
skeleton; where none is near, by what is seen beside it. What nothing tells stays unknown.
"""

import torch
from torch import Tensor

from .. import boxes
from ..find.body_shape import body_height, capsules, inside_by
from ..find.poses import seen
from ..framed import crop_of
from ..growth import VISIBLE
from ..scene import Body, Box, Layer
from .parts import PARTS, SEGMENTS, may_be, segment_of

UNKNOWN = 0

ROWS = 256
"""Cells that the crop's longer side is divided into, at most, to ask for the nearest limb."""

ROWS_BESIDE = 64
"""The same, to ask for the nearest pixel whose segment is known: each is compared with each."""

FAR = 0.1
"""Farther from every limb than this share of her height, a pixel belongs to none: a bag, a wing, a wrong skeleton."""

FAR_BESIDE = 0.25
"""The same for what is continued from beside, as a share of the crop's longer side."""

UPRIGHT = 4
"""Sleeve goes on beside sleeve, trousers come below a coat: beside is this much nearer than above."""

SURE = 0.3
"""A label of less confidence is none."""

LIKELY = 0.2
"""Less likely hers than this, a hidden pixel belongs to no segment: it is rather the ground."""

WHEREVER_IT_LIES = ("hair", "glove", "scarf", "belt", "left shoe", "right shoe")
"""Long hair before a coat is still hair: these are not divided by what they lie on."""

LIMBS_FIRST = ("head", "torso")
"""An arm before the trunk is seen in front of it, however deep inside the trunk's outline it lies: these only count up
to their outline.
"""


def segments_of(layer: Layer, body: Body) -> Tensor | None:
    """Segment of each pixel of a person's layer, [h, w] uint8 of the layer's crop: a place in parts.SEGMENTS.

    body: hers, its joints including those that were worked out. Unknown (0) outside her and wherever nothing tells;
    None if nothing tells anywhere.
    """
    size = int(layer.alpha.shape[0]), int(layer.alpha.shape[1])
    device = layer.alpha.device
    hidden = layer.hole > 0
    visible = (layer.alpha > VISIBLE) & ~hidden
    if layer.likely is not None:
        hidden = hidden & (layer.likely > LIKELY)
    limbs = _limbs(body, layer.box, size)
    nearest = None if limbs is None else _resized(_nearest(limbs), size).to(device)
    labels = _labels(body, layer.box, size, device)

    segments = torch.zeros(size, dtype=torch.uint8, device=device)
    if nearest is not None:
        segments = torch.where(visible | hidden, nearest, segments)
    if labels is not None:
        _by_parts(segments, labels, visible, limbs)
    open_ = hidden & (segments == UNKNOWN)
    if bool(open_.any()):
        _from_beside(segments, open_, visible)
    return segments if bool(segments.any()) else None


def _limbs(body: Body, box: Box, size: tuple[int, int]) -> Tensor | None:
    """How deep each cell of a small map lies inside each segment (negative: outside) as the skeleton has it, in shares
    of her height: [len(SEGMENTS), rows, columns], -inf where there is no such limb. None without a skeleton.
    """
    if body.joints is None or not bool(seen(body.joints).any()):
        return None
    rows, columns = _grid(size, ROWS)
    joints = body.joints.float()
    x = (torch.arange(columns, device=joints.device) + 0.5) * (size[1] / columns) + box[0]
    y = (torch.arange(rows, device=joints.device)[:, None] + 0.5) * (size[0] / rows) + box[1]
    inside = torch.full((len(SEGMENTS), rows, columns), float("-inf"), device=joints.device)
    for part in capsules(joints):
        depth = inside_by(part, x, y)
        if part.segment in LIMBS_FIRST:
            depth = depth.clamp(max=0)
        own = inside[SEGMENTS.index(part.segment)]
        torch.maximum(own, depth, out=own)
    return inside / body_height(joints)


def _nearest(limbs: Tensor, among: list[int] | None = None) -> Tensor:
    """The segment (of those `among` which it can be) that each cell lies in or nearest to, uint8 [rows, columns];
    unknown where all are far.
    """
    places = torch.arange(len(limbs), device=limbs.device) if among is None else limbs.new_tensor(among).long()
    depth, best = limbs[places].max(0)
    return torch.where(depth > -FAR, places[best], UNKNOWN).to(torch.uint8)


def _labels(body: Body, box: Box, size: tuple[int, int], device: torch.device) -> Tensor | None:
    """The parsing's labels at the layer's crop, uint8 [h, w], 0 where it says nothing. None without a parsing."""
    if body.parts is None or body.parts_box is None:
        return None
    parts = body.parts
    if body.parts_sure is not None:
        parts = torch.where(body.parts_sure >= SURE, parts, 0)
    wide, high = boxes.width(body.parts_box), boxes.height(body.parts_box)
    if tuple(parts.shape) != (high, wide):
        parts = _resized(parts, (high, wide))
    return boxes.placed(parts.to(device), body.parts_box, box)


def _by_parts(segments: Tensor, labels: Tensor, visible: Tensor, limbs: Tensor | None) -> None:
    """Overrule the segments [h, w] where the parsing says what is seen: within the part, the nearest limb."""
    size = int(segments.shape[0]), int(segments.shape[1])
    labels = torch.where(visible, labels, 0)
    for label in labels.unique().tolist():
        if label == 0:
            continue
        likeliest = int(segment_of[label])
        among = may_be[label].nonzero()[:, 0].tolist()
        here = labels == label
        if limbs is None or len(among) == 1 or PARTS[label] in WHEREVER_IT_LIES:
            segments[here] = likeliest
            continue
        nearest = _resized(_nearest(limbs, among), size).to(segments.device)[here]
        segments[here] = torch.where(nearest == UNKNOWN, likeliest, nearest).to(torch.uint8)


def _from_beside(segments: Tensor, open_: Tensor, visible: Tensor) -> None:
    """Give open pixels [h, w] the segment of the nearest visible one, if one is near."""
    size = int(segments.shape[0]), int(segments.shape[1])
    rows, columns = _grid(size, ROWS_BESIDE)
    seen_there = _resized(torch.where(visible, segments, UNKNOWN), (rows, columns))
    known = seen_there.nonzero()
    if not len(known):
        return
    row, column = (torch.arange(count, device=known.device) for count in (rows, columns))
    down = (row[:, None] - known[:, 0]).float()[:, None]  # [rows, 1, known]
    across = (column[:, None] - known[:, 1]).float()  # [columns, known]
    best = ((UPRIGHT * down).square() + across.square()).flatten(0, 1).argmin(1)
    reach = (known[best] - torch.cartesian_prod(row, column)).float().norm(dim=1)
    found = seen_there[known[best, 0], known[best, 1]]
    found = torch.where(reach <= FAR_BESIDE * max(rows, columns), found, UNKNOWN).view(rows, columns)
    segments[open_] = _resized(found, size)[open_].to(torch.uint8)


def _grid(size: tuple[int, int], most: int) -> tuple[int, int]:
    """Rows and columns of a small map of a crop of this height and width: `most` along the longer side, at most."""
    step = max(1.0, max(size) / most)
    return max(1, round(size[0] / step)), max(1, round(size[1] / step))


def _resized(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """A map [h, w] of labels at another size, by the nearest cell."""
    return crop_of(labels[None, None], boxes.whole(size), size, size, nearest=True)[0, 0]
