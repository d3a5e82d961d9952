"""What is known of each person's body: poses and parsing are assigned, hidden joints inferred, relations measured."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..image import boxes
from ..image.growth import VISIBLE
from ..pairing import row_of
from ..people.depth_order import Order, check_depths, in_order
from ..people.from_masks import fitted
from ..scene import Body, Morphology, Person
from .assign_parsing import Parts, assign_parsing, maps_by_photo, merged, with_confidences
from .assign_poses import PoseMatch, assign_poses, valid_points
from .hidden_joints import with_hidden_joints
from .parsers.parsed import Parsed
from .poses import Pose
from .relations import relations

BOX_MASK = 0.5
"""Confidence of a mask that is a filled box."""


def read_bodies(
    people: Sequence[Person],
    sizes: Sequence[tuple[int, int]],
    poses: Sequence[Sequence[Pose]] | None = None,
    parsing: Tensor | None = None,
    depth: Tensor | None = None,
    parsed: Sequence[Parsed | None] | None = None,
) -> list[Morphology]:
    """One Morphology for each photo, with its people in the order of their numbers.

    sizes: height and width of each photo. poses: for each photo everybody's, in pixels of it (body.poses). parsing
    [B, h, w], uint8, PARTS: see assign_parsing.maps_by_photo. depth [B, h, w], larger is nearer, one for all photos or
    one for each. parsed: for each of `people`, in their order, what a parser gave. What is connected counts before what
    a parser gave. Raises ValueError for counts that do not fit the photos.
    """
    _check(people, sizes, poses, depth)
    places = sorted(range(len(people)), key=lambda place: (people[place].photo, people[place].number))
    maps = None if parsing is None else maps_by_photo(parsing, people, len(sizes))
    result = []
    for photo, size in enumerate(sizes):
        here = [place for place in places if people[place].photo == photo]
        result.append(
            _read_photo(
                photo,
                size,
                [fitted(people[place], size) for place in here],
                [] if poses is None else poses[photo],
                None if maps is None else maps[photo],
                None if depth is None else depth[row_of(len(depth), photo)],
                [None if parsed is None else parsed[place] for place in here],
            )
        )
    return result


def _check(
    people: Sequence[Person],
    sizes: Sequence[tuple[int, int]],
    poses: Sequence[Sequence[Pose]] | None,
    depth: Tensor | None,
) -> None:
    last = max((person.photo for person in people), default=-1) + 1
    if last > len(sizes):
        raise ValueError(
            f"people: there are people in photo {last}, but image holds {len(sizes)}. Connect the photos in which "
            "they were found."
        )
    if poses is not None and len(poses) != len(sizes):
        raise ValueError(f"poses: there are poses for {len(poses)} photos, but image holds {len(sizes)}.")
    if depth is not None:
        check_depths(depth, len(sizes))


def _read_photo(
    photo: int,
    size: tuple[int, int],
    people: Sequence[Person],
    poses: Sequence[Pose],
    maps: Tensor | None,
    depth: Tensor | None,
    parsed: Sequence[Parsed | None],
) -> Morphology:
    matches, nobody = assign_poses(people, poses)
    completed = [_with_parsed_joints(*one) for one in zip(people, matches, parsed, strict=True)]
    if any(one is not other for one, other in zip(people, completed, strict=True)):
        people = completed
        matches, nobody = assign_poses(people, poses)
    parts = _parts(people, matches, maps, parsed)
    order = in_order(people, depth)
    bodies = []
    for person, match, own in zip(people, matches, parts, strict=True):
        joints, inferred = _joints(person, match, people, order)
        bodies.append(
            Body(
                number=person.number,
                name=person.name,
                erased=person.erased,
                box=person.box,
                mask=person.mask,
                sure=_sure(person, order),
                joints=joints,
                inferred=inferred,
                hands=None if match is None else match.hands,
                face=None if match is None else match.face,
                parts=None if own is None else own.parts,
                parts_box=None if own is None else own.box,
                parts_sure=None if own is None else own.sure,
            )
        )
    own_features, pairs = relations(
        people, [body.joints for body in bodies], [body.sure for body in bodies], depth, order
    )
    left = tuple(valid_points(poses[place].joints, size) for place in nobody)
    return Morphology(photo, size, tuple(bodies), own_features, pairs, left)


def _with_parsed_joints(person: Person, match: PoseMatch | None, parsed: Parsed | None) -> Person:
    """The person with a parser's joints where no pose was found: a parser finds more joints, but less exact ones."""
    if parsed is None or parsed.joints is None or match is not None:
        return person
    return person._replace(joints=parsed.joints)


def _parts(
    people: Sequence[Person], matches: Sequence[PoseMatch | None], maps: Tensor | None, parsed: Sequence[Parsed | None]
) -> list[Parts | None]:
    joints = [None if match is None else match.joints for match in matches]
    result: list[Parts | None] = [None] * len(people)
    if maps is not None:
        result = assign_parsing(people, maps, joints)
    for place, (person, one) in enumerate(zip(people, parsed, strict=True)):
        if one is not None:
            by_parser = with_confidences(Parts(one.box, one.parts, one.sure), person, joints[place])
            result[place] = merged(result[place], by_parser)
    return result


def _joints(
    person: Person, match: PoseMatch | None, people: Sequence[Person], order: Order
) -> tuple[Tensor | None, Tensor | None]:
    """The person's joints [18, 3], with those that somebody erased and nearer hides, and which these are [18]."""
    if match is None:
        return None, None
    if person.erased:
        return match.joints, torch.zeros(18, dtype=torch.bool)
    nearer = order.people[next(place for place, one in enumerate(order.people) if one is person) + 1 :]
    side = max(boxes.width(person.box), boxes.height(person.box))
    reach = boxes.grown(person.box, side, side, person.size)
    hiding = [(other.box, other.mask) for other in nearer if other.erased and boxes.overlap(other.box, reach)]
    return with_hidden_joints(match.joints, (person.box, person.mask), hiding, person.size)


def _sure(person: Person, order: Order) -> float:
    """Confidence, 0..1, of a person's mask and of their place in the depth order of those they touch."""
    confidences = [
        pair.confidence
        for pair in order.pairs
        if pair.touching and (order.people[pair.front] is person or order.people[pair.back] is person)
    ]
    among = 0.5 + 0.5 * sum(confidences) / len(confidences) if confidences else 1.0
    # A mask of a few pixels fills its box, whoever drew it.
    filled = person.mask.numel() > 16 and bool((person.mask > VISIBLE).all())
    return among * (BOX_MASK if filled else 1.0)
