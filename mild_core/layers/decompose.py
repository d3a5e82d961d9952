"""Split a photo and its people into layers: the background with holes, and kept people whom erased ones hide."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..image import boxes
from ..image.blobs import clusters
from ..image.growth import VISIBLE, grow
from ..pairing import check_count, row_of
from ..people.contact import gap_pixels
from ..people.depth_order import back_to_front, nearness
from ..people.from_masks import fitted, on_device, resize_mask
from ..people.hidden_part import contradiction
from ..scene import BACKGROUND, PERSON, Box, Layer, Morphology, Person, Scene, rgb
from .amodal_extent import hidden_extent
from .crops import Group, context_box, grouped
from .effect_holes import Effects, effect_pieces, effects_of, kept_things
from .ground import on_ground, pick_ground
from .holes import DEFAULT_GROW, MAX_CONTACT, Growth, Piece, opened, outlined, piece_of, seen_of, things_before
from .known_bodies import check_morphology, with_joints_of
from .work_size import BALANCED

POSSIBLE = 0.04
"""Probability below which a pixel behind an erased person is no part of a kept person's hole."""

PERSON_MARGIN = 2
"""Pixels around every person's mask that the background's pathway may not look at: colours reach beyond a mask."""

ENOUGH = 0.5
"""A crop with less to learn from than this share of its hole is enlarged, towards the whole photo."""


class SplitOptions(NamedTuple):
    """How holes are made."""

    grow: float = DEFAULT_GROW  # share of a person's size (see growth_pixels) by which the mask grows
    feather: float = 3  # pixels over which the hole's edge is blended, inwards
    contact: int = 1  # pixels of a kept person's rim, where an erased one touches it, that may be repainted (0..2)
    context: float = 1.0  # share of a hole's longer side that is shown around it on each side
    size_mode: str = BALANCED
    full_plate: bool = False  # True: the background is painted behind the kept people too
    snap: bool = True  # masks that miss a rim are moved outward to the photo's edges before they grow
    follow: bool = True  # growth follows how soft each rim is; False: it is the same all around
    spare: bool = True  # thin things in front of people who go are left out of holes


class _Photo(NamedTuple):
    """One photo while it is taken apart. Its maps are bool [H, W]; nothing else here is as large as the photo."""

    number: int  # from 0
    pixels: Tensor  # [H, W, 3]
    people: list[Person]  # fitted to the photo, back to front
    seen: Tensor  # where anybody is seen
    kept: Tensor  # where somebody is seen who stays
    protect: Tensor | None
    extra: list[tuple[Box, Tensor]]  # what also_erase shows
    effects: Effects = Effects()  # what goes with those who go
    spared: tuple[str, ...] = ()  # names of those in front of whom something thin stays

    @property
    def size(self) -> tuple[int, int]:
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])


def decompose(
    photos: Tensor,
    people: Sequence[Person],
    also_erase: Tensor | None = None,
    protect: Tensor | None = None,
    options: SplitOptions | None = None,
    morphology: Sequence[Morphology] | None = None,
) -> list[Scene]:
    """Split each photo into layers.

    photos [B, H, W, C], 0..1, C in 1, 3, 4; people of all photos (Person.photo says which); also_erase and protect [B
    or 1, h, w], 0..1, of any size: further things to erase, and what may never change. Protected areas (the visible
    masks of kept people, and protect) win; only the contact band enters the masks of kept people, never protect.
    Where masks of an erased and a kept person overlap, the kept one has the overlap, whoever is nearer: nothing of a
    person who stays is lost to a careless mask. morphology: one for each photo, of the same people; their joints take
    the place of those that the people carry. Returns one Scene per photo, without layers where there is nothing to
    erase. Raises ValueError if somebody belongs to a photo that is not there, if somebody who goes has a hidden part,
    if a mask batch or the morphology does not match, or if the hole leaves nothing to learn from.
    """
    options = options or SplitOptions()
    count, size, device = int(photos.shape[0]), (int(photos.shape[1]), int(photos.shape[2])), photos.device
    _check_people(people, count)
    if morphology is not None:
        check_morphology(morphology, people, count, size)
    also_erase = _per_photo(also_erase, "also_erase", count, size)
    protect = _per_photo(protect, "protect", count, size)
    scenes = []
    for index in range(count):
        here = [fitted(person, size) for person in people if person.photo == index]
        bodies = {} if morphology is None else {body.number: body for body in morphology[index].bodies}
        here = [with_joints_of(bodies.get(person.number), person) for person in here]
        here = back_to_front([on_device(person, device) for person in here])
        own_protect = None if protect is None else _pick(protect, index, device)
        kept = seen_of([person for person in here if not person.erased], size, device)
        effects = effects_of(rgb(photos[index]), here, kept, own_protect)
        photo = _Photo(
            number=index,
            pixels=effects.pixels if effects.pixels is not None else rgb(photos[index]),
            people=here,
            seen=seen_of(here, size, device),
            kept=kept_things(here, kept),
            protect=own_protect,
            extra=[] if also_erase is None else clusters(_pick(also_erase, index, device)),
            effects=effects,
        )
        if options.spare:
            photo = _with_things(photo, options)
        own = None if morphology is None else morphology[index]
        scenes.append(Scene(photos[index], tuple(_layers(photo, options)), own, photo.spared))
    return scenes


