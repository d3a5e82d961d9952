"""The ControlNets of a batch of layers: copies, whose pictures are cropped like each row's layer.

ComfyUI keeps ControlNets in the conditioning, one after another (`previous_controlnet`), each with a picture in the
photo's frame (`cond_hint_original`) of which stock code crops the middle. It hands the picture's rows to the rows of a
batch by position, so a picture with a row for every layer reaches each its own. Where the artist connects as many
pictures as all photos have layers (Pose Hint makes such), they are the layers', in their order.
"""

from collections.abc import Sequence
from typing import Any

import comfy.controlnet
import comfy.utils
import torch
from torch import Tensor

from ...image.framed import crop_of, same_frame
from ...pairing import by, dealt, row_of
from ...scene import Layer, Scene
from .areas import whole_for_every_layer

MARKED = -0.5
"""Pixel values below this are marks, not colours (0..1): ControlNets for inpainting get -1 where they are to paint."""

DRAWN_NOTE = (
    "Body guidance was drawn for each layer from the bodies that Split into Layers got, in place of the picture at "
    "Apply ControlNet."
)
"""Given once, where drawn maps replaced a picture."""

EFFECT_MASK = "mask_cond_hint_original"
"""Where Advanced-ControlNet keeps the mask [B, H, W] of where a ControlNet works."""


