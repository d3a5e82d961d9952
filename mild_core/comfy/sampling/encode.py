"""A layer's crop on its way into the model's latent space and back."""

from collections.abc import Sequence
from typing import NamedTuple

import comfy.model_patcher
import comfy.sample
import comfy.sd
import torch
import torch.nn.functional as F
from torch import Tensor

from ...image.fill import area_resize
from ...layers.painted import in_hole
from ...layers.work_size import size_of
from ...scene import Layer
from ..erasers.eraser import Eraser, eraser_of
from ..families import family_of
from ..pixel_space import is_pixel_space, pixel_vae


class Encoded(NamedTuple):
    """A layer as the sampler sees it: a batch of one row."""

    layer: Layer
    size: tuple[int, int]  # height and width in pixels at which it is sampled
    latent: Tensor  # [1, c, h, w] (video-like models: [1, c, 1, h, w]): what it starts from, never the erased pixels
    hole: Tensor  # [1, 1, h, w]: latent cells to invent, 0 or 1; 0..1 where the MODEL asks for soft masks
    inpaint: dict[str, Tensor]  # concat_latent_image and concat_mask for models with inpaint channels, else empty
    plate: Tensor | None = None  # [h, w, 3]: what a person is painted on; None: the neutral ground, or a background


class LatentSpace(NamedTuple):
    """What the way there and back needs to know, read from the MODEL."""

    model: comfy.model_patcher.ModelPatcher
    eraser: Eraser
    vae: comfy.sd.VAE
    ratio: int  # pixels per latent cell
    multiple: int  # pixels: sides are whole multiples of it
    native_pixels: int | None  # what the model was trained on; None: any size, so crops keep their scale
    inpaint_channels: bool
    soft_masks: bool  # whether it looks at how much of a cell is to be invented


def latent_space(model: comfy.model_patcher.ModelPatcher, vae: comfy.sd.VAE | None) -> LatentSpace:
    """Read the MODEL's needs. Raises ValueError if it works on latents and no VAE is there."""
    if vae is None and not is_pixel_space(model):
        raise ValueError(
            "vae: this MODEL works on latents, so Sample Layers needs its VAE: connect the checkpoint's VAE."
        )
    eraser = eraser_of(model)
    return LatentSpace(
        model,
        eraser,
        pixel_vae() if vae is None else vae,
        model.get_model_object("latent_format").spacial_downscale_ratio,
        eraser.multiple(model),
        eraser.native_pixels(model),
        family_of(model).inpaint(model),
        # Differential Diffusion, and whoever else turns the noise mask into another one at every step.
        "denoise_mask_function" in model.model_options,
    )


def work_size_of(layer: Layer, photo_size: tuple[int, int], space: LatentSpace) -> tuple[int, int]:
    """Height and width in pixels at which the model paints the layer; photo_size: height and width of its photo."""
    return size_of(
        layer,
        photo_size,
        space.native_pixels,
        multiple=space.multiple,
        cell=max(space.ratio, 8),
    )


def encode(layer: Layer, picture: Tensor, space: LatentSpace, plate: Tensor | None = None) -> Encoded:
    """The layer as a batch of one, starting from picture [1, h, w, 3], which has the size at which it is painted;
    plate [h', w', 3]: what a person is painted on (None: the neutral ground, or a background).
    """
    inside = (layer.hole > 0).float()[None, None]
    size = (picture.shape[1], picture.shape[2])
    latent = latent_of(picture, space)
    cells = (latent.shape[-2], latent.shape[-1])
    # A cell is part of the hole as soon as one pixel of the hole lies in it.
    hole = touched = F.adaptive_max_pool2d(inside, cells)
    if space.soft_masks:
        hole = area_resize(layer.hole[None, None].float(), cells) * touched
    inpaint = {}
    if space.inpaint_channels:
        mask = F.interpolate(touched, size=size, mode="nearest-exact")
        grey = torch.where(mask[0, 0, :, :, None].to(picture.device) > 0, 0.5, picture)
        inpaint = {"concat_latent_image": latent_of(grey, space), "concat_mask": mask}
    return Encoded(layer, size, latent, hole, inpaint, plate)


def latent_of(picture: Tensor, space: LatentSpace) -> Tensor:
    """[1, h, w, 3] -> latent. Raises ValueError if the VAE's latents are not this model's."""
    latent = comfy.sample.fix_empty_latent_channels(space.model, space.vae.encode(picture))
    format = space.model.get_model_object("latent_format")
    frames = [1] * (format.latent_dimensions - 2)
    expected = [format.latent_channels, *frames, picture.shape[1] // space.ratio, picture.shape[2] // space.ratio]
    if list(latent.shape[1:]) != expected:
        raise ValueError(
            f"vae: it gives latents of {_by(latent.shape[1:])} where this MODEL needs {_by(expected)} (channels,"
            f"{' frames,' * len(frames)} height, width): connect the model's own VAE"
            + (", or none: this model needs no VAE." if is_pixel_space(space.model) else ".")
        )
    return latent


def decode(samples: Tensor, encoded: Encoded, space: LatentSpace) -> Tensor:
    """One row of samples -> the layer's pixels [h, w, 3]: painted in the hole, bit for bit as before outside."""
    layer = encoded.layer
    picture = space.vae.decode(samples)
    picture = picture.reshape(-1, *picture.shape[-3:])[0, ..., :3]  # some give [1, frames, h, w, 3], some an alpha
    pixels = in_hole(layer, picture)
    if not bool(torch.isfinite(pixels[layer.hole > 0]).all()):
        raise ValueError(
            f"The model returned pixels that are not numbers (NaN) for layer {layer.name} ({layer.id}): try another "
            "sampler or a lower cfg, run the model in float32, or use the VAE that belongs to it."
        )
    return pixels


def _by(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
