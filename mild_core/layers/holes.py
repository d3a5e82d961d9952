"""The holes that erased people leave: one piece for each of them, and how several are opened together in a crop."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..image import boxes
from ..image.blobs import blobs
from ..image.growth import VISIBLE, contact_band, feathered, grow, growth_pixels
from ..scene import Box, Person
from . import rims, thin_things
from .box_masks import is_box, person_in_box, surroundings_of
from .snapping import margin_of, reach_of, snapped

MAX_CONTACT = 2

DEFAULT_GROW = 0.008
"""Share of a person's size (see growth_pixels) by which masks grow where nothing else is asked for."""

SOFT = 2.5
"""Growth, in units of what is asked for: the softest rim that is followed, and half the width of a thin thing."""

SAFE = 0.33
"""Growth beyond what shows the person, in the same units: JPEG blocks carry their colours on. At least a pixel."""

UNREAD = 0.5
"""Growth where no rim can be read, in the same units."""

GAP = 4
"""Pixels: gaps that a hole encloses are filled up to the area of a square with this side, wider by the growth on either
side.
"""


class Growth(NamedTuple):
    """How a visible mask becomes a hole."""

    grow: float  # share of the size of what is erased
    contact: int  # pixels, 0..2
    follow: bool = True  # how soft each rim is; False: `grow` all around


class Piece(NamedTuple):
    """What has to be invented because of one person, or of one other thing."""

    box: Box  # tight around the hole
    hole: Tensor  # [h, w] bool
    core: Tensor  # [h, w] bool: the part where something of the person was seen
    depth: float  # place among the people of the photo, back to front; what is none of them stands between two
    effect: bool = False  # what goes with somebody, and is nobody


def seen_of(people: Iterable[Person], size: tuple[int, int], device: torch.device, rim: int = 0) -> Tensor:
    """Where somebody of these people (fitted to this size) is seen, bool [H, W], each mask grown by `rim` pixels."""
    seen = torch.zeros(size, dtype=torch.bool, device=device)
    for person in people:
        outer = boxes.grown(person.box, rim, rim, size)
        mine = boxes.placed(person.mask > VISIBLE, person.box, outer)
        boxes.cut(seen, outer).logical_or_(grow(mine, rim))
    return seen


def outlined(
    pixels: Tensor,
    box: Box,
    seen: Tensor,
    others: Tensor,
    barred: Sequence[Tensor | None] = (),
    unbox: bool = True,
) -> tuple[Box, Tensor]:
    """Where somebody is seen whose mask is `seen` (bool, at `box`) of the photo pixels [H, W, 3]: the mask's rim is
    snapped to the photo's edges, and a filled box becomes the person in it, with a generous rim (unless unbox is
    False).

    others [H, W] (bool): where anybody is seen, this person too; barred: maps [H, W] (bool) that are never entered.
    """
    size = (int(pixels.shape[0]), int(pixels.shape[1]))
    boxed = is_box(seen)
    if boxed and not unbox:
        return box, seen
    reach = reach_of(box, size)
    margin = surroundings_of(box) if boxed else margin_of(reach)
    outer = boxes.grown(box, margin, margin, size)
    inner = boxes.inside(box, outer)
    around, crowd = boxes.cut(pixels, outer), boxes.cut(others, outer)
    if boxed:
        found = person_in_box(around, inner, crowd)
        return box, seen if found is None else seen & boxes.cut(found, inner)
    closed = None
    for area in barred:
        if area is not None:
            closed = boxes.cut(area, outer) if closed is None else closed | boxes.cut(area, outer)
    mine = snapped(around, boxes.placed(seen, box, outer), reach, crowd, closed)
    tight = boxes.tight_box(mine)
    if tight is None:
        return box, seen
    return boxes.outside(tight, outer), boxes.cut(mine, tight).clone()


def things_before(pixels: Tensor, box: Box, seen: Tensor, others: Tensor, growth: Growth) -> tuple[Box, Tensor] | None:
    """Thin things in front of somebody whose mask is `seen` (bool, at `box`) of the photo pixels [H, W, 3]: a box and
    where in it they are (bool); None if there is nothing, or if nothing grows.

    others [H, W] (bool): where anybody is seen, this person too.
    """
    size = (int(pixels.shape[0]), int(pixels.shape[1]))
    reach = SOFT * growth_pixels(box, size, min(growth.grow, DEFAULT_GROW))
    if reach < SOFT:
        return None
    margin = thin_things.margin_of(reach)
    outer = boxes.grown(box, margin, margin, size)
    taken = boxes.cut(others, outer)
    found = thin_things.thin_things(boxes.cut(pixels, outer), boxes.placed(seen, box, outer), reach, taken)
    return None if found is None else (outer, found & ~taken)


