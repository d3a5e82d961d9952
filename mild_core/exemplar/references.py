"""Bring further photos of the same place into the photo's frame and exposure, before their patches are used."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.fill import area_resize, push_pull

SEARCH_SIDE = 128
"""Longer side, in pixels, at which every shift is tried, by Fourier transform."""

REFINE_SIDE = 1024
"""Longer side, in pixels, up to which the best shift and scale are refined."""

SCALES = 33
SCALE_RANGE = 2.5
"""Number of scales that are tried, and the factor by which the reference may show the place larger or smaller."""

ALIKE = 0.4
SURE = 0.8
"""Correlation of detail with the photo's known pixels from which a reference counts as found in its place, and from
which the plain placement (a camera that did not move) is taken without a search."""

DETAIL = 3.0
"""Standard deviation, in pixels, of a blur: the difference from it is correlated, because broad light and dark are
alike in many places.
"""

OVERLAP = 0.4
"""Share of the known pixels that a shift must cover to be believed."""


class Reference(NamedTuple):
    """A further photo of the place, in the frame of the photo that is being repaired."""

    picture: Tensor  # [1, 3, H, W] in -1..1, exposure matched
    covered: Tensor  # [1, 1, H, W]: 1 where the reference shows anything
    in_place: bool  # whether it was found where it belongs: then it also shows what the hole most likely holds


class Placement(NamedTuple):
    """Photo pixel (y, x) shows what the reference has at ((y + dy) / scale, (x + dx) / scale), in its own pixels."""

    scale: float
    dy: float
    dx: float


def register(reference: Tensor, clean: Tensor, known: Tensor) -> Reference:
    """Find a reference [3, h, w] in a photo clean [1, 3, H, W] by its known pixels [1, 1, H, W] (0 or 1).

    Shift and scale are searched, by masked normalised correlation (Padfield, "Masked object registration in the Fourier
    domain", IEEE TIP 2012). A picture that fits nowhere is shrunk into the frame: its patches may still be copied.
    """
    reference = reference[None].to(clean)
    height, width = clean.shape[2:]
    fitting = min(height / reference.shape[2], width / reference.shape[3])
    placement, likeness = Placement(fitting, 0.0, 0.0), 0.0
    if bool(known.any()):
        placement, likeness = _place(reference.mean(1, keepdim=True), clean, known, fitting)
    in_place = likeness >= ALIKE
    picture, covered = _resample(reference, placement if in_place else Placement(fitting, 0.0, 0.0), (height, width))
    return Reference(_expose(picture, covered, clean, known, in_place), covered, in_place)


def _place(reference: Tensor, clean: Tensor, known: Tensor, fitting: float) -> tuple[Placement, float]:
    """The best placement of a grey reference [1, 1, h, w], coarse to fine, and its correlation.

    The plain one (same frame) stays unless beaten.
    """
    height, width = clean.shape[2:]
    finest = min(1.0, REFINE_SIDE / max(height, width))
    same = Placement(fitting, 0.0, 0.0)
    photo, mask = _shrink(clean, known, finest)
    same_likeness = _likeness(reference, same, photo, mask, finest)
    if same_likeness >= SURE:
        return same, same_likeness

    side = min(1.0, SEARCH_SIDE / max(height, width))
    photo, mask = _shrink(clean, known, side)
    best, best_likeness = same, -1.0
    for number in range(SCALES):
        scale = fitting * SCALE_RANGE ** (2 * number / (SCALES - 1) - 1)
        size = (round(reference.shape[2] * scale * side), round(reference.shape[3] * scale * side))
        if min(size) < 8:
            continue
        likeness, dy, dx = _best_shift(photo, mask, _detail(area_resize(reference, size)))
        if likeness > best_likeness:
            best, best_likeness = Placement(scale, dy / side, dx / side), likeness

    while True:
        unit, zoom = 1 / side, 1 + 1 / (side * max(height, width))
        best_likeness = _likeness(reference, best, photo, mask, side)
        for _ in range(6):  # uphill to the best neighbour; six steps mend any fault of the coarser level
            neighbours = [
                Placement(best.scale * z, best.dy + a * unit, best.dx + b * unit)
                for z in (1.0, zoom, 1 / zoom)
                for a in (-1, 0, 1)
                for b in (-1, 0, 1)
            ]
            scored = [(_likeness(reference, n, photo, mask, side), n) for n in neighbours]
            likeness, neighbour = max(scored, key=lambda pair: pair[0])
            if likeness <= best_likeness:
                break
            best, best_likeness = neighbour, likeness
        if side >= finest:
            break
        side = min(2 * side, finest)
        photo, mask = _shrink(clean, known, side)
    # a camera that did not move must not be resampled by a fraction of a pixel: that would blur
    return (same, same_likeness) if same_likeness >= best_likeness - 0.01 else (best, best_likeness)


def _shrink(clean: Tensor, known: Tensor, side: float) -> tuple[Tensor, Tensor]:
    """The photo's detail [1, 1, h, w] and its mask at a share of the size."""
    size = (max(1, round(clean.shape[2] * side)), max(1, round(clean.shape[3] * side)))
    mask = area_resize(known, size)
    grey = area_resize(clean.mean(1, keepdim=True) * known, size) / mask.clamp_min(1e-6)
    mask = (mask > 0.99).float()
    return _detail(push_pull(grey, mask)) * mask, mask


def _detail(grey: Tensor) -> Tensor:
    """grey [1, 1, h, w] less its blur, strong edges held back: somebody who is in one photo alone must not decide."""
    reach = int(2 * DETAIL)
    window = torch.exp(-torch.arange(-reach, reach + 1, device=grey.device).square() / (2 * DETAIL**2))
    window = window / window.sum()
    blurred = F.pad(grey, (reach, reach, reach, reach), mode="replicate")
    blurred = F.conv2d(F.conv2d(blurred, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))
    detail = grey - blurred
    limit = 2 * detail.abs().flatten()[:: max(1, detail.numel() // 100_000)].median()
    return detail.clamp(-limit, limit)


def _best_shift(photo: Tensor, mask: Tensor, other: Tensor) -> tuple[float, float, float]:
    """Masked correlation of photo [1, 1, h, w] with other [1, 1, a, b] at every shift -> (best, dy, dx)."""
    (height, width), (a, b) = photo.shape[2:], other.shape[2:]
    shape = (height + a - 1, width + b - 1)

    def spectrum(picture: Tensor) -> Tensor:
        return torch.fft.rfft2(picture[0, 0], s=shape)

    def correlate(one: Tensor, two: Tensor) -> Tensor:
        return torch.fft.irfft2(one.conj() * two, s=shape)

    photo = (photo - (photo * mask).sum() / mask.sum().clamp_min(1)) * mask
    other = other - other.mean()
    ones = spectrum(torch.ones_like(other))
    m, p, p2 = spectrum(mask), spectrum(photo), spectrum(photo * photo)
    o, o2 = spectrum(other), spectrum(other * other)
    count = correlate(m, ones).clamp_min(1)
    p_sum, o_sum = correlate(p, ones), correlate(m, o)
    p_var = (correlate(p2, ones) - p_sum**2 / count).clamp_min(0)
    o_var = (correlate(m, o2) - o_sum**2 / count).clamp_min(0)
    likeness = (correlate(p, o) - p_sum * o_sum / count) / (p_var * o_var).sqrt().clamp_min(1e-3)
    likeness = torch.where(count >= OVERLAP * mask.sum(), likeness, -1.0)
    best = int(likeness.argmax())
    dy, dx = best // shape[1], best % shape[1]
    return (
        float(likeness.flatten()[best]),
        float(dy if dy < a else dy - shape[0]),
        float(dx if dx < b else dx - shape[1]),
    )


def _likeness(reference: Tensor, placement: Placement, photo: Tensor, mask: Tensor, side: float) -> float:
    """Masked correlation of a photo's detail [1, 1, h, w], `side` times the full size, with a placed grey reference."""
    placed = Placement(placement.scale * side, placement.dy * side, placement.dx * side)
    picture, covered = _resample(reference, placed, (photo.shape[2], photo.shape[3]))
    picture = _detail(picture)
    weight = mask * covered
    total = weight.sum()
    if total < OVERLAP * mask.sum() or total < 1:
        return -1.0
    one = (photo - (photo * weight).sum() / total) * weight
    two = (picture - (picture * weight).sum() / total) * weight
    return float((one * two).sum() / (one.square().sum() * two.square().sum()).sqrt().clamp_min(1e-3))


def _resample(reference: Tensor, placement: Placement, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The reference [1, C, h, w] in a frame of that size -> (picture, where it covers the frame [1, 1, H, W])."""
    h, w = (max(1, round(side * placement.scale)) for side in reference.shape[2:])
    scaled = area_resize(reference, (h, w))
    y = torch.arange(size[0], device=reference.device) + placement.dy
    x = torch.arange(size[1], device=reference.device) + placement.dx
    inside_y = (y > -0.5) & (y < h - 0.5)
    inside_x = (x > -0.5) & (x < w - 0.5)
    covered = (inside_y[:, None] & inside_x).float()[None, None]
    whole = math.isclose(placement.dy % 1, 0, abs_tol=1e-3) and math.isclose(placement.dx % 1, 0, abs_tol=1e-3)
    if whole:
        rows = y.round().long().clamp(0, h - 1)
        columns = x.round().long().clamp(0, w - 1)
        return scaled[:, :, rows][:, :, :, columns], covered
    grid_y, grid_x = (2 * y + 1) / h - 1, (2 * x + 1) / w - 1
    grid = torch.stack(torch.meshgrid(grid_y, grid_x, indexing="ij")[::-1], 2)[None]
    return F.grid_sample(scaled, grid.to(scaled), padding_mode="border", align_corners=False), covered


def _expose(picture: Tensor, covered: Tensor, clean: Tensor, known: Tensor, in_place: bool) -> Tensor:
    """Gain and offset per channel that bring a reference to the photo's exposure.

    In place, they are fitted pixel by pixel, then again and again without the fifth that fits worst (whoever moved).
    Elsewhere only mean and spread are matched.
    """
    weight = covered * known if in_place else known
    if not bool(weight.any()):
        return picture
    fitted = picture
    everywhere = weight
    for number in range(5 if in_place else 1):
        if number:
            error = (fitted - clean).abs().mean(1, keepdim=True)
            limit = torch.quantile(error[everywhere > 0][:: max(1, int(everywhere.sum()) // 100_000)], 0.8)
            weight = everywhere * (error <= limit)
        total = weight.sum().clamp_min(1)
        other = weight if in_place else covered
        mean_there = (picture * other).sum((2, 3), keepdim=True) / other.sum().clamp_min(1)
        mean_here = (clean * weight).sum((2, 3), keepdim=True) / total
        there, here = picture - mean_there, clean - mean_here
        if in_place:
            gain = (there * here * weight).sum((2, 3), keepdim=True) / (there.square() * weight).sum(
                (2, 3), keepdim=True
            ).clamp_min(1e-6)
        else:
            spread_there = (there.square() * other).sum((2, 3), keepdim=True) / other.sum().clamp_min(1)
            spread_here = (here.square() * weight).sum((2, 3), keepdim=True) / total
            gain = (spread_here / spread_there.clamp_min(1e-6)).sqrt()
        fitted = (there * gain.clamp(0.25, 4.0) + mean_here).clamp(-1, 1)
    return fitted
