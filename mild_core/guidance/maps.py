"""Draw the maps that condition the spatial guidance of one layer: skeleton, body parts, and who stands where."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..body.body_parts import PARTS
from ..body.body_shape import body_height, from_line
from ..body.poses import SEEN
from ..body.relations import RANK
from ..image import boxes
from ..image.area_shares import area_shares
from ..image.boxes import RealBox
from ..scene import Body, Box, Morphology
from .skeleton import LIMBS, body_area, in_crop, placed_joints, skeletons, stick_of

CHANNELS = ("red", "green", "blue", *PARTS[1:], "this", "kept", "erased", "overlap", "rank", "confidence")
"""red, green, blue: the skeleton as pose ControlNets know it, as bright as its joints are sure. PARTS[1:]: the share of
each cell that the part fills, times its confidence. this, kept, erased: shares filled by the layer's own person, by
others who stay, by those who go. overlap: where a body that stays and another person's mask share a cell. rank: depth
of whoever is seen there, 1 for the nearest, 0 for the background. confidence: how much of the guidance is let through.
"""

THICK = 0.06
"""Distance from a limb, as a share of the body's height, up to which its confidence holds; over as much again it fades
to 0.
"""

THINNEST = 1.0
"""Half width of a limb, in cells, at least: on a small map it would else be too faint to be seen."""

SAMPLES = 4
"""Labels that are read along each side of a cell, where there are more."""

LARGEST = 384
"""Cells along the longer side: maps are drawn at a quarter of the size that is painted, so this serves 1,536 pixels."""


def maps(morphology: Morphology, number: int | None, box: RealBox, size: tuple[int, int]) -> Tensor:
    """[len(CHANNELS), height, width], 0..1, float32: the crop `box` of the photo drawn at `size` (height, width).

    number: of the person whose layer it is; None for the background, where skeleton and parts stay empty: no body
    belongs there. The box may lie between pixels, and reach beyond the photo. Every cell covers an exact share of the
    crop, so that maps of different crops and sizes agree. On the device of the masks. "confidence" is 0 everywhere when
    all that is known of the layer has confidence 0, and when nobody has that number.
    """
    bodies = morphology.bodies
    index = next((place for place, body in enumerate(bodies) if number is not None and body.number == number), None)
    device = bodies[0].mask.device if bodies else torch.device("cpu")
    result = torch.zeros(len(CHANNELS), *size, device=device)
    channel = dict(zip(CHANNELS, result, strict=True))
    shares = [area_shares(body.mask, body.box, box, size) for body in bodies]
    for place, (body, share) in enumerate(zip(bodies, shares, strict=True)):
        name = "this" if place == index else "erased" if body.erased else "kept"
        channel[name].add_(share).clamp_(max=1)
    ranks = morphology.own[:, RANK].tolist()
    for place in sorted(range(len(bodies)), key=lambda place: ranks[place]):
        channel["rank"].mul_(1 - shares[place]).add_(shares[place], alpha=ranks[place])
    sure = channel["confidence"]
    for body, share in zip(bodies, shares, strict=True):
        torch.maximum(sure, share * body.sure, out=sure)
    # Bodies that stay, and those who are seen on top of them: on the background, only those who go matter.
    if index is None:
        stay, others = [place for place, body in enumerate(bodies) if not body.erased], channel["erased"]
    else:
        stay, others = [index], (channel["kept"] + channel["erased"]).clamp_(max=1)
    for place in stay:
        whole = torch.maximum(shares[place], _shape(bodies[place], morphology, box, size, device))
        torch.maximum(channel["overlap"], torch.minimum(whole, others), out=channel["overlap"])
    if index is not None:
        torch.maximum(sure, _draw_body(result, bodies[index], morphology, box), out=sure)
        # The less certain it is that the person is there at all, the less anything known of them counts.
        sure.mul_(bodies[index].sure)
    elif number is not None:
        sure.zero_()
    return result


def _draw_body(result: Tensor, body: Body, morphology: Morphology, box: RealBox) -> Tensor:
    """Draw the body's skeleton and parts into their channels; returns how sure they are, [height, width]."""
    size, device = (result.shape[1], result.shape[2]), result.device
    sure = result.new_zeros(size)
    if body.joints is not None:
        joints = placed_joints(body.joints, morphology.size)
        stick = max(stick_of(size), THINNEST)
        result[:3] = skeletons([joints], box, size, stick, dimmed=True).to(device)
        torch.maximum(sure, _around(joints, box, size).to(device), out=sure)
    if body.parts is not None and body.parts_box is not None:
        labels, weights = body.parts.to(device), None if body.parts_sure is None else body.parts_sure.to(device)
        drawn = _draw_parts(result[3 : 3 + len(PARTS) - 1], labels, weights, body.parts_box, box)
        torch.maximum(sure, drawn, out=sure)
    return sure


