"""Layers become a photo again, back to front; what is no hole stays the source, bit for bit."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from . import boxes
from .scene import Box, Layer, Scene

LUMA = (0.299, 0.587, 0.114)
"""Weights of ITU-R BT.601, for photos of one channel."""

ROWS = 256
"""Rows that are worked on at a time: a large photo is painted and checked without further copies of it."""


class Recomposed(NamedTuple):
    image: Tensor  # [B, H, W, C] like the source
    changed: Tensor  # [B, H, W], 1 where a pixel differs from the source
    outside: int  # changed pixels outside the holes: 0, and counted to be sure
    unsampled: tuple[str, ...]  # names of layers with a hole that nobody painted


def recompose(scenes: Sequence[Scene]) -> Recomposed:
    """Put the layers of every scene over its photo, back to front: C = a F + (1 - a) C inside the holes.

    Opacity a is the layer's hole (what it may change) times its alpha (what of it is there). A layer that was not
    sampled leaves the picture below it. Raises ValueError if there is no scene, if sizes differ, or if sampled pixels
    are NaN.
    """
    if not scenes:
        raise ValueError("layers: there is no photo in it. Connect the layers of Split into Layers or Sample Layers.")
    shapes = {tuple(scene.photo.shape) for scene in scenes}
    if len(shapes) > 1:
        raise ValueError(f"layers: photos of different sizes cannot be one batch: {sorted(shapes)}.")
    image = torch.stack([scene.photo for scene in scenes])
    changed = torch.zeros(image.shape[:3], device=image.device)
    outside, unsampled = 0, []
    for index, scene in enumerate(scenes):
        holes = torch.zeros(image.shape[1:3], dtype=torch.bool, device=image.device)
        for layer in sorted(scene.layers, key=lambda layer: layer.rank):
            opacity = layer.hole if layer.reveal is None else layer.reveal
            tight = boxes.tight_box(opacity)
            if tight is None:
                continue
            if not layer.sampled:
                unsampled.append(layer.name if len(scenes) == 1 else f"{layer.name} of photo {index + 1}")
                continue
            place = boxes.outside(tight, layer.box)
            own = boxes.cut(opacity, tight).to(image.device)
            _paint(boxes.cut(image[index], place), layer, tight, own)
            boxes.cut(holes, place).logical_or_(own > 0)
        outside += _compare(image[index], scene.photo, holes, changed[index])
    return Recomposed(image, changed, outside, tuple(unsampled))


def _paint(under: Tensor, layer: Layer, part: Box, opacity: Tensor) -> None:
    """Paint a part of the layer over `under` [h, w, C] (a view of the picture), where opacity [h, w] is above 0."""
    for top in range(0, under.shape[0], ROWS):
        rows = slice(top, top + ROWS)
        colour = boxes.cut(layer.pixels, part)[rows].to(under.device, torch.float32)
        alpha = boxes.cut(layer.alpha, part)[rows].to(under.device, torch.float32)
        share = (opacity[rows].float() * alpha)[..., None]
        seen = share > 0
        if torch.isnan(torch.where(seen, colour, 0)).any():
            raise ValueError(
                f"layers: {layer.name} came back from sampling with NaN pixels. "
                "Try another VAE (or start ComfyUI with --fp32-vae), or another sampler."
            )
        colour = colour.clamp(0, 1)
        if under.shape[-1] == 1:
            colour = (colour * colour.new_tensor(LUMA)).sum(-1, keepdim=True)
        target = under[rows, :, : colour.shape[-1]]
        mixed = share * colour + (1 - share) * target.float()
        target.copy_(torch.where(seen, mixed.to(target.dtype), target))


def _compare(image: Tensor, source: Tensor, holes: Tensor, changed: Tensor) -> int:
    """Mark in `changed` [H, W] where image differs from source [H, W, C]; returns how many of these lie outside the
    holes.
    """
    outside = 0
    for top in range(0, image.shape[0], ROWS):
        rows = slice(top, top + ROWS)
        different = (image[rows] != source[rows]).any(-1)
        changed[rows] = different.to(changed.dtype)
        outside += int((different & ~holes[rows]).sum())
    return outside


def report(result: Recomposed) -> str:
    """What happened, in words for the artist."""
    share = float(result.changed.mean())
    lines = [
        f"{100 * share:.1f} % of the pixels changed, {result.outside} of them outside the holes."
        if share
        else "Nothing changed: the photo is as it was, bit for bit."
    ]
    if result.unsampled:
        lines.append(
            f"Not sampled, so the photo's own pixels are still there: {', '.join(result.unsampled)}. "
            "Put Sample Layers before this node, or name these layers in its 'which'."
        )
    return "\n".join(lines)