def _check_people(people: Sequence[Person], count: int) -> None:
    for person in people:
        if person.erased and person.hidden is not None:
            raise ValueError(contradiction(person))
        if not 0 <= person.photo < count:
            raise ValueError(
                f"people: {person.name} belongs to photo {person.photo + 1}, but image holds {count}. "
                "Connect the same batch of photos to both nodes, or set the photo number in People from Masks."
            )


def _per_photo(mask: Tensor | None, socket: str, count: int, size: tuple[int, int]) -> Tensor | None:
    if mask is None:
        return None
    check_count(len(mask), count, socket)
    return resize_mask(mask, size)


def _pick(masks: Tensor, index: int, device: torch.device) -> Tensor:
    return masks[row_of(len(masks), index)].to(device) > VISIBLE


def _layers(photo: _Photo, options: SplitOptions) -> list[Layer]:
    growth = _growth(options)
    people_seen, extra_seen = _outlines(photo, options)
    photo = photo._replace(people=[_narrowed(*pair) for pair in zip(photo.people, people_seen, strict=True)])
    made = (
        piece_of(
            *people_seen[depth],
            photo.kept,
            photo.protect,
            growth,
            photo.size,
            depth,
            given=(person.box, person.mask > VISIBLE),
            pixels=photo.pixels,
            others=photo.seen,
        )
        for depth, person in enumerate(photo.people)
        if person.erased
    )
    erased = [piece for piece in made if piece is not None]
    erased += _extra_pieces(photo, extra_seen, erased, growth)
    erased += effect_pieces(photo.effects, photo.pixels, photo.people, photo.kept, photo.protect, growth, options.snap)
    plate = erased
    if options.full_plate:
        # The plate goes on behind everybody, so nobody's visible mask bounds its holes; only what the artist protects
        # does.
        seen = people_seen + extra_seen
        made = (
            piece_of(*own, None, photo.protect, growth, photo.size, pixels=photo.pixels, others=photo.seen)
            for own in seen
        )
        plate = [piece for piece in made if piece is not None]
        plate += [piece for piece in erased if piece.effect]
    kept = [(depth, person) for depth, person in enumerate(photo.people) if not person.erased]
    people = (
        _person_layer(photo, depth, rank, [piece for piece in erased if piece.depth > depth], erased, options)
        for rank, (depth, _) in enumerate(kept)
    )
    return _background_layers(photo, plate, erased, options) + [layer for layer in people if layer is not None]


def _growth(options: SplitOptions) -> Growth:
    return Growth(options.grow, options.contact, options.follow)


def _with_things(photo: _Photo, options: SplitOptions) -> _Photo:
    """The photo, where what stands thinly in front of people who go is protected, unless the artist wants it to go."""
    things, found = torch.zeros_like(photo.seen), []
    for person in photo.people:
        if person.erased:
            thing = things_before(photo.pixels, person.box, person.mask > VISIBLE, photo.seen, _growth(options))
            if thing is not None:
                boxes.cut(things, thing[0]).logical_or_(thing[1])
                found.append((person.name, thing[0]))
    for box, mask in [*photo.extra, *(effect[2:] for effect in photo.effects.painted)]:
        boxes.cut(things, box).logical_and_(~mask)
    spared = tuple(name for name, box in found if bool(boxes.cut(things, box).any()))
    return photo._replace(protect=things if photo.protect is None else photo.protect | things, spared=spared)


def _narrowed(person: Person, outline: tuple[Box, Tensor]) -> Person:
    """Somebody who goes, as found in the box that was given as the mask: the rest of it may be looked at."""
    box, seen = outline
    if not person.erased or box != person.box or seen.all():
        return person
    return person._replace(mask=person.mask * seen)


