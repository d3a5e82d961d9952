"""Relations between people, as numbers that a network can read: features of each person, and of each ordered pair.

Every number lies in -1..1 and is finite, for nobody, one person or a hundred, and for masks of a single pixel.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..image import boxes
from ..people.contact import ContactOutline, dilated, gap_pixels, grid, outline_of
from ..people.depth_order import Order, in_order
from ..people.from_masks import fitted, photo_size
from ..scene import Person
from .body_shape import body_shape

OWN = (
    "x",  # middle of the box, as a share of the photo's width
    "y",  # ... and of its height
    "width",  # of the box, as a share of the photo's width
    "height",
    "centroid x",  # of the visible mask, as a share of the photo's width
    "centroid y",
    "size",  # square root of the share of the photo that the visible mask fills
    "depth rank",  # 1: nearest of the photo; above 0 for everyone, which is left to the background
    "hidden share",  # of the plausible extent, how much those nearer cover
    "erased",  # 1 or 0
    "sure",  # confidence of mask and place
)

RANK = OWN.index("depth rank")

PAIRS = (
    "overlap",  # of both boxes, shared over united area
    "distance",  # of both centroids: d / (d + s), with s the mean of their sizes in pixels
    "contact",  # share of the row's outline that touches the column's person
    "contact x",  # on which side of the row's box they touch, -1 (left) .. 1 (right); 0 where they do not
    "contact y",  # ... -1 (top) .. 1 (bottom)
    "in front",  # 1: the row's person hides the column's, -1: is hidden by them, 0: they do not meet
    "other erased",  # 1 or 0
)

SIDE = 48
"""Cells along the longer side of the grid on which two people are compared."""


def relations(
    people: Sequence[Person],
    joints: Sequence[Tensor | None] | None = None,
    sure: Sequence[float] | None = None,
    depth: Tensor | None = None,
    order: Order | None = None,
) -> tuple[Tensor, Tensor]:
    """own [P, len(OWN)] and pairs [P, P, len(PAIRS)], float32 on the CPU, of these people of one photo.

    joints: each one's [18, 3] in pixels of the photo, in place of Person.joints: they widen the plausible extent. sure:
    confidence 0..1 of each, else 1. depth [h, w] of any size, larger is nearer: see depth_order.in_order. order: of
    these very people, if it is known already.
    """
    own = torch.zeros(len(people), len(OWN))
    pairs = torch.zeros(len(people), len(people), len(PAIRS))
    size = photo_size(people, people[0].photo) if people else None
    if size is None:
        return own, pairs
    fit = [fitted(person, size) for person in people]
    order = order or in_order(people, depth)
    rank = {id(person): place for place, person in enumerate(order.people)}
    ranks = [rank[id(person)] for person in people]
    known = [person.joints for person in fit] if joints is None else list(joints)
    outlines = [outline_of(person) for person in fit]
    centres = np.array([_centroid(outline) for outline in outlines])
    for index, person in enumerate(fit):
        own[index] = torch.tensor(
            [
                (person.box[0] + person.box[2]) / 2 / size[1],
                (person.box[1] + person.box[3]) / 2 / size[0],
                boxes.width(person.box) / size[1],
                boxes.height(person.box) / size[0],
                centres[index, 0] / size[1],
                centres[index, 1] / size[0],
                (outlines[index].pixels / (size[0] * size[1])) ** 0.5,
                (ranks[index] + 1) / len(fit),
                _hidden_share(index, outlines, ranks, known[index]),
                float(person.erased),
                1.0 if sure is None else min(max(float(sure[index]), 0.0), 1.0),
            ]
        )
    _add_pairs(pairs, outlines, centres, order, {id(person): index for index, person in enumerate(people)})
    return own, pairs


def _centroid(outline: ContactOutline) -> tuple[float, float]:
    """x, y in pixels of the photo of the middle of what is visible; of the box if nothing is."""
    x0, y0, x1, y1 = outline.person.box
    if not outline.pixels:
        return (x0 + x1) / 2, (y0 + y1) / 2
    columns, rows = outline.mask.sum(0), outline.mask.sum(1)
    x = float((columns * (np.arange(x1 - x0) + 0.5)).sum()) / outline.pixels
    y = float((rows * (np.arange(y1 - y0) + 0.5)).sum()) / outline.pixels
    return x0 + x, y0 + y


def _hidden_share(index: int, outlines: Sequence[ContactOutline], ranks: Sequence[int], joints: Tensor | None) -> float:
    """How much of a person's plausible extent (visible mask, convex hull, limbs) is covered by those nearer, 0..1."""
    own = outlines[index]
    size = own.person.size
    step = max(1, max(boxes.width(own.person.box), boxes.height(own.person.box)) // SIDE)
    limbs = None
    if joints is not None:
        small = (-(-size[0] // step), -(-size[1] // step))
        limbs = body_shape(joints.float().cpu() * torch.tensor([1 / step, 1 / step, 1.0]), small)
    box = own.person.box
    if limbs is not None:
        x0, y0, x1, y1 = (side * step for side in limbs[1])
        box = boxes.intersection(boxes.union(box, (x0, y0, x1, y1)), boxes.whole(size))
    nearer = [
        other
        for other, rank in zip(outlines, ranks, strict=True)
        if rank > ranks[index] and boxes.overlap(other.person.box, box)
    ]
    if not nearer:
        return 0.0
    rows, columns = np.arange(box[1], box[3], step), np.arange(box[0], box[2], step)
    seen = grid(own, box, step)
    extent = seen | _hull_at(own, rows, columns)
    if limbs is not None:
        left, top = box[0] // step, box[1] // step
        extent |= boxes.placed(*limbs, (left, top, left + len(columns), top + len(rows))).numpy() > 0.5
    covered = np.zeros_like(seen)
    for other in nearer:
        covered |= grid(other, box, step)
    return float((extent & covered & ~seen).sum() / max(int(extent.sum()), 1))


def _hull_at(outline: ContactOutline, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Whether these rows and columns lie in the outline's convex hull."""
    x0, y0, x1, y1 = outline.person.box
    within = (rows >= y0) & (rows < y1)
    lines = np.clip(rows - y0, 0, y1 - y0 - 1)
    left, right = outline.left[lines][:, None], outline.right[lines][:, None]
    return (columns[None] >= left) & (columns[None] < right) & within[:, None]


def _add_pairs(
    pairs: Tensor, outlines: Sequence[ContactOutline], centres: np.ndarray, order: Order, place: dict[int, int]
) -> None:
    sides = torch.tensor([outline.person.box for outline in outlines], dtype=torch.float32)
    area = (sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])
    low = torch.maximum(sides[:, None, :2], sides[None, :, :2])
    high = torch.minimum(sides[:, None, 2:], sides[None, :, 2:])
    shared = (high - low).clamp_min(0).prod(-1)
    pairs[..., 0] = shared / (area[:, None] + area[None] - shared).clamp_min(1)
    middles = torch.from_numpy(centres).float()
    apart = (middles[:, None] - middles[None]).norm(dim=-1)
    sizes = area.sqrt()
    pairs[..., 1] = apart / (apart + (sizes[:, None] + sizes[None]) / 2)
    for pair in order.pairs:
        front, back = (place[id(order.people[one])] for one in (pair.front, pair.back))
        for row, column, way in ((front, back, 1.0), (back, front, -1.0)):
            pairs[row, column, 5] = way
            if pair.touching:
                x0, y0, x1, y1 = sides[row].tolist()
                pairs[row, column, 2] = _contact_share(outlines[row], outlines[column])
                pairs[row, column, 3] = min(max((2 * pair.place[0] - x0 - x1) / (x1 - x0), -1.0), 1.0)
                pairs[row, column, 4] = min(max((2 * pair.place[1] - y0 - y1) / (y1 - y0), -1.0), 1.0)
    pairs[..., 6] = torch.tensor([float(outline.person.erased) for outline in outlines])
    same = torch.arange(len(outlines))
    pairs[same, same] = 0


def _contact_share(who: ContactOutline, whom: ContactOutline) -> float:
    """Share of the first one's outline that lies within reach of the second, above 0: they are known to touch."""
    x0, y0, x1, y1 = who.person.box
    step = max(1, max(x1 - x0, y1 - y0) // SIDE)
    gap = min(gap_pixels(one.person.box, one.person.size) for one in (who, whom))
    reach = max(1, -(-int(gap) // step))
    around = (x0 - reach * step, y0 - reach * step, x1 + reach * step, y1 + reach * step)
    first, second = grid(who, around, step), grid(whom, around, step)
    edge = first & dilated(~first, 1)
    touching = edge & dilated(second, reach)
    return max(int(touching.sum()), 1) / max(int(edge.sum()), 1)
