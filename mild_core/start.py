"""What a layer shows before it is painted: never the person who vanishes."""

import torch
from torch import Tensor

from . import boxes
from .complete.ground import on_ground, start_of_person
from .fill import push_pull
from .scene import Layer
from .work_size import work_size


def start_picture(layer: Layer, plate: Tensor | None = None) -> Tensor:
    """[h, w, 3], float32: the crop to start from. Its hole shows a smooth fill from allowed pixels, never the erased.

    A person's hole shows her colours where she probably goes on, and ground elsewhere: plate [h, w, 3], or neutral. A
    layer that was sampled already starts from its own result.
    """
    picture = layer.pixels.float()
    if layer.likely is not None and layer.ground is not None:
        ground = picture.new_tensor(layer.ground) if plate is None else plate.to(picture)
        around = picture if plate is None else plate.to(picture)
        if layer.sampled:
            inside = (layer.hole > 0)[..., None]
            return torch.where(inside, on_ground(picture, layer.alpha, ground), around)
        return start_of_person(picture, around, layer.hole, layer.alpha, layer.likely, ground)
    if layer.sampled:
        return picture
    inside = layer.hole > 0
    known = ~inside & (layer.allowed > 0.5)
    if not known.any():
        known = ~inside
    if not known.any():
        return torch.full_like(picture, 0.5)
    # Zeroed before it is filled, so that not even rounding depends on what the hole hides.
    visible = torch.where(known, picture.movedim(-1, 0), 0.0)
    filled = push_pull(visible[None], known[None, None])[0].movedim(0, -1)
    return torch.where(inside[..., None], filled, picture)


def size_of(
    layer: Layer, photo_size: tuple[int, int], native_pixels: int | None, multiple: int = 1, cell: int = 8
) -> tuple[int, int]:
    """Height and width to paint the layer's crop at: work_size by its mode and its hole."""
    box = boxes.tight_box(layer.hole > 0)
    short_side = min(boxes.width(box), boxes.height(box)) if box else 1
    return work_size(
        (layer.hole.shape[0], layer.hole.shape[1]),
        short_side,
        native_pixels,
        multiple=multiple,
        mode=layer.size_mode,
        cell=cell,
        photo_size=photo_size,
    )
