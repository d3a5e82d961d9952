"""The plate: the photo without whoever is erased, as far as it is painted already."""

import torch
from torch import Tensor

from ..image import boxes
from ..scene import BACKGROUND, Box, Scene, rgb


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
        under = boxes.cut(plate, boxes.inside(shared, box))
        under.copy_(torch.lerp(under, boxes.cut(layer.pixels, own).to(plate), opacity[..., None]))
    return plate
