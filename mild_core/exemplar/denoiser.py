"""The denoiser: noisy picture in, clean picture out. The noise decides how fine a level of the pyramid is used."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.fill import area_resize, push_pull
from .copying import copy_full_size
from .effort import (
    BUILT_TARGET,
    COPIED_PIXEL,
    RESIZED_PIXEL,
    VOTED_PIXEL,
    Effort,
    Shape,
    built_work,
    exhaustive_work,
    shape_of,
)
from .inwards import RING, grow_inwards
from .level import Level, build_level
from .references import Reference
from .search import carry_over, improve, search_everywhere
from .vote import looked_at, vote

TRUSTED_NOISE = 0.05
"""Standard deviation of noise (range -1..1) up to which matching is reliable. Averaging f x f pixels divides the noise
by f, so the level shrinks the photo by f = sigma / TRUSTED_NOISE: high noise leaves coarse levels only."""

COARSEST_AREA = 2_400
"""Pixels of the coarsest level: a short side of 40 in a 3:2 photo."""

STEP = 1.7
"""From the exhaustive level to the finest, each level is at most so many times finer than the one before."""

SMOOTH_SPREAD = 0.15
REFERENCE_SPREAD = 0.05
"""Standard deviation (range -1..1) of the truth around the smooth fill, and around a reference found in its place: the
weight of the guess against a noisy picture."""

Watch = Callable[[int, Tensor], None]
"""Called with where a row's hole looks: the row, and `looked_at` [S, h, w] of the finest level on which patches are
compared. The first picture is the photo, then come the references, at the level's size.
"""


class Quality(NamedTuple):
    """How much work is put into a picture."""

    exhaustive_area: float  # pixels of the finest level on which every target is compared with every source
    matched_targets: float  # the finest level that is matched has at most so many; beyond, its matches are copied
    rounds: int  # how often matching and voting alternate on each level, and rounds of each propagation


NORMAL = "normal"
QUALITIES = {NORMAL: Quality(14_000, 80_000, 2), "draft": Quality(6_000, 6_000, 1)}
"""By name. normal first: what models and workflows that name none mean."""


def denoise(
    x: Tensor,
    sigma: Tensor,
    clean: Tensor,
    hole: Tensor,
    allowed: Tensor | None = None,
    references: list[Reference] | None = None,
    tick: Callable[[float], None] | None = None,
    guided: bool = False,
    watch: Watch | None = None,
    quality: Quality = QUALITIES[NORMAL],
) -> Tensor:
    """Predict the clean picture x0 [B, 3, H, W] from x [B, 3, H, W] = x0 + sigma * noise.

    sigma [B]; clean [B, 3, H, W] in -1..1 with the true pixels outside the hole; hole [B, 1, H, W] in 0..1, > 0 where
    pixels must be invented; allowed [B, 1, H, W]: the pixels that may be looked at (default: all outside the hole);
    references: further photos of the same place, each brought into this row's frame by `register`; tick is called
    often with the share of the work that is done, 0..1, so that a caller can show it or raise to stop; guided: inside
    the hole, `clean` is a first guess to begin from; watch: changes nothing of the result; quality: how much work.
    A hole that covers the picture resamples it from its own allowed patches (all, by default).

    Every row is computed for itself. Nothing is kept between calls, and chance (only the random part of PatchMatch) is
    seeded alike in every call: the result depends on the arguments alone. Raises ValueError where nothing is allowed.
    """
    rows = []
    for i in range(len(x)):
        row = slice(i, i + 1)
        unknown = (hole[row] > 0).float()
        if not bool(unknown.any()):
            rows.append(clean[row].float())
            continue
        looked_at = torch.ones_like(unknown) if allowed is None else (allowed[row] > 0.5).float()
        if not bool(unknown.all()):
            looked_at = looked_at * (1 - unknown)
        if not bool(looked_at.any()) and not references:
            raise ValueError("nothing is left to learn from: no pixel outside the hole may be looked at")
        told = functools.partial(_of_row, tick or _nothing, i, len(x))
        picture = _denoise_row(
            x[row].float(),
            float(sigma[i]),
            clean[row].float(),
            unknown,
            looked_at,
            references or [],
            told,
            guided,
            None if watch is None else functools.partial(watch, i),
            quality,
        )
        told(1.0)
        rows.append(torch.where(unknown > 0, picture, clean[row].float()))
    return torch.cat(rows)


def _nothing(share: float) -> None:
    """The tick of a caller who does not want to know."""


def _of_row(tick: Callable[[float], None], row: int, rows: int, share: float) -> None:
    tick((row + share) / rows)


def planned_work(sigma: float, shape: Shape, quality: Quality = QUALITIES[NORMAL], guided: bool = False) -> float:
    """About how much work one call has with a picture, in the unit of `effort`. guided: as in `denoise`."""
    factors, finest = level_factors(sigma, shape.size, shape.hole, quality)
    pixels = shape.size[0] * shape.size[1]
    total = 0.0
    for number, factor in enumerate(factors):
        targets, voted = shape.targets(factor), shape.unknown(factor) * VOTED_PIXEL
        total += targets * BUILT_TARGET + pixels * RESIZED_PIXEL
        if number:
            reach = 2 * factors[number - 1] / factor
            candidates = 4 + math.ceil(math.log2(reach) + 1e-9)
            total += quality.rounds * (quality.rounds * candidates * targets + voted) + voted
            continue
        search = exhaustive_work(targets, shape.sources(factor)) + voted
        total += quality.rounds * search
        if not guided and sigma / factor > SMOOTH_SPREAD:
            depth = 2 * shape.hole / max(shape.edge, 1.0) / factor
            total += math.ceil(depth / RING) * search
    if factors[-1] > finest * 1.01:
        total += shape.hole * COPIED_PIXEL
    return total


def level_factors(
    sigma: float, size: tuple[int, int], hole_area: float, quality: Quality = QUALITIES[NORMAL]
) -> tuple[list[float], float]:
    """By how much each level shrinks the photo, coarse to fine, and the factor of the finest level that the noise
    allows.

    The first level of the list is searched exhaustively. The list ends at the finest level, or before it where that has
    too many targets to compare.
    """
    area = size[0] * size[1]
    coarsest = max(1.0, math.sqrt(area / COARSEST_AREA))
    finest = min(max(sigma / TRUSTED_NOISE, 1.0), coarsest)
    last = max(finest, math.sqrt(hole_area / quality.matched_targets))
    first = max(last, min(coarsest, math.sqrt(area / quality.exhaustive_area)))
    steps = math.ceil(math.log(first / last) / math.log(STEP) - 1e-6)
    return [first * (last / first) ** (i / max(steps, 1)) for i in range(steps + 1)], finest


def level_size(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Height and width of the photo shrunk by a factor, at least 1."""
    return max(1, round(size[0] / factor)), max(1, round(size[1] / factor))