def _shape(body: Body, morphology: Morphology, box: RealBox, size: tuple[int, int], device: torch.device) -> Tensor:
    """The body's area by its skeleton, [height, width], 0..1."""
    found = None if body.joints is None else body_area(body.joints, morphology.size, box, size)
    return torch.zeros(size, device=device) if found is None else found.to(device)


def _around(joints: Tensor, box: RealBox, size: tuple[int, int]) -> Tensor:
    """How sure the pose is about each cell, [height, width]: 1 on a limb whose both ends are sure, fading around it."""
    here = in_crop(joints.cpu(), box, size)
    radius = THICK * body_height(here)
    field = torch.zeros(size)
    ends, sure = here[:, :2].tolist(), here[:, 2].tolist()
    for start, end in LIMBS:
        confidence = min(sure[start], sure[end])
        if confidence > SEEN:
            _raise(field, ends[start], ends[end], radius, confidence)
    for point, confidence in zip(ends, sure, strict=True):
        if confidence > SEEN:
            _raise(field, point, point, radius, confidence)
    return field


def _raise(field: Tensor, start: list[float], end: list[float], radius: float, confidence: float) -> None:
    """Lift the field [H, W] to `confidence` within `radius` of a line, and to less up to twice that."""
    low = [int(max(min(start[axis], end[axis]) - 2 * radius, 0)) for axis in (0, 1)]
    high = [int(min(max(start[axis], end[axis]) + 2 * radius + 1, field.shape[1 - axis])) for axis in (0, 1)]
    if low[0] >= high[0] or low[1] >= high[1]:
        return
    x, y = torch.arange(low[0], high[0]) + 0.5, torch.arange(low[1], high[1])[:, None] + 0.5
    _, distance = from_line(start, end, x, y)
    under = field[low[1] : high[1], low[0] : high[0]]
    torch.maximum(under, (2 - distance / max(radius, 0.5)).clamp(0, 1) * confidence, out=under)


def _draw_parts(canvas: Tensor, labels: Tensor, sure: Tensor | None, place: Box, box: RealBox) -> Tensor:
    """Write the shares of the parts, times how sure the parsing is, into canvas [len(PARTS) - 1, height, width].

    Returns their sum, [height, width]. labels and sure are stretched over `place`.
    """
    size = (canvas.shape[1], canvas.shape[2])
    total = canvas.new_zeros(size)
    down = _looks(labels.shape[0], boxes.height(place), boxes.height(box) / size[0], labels)
    across = _looks(labels.shape[1], boxes.width(place), boxes.width(box) / size[1], labels)
    labels = labels.index_select(0, down).index_select(1, across)
    weight = None if sure is None else sure.index_select(0, down).index_select(1, across).float()
    for label in torch.bincount(labels.flatten(), minlength=len(PARTS)).nonzero()[:, 0].tolist():
        if 0 < label < len(PARTS):
            share = (labels == label).float()
            share = area_shares(share if weight is None else share.mul_(weight), place, box, size)
            canvas[label - 1] = share
            total += share
    return total.clamp_(max=1)


def _looks(count: int, side: int, cell: float, like: Tensor) -> Tensor:
    """Which of `count` labels along a side of `side` pixels are read: all, or SAMPLES a cell, evenly spread."""
    wanted = math.ceil(side / cell * SAMPLES)
    if wanted >= count:
        return torch.arange(count, device=like.device)
    middles = (torch.arange(wanted, device=like.device, dtype=torch.float32) + 0.5) * (count / wanted)
    # The middle of an even number of pixels lies between two: the one and the other in turn, so that nothing shifts.
    middles[1::2] -= 0.01
    return middles.long().clamp(max=count - 1)


def whole_photo_maps(morphology: Sequence[Morphology]) -> Tensor:
    """[photos, len(CHANNELS), h, w] in the first photo's shape, the longer side at most LARGEST.

    Everyone who stays is drawn: each is "this" person, and nobody is merely "kept". Where nobody stays, these are the
    background's maps.
    """
    shrink = max(1, max(morphology[0].size) / LARGEST)
    height, width = (max(round(side / shrink), 1) for side in morphology[0].size)
    return torch.stack([_whole(one, (height, width)) for one in morphology])


def _whole(morphology: Morphology, size: tuple[int, int]) -> Tensor:
    box = (0, 0, morphology.size[1], morphology.size[0])
    stay = [body.number for body in morphology.bodies if not body.erased]
    result = maps(morphology, stay[0] if stay else None, box, size)
    for number in stay[1:]:
        torch.maximum(result, maps(morphology, number, box, size), out=result)
    result[CHANNELS.index("kept")] = 0
    return result
