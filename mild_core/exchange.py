"""One layer out, as a picture and a mask that any node understands, and back, painted by whatever painted it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from .choose.selection import layers_named
from .complete.plate import plate_under
from .painted import finished, in_hole
from .scene import BACKGROUND, PERSON, Layer, Scene, rgb
from .start import start_picture
from .work_size import size_of

MEGAPIXEL = 1024 * 1024
"""As ComfyUI counts megapixels."""

SLACK = 32
"""Pixels by which work sizes are rounded at most: an aspect that is off by no more is still the layer's."""


class Given(NamedTuple):
    """A layer as plain nodes see it."""

    layer: Layer
    picture: Tensor  # [h, w, 3], float32: its start, never the erased pixels
    mask: Tensor  # [h, w], 0 or 1: what is to be painted, in whole latent cells


class Taken(NamedTuple):
    """The layers after one of them was put back."""

    scenes: list[Scene]
    layer: Layer  # as it is now
    misfit: bool  # the picture had another aspect than the layer


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
    lies in it. A person stands on the finished background, or on her neutral ground while something of it is not
    painted. Raises ValueError as one_layer does.
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
    comes back as the same object. Raises ValueError as one_layer does.
    """
    layer = one_layer(scenes, which)
    height, width = layer.hole.shape
    aspect = picture.shape[1] * height / (picture.shape[0] * width)
    misfit = abs(aspect - 1) > SLACK / picture.shape[0] + SLACK / picture.shape[1]
    if not bool((layer.hole > 0).any()):
        return Taken(list(scenes), layer, misfit)
    new = finished(layer, in_hole(layer, rgb(picture).clamp(0, 1)), plate_of(scenes[layer.photo], layer))
    put = [
        scene._replace(layers=tuple(new if own is layer else own for own in scene.layers))
        if number == layer.photo
        else scene
        for number, scene in enumerate(scenes)
    ]
    return Taken(put, new, misfit)


def plate_of(scene: Scene, layer: Layer) -> Tensor | None:
    """What a person is painted on, [h, w, 3]: the finished background; None: her neutral ground, or no person."""
    return plate_under(scene, layer.box) if layer.domain == PERSON and layer.likely is not None else None