def _outlines(photo: _Photo, options: SplitOptions) -> tuple[list[tuple[Box, Tensor]], list[tuple[Box, Tensor]]]:
    """Where each person and each further thing is seen, as holes take it: snapped to the photo's edges. Who stays is
    snapped for the full plate only, and a box that stays is a box.
    """
    seen = [(person.box, person.mask > VISIBLE) for person in photo.people]
    if not options.snap:
        return seen, photo.extra
    for depth, person in enumerate(photo.people):
        if person.erased:
            seen[depth] = outlined(photo.pixels, *seen[depth], photo.seen, (photo.kept, photo.protect))
        elif options.full_plate:
            seen[depth] = outlined(photo.pixels, *seen[depth], photo.seen, (photo.protect,), unbox=False)
    barred = (photo.kept, photo.protect)
    return seen, [outlined(photo.pixels, *own, photo.seen, barred, unbox=False) for own in photo.extra]


def _extra_pieces(photo: _Photo, extra: list[tuple[Box, Tensor]], people: list[Piece], growth: Growth) -> list[Piece]:
    """Holes of also_erase. What touches an erased person is as near as they are: a bag is where its owner is."""
    result = []
    for (box, seen), given in zip(extra, photo.extra, strict=True):
        own = nearness(box, photo.size)
        depth = sum(nearness(person.box, photo.size) < own for person in photo.people) - 0.5
        piece = piece_of(
            box, seen, photo.kept, photo.protect, growth, photo.size, depth, given, photo.pixels, photo.seen
        )
        if piece is not None:
            owners = [other.depth for other in people if boxes.overlap(other.box, piece.box)]
            result.append(piece._replace(depth=max([depth, *owners])))
    return result


def _background_layers(photo: _Photo, plate: list[Piece], erased: list[Piece], options: SplitOptions) -> list[Layer]:
    """The background, one layer for each group of holes. `plate`: what it has to invent; `erased`: what of that will
    be seen.
    """
    if not plate:
        return []
    groups, forbidden = _crops(photo, plate, options)
    layers = []
    for number, group in enumerate(groups, 1):
        _, opacity = opened([plate[i] for i in group.members], group.crop, options.feather)
        reveal = None
        if options.full_plate:
            reveal = opened(erased, group.crop, options.feather)[1].to(opacity).mul_(opacity > 0)
        if photo.effects.lifted is not None and (lifted := boxes.cut(photo.effects.lifted, group.crop)).any():
            # Brightened, not painted: it shows though it is no hole. In the hole nothing is blended there, for below
            # lies the photo with its shadow.
            shown = opacity if reveal is None else reveal
            reveal = torch.where(lifted & ((opacity <= 0) | (shown > 0)), 1.0, shown)
        layers.append(
            Layer(
                id=f"{photo.number + 1}/{BACKGROUND}" + (f"-{number}" if number > 1 else ""),
                name="Background" + (f" {number}" if len(groups) > 1 else ""),
                photo=photo.number,
                domain=BACKGROUND,
                number=None,
                box=group.crop,
                pixels=boxes.cut(photo.pixels, group.crop),
                hole=opacity,
                allowed=~boxes.cut(forbidden, group.crop),
                alpha=opacity.new_ones(()).expand_as(opacity),  # costs one number
                rank=-1.0,
                size_mode=options.size_mode,
                reveal=reveal,
            )
        )
    return layers


def _crops(photo: _Photo, pieces: list[Piece], options: SplitOptions) -> tuple[list[Group], Tensor]:
    """Groups of pieces with their crops, and what may not be looked at, bool [H, W]. Each crop holds enough to learn
    from.
    """
    forbidden = seen_of(photo.people, photo.size, photo.pixels.device, PERSON_MARGIN)
    _forbid(forbidden, photo, pieces)
    holes = [photo.effects.with_lifted(piece.box) for piece in pieces]
    crops = [context_box(hole, photo.size, options.context) for hole in holes]
    everything = boxes.whole(photo.size)
    while True:
        groups = grouped(holes, crops)
        poor = [group for group in groups if group.crop != everything and _poor(group, pieces, forbidden)]
        if not poor:
            break
        for group in poor:
            more = max(boxes.width(group.crop), boxes.height(group.crop)) / 4
            for member in group.members:
                crops[member] = boxes.grown(group.crop, more, more, photo.size)
    if any(boxes.cut(forbidden, group.crop).all() for group in groups):
        # There are no pixels without people. Those of kept people are better than nothing.
        forbidden = seen_of([person for person in photo.people if person.erased], photo.size, forbidden.device)
        _forbid(forbidden, photo, pieces)
    if any(boxes.cut(forbidden, group.crop).all() for group in groups):
        raise ValueError(
            f"people: nothing is left to learn from in photo {photo.number + 1}: the hole covers all of it. "
            "Erase fewer people, grow less, or check that the masks are not inverted."
        )
    return groups, forbidden


