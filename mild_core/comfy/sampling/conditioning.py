"""The CONDITIONING of a layer: what the artist connected, or zeros; and what belongs to this layer alone."""

from torch import Tensor

from ... import boxes
from ...fill import area_resize
from ...scene import Layer
from .areas import cropped_areas

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


def _cropped(picture: Tensor, layer: Layer, photo_size: tuple[int, int]) -> Tensor:
    """A reference [h, w, c] of the photo's aspect is laid over it and cropped like the layer; others stay whole."""
    height, width = photo_size
    if abs(picture.shape[1] * height / (picture.shape[0] * width) - 1) > SAME_ASPECT:
        return picture
    return boxes.cut(area_resize(picture.movedim(-1, 0)[None], photo_size)[0].movedim(0, -1), layer.box)
