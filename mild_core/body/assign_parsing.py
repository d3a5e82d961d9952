"""Assigns label maps of body parts, of a whole photo or of single people, to the people under whose masks they lie."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..image.growth import VISIBLE
from ..pairing import row_of
from ..scene import Box, Person
from .body_parts import PARTS, SEGMENTS, may_be
from .poses import seen

SIDE = 96
"""Cells along a photo's longer side on which maps of single people are compared with masks."""

IN_ORDER = 0.05
"""Bonus, as intersection over union, for the map at the same place in the list as the person."""

_JOINTS_ON = {
    "head": (0, 14, 15, 16, 17),
    "torso": (1, 2, 5, 8, 11),
    "upper arm": (2, 3, 5, 6),
    "lower arm": (3, 4, 6, 7),
    "hand": (4, 7),
    "upper leg": (8, 9, 11, 12),
    "lower leg": (9, 10, 12, 13),
    "foot": (10, 13),
}
# the joints (of the 18) that lie on each segment, those at both its ends included

JOINT_ON = torch.zeros(18, len(SEGMENTS), dtype=torch.bool)
"""[18, len(SEGMENTS)]: which segments a joint lies on."""

for _segment, _joints in _JOINTS_ON.items():
    JOINT_ON[list(_joints), SEGMENTS.index(_segment)] = True
JOINT_ON[1, SEGMENTS.index("head")] = True  # the neck may be under a beard

_NO_BODY_PART = torch.tensor([part in ("background", "bag", "accessory") for part in PARTS])


class Parts(NamedTuple):
    """The parts of one person."""

    box: Box  # the person's, in pixels of the photo
    parts: Tensor  # [h, w] of box, uint8: PARTS; 0 outside the person's mask
    sure: Tensor  # [h, w] of box, 0..1; 0 where parts is 0


def maps_by_photo(parsing: Tensor, people: Sequence[Person], photos: int) -> list[Tensor]:
    """The maps [N, h, w] for each of `photos` photos, from parsing [B, h, w] (PARTS).

    One for each photo, one for all photos, or one for each person, in the order of photos and numbers. Raises
    ValueError, in the socket's words, for any other count.
    """
    count = int(parsing.shape[0])
    if count in (1, photos):
        return [parsing[row_of(count, photo)][None] for photo in range(photos)]
    each = [sum(person.photo == photo for person in people) for photo in range(photos)]
    if count != sum(each):
        raise ValueError(
            f"parsing: there are {count} label maps for {photos} photo{'s' * (photos > 1)} with {sum(each)} people. "
            "Connect one map for each photo, or one for each person."
        )
    return list(parsing.split(each))


def assign_parsing(people: Sequence[Person], maps: Tensor, joints: Sequence[Tensor | None]) -> list[Parts | None]:
    """The parts of each of these people of one photo (fitted to it); None where the maps label nothing of a person.

    maps [N, h, w] of any size, PARTS: one of the whole photo, or one for each person, assigned by overlap.
    joints: each one's [18, 3] in pixels, or None.
    """
    if not people or not len(maps):
        return [None] * len(people)
    whose = [0] * len(people) if len(maps) == 1 else _whose(people, maps)
    result: list[Parts | None] = []
    for person, place, own in zip(people, whose, joints, strict=True):
        result.append(None if place is None else under_mask(person, maps[place], own))
    return result


def under_mask(person: Person, parts: Tensor, joints: Tensor | None) -> Parts | None:
    """What a label map [h, w] of the person's photo says under the person's mask; None if nothing."""
    height, width = person.size
    x0, y0, x1, y1 = person.box
    rows = ((torch.arange(y0, y1, device=parts.device) + 0.5) * (parts.shape[0] / height)).long()
    columns = ((torch.arange(x0, x1, device=parts.device) + 0.5) * (parts.shape[1] / width)).long()
    here = parts[rows.clamp_max(parts.shape[0] - 1)][:, columns.clamp_max(parts.shape[1] - 1)]
    mask = person.mask > VISIBLE
    own = here.to(mask.device) * mask
    return with_confidences(Parts(person.box, own, (own > 0).float()), person, joints)


def with_confidences(found: Parts, person: Person, joints: Tensor | None) -> Parts | None:
    """The parts with confidences lowered by the share of the mask that is unlabelled, and by joints that lie on other
    parts than they should; None if nothing is labelled.
    """
    mask = person.mask > VISIBLE
    labelled = (found.parts > 0) & mask
    count = int(labelled.sum())
    if not count:
        return None
    share = count / max(int(mask.sum()), 1)
    factor = share * _agreement(found, joints)
    return found._replace(sure=found.sure * labelled * factor)


def _agreement(found: Parts, joints: Tensor | None) -> float:
    """Share of the joints that lie on parts where they may be, 0..1: 1 if there are no joints; a single joint weighs
    little.
    """
    if joints is None:
        return 1.0
    x0, y0, x1, y1 = found.box
    joints = joints.detach().float().cpu()
    known = (seen(joints) & joints.isfinite().all(1)).nonzero().flatten().tolist()
    right = total = 1.0
    for joint in known:
        x, y, confidence = joints[joint].tolist()
        if not (x0 <= x < x1 and y0 <= y < y1):
            continue
        part = int(found.parts[int(y) - y0, int(x) - x0])
        if not _NO_BODY_PART[part]:
            total += confidence
            right += confidence * bool((may_be[part] & JOINT_ON[joint]).any())
    return right / total


def _whose(people: Sequence[Person], maps: Tensor) -> list[int | None]:
    """For each person the place of the map that is theirs."""
    from scipy.optimize import linear_sum_assignment

    size = people[0].size
    step = max(1, max(size) // SIDE)
    rows, columns = torch.arange(step // 2, size[0], step), torch.arange(step // 2, size[1], step)
    map_rows = ((rows + 0.5) * (maps.shape[1] / size[0])).long().clamp_max(maps.shape[1] - 1)
    map_columns = ((columns + 0.5) * (maps.shape[2] / size[1])).long().clamp_max(maps.shape[2] - 1)
    labelled = (maps[:, map_rows.to(maps.device)][:, :, map_columns.to(maps.device)] > 0).cpu()
    table = np.zeros((len(people), len(maps)))
    for index, person in enumerate(people):
        x0, y0, x1, y1 = person.box
        mask = torch.zeros(len(rows), len(columns), dtype=torch.bool)
        y, x = (rows >= y0) & (rows < y1), (columns >= x0) & (columns < x1)
        small = (person.mask > VISIBLE).cpu()[rows[y] - y0][:, columns[x] - x0]
        mask[y.nonzero(), x.nonzero().T] = small
        shared = (labelled & mask).sum((1, 2))
        united = (labelled | mask).sum((1, 2)).clamp_min(1)
        table[index] = (shared / united).numpy()
    if len(people) == len(maps):
        table = table + IN_ORDER * np.eye(len(people))
    result: list[int | None] = [None] * len(people)
    for person_place, map_place in zip(*linear_sum_assignment(table, maximize=True), strict=True):
        result[int(person_place)] = int(map_place)
    return result


def merged(first: Parts | None, second: Parts | None) -> Parts | None:
    """The first's parts, and where it has none the second's; both of one person."""
    if first is None or second is None:
        return first or second
    has = first.parts > 0
    parts = torch.where(has, first.parts, second.parts.to(first.parts))
    return Parts(first.box, parts, torch.where(has, first.sure, second.sure.to(first.sure)))
