"""Put layers together to a photo again, back to front; what is no hole stays the source, bit for bit."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..image import boxes
from ..image.fill import push_pull
from ..scene import PERSON, Box, Layer, Scene
from .seams import LUMA, MEAN, SOLID, SeamMatch, match, matched, tiles

ROWS = 256
"""Rows that are checked at a time: a large photo needs no further copies of it."""


class Recomposed(NamedTuple):
    image: Tensor  # [B, H, W, C] like the source
    changed: Tensor  # [B, H, W], 1 where a pixel differs from the source
    outside: int  # changed pixels outside the holes: 0, and counted to be sure
    unsampled: tuple[str, ...]  # names of layers with a hole that nobody painted


def recompose(scenes: Sequence[Scene], seam: str = MEAN, grain: bool = True) -> Recomposed:
    """Put the layers of every scene over its photo, back to front: C = a F + (1 - a) C inside the holes.

    Opacity a is the layer's hole (what it may change) times its alpha (what of it is there). A layer that was not
    sampled leaves the picture below it. A fourth channel, the photo's own opacity, is filled in the holes from what is
    known of it around them, and mixed as the colours are, which count by their opacity then. seam: one of seams.SEAMS,
    how the painted pixels' level is matched to the photo around them; grain: give them its noise where they lack it.
    Raises ValueError if there is no scene, if sizes differ, if sampled pixels are NaN, or for another seam.
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
        for layer in sorted(scene.layers, key=lambda layer: layer.rank):
            opacity = layer.hole if layer.reveal is None else layer.reveal
            part = boxes.tight_box(opacity)
            if part is None:
                continue
            if not layer.sampled:
                unsampled.append(layer.name if len(scenes) == 1 else f"{layer.name} of photo {index + 1}")
                continue
            opaque = _filled_opacity(scene.photo, layer) if scene.photo.shape[-1] == 4 else None
            _paint(image[index], changed[index], layer, part, match(layer, part, seam, grain), opaque)
        outside += _compare(image[index], scene.photo, changed[index])
    return Recomposed(image, changed, outside, tuple(unsampled))


def _filled_opacity(photo: Tensor, layer: Layer) -> Tensor | None:
    """The opacity [h, w] of an RGBA photo [H, W, 4] in the layer's crop, its hole filled smoothly from around it: for
    the background from where nobody is, for a person from what is seen of the person. None if nothing is known.
    """
    own = boxes.cut(photo, layer.box)[..., 3].float()
    outside = layer.hole <= 0
    seen = outside & (layer.alpha > SOLID if layer.domain == PERSON else layer.allowed > 0.5)
    known = (seen if seen.any() else outside).to(own.device)
    if not known.any():
        return None
    low, high = (float(end) for end in own[known].aminmax())
    if low == high:  # most photos: nothing is transparent, or the people are cut out
        return torch.full_like(own, low)
    return push_pull(own[None, None], known[None, None].float())[0, 0].clamp(low, high)


def _paint(
    image: Tensor, touched: Tensor, layer: Layer, part: Box, to: SeamMatch, photo_opacity: Tensor | None = None
) -> None:
    """Paint the layer, whose opacity lies in `part` of its crop, over image [H, W, C]; what lies in its hole becomes 1
    in touched [H, W]. photo_opacity: [h, w] of the crop, for the fourth channel.
    """
    shown = layer.hole if layer.reveal is None else layer.reveal
    for tile in tiles(shown, part):
        opacity = boxes.cut(shown, tile).to(image.device, torch.float32)
        share = (opacity * boxes.cut(layer.alpha, tile).to(opacity))[..., None]
        if not share.any():
            continue
        place = boxes.outside(tile, layer.box)
        boxes.cut(touched, place).masked_fill_(opacity > 0, 1)
        colour = boxes.cut(layer.pixels, tile).to(image.device, torch.float32)
        if not colour.sum().isfinite():
            colour = colour.where(share > 0, 0.0)  # what does not show may be anything
            if colour.isnan().any():
                raise ValueError(
                    f"layers: {layer.name} came back from sampling with NaN pixels. "
                    "Try another VAE (or start ComfyUI with --fp32-vae), or another sampler."
                )
        painted = (boxes.cut(layer.hole, tile).to(image.device) > 0)[..., None]
        # What is no hole but shows (a lifted shadow) was never painted: there is no seam to match, no grain to add.
        colour = torch.where(painted, matched(colour, tile, layer, to), colour).clamp(0, 1)
        if image.shape[-1] == 1:
            colour = (colour * colour.new_tensor(LUMA)).sum(-1, keepdim=True)
        if photo_opacity is not None:
            share = _mix_opacity(boxes.cut(image, place)[..., 3:], boxes.cut(photo_opacity, tile)[..., None], share)
        target = boxes.cut(image, place)[..., : colour.shape[-1]]
        target.copy_(torch.lerp(target.float(), colour, share))  # exact where the share is 0 or 1


def _mix_opacity(below: Tensor, above: Tensor, share: Tensor) -> Tensor:
    """Mix into the opacity `below` that of the layer above it, by its share; all [h, w, 1].

    Returns by which share the colours are to be mixed: what is transparent hardly counts in a colour.
    """
    weight, rest = share * above, (1 - share) * below.float()
    even = (above == below) | (weight + rest <= 0)  # exact where nothing is transparent
    of_colour = torch.where(even, share, weight / (weight + rest).clamp_min(1e-6))
    below.copy_(torch.lerp(below.float(), above, share))
    return of_colour


def _compare(image: Tensor, source: Tensor, touched: Tensor) -> int:
    """Of touched [H, W], 1 in holes, keep where image really differs from source [H, W, C]; returns how many pixels
    differ outside the holes.
    """
    outside = 0
    for top in range(0, image.shape[0], ROWS):
        rows = slice(top, top + ROWS)
        if torch.equal(image[rows], source[rows]):
            if touched[rows].any():  # writing zeros over zeros would ask for memory that is not there yet
                touched[rows] = 0
            continue
        different = (image[rows] != source[rows]).any(-1)
        outside += int((different & (touched[rows] == 0)).sum())
        touched[rows] = different.to(touched.dtype)
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