def piece_of(
    box: Box,
    seen: Tensor,
    kept: Tensor | None,
    protect: Tensor | None,
    growth: Growth,
    size: tuple[int, int],
    depth: float = 0.0,
    given: tuple[Box, Tensor] | None = None,
    pixels: Tensor | None = None,
    others: Tensor | None = None,
) -> Piece | None:
    """The hole that somebody leaves who is seen in `seen` (bool, at `box`) of a photo of this size.

    kept and protect are bool [H, W]. The hole never enters protect; it enters kept by the contact band only. given: the
    mask as it came, where `seen` was moved since: only what both show has a contact band, so that a moved rim takes
    nothing from anybody. pixels [H, W, 3] and others [H, W] (bool, where anybody is seen): the photo in which each rim
    is followed; without them growth is the same all around. None if they leave nothing of the person to erase.
    """
    reach = growth_pixels(box, size, growth.grow)
    contact = min(max(growth.contact, 0), MAX_CONTACT)
    usual = min(reach, growth_pixels(box, size, DEFAULT_GROW))
    beyond = max(1.0, SAFE * usual) + reach - usual  # what is asked for beyond the usual is added all around
    follow = growth.follow and pixels is not None and reach >= 1
    margin = max(math.ceil(reach), contact) + 1
    if follow:
        margin = max(contact, math.ceil(beyond) + rims.margin_of(SOFT * usual)) + 1
    outer = boxes.grown(box, margin, margin, size)
    mine = boxes.placed(seen, box, outer)
    stained = mine
    if follow and pixels is not None:
        taken = None if others is None else boxes.cut(others, outer)
        stained = rims.smeared(boxes.cut(pixels, outer), mine, SOFT * usual, UNREAD * usual, taken)
        grown = grow(stained, beyond)
    else:
        grown = grow(mine, reach)
    if kept is None:
        hole = grown
    else:
        kept_here = boxes.cut(kept, outer)
        mine &= ~kept_here
        touching = mine if given is None else mine & boxes.placed(given[1], given[0], outer)
        hole = (grown & ~kept_here) | contact_band(touching, kept_here, contact)
    spared = None if kept is None else boxes.cut(kept, outer)
    if protect is not None:
        protected = boxes.cut(protect, outer)
        hole &= ~protected
        spared = protected if spared is None else spared | protected
    if reach >= 1:  # whoever asks for less wants the mask as it is
        _close_gaps(hole, spared, reach)
    core = stained & hole
    if kept is not None:
        core &= ~boxes.cut(kept, outer)  # the contact band is blended
    tight = boxes.tight_box(hole)
    if tight is None or not (mine & hole).any():
        return None
    place = boxes.outside(tight, outer)
    return Piece(place, boxes.cut(hole, tight).clone(), boxes.cut(core, tight).clone(), depth)


def _close_gaps(hole: Tensor, spared: Tensor | None, reach: float) -> None:
    """Fill, in place, the small gaps that hole [h, w] (bool) encloses, but for those in which something is spared.

    Between an arm and a body a few pixels of ground are seen, mixed with the person's colours: left as they are, they
    would show the model how to go on.
    """
    largest = (GAP + 2 * reach) ** 2
    height, width = hole.shape
    for box, shape in blobs(~hole)[0]:
        x0, y0, x1, y1 = box
        enclosed = x0 > 0 and y0 > 0 and x1 < width and y1 < height
        if enclosed and int(shape.sum()) <= largest and (spared is None or not (boxes.cut(spared, box) & shape).any()):
            boxes.cut(hole, box).logical_or_(shape)


def opened(pieces: Sequence[Piece], crop: Box, feather: float) -> tuple[Tensor, Tensor]:
    """All these pieces in one crop [h, w]: the hole (bool) and its opacity (float, feathered inwards, 0 outside the
    hole).
    """
    shape = (boxes.height(crop), boxes.width(crop))
    device = pieces[0].hole.device if pieces else None
    hole = torch.zeros(shape, dtype=torch.bool, device=device)
    opacity = torch.zeros(shape, device=device)
    core = torch.zeros_like(hole)
    places = []
    for piece in pieces:
        shared = boxes.intersection(piece.box, crop)
        if boxes.area(shared):
            here, own = boxes.inside(shared, crop), boxes.inside(shared, piece.box)
            boxes.cut(hole, here).logical_or_(boxes.cut(piece.hole, own))
            boxes.cut(core, here).logical_or_(boxes.cut(piece.core, own))
            places.append(here)
    for here in places:
        # Whatever is nearer than the feather is wide lies in these surroundings: the rest of the crop costs nothing.
        around = boxes.grown(here, feather + 1, feather + 1, shape)
        soft = feathered(boxes.cut(hole, around), boxes.cut(core, around), feather)
        boxes.cut(opacity, here).copy_(boxes.cut(soft, boxes.inside(here, around)))
    return hole, opacity
