"""What goes with the people who go: shadows are lifted off the ground, the rest is painted like the people."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..image import boxes
from ..image.growth import VISIBLE
from ..scene import CARRIED, SHADOW, Box, Person
from .holes import Growth, Piece, outlined, piece_of, seen_of
from .lifted import lift

SOFT_GROWTH = 0.25
"""Shadows and mirror images end softly: they grow by this share of what a person grows by."""

ON_THE_GROUND = -1.0
"""Depth of a shadow or a mirror image: it hides nobody."""


class Effects(NamedTuple):
    """The effects of one photo that go."""

    pixels: Tensor | None = None  # [H, W, 3]: the photo without the shadows that were lifted; None: none was
    lifted: Tensor | None = None  # [H, W], bool: where they were
    boxes: tuple[Box, ...] = ()  # of the lifted shadows
    painted: tuple[tuple[int, str, Box, Tensor], ...] = ()  # place of the person, kind, box and mask (bool)

    def with_lifted(self, box: Box) -> Box:
        """The box of a hole, with that of each lifted shadow that it touches: one crop shows them all."""
        for other in self.boxes:
            if boxes.overlap(boxes.intersection(box, other), other):
                box = boxes.union(box, other)
        return box


def effects_of(pixels: Tensor, people: Sequence[Person], kept: Tensor, protect: Tensor | None) -> Effects:
    """The taken effects of those who go, in the photo pixels [H, W, 3] of people fitted to it.

    kept, protect [H, W], bool: where somebody is seen who stays, and what may not change. What belongs to somebody who
    stays is left alone, also where two people's effects overlap.
    """
    staying = _drawn(people, (int(pixels.shape[0]), int(pixels.shape[1])), pixels.device)
    shadows, painted = [], []
    for place, person in enumerate(people):
        for effect in person.effects if person.erased else ():
            mask = effect.mask
            if staying is not None:
                mask = mask * ~boxes.cut(staying, effect.box)
            if effect.taken and bool((mask > VISIBLE).any()):
                if effect.kind == SHADOW:
                    shadows.append((place, effect.box, mask))
                else:
                    painted.append((place, effect.kind, effect.box, mask > VISIBLE))
    if not shadows:
        return Effects(painted=tuple(painted))
    seen = seen_of(people, (int(pixels.shape[0]), int(pixels.shape[1])), pixels.device)
    for _, _, box, mask in painted:
        boxes.cut(seen, box).logical_or_(mask)
    without = lift(pixels, [(box, mask) for _, box, mask in shadows], seen, (kept, protect, staying))
    dark = {id(mask): place for place, _, mask in shadows}
    painted += [(dark[id(mask)], SHADOW, box, mask > VISIBLE) for box, mask in without.rest]
    rest = {id(mask) for _, mask in without.rest}
    lifted = tuple(box for _, box, mask in shadows if id(mask) not in rest)
    if without.where is None:
        return Effects(painted=tuple(painted))
    return Effects(without.pixels, without.where, lifted, tuple(painted))


def kept_things(people: Sequence[Person], kept: Tensor) -> Tensor:
    """kept [H, W] (bool), with what the people who stay carry: no hole grows into that either."""
    things = [
        (effect.box, effect.mask > VISIBLE)
        for person in people
        if not person.erased
        for effect in person.effects
        if effect.kind == CARRIED
    ]
    if not things:
        return kept
    kept = kept.clone()
    for box, mask in things:
        boxes.cut(kept, box).logical_or_(mask)
    return kept


def effect_pieces(
    effects: Effects,
    pixels: Tensor,
    people: Sequence[Person],
    kept: Tensor,
    protect: Tensor | None,
    growth: Growth,
    snap: bool,
) -> list[Piece]:
    """Holes of what has to be painted. A thing is as near as its owner is; its outline is snapped like theirs."""
    size = (int(pixels.shape[0]), int(pixels.shape[1]))
    everyone = seen_of(people, size, pixels.device)
    soft = Growth(growth.grow * SOFT_GROWTH, 0)
    pieces = []
    for place, kind, box, mask in effects.painted:
        if kind == CARRIED:
            seen = outlined(pixels, box, mask, everyone, (kept, protect), unbox=False) if snap else (box, mask)
            piece = piece_of(*seen, kept, protect, growth, size, place, given=(box, mask))
        else:
            piece = piece_of(box, mask, kept, protect, soft, size, ON_THE_GROUND)
        if piece is not None:
            pieces.append(piece._replace(effect=True))
    return pieces


def _drawn(people: Sequence[Person], size: tuple[int, int], device: torch.device) -> Tensor | None:
    """Where effects of those who stay are, bool [H, W]; None if they have none."""
    own = [effect for person in people if not person.erased for effect in person.effects]
    if not own:
        return None
    drawn = torch.zeros(size, dtype=torch.bool, device=device)
    for effect in own:
        boxes.cut(drawn, effect.box).logical_or_(effect.mask > VISIBLE)
    return drawn