def _denoise_row(
    x: Tensor,
    sigma: float,
    clean: Tensor,
    hole: Tensor,
    allowed: Tensor,
    references: list[Reference],
    tick: Callable[[float], None],
    guided: bool,
    watch: Callable[[Tensor], None] | None,
    quality: Quality,
) -> Tensor:
    """One picture [1, 3, H, W] -> [1, 3, H, W]. hole and allowed [1, 1, H, W] are 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    size = (x.shape[2], x.shape[3])
    known = allowed * (1 - hole)
    shape = shape_of(hole[0, 0], allowed[0, 0])
    factors, finest = level_factors(sigma, size, shape.hole, quality)
    effort = Effort(planned_work(sigma, shape, quality, guided), tick)
    effort.spent(0)
    placed = next((number for number, reference in enumerate(references) if reference.in_place), None)
    in_place = None if placed is None else references[placed]
    own = None if placed is None else placed + 1  # among the sources
    smooth = clean if guided else _smooth_fill(clean, known, allowed, in_place, level_size(size, factors[0]))
    spread = SMOOTH_SPREAD if in_place is None else REFERENCE_SPREAD
    sources = [(clean, allowed), *((reference.picture, reference.covered) for reference in references)]

    level = build_level(level_size(size, factors[0]), clean, known, hole, smooth, sources, own, guided)
    effort.spent(built_work(level, hole.numel()))
    noise = sigma / factors[0]
    expected = level.smooth
    if in_place is None and not guided and noise > spread and bool((~level.unknown).any()):
        expected = grow_inwards(level, effort.spent)
    guess = _estimate(level, expected, x, hole, noise, spread)
    picture, source, distance = _match_everywhere(level, guess, len(factors) == 1, quality.rounds, effort)
    for factor in factors[1:]:
        finer = build_level(level_size(size, factor), clean, known, hole, smooth, sources, own, guided)
        effort.spent(built_work(finer, hole.numel()))
        source = carry_over(level, source, finer, generator)
        last = factor == factors[-1]
        picture, source, distance = _match_nearby(
            finer, picture, source, last, level.size, generator, quality.rounds, effort
        )
        level = finer
    if watch is not None:
        watch(looked_at(level, area_resize(hole, level.size)[0, 0], source, distance, decisive=True))
    if factors[-1] > finest * 1.01:
        return copy_full_size(level, picture, source, sources, hole, effort.spent)
    if level.size == size:
        return picture[None]
    return F.interpolate(picture[None], size=size, mode="bicubic", align_corners=False).clamp(-1, 1)


def _smooth_fill(
    clean: Tensor, known: Tensor, allowed: Tensor, in_place: Reference | None, size: tuple[int, int]
) -> Tensor:
    """The guess before any patch is compared, at the size of the first level: [1, 3, h, w]."""
    if in_place is not None:
        clean = clean * known + in_place.picture * (1 - known)
        known = torch.maximum(known, in_place.covered)
    if not bool(known.any()):  # resampling: nothing is known, but colours are
        mean = (clean * allowed).sum((2, 3), keepdim=True) / allowed.sum().clamp_min(1)
        return mean.expand(-1, -1, *size).contiguous()
    share = area_resize(known, size)
    return push_pull(area_resize(clean * known, size) / share.clamp_min(1e-6), share)


def _estimate(level: Level, expected: Tensor, x: Tensor, hole: Tensor, noise: float, spread: float) -> Tensor:
    """The mean of the noisy picture and the expected one, each weighted by its variance -> [3, h, w].

    The noisy picture counts in the hole only: elsewhere it may show what must not be looked at.
    """
    share = area_resize(hole, level.size)
    seen = (area_resize(x * hole, level.size) / share.clamp_min(1e-6))[0]
    trust = spread**2 / (spread**2 + noise**2) * (share[0, 0] > 0)
    return torch.where(level.unknown, expected + trust * (seen - expected), level.picture)


def _match_everywhere(
    level: Level, picture: Tensor, final: bool, rounds: int, effort: Effort
) -> tuple[Tensor, Tensor, Tensor]:
    """Alternate exhaustive search and voting on the first level -> (picture [3, h, w], sources [N, 3], distances [N] of
    the last vote).
    """
    for number in range(rounds):
        source = search_everywhere(level, picture, effort.spent)
        distance = level.distance(level.target_patches(picture), source)
        picture = _voted(level, picture, source, distance, final and number == rounds - 1, effort)
    return picture, source, distance


def _match_nearby(
    level: Level,
    coarser: Tensor,
    source: Tensor,
    final: bool,
    coarser_size: tuple[int, int],
    generator: torch.Generator,
    rounds: int,
    effort: Effort,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same on a finer level, from the picture of the coarser one and the sources carried over from it.

    The first vote makes a sharp picture out of the sources: compared with an enlarged one, blurred patches would win.
    """
    picture = F.interpolate(coarser[None], size=level.size, mode="bicubic", align_corners=False)[0].clamp(-1, 1)
    picture = torch.where(level.unknown, picture, level.picture)
    picture = _voted(level, picture, source, level.distance(level.target_patches(picture), source), False, effort)
    reach = 2 * level.size[0] / coarser_size[0]
    for number in range(rounds):
        source, distance = improve(level, picture, source, rounds, reach, generator, effort.spent)
        picture = _voted(level, picture, source, distance, final and number == rounds - 1, effort)
    return picture, source, distance


def _voted(level: Level, picture: Tensor, source: Tensor, distance: Tensor, decisive: bool, effort: Effort) -> Tensor:
    picture = vote(level, picture, source, distance, decisive)
    effort.spent(int(level.unknown.sum()) * VOTED_PIXEL)
    return picture