class Hints:
    """ControlNets for one batch, whose row i is layers[i].

    photo_sizes: height and width of each photo; size: height and width in pixels at which the batch is sampled;
    scenes: of all photos, where they are known.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        photo_sizes: Sequence[tuple[int, int]],
        size: tuple[int, int],
        scenes: Sequence[Scene] = (),
    ):
        self.layers = layers
        self.photo_sizes = photo_sizes
        self.size = size
        self.scenes = scenes
        every = (layer.id for scene in scenes for layer in scene.layers)
        self._numbers = {layer_id: number for number, layer_id in enumerate(every)}
        self.notes: list[str] = []
        """Sentences for the artist, each once."""
        self._copies: dict[int, tuple[Any, Any]] = {}  # by id; the original is kept so that no other object gets its id

    def copied(self, control: Any) -> Any:
        """A copy of the chain that ends in this ControlNet, with the layers' own pictures; one copy for one object.

        The original stays as it is. What holds no picture is copied, and otherwise left alone.
        """
        if id(control) not in self._copies:
            self._copies[id(control)] = control, self._copy(control)
        return self._copies[id(control)][1]

    def cleanup(self) -> None:
        """Let go of all copies and what they hold. Call it when the batch is through, also after an error."""
        for _, copy in self._copies.values():
            copy.cleanup()
        self._copies.clear()

    def _copy(self, control: Any) -> Any:
        copy = control.copy()
        if control.previous_controlnet is not None:
            copy.previous_controlnet = self.copied(control.previous_controlnet)
        if isinstance(control, comfy.controlnet.ControlLora):
            copy.control_model = None  # its cleanup fails where it did not come to make one
        hint = control.cond_hint_original
        drawn = self._drawn(control)
        if drawn is not None:
            copy.cond_hint_original = drawn
        elif isinstance(hint, Tensor) and hint.ndim == 4:
            # A mask of one pixel means "everywhere", in any crop.
            masked = any(mask.shape[-2:].numel() > 1 for mask in control.extra_concat_orig)
            copy.cond_hint_original = torch.cat([self._hint(layer, control, masked) for layer in self.layers])
            if masked:
                copy.extra_concat_orig = [
                    torch.cat([self._mask(layer, mask, hint) for layer in self.layers])
                    for mask in control.extra_concat_orig
                ]
        mask = getattr(control, EFFECT_MASK, None)
        if isinstance(mask, Tensor) and mask.ndim == 3:
            setattr(copy, EFFECT_MASK, torch.cat([self._effect_mask(layer, mask) for layer in self.layers])[:, 0])
        if getattr(copy.vae, "latent_dim", 2) == 3:
            copy.vae = OneByOne(copy.vae)
        return copy

    def _drawn(self, control: Any) -> Tensor | None:
        """[rows, C, h, w]: what a ControlNet draws by itself for these layers, from the people of their photos; None
        where it draws nothing, or has a picture for each of them.
        """
        draw, picture = getattr(control, "layer_hint", None), control.cond_hint_original
        if draw is None or (not control.morphology and isinstance(picture, Tensor) and self._by_layer(picture)):
            return None
        people = {scene.morphology.photo: scene.morphology for scene in self.scenes if scene.morphology is not None}
        rows = [draw(layer, people.get(layer.photo), self.size, self.photo_sizes[layer.photo]) for layer in self.layers]
        if any(row is None for row in rows):
            return None
        given = {one.photo for one in control.morphology}
        for photo in sorted({layer.photo for layer in self.layers} - given - people.keys()):
            self._note(f"Guide by Bodies got no bodies for photo {photo + 1}, so it adds nothing there.")
        if not control.morphology:
            self._note(DRAWN_NOTE)
        return torch.cat(rows)

    def _hint(self, layer: Layer, control: Any, masked: bool) -> Tensor:
        """The ControlNet's picture for this layer, [1, C, *size]."""
        picture = self._row(control.cond_hint_original, layer)
        size = self.photo_sizes[layer.photo]
        if not same_frame((picture.shape[-2], picture.shape[-1]), size):
            picture_size = (picture.shape[-2], picture.shape[-1])
            self._note(whole_for_every_layer("A ControlNet picture", picture_size, size))
            return self._whole(picture, control.upscale_algorithm)
        # Lines and soft maps suffer from skipped pixels; marks, and holes cut out by a mask, from mixed ones.
        return crop_of(picture, layer.box, size, self.size, nearest=masked or bool(picture.min() < MARKED))

    def _mask(self, layer: Layer, masks: Tensor, hints: Tensor) -> Tensor:
        """An inpaint mask [B, C, H, W] that lies over the ControlNet's pictures, for this layer: [1, C, *size]."""
        mask, size = self._row(masks, layer), self.photo_sizes[layer.photo]
        if not same_frame((hints.shape[-2], hints.shape[-1]), size):
            return self._whole(mask, "nearest-exact")
        if not same_frame((mask.shape[-2], mask.shape[-1]), size):
            # Stock nodes lay the middle of such a mask over the picture.
            self._note(
                f"A ControlNet's mask of {by((mask.shape[-2], mask.shape[-1]))} has another shape than its picture "
                f"({by((hints.shape[-2], hints.shape[-1]))}), so its middle is used, as Apply ControlNet does."
            )
            mask = comfy.utils.common_upscale(mask, hints.shape[-1], hints.shape[-2], "nearest-exact", "center")
        return crop_of(mask, layer.box, size, self.size, nearest=True)

    def _effect_mask(self, layer: Layer, masks: Tensor) -> Tensor:
        mask, size = self._row(masks[:, None], layer), self.photo_sizes[layer.photo]
        mask_size = (mask.shape[-2], mask.shape[-1])
        if not same_frame(mask_size, size):
            self._note(whole_for_every_layer("A ControlNet's mask of where it works", mask_size, size))
            return self._whole(mask, "bilinear")
        return crop_of(mask, layer.box, size, self.size)

    def _row(self, pictures: Tensor, layer: Layer) -> Tensor:
        """[1, C, H, W] of pictures [B, C, H, W]: where there is one for every layer of all photos, the layer's own.
        All others are the photos', which stock code gives to the photos of a batch in turn.
        """
        count, photos = pictures.shape[0], len(self.photo_sizes)
        if self._by_layer(pictures):
            self._note(f"ControlNet pictures: there are as many as layers ({count}), so each layer got its own.")
            return pictures[self._numbers[layer.id]][None]
        note = dealt("ControlNet pictures", count, photos)
        if note is not None and count > 1:
            self._note(note)
        return pictures[row_of(count, layer.photo)][None]

    def _by_layer(self, pictures: Tensor) -> bool:
        count = pictures.shape[0]
        return count == len(self._numbers) and count not in (1, len(self.photo_sizes))

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _whole(self, picture: Tensor, how: str) -> Tensor:
        """As stock code lays a picture over a latent of another shape: its middle."""
        return comfy.utils.common_upscale(picture, self.size[1], self.size[0], how, "center")


class OneByOne:
    """A VAE that encodes pictures one at a time: those made for video take a batch for the frames of one film."""

    def __init__(self, vae: Any):
        self.vae = vae

    def encode(self, pixels: Tensor) -> Tensor:
        """[B, H, W, 3] -> [B, c, 1, h, w]."""
        return torch.cat([self.vae.encode(picture[None]) for picture in pixels])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.vae, name)
