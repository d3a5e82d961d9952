"""Take the shadow of somebody who goes off the ground: where it fell, the ground is brightened and keeps its texture.

A shadow multiplies the ground's colours by a factor that changes smoothly (`effects.ground`). The factor is read off
the ground around the shadow, channel by channel, and divided out. What is painted instead would be another floor; this
is the same one. Where the ground around is too uneven to read it, or the shadow too dark to hold any texture, the
shadow is a hole like the person.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..effects.ground import DARK, SAME_HUE, SAME_LIGHT, level, log_light
from ..effects.window import blurred, distance
from ..image import boxes
from ..image.fill import area_resize
from ..scene import Box

WORK = 192
"""Longest side in pixels of the window in which the factor is found: it is smooth."""

MARGIN = 0.6
"""Ground that is shown around a shadow, as a share of its box's longer side."""

SMOOTHING = 0.1
"""Texture is averaged over this share of a shadow's size (the square root of its area)."""

END = 0.12
"""Over this share of its size a shadow fades out beyond its mask."""

MOST_NOISE = 0.09
"""Standard deviation of the ground's brightness (a logarithm) above which no factor is read off it."""

MOST_GAIN = 3.0
"""A shadow that takes more than two thirds of the light leaves no texture to bring back."""

MOST_TINT = 0.25
"""How far (as a logarithm) a channel's factor may be from that of all: more would colour a dark channel's noise."""

BRIGHTEST = 98
"""Percentile of the ground around a shadow, above which nothing is lifted: what is as bright stood in no shadow."""

NOTHING = 1.004
"""A gain below this is less than one grey level."""

Shadow = tuple[Box, Tensor]
"""Box in the photo and mask [h, w], 0..1."""


class Lifted(NamedTuple):
    """A photo without some shadows."""

    pixels: Tensor  # [H, W, 3]: the photo itself if nothing was lifted
    where: Tensor | None  # [H, W], bool: what was brightened
    rest: list[Shadow]  # what has to be painted


def lift(pixels: Tensor, shadows: Sequence[Shadow], people: Tensor, barred: Sequence[Tensor | None]) -> Lifted:
    """pixels [H, W, 3], 0..1, without these shadows.

    people [H, W] (bool): where anybody is seen, who is no ground; barred: maps [H, W] (bool) that stay as they are.
    """
    result, where, rest = pixels, None, []
    for box, mask in shadows:
        size = (int(pixels.shape[0]), int(pixels.shape[1]))
        margin = MARGIN * max(boxes.width(box), boxes.height(box))
        window = boxes.grown(box, margin, margin, size)
        read = _gain(boxes.cut(pixels, window), boxes.placed(mask.float(), box, window), boxes.cut(people, window))
        if read is None:
            rest.append((box, mask))
            continue
        gain, brightest = read
        if where is None:
            result, where = pixels.clone(), torch.zeros(size, dtype=torch.bool, device=pixels.device)
        brighter = (gain > NOTHING).any(-1)
        for area in barred:
            if area is not None:
                brighter &= ~boxes.cut(area, window)
        brighter &= ~boxes.cut(where, window)  # two people's shadows of which each was found are lifted once
        own = boxes.cut(result, window)
        lit = torch.minimum((own + DARK) * gain - DARK, torch.maximum(own, brightest))
        own.copy_(torch.where(brighter[..., None], lit.clamp(0, 1).to(own), own))
        boxes.cut(where, window).logical_or_(brighter)
    return Lifted(result, where, rest)


def _gain(pixels: Tensor, shadow: Tensor, people: Tensor) -> tuple[Tensor, Tensor] | None:
    """By what each channel of a window [h, w, 3] is to be multiplied, 1 away from the shadow [h, w], and the brightest
    of the ground around it [3]; None if that cannot be read. people [h, w], bool.
    """
    shape = (int(pixels.shape[0]), int(pixels.shape[1]))
    scale = min(1.0, WORK / max(shape))
    small = (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))
    maps = torch.cat([pixels.movedim(-1, 0).float(), shadow[None], people[None].float()])[None]
    colours, rest = area_resize(maps, small)[0].cpu().numpy()[:3], area_resize(maps[:, 3:], small)[0].cpu().numpy()
    mask, seen = rest[0] > 0.1, distance(rest[1] > 0.02) <= 1
    colours = np.ascontiguousarray(np.moveaxis(colours, 0, -1))
    extent = max(float(np.sqrt(mask.sum())), 4.0)
    open_ = ~seen
    if not (mask & open_).any():
        return None
    sigma = max(1.0, SMOOTHING * extent)
    light = blurred(log_light(colours), open_, sigma)
    away = distance(mask)
    outside = open_ & (away > END * extent) & (away < 1.2 * extent)
    if outside.sum() < 40:
        return None
    hue = np.exp(light) / np.exp(light).sum(-1, keepdims=True)
    near = open_ & (away > 0) & (away < 0.4 * extent)
    around = near if near.any() else outside
    mean = light.mean(-1)
    like = outside & (np.abs(hue - np.median(hue[around], 0)).max(-1) < SAME_HUE)
    like &= np.abs(mean - np.median(mean[around])) < SAME_LIGHT
    if like.sum() < 40:
        return None
    lost = np.empty_like(light)
    for channel in range(3):
        expected, noise = level(np.ascontiguousarray(light[..., channel]), like, extent)
        if noise > MOST_NOISE:
            return None
        lost[..., channel] = expected - 0.5 * noise - light[..., channel]
    common = lost.mean(-1, keepdims=True)
    lost = common + (lost - common).clip(-MOST_TINT, MOST_TINT)
    if float(np.median(lost.mean(-1)[mask & open_])) > np.log(MOST_GAIN):
        return None
    ends = np.clip(1 - away / max(END * extent, 1.0), 0, 1)[..., None]
    gain = torch.from_numpy(np.exp(lost.clip(0, np.log(MOST_GAIN)) * ends).astype(np.float32))
    full = F.interpolate(gain.movedim(-1, 0)[None], size=shape, mode="bilinear", align_corners=False)[0]
    brightest = torch.from_numpy(np.percentile(colours[like], BRIGHTEST, axis=0).astype(np.float32))
    return full.movedim(0, -1).to(pixels.device), brightest.to(pixels.device)
