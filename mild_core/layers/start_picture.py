"""Make the picture that a layer is painted from, which never shows the person who vanishes."""

import torch
from torch import Tensor

from ..image import boxes
from ..image.fill import area_resize, push_pull
from ..scene import Layer
from .ground import on_ground, start_of_person
from .painted import resized

MARGIN = 16
"""Pixels around a hole from which it is filled, beside an eighth of its longer side."""


def start_picture(layer: Layer, plate: Tensor | None = None, size: tuple[int, int] | None = None) -> Tensor:
    """[h, w, 3], float32, of `size` (height, width; None: the layer's): what painting starts from. The hole shows a
    smooth fill from allowed pixels, never the erased.

    A person's hole shows the person's colours where they probably go on, and ground elsewhere: plate [h, w, 3], or
    neutral. A layer that was sampled already starts from its own result.
    """
    own = (layer.pixels.shape[0], layer.pixels.shape[1])
    size = own if size is None else size
    if layer.likely is not None and layer.ground is not None:
        picture = _of_person(layer, layer.likely, layer.ground, plate)
    elif layer.sampled:
        picture = layer.pixels.float()
    else:
        # Made smaller before it is filled: a crop of 20 megapixels would cost seconds and gigabytes.
        picture = _filled(layer, (min(own[0], size[0]), min(own[1], size[1])))
    return resized(picture[None], size)[0]


def _of_person(layer: Layer, likely: Tensor, colour: tuple[float, float, float], plate: Tensor | None) -> Tensor:
    picture = layer.pixels.float()
    ground = picture.new_tensor(colour) if plate is None else plate.to(picture)
    around = picture if plate is None else plate.to(picture)
    if layer.sampled:
        inside = (layer.hole > 0)[..., None]
        return torch.where(inside, on_ground(picture, layer.alpha, ground), around)
    return start_of_person(picture, around, layer.hole, layer.alpha, likely, ground)


def _filled(layer: Layer, size: tuple[int, int]) -> Tensor:
    """[h, w, 3] of a size not larger than the layer's: as it is, but for a smooth fill in its hole."""
    outside = layer.hole <= 0
    known = outside & (layer.allowed > 0.5)
    if not known.any():
        known = outside
    if not known.any():
        return layer.pixels.new_full((*size, 3), 0.5, dtype=torch.float32)
    own = (int(outside.shape[0]), int(outside.shape[1]))
    if size != own:
        return _filled_around(layer.pixels, outside, known, size)
    # Of a large crop most lies far from the hole, and filling it would take seconds.
    part = boxes.tight_box(~outside)
    if part is None:
        return layer.pixels.float()
    margin = MARGIN + max(boxes.width(part), boxes.height(part)) / 8
    near = boxes.grown(part, margin, margin, own)
    if not boxes.cut(known, near).any():
        near = boxes.whole(own)
    picture = torch.where(outside[..., None], layer.pixels.float(), 0.0)
    pixels, outside, known = (boxes.cut(whole, near) for whole in (layer.pixels, outside, known))
    boxes.cut(picture, near).copy_(_filled_around(pixels, outside, known, (boxes.height(near), boxes.width(near))))
    return picture


def _filled_around(pixels: Tensor, outside: Tensor, known: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels [h, w, 3] at this size, filled smoothly wherever it is not `outside` the hole, from what is `known` (bool
    [h, w]).
    """
    seen, share = _averaged(pixels, outside, size)
    visible, weight = (seen, share) if torch.equal(known, outside) else _averaged(pixels, known, size)
    filled = push_pull(visible / weight.clamp_min(1e-6), weight)
    return (seen + filled * (1 - share))[0].movedim(0, -1)


def _averaged(pixels: Tensor, where: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Pixels [h, w, 3] by area averaging [1, 3, ...], as if black but for `where` [h, w]; and its share [1, 1, ...].

    One channel at a time, for the memory; black at first, so that not even rounding depends on what is not to be seen.
    """
    channels = [
        area_resize(torch.where(where, pixels[..., channel].float(), 0.0)[None, None], size) for channel in range(3)
    ]
    return torch.cat(channels, 1), area_resize(where[None, None].float(), size)