def _forbid(forbidden: Tensor, photo: _Photo, pieces: list[Piece]) -> None:
    for box, seen in photo.extra:
        boxes.cut(forbidden, box).logical_or_(seen)
    for piece in pieces:
        boxes.cut(forbidden, piece.box).logical_or_(piece.hole)


def _poor(group: Group, pieces: list[Piece], forbidden: Tensor) -> bool:
    hole = sum(int(pieces[member].hole.sum()) for member in group.members)
    return boxes.area(group.crop) - int(boxes.cut(forbidden, group.crop).sum()) < ENOUGH * hole


def _person_layer(
    photo: _Photo, depth: int, rank: int, in_front: list[Piece], erased: list[Piece], options: SplitOptions
) -> Layer | None:
    """The layer of a kept person; None if none is needed (nobody hid the person, and no full plate was asked for).

    depth: the person's place in photo.people; in_front: the pieces of `erased` that stand nearer than the person.
    """
    person = photo.people[depth]
    if person.hidden is not None:
        in_front = erased  # the artist says where the person goes on, whoever stands there
    extent, likely = person.box, None
    if person.hidden is not None or _touched(photo, person, in_front):
        nearer = [other for other in photo.people[depth + 1 :] if not other.erased]
        extent, likely = hidden_extent(photo.size, person, in_front, nearer)
    hole = None
    if likely is not None:
        part = likely > POSSIBLE
        if person.hidden is not None and person.hidden_box is not None:
            part = _stated_part(person, person.hidden, person.hidden_box, extent)
        hole = _hidden_part(extent, part, in_front)
    if hole is None and not options.full_plate:
        return None
    around = person.box
    if hole is not None and (tight := boxes.tight_box(hole)) is not None:
        around = boxes.union(around, boxes.outside(tight, extent))
    margin = max(8, 0.1 * max(boxes.width(around), boxes.height(around)))
    crop = boxes.grown(around, margin, margin, photo.size)
    alpha = boxes.placed(person.mask, person.box, crop)
    opacity = torch.zeros_like(alpha) if hole is None else boxes.placed(hole, extent, crop)
    pixels = boxes.cut(photo.pixels, crop)
    ground = pick_ground(pixels, alpha)
    return Layer(
        id=f"{photo.number + 1}/{PERSON}-{person.number}",
        name=person.name,
        photo=photo.number,
        domain=PERSON,
        number=person.number,
        box=crop,
        pixels=on_ground(pixels, alpha, ground),
        hole=opacity,
        allowed=opacity <= 0,
        alpha=alpha,
        rank=float(rank),
        size_mode=options.size_mode,
        ground=ground,
        likely=None if likely is None or hole is None else boxes.placed(likely, extent, crop),
    )


def _touched(photo: _Photo, person: Person, in_front: list[Piece]) -> bool:
    """Whether somebody was seen in one of these pieces close to what is seen of the person."""
    reach = gap_pixels(person.box, photo.size)
    around = boxes.grown(person.box, reach + 1, reach + 1, photo.size)
    close = [piece for piece in in_front if boxes.overlap(piece.box, around)]
    if not close:
        return False
    near = grow(boxes.placed(person.mask > VISIBLE, person.box, around), reach)
    return any(bool((boxes.placed(piece.core, piece.box, around) & near).any()) for piece in close)


def _stated_part(person: Person, hidden: Tensor, place: Box, extent: Box) -> Tensor:
    """Where the artist says that the person goes on, bool [h, w] at `extent`; of what is seen of the person only the
    rim beside it, which the contact band may have opened: a line of wall must not part the two.
    """
    stated = boxes.placed(hidden > POSSIBLE, place, extent)
    seen = boxes.placed(person.mask > VISIBLE, person.box, extent)
    return stated | (grow(stated, MAX_CONTACT) & seen)


def _hidden_part(extent: Box, part: Tensor, in_front: list[Piece]) -> Tensor | None:
    """The hole [h, w], 0 or 1, at `extent` in which the person may go on; None if there is none.

    part [h, w] (bool): what may be the person's. Not feathered: it ends at their visible pixels, or where alpha ends.
    """
    hole = opened(in_front, extent, 0)[0] & part
    return hole.float() if hole.any() else None
