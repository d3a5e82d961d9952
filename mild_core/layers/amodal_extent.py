"""Estimate the amodal mask of a kept person: how far the person goes on behind those who are erased.

Visible masks show where the person is and is not; behind an erased person both are unknown. There the silhouette is
completed by its posterior mean under probabilistic principal components (Tipping and Bishop, "Probabilistic principal
component analysis", J. R. Stat. Soc. B 1999, section 3.3) of standing and walking people, for many guesses of the
person's height and place at once, each weighed by how well it explains what is known. What does not look like a person
(a dog, a car, somebody seated) is continued from its own outline, and along the body of its joints where those are
known. The artist's own mask takes the place of any guess.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..body.body_shape import body_shape
from ..image import boxes
from ..image.growth import VISIBLE
from ..scene import Box, Person
from .holes import Piece
from .silhouettes import COLUMNS, ROWS, TALL, Silhouettes, silhouettes

WORK_TALL = 144
"""Rows of the working map that the likeliest height of a person takes, at most."""

CORRELATED = 12.0
"""Cells of a silhouette err together: so many count as one observation."""

STRETCHES = (0.8, 1.0, 1.25)
FINALISTS = 24
UNLIKE = 0.72
"""IoU (where the truth is known) between the model and what is seen of a person; below this, it is no standing person.
"""

EXTENT = 0.25
"""Whoever is no standing person goes on by this share of the box's sides at most, on each side."""

OUTLINE = 0.04
"""Share of a person's height over which the seen outline overrules the model's: it goes on from where it meets the
hole.
"""

SKELETON = 0.4
"""Probability that the body drawn from the joints adds to the guess for whoever is no standing person: enough together
with a weak outline, not alone.
"""

