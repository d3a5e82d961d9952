"""The size at which a layer's crop is sampled. The photo's own size never changes."""

from ..image import boxes
from ..scene import Layer

BALANCED = "balanced"
DETAIL = "detail"
SIZE_MODES = (BALANCED, DETAIL)

ENOUGH = 0.6
"""Share of a model's native pixels: a photo that has so many is not enlarged."""

SIZE_STEPS = (4, 2, 1)
"""Step between the sizes, in multiples; the first that fits is taken. Coarse steps give crops of about one size the
same size, so that they are painted as one batch.
"""

MOST_STRETCH, MOST_AREA_CHANGE = 1.05, 0.1
"""A step fits if it changes the aspect ratio by at most this factor and the area by at most this share."""


def work_size(
    box_size: tuple[int, int],
    hole_short_side: float,
    native_pixels: int | None,
    multiple: int = 1,
    mode: str = BALANCED,
    min_hole_cells: float = 6,
    cell: int = 8,
    photo_size: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """Height and width to sample a crop of box_size (height, width) at, both multiples of `multiple`.

    native_pixels: how many pixels the model was made for (a million for SDXL); None for a model that works on the
    photo's own pixels, whose crops keep their scale. mode "balanced": the scale at which the whole photo (photo_size)
    would have that many pixels (a smaller photo keeps its scale from ENOUGH of them on), enlarged only until the
    hole's shorter side (hole_short_side, in pixels of the photo) is min_hole_cells latent cells of `cell` pixels wide;
    without photo_size, the photo's own scale. mode "detail": every crop at the model's native size. No crop ever gets
    more than native_pixels (but for rounding, and for at least one multiple a side).
    """
    if mode not in SIZE_MODES:
        raise ValueError(f"size mode: got '{mode}', expected one of {', '.join(SIZE_MODES)}.")
    height, width = box_size
    if height < 1 or width < 1:
        raise ValueError(f"a crop of {width} x {height} pixels has no size to work at.")
    if native_pixels is None:
        scale = 1.0
    else:
        full = (native_pixels / (height * width)) ** 0.5
        if mode == DETAIL:
            scale = full
        else:
            own = 1.0 if photo_size is None else _own_scale(native_pixels / (photo_size[0] * photo_size[1]))
            wanted = min_hole_cells * cell / max(hole_short_side, 1)
            scale = min(max(own, wanted), full)
    return _rounded(height * scale, width * scale, multiple, native_pixels)


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


def _own_scale(times: float) -> float:
    """Scale of a photo for a model that was made for `times` its pixels."""
    return times**0.5 if times < 1 else max(1.0, (ENOUGH * times) ** 0.5)


def _rounded(height: float, width: float, multiple: int, limit: int | None) -> tuple[int, int]:
    """Both sides to whole multiples: of the few pairs around, the one that keeps the aspect best within the limit."""
    if multiple == 1:
        return _around(height, width, 1, limit)
    for step in SIZE_STEPS:
        size = _around(height, width, multiple * step, limit)
        area = size[0] * size[1] / (height * width)
        if _stretch(size, height, width) <= MOST_STRETCH and abs(area - 1) <= MOST_AREA_CHANGE:
            break
    return size


def _stretch(size: tuple[int, int], height: float, width: float) -> float:
    tall, wide = size[0] / height, size[1] / width
    return max(tall / wide, wide / tall)


def _around(height: float, width: float, multiple: int, limit: int | None) -> tuple[int, int]:
    def choices(side: float) -> list[int]:
        low = max(int(side // multiple), 1)
        return [low * multiple] if low * multiple == side else [low * multiple, (low + 1) * multiple]

    def misfit(pair: tuple[int, int]) -> float:
        return _stretch(pair, height, width) + abs(pair[0] * pair[1] / (height * width) - 1) * 0.25

    pairs = [(tall, wide) for tall in choices(height) for wide in choices(width)]
    # A crop at the limit may round up by one multiple a side; more is never gained by going beyond it.
    fitting = [pair for pair in pairs if limit is None or pair[0] * pair[1] <= max(limit, height * width) * 1.02]
    return min(fitting or pairs[:1], key=misfit)
