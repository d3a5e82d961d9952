"""Pictures that lie over the photo though they have another size: hints of ControlNets, masks, references."""

import math

import torch
from torch import Tensor

from ..pairing import Shape, shape_of
from ..scene import Box


def same_frame(size: tuple[int, int], photo_size: tuple[int, int]) -> bool:
    """Whether a picture of this height and width shows the frame of a photo of photo_size (height, width), as rounded
    by a preprocessor (pairing.shape_of).
    """
    return shape_of(size, photo_size, rounded=True) is Shape.SAME


def crop_of(
    picture: Tensor, box: Box, photo_size: tuple[int, int], size: tuple[int, int], nearest: bool = False
) -> Tensor:
    """What picture [B, C, H, W], stretched over a photo of photo_size (height, width), shows under the photo's box,
    at size (height, width): [B, C, *size].

    Each side is averaged over exact (fractional) pixels where it shrinks and interpolated linearly where it grows;
    nearest: the nearest pixel is taken instead, so that no value arises that was not there. A crop of the very pixels
    at their own size is bit-equal.
    """
    rows = _span(box[1], box[3], photo_size[0], picture.shape[-2])
    columns = _span(box[0], box[2], photo_size[1], picture.shape[-1])
    if nearest:
        across = _centres(columns, size[1], picture).long().clamp(0, picture.shape[-1] - 1)
        down = _centres(rows, size[0], picture).long().clamp(0, picture.shape[-2] - 1)
        return picture.index_select(-2, down).index_select(-1, across)
    top, down = _weights(rows, picture.shape[-2], size[0], picture)
    left, across = _weights(columns, picture.shape[-1], size[1], picture)
    used = picture[..., top : top + down.shape[1], left : left + across.shape[1]].float()
    return (down @ used @ across.T).to(picture.dtype)


def _span(first: int, last: int, of: int, count: int) -> tuple[float, float]:
    """Pixels first..last (exclusive) of a side of `of` pixels, in pixels of a side of `count` that covers the same."""
    return first * count / of, last * count / of


def _centres(span: tuple[float, float], size: int, like: Tensor) -> Tensor:
    """[size]: where the middles of `size` equal parts of the span lie; pixel n covers n to n + 1."""
    step = (span[1] - span[0]) / size
    return span[0] + (torch.arange(size, device=like.device, dtype=torch.float32) + 0.5) * step


def _weights(span: tuple[float, float], count: int, size: int, like: Tensor) -> tuple[int, Tensor]:
    """The first pixel needed, and [size, n]: how much each of the n pixels from there on counts for each of `size`."""
    first, last = max(math.floor(span[0]) - 1, 0), min(math.ceil(span[1]) + 1, count)
    pixels = torch.arange(first, last, device=like.device, dtype=torch.float32)
    centres = _centres(span, size, like)[:, None]
    step = (span[1] - span[0]) / size
    if step >= 1:
        ends = torch.minimum(centres + step / 2, pixels + 1)
        weights = (ends - torch.maximum(centres - step / 2, pixels)).clamp(min=0)
    else:
        places = (centres - 0.5).clamp(0, count - 1)
        weights = (1 - (places - pixels).abs()).clamp(min=0)
    return first, weights / weights.sum(1, keepdim=True)