LIMB = 0.035
"""Half the width of a limb, as a share of a person's height."""
LIMBS = (
    *((1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (8, 11), (2, 8), (5, 11)),
)
"""Pairs of OpenPose's COCO-18 joints that are joined by a body part."""


class _Known(NamedTuple):
    """What is known around a person, every `step`-th pixel of the photo. May reach beyond it."""

    left: float  # of the map's first pixel's middle, in pixels of the photo
    top: float
    step: int
    visible: Tensor  # [h, w], 0 or 1
    known: Tensor  # [h, w], 0 or 1


class _Places(NamedTuple):
    """Guesses of where a whole person would stand, each [N], in pixels of the photo."""

    top: Tensor
    height: Tensor
    middle: Tensor
    stretch: Tensor  # of the width


def hidden_extent(
    photo_size: tuple[int, int], person: Person, in_front: Sequence[Piece], covered: Sequence[Person] = ()
) -> tuple[Box, Tensor]:
    """Where a person may be, seen or hidden: a box, and for each of its pixels [h, w] the probability 0..1.

    photo_size (height, width); person fitted to it; in_front: pieces of holes that stand nearer than the person;
    covered: people who stay and stand nearer, behind whom the person may go on unseen. The probability is 1 where the
    mask shows the person outside the pieces, and 0 wherever neither the person is seen nor a piece is open. Computed on
    the mask's device.
    """
    near = [piece for piece in in_front if _reaches(piece.box, person)]
    if person.hidden is not None and person.hidden_box is not None:
        box = boxes.union(person.box, person.hidden_box)
        guess = boxes.placed(person.hidden.to(person.mask), person.hidden_box, box).clamp(0, 1)
    elif not near:
        return person.box, (person.mask > VISIBLE).to(person.mask)
    else:
        box, guess, stands = _guess(photo_size, person, near, covered)
        if not stands:
            box, guess = _with_body(box, guess, person, photo_size)
        box, guess = _with_limbs(box, guess, person, photo_size)
    erased = torch.zeros(guess.shape, dtype=torch.bool, device=guess.device)
    for piece in in_front:
        erased |= boxes.placed(piece.hole.to(guess.device), piece.box, box)
    seen = boxes.placed(person.mask > VISIBLE, person.box, box)
    return box, torch.where(seen, 1.0, guess * erased)


def _reaches(box: Box, person: Person) -> bool:
    own = max(boxes.width(person.box), boxes.height(person.box))
    x0, y0, x1, y1 = person.box
    return boxes.overlap(box, (x0 - own, y0 - own, x1 + own, y1 + own))


def _guess(
    photo_size: tuple[int, int], person: Person, near: Sequence[Piece], covered: Sequence[Person]
) -> tuple[Box, Tensor, bool]:
    """Box, the probability there, and whether it looks like a standing person; erased or not does not matter yet."""
    places = _places(photo_size, person, near)
    known = _known(photo_size, person, near, covered, places)
    work = _completed(known, places)
    if work is None:
        box = boxes.grown(person.box, EXTENT * boxes.width(person.box), EXTENT * boxes.height(person.box), photo_size)
        work = _continued(known, max(boxes.width(person.box), boxes.height(person.box)))
        return box, _enlarged(work, known, box), False
    likely = boxes.tight_box(work > 0.02)
    box = person.box
    if likely is not None:
        x0, y0, x1, y1 = (side * known.step for side in likely)
        left, top = round(known.left), round(known.top)
        grown = (left + x0 - known.step, top + y0 - known.step, left + x1 + known.step, top + y1 + known.step)
        box = boxes.union(box, boxes.intersection(grown, boxes.whole(photo_size)))
    return box, _enlarged(work, known, box), True


# --------------------------------------------------------------------------------------- what is known, and places


def _places(photo_size: tuple[int, int], person: Person, near: Sequence[Piece]) -> _Places:
    """Guesses of top, feet and middle. Where nothing is erased beyond what is seen, the person ends where that ends."""
    x0, y0, x1, y1 = person.box
    tall, wide = y1 - y0, x1 - x0
    above = y0 - min([y0, *(piece.box[1] for piece in near)])
    below = max([y1, *(piece.box[3] for piece in near)]) - y1
    # Whom the border cuts goes on outside the photo, by as much again at most.
    above = max(above, tall if y0 <= 0 else 0)
    below = max(below, tall if y1 >= photo_size[0] else 0)
    steps = max(tall, wide) * 0.07
    device = person.mask.device

    def ends(space: float) -> Tensor:
        count = min(10, math.ceil(space / steps))
        return torch.linspace(0, min(space, 3.0 * max(tall, wide)), count + 1, device=device)

    # Half a cell more at known ends: masks and erased neighbours are a little off.
    tops, feet = y0 - ends(above), y1 + ends(below)
    sides = torch.linspace(-0.24, 0.24, 13, device=device)
    stretches = torch.tensor(STRETCHES, device=device)
    top, foot, side, stretch = (part.flatten() for part in torch.meshgrid(tops, feet, sides, stretches, indexing="ij"))
    height = (foot - top).clamp_min(2)
    return _Places(top, height, (x0 + x1) / 2 + side * height, stretch)


def _known(
    photo_size: tuple[int, int], person: Person, near: Sequence[Piece], covered: Sequence[Person], places: _Places
) -> _Known:
    step = max(1, int(float(places.height.median()) // WORK_TALL))
    half = places.height * (0.5 * COLUMNS / TALL) * max(STRETCHES)
    margin = places.height * ((ROWS - TALL) / 2 / TALL)
    x0, y0, x1, y1 = person.box
    left = min(int((places.middle - half).min()), x0) - step
    top = min(int((places.top - margin).min()), y0) - step
    wide = -(-(max(int((places.middle + half).max()), x1) + step - left) // step)
    tall = -(-(max(int((places.top + places.height + margin).max()), y1) + step - top) // step)
    known = torch.zeros((tall, wide), device=person.mask.device)
    visible = torch.zeros_like(known)

    def under(box: Box) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The map's pixels whose middles lie in a box, and the box's own pixels that they show."""
        parts = []
        for first, last, start, count in ((box[1], box[3], top, tall), (box[0], box[2], left, wide)):
            low = min(max(-(-(first - start - step // 2) // step), 0), count)
            high = min(max(-(-(last - start - step // 2) // step), low), count)
            offset = start + step // 2 + low * step - first
            end = offset + (high - low - 1) * step + 1 if high > low else offset
            parts.append((slice(low, high), slice(offset, end, step)))
        return (parts[0][0], parts[1][0]), (parts[0][1], parts[1][1])

    known[under(boxes.whole(photo_size))[0]] = 1
    for other in covered:
        here, own = under(other.box)
        known[here] *= (other.mask[own] <= VISIBLE).to(known)
    for piece in near:
        here, own = under(piece.box)
        known[here] *= (~piece.hole[own]).to(known)
    here, own = under(person.box)
    visible[here] = (person.mask[own] > VISIBLE).to(visible)
    known = torch.maximum(known, visible)
    return _Known(left + step // 2 + 0.5, top + step // 2 + 0.5, step, visible, known)


def _enlarged(work: Tensor, known: _Known, box: Box) -> Tensor:
    """The working map [h, w] at every pixel of a box."""
    ys = torch.arange(box[1], box[3], device=work.device) + 0.5
    xs = torch.arange(box[0], box[2], device=work.device) + 0.5
    y = ((ys - known.top) / known.step + 0.5) / work.shape[0] * 2 - 1
    x = ((xs - known.left) / known.step + 0.5) / work.shape[1] * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None]
    return F.grid_sample(work[None, None], grid, align_corners=False)[0, 0]


# ------------------------------------------------------------------------------------------------------- the model


def _completed(known: _Known, places: _Places) -> Tensor | None:
    """Posterior probability [h, w] on the working map; None if what is seen looks like no standing person."""
    fine = silhouettes(known.visible.device)
    energy = _fitted(known, places, fine.coarser())[0]
    best = energy.topk(min(FINALISTS, len(energy)), largest=False).indices
    chosen = _Places(*(part[best] for part in places))
    chosen = _between(chosen)
    energy, mean = _fitted(known, chosen, fine)
    weight = torch.softmax(-0.5 * (energy - energy.min()), 0)
    work = torch.zeros_like(known.visible)
    mass = (weight > 0.01).nonzero()[:, 0]
    for number in mass.tolist():
        one = _Places(*(part[number : number + 1] for part in chosen))
        work += weight[number] / weight[mass].sum() * _drawn(mean[number], one, known)
    work = work.clamp(0, 1)
    agreed = ((work > 0.5) & (known.visible > 0.5) & (known.known > 0)).sum()
    either = (((work > 0.5) | (known.visible > 0.5)) & (known.known > 0)).sum()
    if float(agreed) < UNLIKE * float(either):
        return None
    return _along_outline(work, known, float((weight * chosen.height).sum()))


def _between(places: _Places) -> _Places:
    """These places and small steps around the best of them."""
    top, height, middle, stretch = (part[:6] for part in places)
    more = [places]
    for dy, dh, dx in ((-0.02, 0, 0), (0.02, 0, 0), (0, 0.03, 0), (0, -0.03, 0), (0, 0, 0.02), (0, 0, -0.02)):
        more.append(_Places(top + dy * height, height * (1 + dh), middle + dx * height, stretch))
    return _Places(*(torch.cat(parts) for parts in zip(*more, strict=True)))


def _fitted(known: _Known, places: _Places, model: Silhouettes) -> tuple[Tensor, Tensor]:
    """How badly each place explains what is known [N], and its posterior mean silhouettes [N, rows, columns].

    The energy is -2 log of the posterior's peak: squared errors by variance, and squared coefficients.
    """
    seen, share, outside = _sampled(known, places, model)
    # Counted in pixels of the photo: a small guess must not win because it explains less.
    size = float(places.height.median())
    cells = (places.height / size).square() / CORRELATED
    weight = share / model.noise * cells[:, None]
    difference = seen - model.mean
    count = len(model.components)
    pairs = (model.components[:, None] * model.components[None]).flatten(0, 1)
    precision = (weight @ pairs.T).view(-1, count, count)
    precision = precision + torch.eye(count, device=weight.device)
    right = (weight * difference) @ model.components.T
    score = torch.linalg.solve(precision, right[..., None])[..., 0]
    energy = (weight * difference.square()).sum(1) - (right * score).sum(1)
    mean = model.mean + score @ model.components
    # What is seen of the person outside the model's grid.
    tall = size / TALL * (TALL / (model.rows * TALL / ROWS))
    energy = energy + outside / tall**2 / float(model.noise.min()) / CORRELATED
    return energy, mean.view(-1, model.rows, model.columns)


def _sampled(known: _Known, places: _Places, model: Silhouettes) -> tuple[Tensor, Tensor, Tensor]:
    """What is seen [N, D] and how much of it is known [N, D], on every place's grid; visible pixels of the photo
    outside.
    """
    tall = model.rows * TALL / ROWS
    cell = float(places.height.median()) / tall / known.step  # in pixels of the working map
    reach = max(0, round((cell - 1) / 2))

    def blurred(picture: Tensor) -> Tensor:
        return (
            F.avg_pool2d(picture[None, None], 2 * reach + 1, 1, reach, count_include_pad=False)
            if reach
            else (picture[None, None])
        )

    share = blurred(known.known)
    maps = torch.cat([blurred(known.visible) / share.clamp_min(1e-6), share], 1)
    rows = (torch.arange(model.rows, device=share.device) + 0.5 - (model.rows - tall) / 2) / tall
    columns = (torch.arange(model.columns, device=share.device) + 0.5 - model.columns / 2) / tall
    ys = places.top[:, None] + rows * places.height[:, None]
    xs = places.middle[:, None] + columns * (places.height * places.stretch)[:, None]
    y = ((ys - known.top) / known.step + 0.5) / share.shape[2] * 2 - 1
    x = ((xs - known.left) / known.step + 0.5) / share.shape[3] * 2 - 1
    grid = torch.stack([x[:, None, :].expand(-1, model.rows, -1), y[:, :, None].expand(-1, -1, model.columns)], -1)
    flat = grid.flatten(0, 1)[None]
    found = F.grid_sample(maps, flat, align_corners=False)[0].view(2, len(ys), -1)
    # Visible pixels are counted along rows and columns: exact for a rectangle.
    table = F.pad(known.visible.cumsum(0).cumsum(1), (1, 0, 1, 0))
    edge = []
    for value, origin, limit in (
        (ys[:, 0], known.top, share.shape[2]),
        (ys[:, -1], known.top, share.shape[2]),
        (xs[:, 0], known.left, share.shape[3]),
        (xs[:, -1], known.left, share.shape[3]),
    ):
        edge.append(((value - origin) / known.step + 0.5).round().long().clamp(0, limit))
    within = table[edge[1], edge[3]] - table[edge[0], edge[3]] - table[edge[1], edge[2]] + table[edge[0], edge[2]]
    outside = (table[-1, -1] - within) * known.step**2
    return found[0].clamp(0, 1), found[1], outside


def _drawn(mean: Tensor, place: _Places, known: _Known) -> Tensor:
    """A silhouette [rows, columns] drawn on the working map; 0 outside its grid."""
    tall = mean.shape[0] * TALL / ROWS
    height, wide = known.visible.shape
    ys = known.top + torch.arange(height, device=mean.device) * known.step
    xs = known.left + torch.arange(wide, device=mean.device) * known.step
    y = ((ys - place.top) / place.height * tall + (mean.shape[0] - tall) / 2) / mean.shape[0] * 2 - 1
    x = ((xs - place.middle) / (place.height * place.stretch) * tall) / mean.shape[1] * 2
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None]
    return F.grid_sample(mean[None, None], grid, align_corners=False)[0, 0]


# ---------------------------------------------------------------------------------------------- outline and limbs


def _along_outline(work: Tensor, known: _Known, height: float) -> Tensor:
    """The model's error where the truth is seen goes on a little way into the hole, so that outlines meet."""
    spread = max(0.5, OUTLINE * height / known.step)
    wrong = _smoothed((known.visible - work) * known.known, spread)
    share = _smoothed(known.known, spread)
    return (work + wrong / (share + 0.1)).clamp(0, 1)


def _continued(known: _Known, size: float) -> Tensor:
    """Without a model: the mean of the surroundings, the nearer the more."""
    spread = max(0.5, 0.08 * size / known.step)
    return _smoothed(known.visible, spread) / _smoothed(known.known, spread).clamp_min(1e-3)


def _smoothed(picture: Tensor, spread: float) -> Tensor:
    """Gaussian blur of [h, w] with that standard deviation; 0 comes in from outside."""
    reach = math.ceil(3 * spread)
    window = torch.exp(-torch.arange(-reach, reach + 1, device=picture.device).square() / (2 * spread**2))
    window = (window / window.sum())[None, None, None]
    blurred = F.conv2d(picture[None, None], window, padding=(0, reach))
    return F.conv2d(blurred, window.mT, padding=(reach, 0))[0, 0]


def _with_body(box: Box, guess: Tensor, person: Person, photo_size: tuple[int, int]) -> tuple[Box, Tensor]:
    """Box and guess [h, w], more likely where the body of the person's joints is drawn."""
    drawn = None if person.joints is None else body_shape(person.joints.float().cpu(), photo_size)
    if drawn is None:
        return box, guess
    shape, place = drawn
    wider = boxes.union(box, place)
    more = boxes.placed(shape.to(guess), place, wider)
    return wider, (boxes.placed(guess, box, wider) + SKELETON * more).clamp(0, 1)


def _with_limbs(box: Box, guess: Tensor, person: Person, photo_size: tuple[int, int]) -> tuple[Box, Tensor]:
    """Box and guess [h, w], which is at least as sure along the limbs of the skeleton as its joints are."""
    if person.joints is None:
        return box, guess
    joints = person.joints.float().cpu()
    sure = joints[joints[:, 2] > 0]
    if len(sure) < 2:
        return box, guess
    x0, y0, x1, y1 = (*sure[:, :2].amin(0).tolist(), *sure[:, :2].amax(0).tolist())
    width = max(1.0, LIMB * max(y1 - y0, boxes.height(person.box)))
    reach = boxes.grown((math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)), width, width, photo_size)
    wider = boxes.union(box, reach) if boxes.area(reach) else box
    guess = boxes.placed(guess, box, wider)
    ys = torch.arange(wider[1], wider[3], device=guess.device)[:, None] + 0.5
    xs = torch.arange(wider[0], wider[2], device=guess.device)[None] + 0.5
    for one, other in LIMBS:
        (ax, ay, a), (bx, by, b) = joints[one].tolist(), joints[other].tolist()
        if min(a, b) <= 0:
            continue
        run, rise = bx - ax, by - ay
        along = (((xs - ax) * run + (ys - ay) * rise) / max(run * run + rise * rise, 1e-6)).clamp(0, 1)
        square = (xs - ax - along * run).square() + (ys - ay - along * rise).square()
        guess = torch.where(square <= width**2, guess.clamp_min(0.9 * min(a, b, 1.0)), guess)
    return wider, guess
