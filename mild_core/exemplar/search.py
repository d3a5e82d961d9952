"""Find the source patch that is most like each target patch: exhaustively on coarse levels, by propagation on fine
ones.
"""

import torch
from torch import Tensor

from .effort import MATRIX_PAIR, Spent, unnoticed
from .level import Level

CHUNK = 16_000_000
"""Distances held at a time by the exhaustive search (64 MB in float32)."""


def search_everywhere(level: Level, picture: Tensor, spent: Spent = unnoticed) -> Tensor:
    """Nearest source of every target, by comparing each with each -> [N, 3] (picture, y, x).

    The weighted squared distance sum_q w_q |t_q - s_q|^2 is a matrix product of (-2 w t, w) with (s, s^2) plus a term
    that is the same for all sources; the place of a source enters the same way.
    """
    sources = level.valid.nonzero()
    patches = level.source_patches(sources)
    place = sources[:, 1:].float()
    squares = patches.square().view(len(sources), -1, 3).sum(2)
    right = torch.cat([patches, squares, place], 1).T.contiguous()
    constant = level.locality * place.square().sum(1)

    targets = level.target_patches(picture)
    left = torch.cat(
        [
            -2 * level.weights.repeat_interleave(3, 1) * targets,
            level.weights,
            -2 * level.locality * level.targets.float(),
        ],
        1,
    )
    rows = max(1, CHUNK // len(sources))
    nearest = []
    for part in left.split(rows):
        nearest.append(torch.addmm(constant, part, right).argmin(1))
        spent(len(part) * len(sources) * MATRIX_PAIR)
    found = sources[torch.cat(nearest)]
    if level.in_place is None:
        return found
    own = level.own_places()
    better = level.usable(own) & (level.distance(targets, own) <= level.distance(targets, found))
    return torch.where(better[:, None], own, found)


def as_map(level: Level, source: Tensor) -> Tensor:
    """The targets' sources [N, 3] as offsets on the level's grid -> [h, w, 3] (picture, dy, dx); 0 elsewhere."""
    grid = torch.zeros((*level.size, 3), dtype=torch.long, device=source.device)
    moved = source.clone()
    moved[:, 1:] -= level.targets
    grid[level.targets[:, 0], level.targets[:, 1]] = moved
    return grid


def carry_over(coarse: Level, source: Tensor, fine: Level, generator: torch.Generator) -> Tensor:
    """Bring sources [N, 3] found on a coarse level to the targets of a finer one -> [M, 3].

    A target whose coarse source is not allowed on the fine level takes one close by, or any.
    """
    scale = torch.tensor([coarse.size[0] / fine.size[0], coarse.size[1] / fine.size[1]], device=source.device)
    parent = ((fine.targets + 0.5) * scale).long()
    parent = torch.minimum(parent, torch.tensor(coarse.size, device=source.device) - 1)
    found = as_map(coarse, source)[parent[:, 0], parent[:, 1]]
    offset = (found[:, 1:] / scale).round().long()
    carried = torch.cat([found[:, :1], fine.targets + offset], 1)
    lost = (~(fine.usable(carried) & coarse.is_target[parent[:, 0], parent[:, 1]])).nonzero()[:, 0]
    if len(lost):
        sources = fine.valid.nonzero()
        pick = torch.randint(len(sources), (len(lost),), generator=generator).to(source.device)
        best = sources[pick]
        for reach in (64, 32, 16, 8, 4, 2, 1) * 2:
            near = jitter(carried[lost], reach, generator)
            good = fine.usable(near)
            best[good] = near[good]
        carried[lost] = best
    return carried


def jitter(source: Tensor, reach: float, generator: torch.Generator) -> Tensor:
    """Move sources [N, 3] at random by up to `reach` pixels; the picture stays."""
    move = (torch.rand((len(source), 2), generator=generator) * 2 - 1) * reach
    moved = source.clone()
    moved[:, 1:] += move.round().long().to(source.device)
    return moved


def improve(
    level: Level,
    picture: Tensor,
    source: Tensor,
    rounds: int,
    reach: float,
    generator: torch.Generator,
    spent: Spent = unnoticed,
) -> tuple[Tensor, Tensor]:
    """Better sources by propagation and random search -> (sources [N, 3], distances [N]).

    PatchMatch (Barnes et al., SIGGRAPH 2009) with the jump flooding of its parallel versions: each round looks at the
    sources of neighbours at half the former distance, moved along, then around the own source in shrinking windows.
    """
    roots = level.roots()
    weighted = level.target_patches(picture) * roots
    source = source.clone()
    best = level.distance_to(weighted, roots, level.targets, source)
    last = torch.tensor(level.size, device=source.device) - 1

    def keep_better(candidate: Tensor, known_good: Tensor) -> None:
        spent(len(source))
        index = (known_good & level.usable(candidate) & (candidate != source).any(1)).nonzero()[:, 0]
        if not len(index):
            return
        distance = level.distance_to(weighted[index], roots[index], level.targets[index], candidate[index])
        better = distance < best[index]
        index, distance = index[better], distance[better]
        source[index] = candidate[index]
        best[index] = distance

    everywhere = torch.ones(len(source), dtype=torch.bool, device=source.device)
    if level.in_place is not None:
        keep_better(level.own_places(), everywhere)
    for number in range(rounds):
        step = 2 ** (rounds - 1 - number)
        for move in ((0, step), (0, -step), (step, 0), (-step, 0)):
            neighbour = level.targets + torch.tensor(move, device=source.device)
            neighbour = torch.minimum(neighbour.clamp_min(0), last)
            found = as_map(level, source)[neighbour[:, 0], neighbour[:, 1]]
            candidate = torch.cat([found[:, :1], level.targets + found[:, 1:]], 1)
            keep_better(candidate, level.is_target[neighbour[:, 0], neighbour[:, 1]])
        window = reach
        while window >= 1:
            keep_better(jitter(source, window, generator), everywhere)
            window /= 2
    return source, best
