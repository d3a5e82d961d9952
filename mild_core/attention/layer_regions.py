"""Work out the regions of a layer's crop for its pathway: its hole, who else stands there, and what is its own."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..image import boxes
from ..image.framed import crop_of
from ..pairing import Size, check_count, row_of, stretched
from ..people.from_masks import resize_mask
from ..people.selection import layers_named
from ..scene import PERSON, Layer, Scene
from .regions import HOLE, REST

PEOPLE = "people"
"""In a background's crop: those who stay, with the rim that holds their colours. To its hole they are all alike."""
OWN_PERSON = "herself"
"""In a person's crop: what is seen of the person. The rest there is ground, or the background with others in it. The
value is a key of the JSON text that Show Attention Gap gives out, and stays as it is; artists read "the person".
"""

Key = str | int
"""Whose regions: a layer's id, or the number of a mask in its batch."""

ALL = "all"

LONGEST = 1024
"""Pixels of a mask's longer side, at most: several for each token of any model's grid."""


class RegionMasks(NamedTuple):
    """Of one pathway."""

    masks: dict[str, Tensor]  # [H, W] each, 0..1, all of one size
    own: str  # what its hole is to be filled from: REST or OWN_PERSON


def of_layer(layer: Layer) -> RegionMasks:
    """A layer's regions in the frame of its crop. What has to be invented is nobody's but the hole's.

    Nothing more is kept in a Layer for this: whatever a background may not look at and need not invent are the people
    who stay, and in a person's layer everything but the person is foreign.
    """
    hole = layer.hole > 0
    masks = {HOLE: hole.float()}
    if layer.domain == PERSON:
        masks[OWN_PERSON] = layer.alpha.float().masked_fill(hole, 0)
        return RegionMasks(masks, OWN_PERSON)
    people = ~((layer.allowed > 0) | hole)
    if people.any():
        masks[PEOPLE] = people.float()
    return RegionMasks(masks, REST)


def reduced(masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same masks [H, W], averaged to a longer side of LONGEST where theirs is larger: a photo's millions of pixels
    are then looked at once, and not for every grid of tokens. What touches a token still does.
    """
    size = next(iter(masks.values())).shape
    scale = LONGEST / max(size)
    if scale >= 1:
        return masks
    small = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    stack = torch.stack(list(masks.values()))[None]
    return dict(zip(masks, crop_of(stack, boxes.whole((size[0], size[1])), (size[0], size[1]), small)[0], strict=True))


class Maps:
    """The regions of all pathways of a sampling: of layers, each in its crop's frame, or of masks of whole photos."""

    def __init__(
        self, layers: Sequence[Layer] = (), others: Sequence[str] = (), masks: Tensor | None = None,
        avoided: Tensor | None = None,
    ):  # fmt: skip
        """layers: those with regions; others: ids of layers that are left alone.

        masks: [B, H, W], 0..1, in place of layers: holes; avoided: [B | 1, H, W] of the same size, or None.
        """
        self._layers: dict[Key, Layer] = {layer.id: layer for layer in layers}
        self._others = frozenset(others)
        self._masks, self._avoided = masks, avoided
        self.notes: list[str] = []  # what the artist ought to know of them, in sentences
        self.names: tuple[Key, ...] = tuple(self._layers) if masks is None else tuple(range(len(masks)))

    @classmethod
    def of(cls, scenes: Sequence[Scene], which: str = ALL) -> "Maps":
        """Of the layers that `which` names (as Sample Layers has it) and that have a hole; the others stay alone."""
        layers = [layer for scene in scenes for layer in scene.layers]
        named = layers_named(scenes, which) if layers else ()
        chosen = [layer for layer in layers if layer.id in named and bool((layer.hole > 0).any())]
        ids = {layer.id for layer in chosen}
        return cls(chosen, [layer.id for layer in layers if layer.id not in ids])

    @classmethod
    def of_mask(cls, mask: Tensor, avoided: Tensor | None = None) -> "Maps":
        """Of masks [B, H, W], 0..1, over whole photos: holes; avoided: [B or 1, h, w], what they must not look at.

        ValueError where avoided is another batch. What lies in both is hole.
        """
        notes: list[str] = []
        if avoided is not None:
            check_count(len(avoided), len(mask), "avoid")
            size, own = ((int(one.shape[1]), int(one.shape[2])) for one in (mask, avoided))
            notes = stretched("avoid", [own], [size], "mask") if avoided.any() else []
            avoided = torch.minimum(resize_mask(avoided, size), 1 - mask)
        maps = cls(masks=mask, avoided=avoided)
        maps.notes += notes
        return maps

    def key(self, row: Key, count: int) -> Key | None:
        """Whose regions hold in a row of a latent of `count` rows; None: it is left alone.

        row: a layer's id, or the row's number where nobody named the rows. ValueError where that cannot be told.
        """
        if row in self._layers or row in self._others:
            return row if row in self._layers else None
        if isinstance(row, str):
            if self._masks is not None:
                raise ValueError(
                    "mask: it lies over the whole photo, but Sample Layers paints crops of it. Connect the layers "
                    "instead of the mask"
                )
            raise ValueError(f"layers: there is no {row} among them. Connect the same layers here and to Sample Layers")
        if len(self.names) not in (1, count):
            raise ValueError(
                f"{'layers' if self._masks is None else 'mask'}: {len(self.names)} of them meet a latent of {count}. "
                + ("Name one layer in `which`, or use Sample Layers" if self._masks is None
                   else "Connect one mask, or one for each picture of the latent")
            )  # fmt: skip
        return self.names[0 if len(self.names) == 1 else row]

    def regions(self, key: Key) -> RegionMasks:
        """Of one of `names`; worked out anew each time, because layers are kept anyway and maps need not be."""
        if self._masks is None:
            return of_layer(self._layers[key])
        number = int(key)
        masks = {HOLE: self._masks[number]}
        if self._avoided is not None:
            masks[PEOPLE] = self._avoided[row_of(len(self._avoided), number)]
        return RegionMasks(masks, REST)

    def masks(self, key: Key) -> dict[str, Tensor]:
        """[H, W] each, 0..1, by region."""
        return self.regions(key).masks

    def own(self, key: Key) -> str:
        """The region that a pathway's hole is to be filled from."""
        layer = self._layers.get(key)
        return OWN_PERSON if layer is not None and layer.domain == PERSON else REST

    def misfits(self, latent: Size) -> list[str]:
        """Sentences on masks of another shape than the latent (height and width in cells) that they lie over."""
        if self._masks is None or not self.any:
            return []
        return stretched("mask", [(int(self._masks.shape[1]), int(self._masks.shape[2]))], [latent], "the latent")

    def title(self, key: Key) -> str:
        """What an artist calls it."""
        layer = self._layers.get(key)
        return f"mask {int(key) + 1}" if layer is None else layer.name

    @property
    def foreign(self) -> bool:
        """Whether there is anything that a hole must not look at."""
        return any({OWN_PERSON, PEOPLE} & set(self.masks(key)) for key in self.names)

    @property
    def of_layers(self) -> bool:
        """Whether the regions are those of layers, and not of masks over whole photos."""
        return self._masks is None

    @property
    def avoids(self) -> bool:
        """Whether a mask says what must not be looked at."""
        return self._avoided is not None

    @property
    def any(self) -> bool:
        """Whether there is a hole anywhere."""
        return len(self.names) > 0 and (self._masks is None or bool((self._masks > 0).any()))
