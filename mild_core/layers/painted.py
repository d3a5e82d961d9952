"""Finish a layer once its hole is painted, and cut out the plate: the photo without whoever is erased, so far."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image import boxes
from ..image.fill import area_resize
from ..scene import BACKGROUND, Box, Layer, Scene, rgb
from .ground import completed


def finished(layer: Layer, pixels: Tensor, plate: Tensor | None = None) -> Layer:
    """The layer with its new pixels [h, w, 3]; a person's alpha then includes the painted part, which is what differs
    from the plate [h, w, 3], or from the neutral ground.
    """
    if layer.ground is None:
        return layer._replace(pixels=pixels, sampled=True)
    pixels, alpha = completed(pixels, layer.hole, layer.alpha, layer.ground if plate is None else plate, layer.likely)
    return layer._replace(pixels=pixels, alpha=alpha, sampled=True)


def in_hole(layer: Layer, picture: Tensor) -> Tensor:
    """The layer's pixels [h, w, 3], in the hole the picture's, [h', w', 3] of any size; outside they stay, bit for bit.

    What the picture shows outside the hole may be anything, even NaN.
    """
    picture = resized(picture[None].float(), (layer.pixels.shape[0], layer.pixels.shape[1]))[0].to(layer.pixels)
    return torch.where((layer.hole > 0)[..., None], picture, layer.pixels)


def resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, h, w, C], 0..1, to size (height, width): averaged downwards, bicubic upwards."""
    if tuple(picture.shape[1:3]) == tuple(size):
        return picture
    channels_first = picture.movedim(-1, 1)
    if size[0] > picture.shape[1] or size[1] > picture.shape[2]:
        result = F.interpolate(channels_first, size=size, mode="bicubic", align_corners=False, antialias=True)
        return result.clamp_(0, 1).movedim(1, -1)
    return area_resize(channels_first, size).movedim(1, -1)


def plate_under(scene: Scene, box: Box) -> Tensor | None:
    """The part of the finished background under a box, [h, w, 3] float32; None if something of it is not painted yet.

    People who stay are seen on it, but where the background was painted behind them (full plate).
    """
    plate = boxes.cut(rgb(scene.photo), box).to(torch.float32, copy=True)
    for layer in scene.layers:
        shared = boxes.intersection(layer.box, box)
        if layer.domain != BACKGROUND or not boxes.area(shared):
            continue
        own = boxes.inside(shared, layer.box)
        opacity = boxes.cut(layer.hole, own).to(plate)
        if not layer.sampled and bool((opacity > 0).any()):
            return None
        if layer.reveal is not None:
            opacity = torch.maximum(opacity, boxes.cut(layer.reveal, own).to(plate))
        under = boxes.cut(plate, boxes.inside(shared, box))
        under.copy_(torch.lerp(under, boxes.cut(layer.pixels, own).to(plate), opacity[..., None]))
    return plate
