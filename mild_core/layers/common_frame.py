"""Layers of one photo that meet, brought onto one crop, so that they can be painted at the same time."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..image import boxes
from ..image.fill import push_pull
from ..scene import BACKGROUND, PERSON, Box, Layer, Scene, rgb


def meeting(layers: Sequence[Layer]) -> list[list[Layer]]:
    """The layers whose holes overlap, directly or through others: two or more of one photo each, in their order."""
    holes = [boxes.tight_box(layer.hole > 0) for layer in layers]
    placed = [hole and boxes.outside(hole, layer.box) for hole, layer in zip(holes, layers, strict=True)]
    group = list(range(len(layers)))
    for i, one in enumerate(layers):
        for j in range(i):
            if layers[j].photo == one.photo and group[i] != group[j] and _overlap(one, layers[j], placed[i], placed[j]):
                group = [group[j] if number == group[i] else number for number in group]
    found: dict[int, list[Layer]] = {}
    for layer, number in zip(layers, group, strict=True):
        found.setdefault(number, []).append(layer)
    return [together for together in found.values() if len(together) > 1]


def _overlap(one: Layer, other: Layer, hole: Box | None, others: Box | None) -> bool:
    if hole is None or others is None or not boxes.overlap(hole, others):
        return False
    shared = boxes.intersection(hole, others)
    own, theirs = (boxes.cut(layer.hole, boxes.inside(shared, layer.box)) > 0 for layer in (one, other))
    return bool((own & theirs).any())


def frame_of(layers: Sequence[Layer]) -> Box:
    """The smallest crop of the photo that holds the crops of all of them."""
    frame = layers[0].box
    for layer in layers[1:]:
        frame = boxes.union(frame, layer.box)
    return frame


def framed(layer: Layer, frame: Box, scene: Scene) -> Layer:
    """The layer on a larger crop of its photo; the same object where it lies on that already.

    Around its own crop a background shows the photo, but for the holes of other layers, which are filled smoothly:
    whoever is erased is not seen. A person has the neutral ground there. None of it may be looked at, nor is it hole.
    """
    if layer.box == frame:
        return layer

    def wider(piece: Tensor | None) -> Tensor | None:
        return None if piece is None else boxes.placed(piece, layer.box, frame)

    pixels = _around(layer, frame, scene)
    boxes.cut(pixels, boxes.inside(layer.box, frame)).copy_(layer.pixels)
    alpha = boxes.placed(layer.alpha, layer.box, frame)
    if layer.domain != PERSON:
        alpha = torch.ones_like(alpha)
        boxes.cut(alpha, boxes.inside(layer.box, frame)).copy_(layer.alpha)
    return layer._replace(
        box=frame,
        pixels=pixels,
        hole=boxes.placed(layer.hole, layer.box, frame),
        allowed=boxes.placed(layer.allowed, layer.box, frame),
        alpha=alpha,
        reveal=wider(layer.reveal),
        likely=wider(layer.likely),
    )


def _around(layer: Layer, frame: Box, scene: Scene) -> Tensor:
    """[h, w, 3] like the layer's pixels: what it shows around its own crop."""
    size = (boxes.height(frame), boxes.width(frame))
    if layer.ground is not None:
        return layer.pixels.new_tensor(layer.ground).expand(*size, 3).contiguous()
    pixels = boxes.cut(rgb(scene.photo), frame).to(layer.pixels, copy=True)
    hidden = torch.zeros(size, dtype=torch.bool, device=pixels.device)
    for other in scene.layers:
        if other.domain == BACKGROUND:
            hidden |= boxes.placed(other.hole > 0, other.box, frame)
    if hidden.any():
        known = (~hidden)[None, None].float()
        seen = pixels.float().masked_fill(hidden[..., None], 0).movedim(-1, 0)[None]
        pixels = torch.where(hidden[..., None], push_pull(seen, known)[0].movedim(0, -1).to(pixels), pixels)
    return pixels


def started(picture: Tensor, own: Layer, framed: Layer, plate: Tensor | None) -> Tensor:
    """[h, w, 3]: what painting starts from on the larger crop; picture [h', w', 3]: the same on the layer's own crop,
    for a person's colours are judged by that. plate [h, w, 3]: what a person is painted on (None: the neutral ground).
    """
    start = (framed.pixels if plate is None else plate).to(picture, copy=True)
    boxes.cut(start, boxes.inside(own.box, framed.box)).copy_(picture)
    return start
