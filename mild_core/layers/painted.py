"""What becomes of a layer once its hole is painted."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.fill import area_resize
from ..scene import Layer
from .ground import completed


def finished(layer: Layer, pixels: Tensor, plate: Tensor | None = None) -> Layer:
    """The layer with its new pixels [h, w, 3]; a person's alpha now takes in what was painted of her, which is what
    differs from the plate [h, w, 3], or from the neutral ground.
    """
    if layer.ground is None:
        return layer._replace(pixels=pixels, sampled=True)
    pixels, alpha = completed(pixels, layer.hole, layer.alpha, layer.ground if plate is None else plate, layer.likely)
    return layer._replace(pixels=pixels, alpha=alpha, sampled=True)


def in_hole(layer: Layer, picture: Tensor) -> Tensor:
    """The layer's pixels [h, w, 3], in the hole the picture's, [h', w', 3] of any size: bit for bit as before outside.

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
