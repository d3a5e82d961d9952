"""Report a record of attention: a picture for each layer, all numbers, and a line for each layer."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ..attention.layer_regions import Maps
from ..attention.record import Pathway, Record
from ..attention.regions import HOLE
from ..scene import Layer, Scene, rgb
from .gap_plot import gap_plot, together
from .gap_words import sentence

NOTHING = (
    "gap: nothing was recorded. Connect model of Record Attention Gap to the sampler before this node; if it is, its "
    "result came from ComfyUI's cache: change the seed and queue again."
)


class Report(NamedTuple):
    pictures: Tensor  # [layers, H, W, 3], 0..1
    numbers: str  # JSON
    text: str


def report(record: Record, maps: Maps, scenes: Sequence[Scene] = (), image: Tensor | None = None) -> Report:
    """maps: the regions that were recorded. scenes: the sampled layers, if it was layers: those that were not painted
    are left out. image: [B, H, W, C], 0..1, else: what came out, a picture for each row.

    ValueError where nothing was recorded.
    """
    layers = {layer.id: layer for scene in scenes for layer in scene.layers}
    names: dict[Pathway, str] = {}
    for who in record.layers:
        row = who.row
        layer = layers.get(row) if isinstance(row, str) else None
        if layer is not None and layer.sampled:
            name = f"Photo {layer.photo + 1}, {layer.name}" if len(scenes) > 1 else layer.name
        elif not scenes or isinstance(row, int):
            name = row if isinstance(row, str) else f"Picture {row + 1}"
        else:
            continue
        names[who] = f"{name}, as the guidance sees it" if who.guided else name
    if not names:
        raise ValueError(NOTHING)
    pictures = []
    for who, name in names.items():
        own = record.layers[who]
        photo = _photo(who.row, layers.get(str(own.key)), image)
        pictures.append(gap_plot(name, own, photo, maps.masks(own.key)[HOLE]))
    lines = [sentence(name, record.layers[who]) for who, name in names.items()]
    return Report(together(pictures), record.as_json(names), "\n".join(lines))


def _photo(row: str | int, layer: Layer | None, image: Tensor | None) -> Tensor | None:
    """[h, w, 3]: the row's picture, where there is one."""
    if layer is not None:
        return layer.pixels
    if image is None or isinstance(row, str):
        return None
    return rgb(image[min(row, len(image) - 1)])
