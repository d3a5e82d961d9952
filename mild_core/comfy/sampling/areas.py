"""Prompts for a part of the photo (masks, areas, GLIGEN's boxes), brought into the frame of a layer's crop."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...image import boxes
from ...image.framed import crop_of, same_frame
from ...pairing import by, row_of
from ...scene import Box, Layer

AREA_UNIT = 8
"""Pixels of the photo in one unit of ConditioningSetArea and GLIGENTextBoxApply, whatever the model."""

LEAST_BOUNDS = 8
"""Latent cells: the least height and width that stock code gives the bounds of a mask."""


def cropped_areas(
    cond: dict[str, Any], layer: Layer, photo_size: tuple[int, int], cells: Sequence[int], notes: list[str]
) -> dict[str, Any] | None:
    """A cond, as convert_cond makes it, for this layer alone; None where it holds nowhere in the layer's crop.

    photo_size: height and width; cells: the latent's shape from the third dimension on, (h, w) or (1, h, w); notes:
    gets a sentence where a mask cannot be cropped. The copy's `mask` is [1, *cells]; its `area` is (h, w, y, x) in
    cells of the crop, and missing where it is the whole crop. The bounds of a mask are worked out here: in a batch
    stock code would take those of all rows. GLIGEN's boxes are mapped as fractions of cells, and are one list for all
    rows of a batch: such conds belong to batches of one.
    """
    result = dict(cond)
    grid = (cells[-2], cells[-1])
    if "area" in cond:
        area = _area(cond["area"], layer.box, photo_size, grid)
        if area is None:
            return None
        if area == (*grid, 0, 0):
            del result["area"]
        else:
            result["area"] = area
    if "mask" in cond:
        mask = _mask(cond["mask"], layer, photo_size, grid, notes)
        if not bool((mask != 0).any()):
            return None
        if cond.get("set_area_to_bounds", False):
            result |= {"area": _bounds(mask), "set_area_to_bounds": False}
        result["mask"] = mask.reshape(1, *(1 for _ in cells[:-2]), *grid).expand(1, *cells)
    if "gligen" in cond and cond["gligen"][0] == "position":
        kind, model, texts = cond["gligen"]
        result["gligen"] = kind, model, _gligen(texts, layer.box, grid)
    return result


def _area(area: Sequence[Any], crop: Box, photo_size: tuple[int, int], grid: tuple[int, int]) -> tuple | None:
    """Stock `area`, in cells of the photo or in shares of it -> cells of the crop, None where it covers none of them.

    An area has as many sizes as the latent has dimensions, then as many places; of a film's, the last two are (h, w).
    """
    shares = area[0] == "percentage"
    values = area[1:] if shares else area
    dimensions = len(values) // 2
    result = []
    for axis, (first, last) in enumerate(((crop[1], crop[3]), (crop[0], crop[2])), start=dimensions - 2):
        unit = photo_size[axis - dimensions + 2] if shares else AREA_UNIT
        count = grid[axis - dimensions + 2]
        edges = [values[dimensions + axis] * unit, (values[dimensions + axis] + values[axis]) * unit]
        start, stop = (min(max(round((edge - first) / (last - first) * count), 0), count) for edge in edges)
        if stop == start:
            return None
        result.append((stop - start, start))
    (height, top), (width, left) = result
    return height, width, top, left


def _mask(masks: Tensor, layer: Layer, photo_size: tuple[int, int], grid: tuple[int, int], notes: list[str]) -> Tensor:
    """Stock `mask` ([B, H, W], or [H, W]) -> [h, w] of the crop. One of another shape than the photo stays whole."""
    masks = masks.reshape(-1, 1, masks.shape[-2], masks.shape[-1])
    mask = masks[row_of(len(masks), layer.photo)][None]
    size = (mask.shape[-2], mask.shape[-1])
    if same_frame(size, photo_size):
        return crop_of(mask, layer.box, photo_size, grid)[0, 0]
    if bool(mask.any()):
        note = whole_for_every_layer("A prompt's mask", size, photo_size)
        if note not in notes:
            notes.append(note)
    return crop_of(mask, boxes.whole(size), size, grid)[0, 0]


def whole_for_every_layer(what: str, size: tuple[int, int], photo_size: tuple[int, int]) -> str:
    """The note on a picture that is not cropped like the layers; both sizes are height and width."""
    return (
        f"{what} of {by(size)} has another shape than the photo ({by(photo_size)}), so it is used whole for every "
        "layer."
    )


def _bounds(mask: Tensor) -> tuple[int, int, int, int]:
    """(h, w, y, x) around what is not 0 in mask [h, w], as stock code makes it of `set_area_to_bounds`."""
    touched = torch.nonzero(mask)
    top, left = touched.amin(0).tolist()
    bottom, right = touched.amax(0).tolist()
    return max(bottom - top + 1, LEAST_BOUNDS), max(right - left + 1, LEAST_BOUNDS), top, left


def _gligen(texts: Sequence[tuple], crop: Box, grid: tuple[int, int]) -> list[tuple]:
    """(text, h, w, y, x) in cells of the photo -> in cells of the crop, clipped to it; those beside it are dropped."""
    result = []
    tall, wide = grid[0] / boxes.height(crop), grid[1] / boxes.width(crop)
    for text, height, width, y, x in texts:
        box = (x * AREA_UNIT, y * AREA_UNIT, (x + width) * AREA_UNIT, (y + height) * AREA_UNIT)
        if boxes.overlap(box, crop):
            left, top, right, bottom = boxes.inside(boxes.intersection(box, crop), crop)
            result.append((text, (bottom - top) * tall, (right - left) * wide, top * tall, left * wide))
    return result
