"""The CONDITIONING of a layer: what the artist connected, or zeros; and what belongs to this layer alone."""

import torch
from torch import Tensor

from ... import boxes
from ...complete.ground import surely_hers
from ...fill import area_resize
from ...growth import grow
from ...scene import Layer
from .areas import cropped_areas

SURELY = 0.9
"""From this probability on a pixel of a hidden person is hers: what is behind her cannot be seen there."""

DEEP = 12
"""Pixels inside where she surely is: nearer to her outline patches still hold some of the ground."""

PLACED = ("area", "mask", "mask_strength", "set_area_to_bounds", "gligen")
"""What says that an entry of a CONDITIONING belongs to a part of the photo."""

SAME_ASPECT = 0.01
"""A reference whose aspect is as near as this to the photo's is taken for a frame of the same camera."""


def for_layer(
    conds: list[dict], layer: Layer, photo_size: tuple[int, int], cells: tuple[int, ...], values: dict
) -> list[dict]:
    """Conds (as a guider keeps them) for this layer's crop: areas, masks and references cropped like it, and `values`.

    photo_size: height and width of the layer's photo; cells: of its latent. Entries whose area lies elsewhere in the
    photo fall away; where all do, the first one holds for the whole crop.
    """
    here = [own for cond in conds if (own := cropped_areas(cond, layer, photo_size, cells)) is not None]
    if not here:
        here = [{key: value for key, value in cond.items() if key not in PLACED} for cond in conds[:1]]
    result = []
    for own in here:
        own = {**own, **values}
        references = own.get("mild_references")
        if references is not None:
            own["mild_references"] = [_cropped(picture, layer, photo_size) for picture in references]
        result.append(own)
    return result


def own_values(layer: Layer, hole: Tensor, plate: Tensor | None) -> dict:
    """What the built-in model is told of a layer: the pixels it may look at, what a person is painted on.

    hole [1, 1, h, w]: the layer's in latent cells; plate [h, w, 3] (None: the neutral ground). A person gets no
    references: they show the place without her.
    """
    allowed = layer.allowed
    if layer.likely is not None:
        allowed = surely_hers(layer.pixels, layer.alpha, layer.hole, plate)
    allowed = area_resize(allowed[None, None].float(), (hole.shape[-2], hole.shape[-1]))[0]
    values: dict[str, Tensor | None] = {"mild_allowed": allowed}
    if layer.likely is not None and layer.ground is not None:
        ground = layer.pixels.new_tensor(layer.ground).expand_as(layer.pixels) if plate is None else plate
        # Where she surely goes on no ground is seen, however much it looks like her.
        seen = grow(layer.likely < SURELY, DEEP)[..., None].to(ground)
        values |= {"mild_ground": torch.cat([ground, seen], -1), "mild_references": None}
    return values


def _cropped(picture: Tensor, layer: Layer, photo_size: tuple[int, int]) -> Tensor:
    """A reference [h, w, c] of the photo's aspect is laid over it and cropped like the layer; others stay whole."""
    height, width = photo_size
    if abs(picture.shape[1] * height / (picture.shape[0] * width) - 1) > SAME_ASPECT:
        return picture
    return boxes.cut(area_resize(picture.movedim(-1, 0)[None], photo_size)[0].movedim(0, -1), layer.box)
