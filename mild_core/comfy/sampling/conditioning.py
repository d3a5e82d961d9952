"""The CONDITIONING of a layer: what the artist connected, or zeros; and what belongs to this layer alone."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...image import boxes
from ...image.fill import area_resize
from ...image.framed import same_frame
from ...scene import Layer
from .areas import cropped_areas, whole_for_every_layer
from .own_rows import REFERENCES, OwnRows

PLACED = ("area", "mask", "mask_strength", "set_area_to_bounds", "gligen")
"""Keys by which an entry of a CONDITIONING belongs to a part of the photo."""

LATENTS = "reference_latents"
"""Where ComfyUI's nodes for edit models (Flux Kontext, Qwen-Image-Edit) keep pictures that the model looks at."""

WHOLE_LATENTS = (
    "Reference latents of a prompt are used whole for every layer, and a reference of this photo shows whoever goes: "
    "take them off, or encode a photo without these people."
)


class LayerConds:
    """Makes each layer's conds out of those that all layers share.

    photo_sizes: height and width of each photo; notes: gets sentences for the artist, each once.
    """

    def __init__(self, photo_sizes: Sequence[tuple[int, int]], notes: list[str]):
        self.photo_sizes = photo_sizes
        self.notes = notes
        self.rows = OwnRows(len(photo_sizes))

    def of(self, name: str, conds: list[dict], layer: Layer, cells: tuple[int, ...], values: dict) -> list[dict]:
        """Conds (as a guider keeps them under `name`) for this layer's crop: its photo's rows, with areas, masks and
        references cropped like it, and `values`.

        cells: of the layer's latent, from the third dimension on. Entries whose area lies elsewhere in the photo are
        dropped; where all are, the first one holds for the whole crop.
        """
        size = self.photo_sizes[layer.photo]
        given = [self.rows.of(cond, layer.photo) for cond in conds]
        here = [own for cond in given if (own := cropped_areas(cond, layer, size, cells, self.notes)) is not None]
        if given and not here:
            here = [{key: value for key, value in given[0].items() if key not in PLACED}]
            self._note(f"{name}: no area or mask of it touches {layer.name}, so its first entry holds for all of it.")
        result: list[dict[str, Any]] = []
        for own in here:
            own = {**own, **values}
            if own.get(LATENTS):
                self._note(WHOLE_LATENTS)
            references = own.get(REFERENCES)
            if references is not None:
                own[REFERENCES] = [self._cropped(picture, layer, size) for picture in references]
            result.append(own)
        return result

    def _cropped(self, picture: Tensor, layer: Layer, photo_size: tuple[int, int]) -> Tensor:
        """A reference [h, w, c] of the photo's shape is laid over it and cropped like the layer; others stay whole."""
        size = (picture.shape[0], picture.shape[1])
        if not same_frame(size, photo_size):
            self._note(whole_for_every_layer("A reference", size, photo_size))
            return picture
        return boxes.cut(area_resize(picture.movedim(-1, 0)[None], photo_size)[0].movedim(0, -1), layer.box)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
