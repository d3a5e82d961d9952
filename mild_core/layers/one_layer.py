"""Hand out one layer as a picture and a mask that any node understands, and take it back once it is painted."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.fill import push_pull
from ..pairing import stretched
from ..people.selection import layers_named
from ..scene import BACKGROUND, PERSON, Layer, Scene, rgb
from .painted import finished, in_hole, plate_under
from .start_picture import start_picture
from .work_size import size_of

MEGAPIXEL = 1024 * 1024
"""As ComfyUI counts megapixels."""


class Given(NamedTuple):
    """A layer as plain nodes see it."""

    layer: Layer
    picture: Tensor  # [h, w, 3], float32: its start, never the erased pixels
    mask: Tensor  # [h, w], 0 or 1: what is to be painted, in whole latent cells


class Taken(NamedTuple):
    """The layers after one of them was put back."""

    scenes: list[Scene]
    layer: Layer  # as it is now
    notes: list[str]  # in sentences: whether the picture was stretched


def one_layer(scenes: Sequence[Scene], which: str) -> Layer:
    """The one layer that `which` names: "background", a person's number, a layer's name or id.

    Raises ValueError, with all ids, when it names none or several.
    """
    layers = [layer for scene in scenes for layer in scene.layers]
    if not layers:
        raise ValueError(
            "layers: there is none in it, because nobody is chosen to go. Choose somebody in Choose People."
        )
    named = layers_named(scenes, which)
    if len(named) == 1:
        return next(layer for layer in layers if layer.id in named)
    found = ", ".join(f"{layer.id} ({layer.name})" for layer in layers if not named or layer.id in named)
    kind = "parts of the background" if all(BACKGROUND in name for name in named) else "layers"
    what = f"'{which}' names {len(named)} {kind}" if named else f"no layer is called '{which}'"
    raise ValueError(f"which: {what}, but one is needed. Write one of these ids: {found}.")


def give(scenes: Sequence[Scene], which: str, native_pixels: int | None, multiple: int = 1) -> Given:
    """The layer that `which` names, at the size it is to be painted at.

    native_pixels: how many the model was made for; None: the photo's own scale. multiple: both sides are whole
    multiples of it, and the mask is made of cells of half as many pixels, each white as soon as one pixel of the hole
    lies in it. A person stands on the finished background, or on the layer's neutral ground while something of it is
    not painted. Raises ValueError as one_layer does.
    """
    layer = one_layer(scenes, which)
    scene = scenes[layer.photo]
    size = size_of(layer, (scene.photo.shape[0], scene.photo.shape[1]), native_pixels, multiple, max(multiple // 2, 8))
    picture = start_picture(layer, plate_of(scene, layer), size)
    cell = multiple if multiple % 2 else multiple // 2
    cells = F.adaptive_max_pool2d((layer.hole > 0).float()[None, None], (size[0] // cell, size[1] // cell))
    return Given(layer, picture, F.interpolate(cells, size=size, mode="nearest-exact")[0, 0])


def take(scenes: Sequence[Scene], which: str, picture: Tensor) -> Taken:
    """Put a picture [h, w, C], C in 1, 3, 4, of any size, into the hole of the layer that `which` names.

    Nothing else changes, bit for bit; a person's alpha is completed as after Sample Layers. A layer without a hole
    comes back as the same object. What the picture shows outside the hole may be anything, even NaN. Raises
    ValueError as one_layer does, and for pixels in the hole that are no numbers.
    """
    layer = one_layer(scenes, which)
    own, size = ((int(one.shape[0]), int(one.shape[1])) for one in (picture, layer.hole))
    notes = stretched("image", [own], [size], "the layer", rounded=True)
    if not bool((layer.hole > 0).any()):
        return Taken(list(scenes), layer, notes)
    pixels = _clean(rgb(picture).float(), layer.hole > 0).clamp(0, 1)
    new = finished(layer, in_hole(layer, pixels), plate_of(scenes[layer.photo], layer))
    put = [
        scene._replace(layers=tuple(new if own is layer else own for own in scene.layers))
        if number == layer.photo
        else scene
        for number, scene in enumerate(scenes)
    ]
    return Taken(put, new, notes)


def _clean(picture: Tensor, hole: Tensor) -> Tensor:
    """picture [h, w, 3] without pixels that are no numbers, if none of these lies in the hole, bool [H, W], over which
    it is going to be stretched. They are filled from their neighbours, or resizing would carry them into the hole.

    Raises ValueError if there are some in the hole.
    """
    known = picture.isfinite().all(-1)
    if known.all():
        return picture
    # Of two grids of other sizes, pixels belong together where the middle of one lies in the other, either way.
    under = F.interpolate((~known)[None, None].float(), size=hole.shape, mode="nearest-exact")[0, 0].to(hole.device)
    rows, columns = (~known).nonzero().to(hole.device).unbind(1)
    rows = (2 * rows + 1) * hole.shape[0] // (2 * picture.shape[0])
    columns = (2 * columns + 1) * hole.shape[1] // (2 * picture.shape[1])
    if (hole & (under > 0)).any() or hole[rows, columns].any():
        raise ValueError(
            "image: in the layer's hole there are pixels that are not numbers (NaN or infinite). The node before it "
            "broke: with a VAE, try --fp32-vae; otherwise paint the picture again."
        )
    channels = torch.where(known[..., None], picture, 0.0).movedim(-1, 0)[None]
    return push_pull(channels, known[None, None].float())[0].movedim(0, -1)


def plate_of(scene: Scene, layer: Layer) -> Tensor | None:
    """What a person is painted on, [h, w, 3]: the finished background; None: the neutral ground, or no person."""
    return plate_under(scene, layer.box) if layer.domain == PERSON and layer.likely is not None else None
