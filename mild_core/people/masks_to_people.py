"""Masks become people: which of the masks belong to which photo, what each of them shows, and the sentences on it."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ..image.growth import VISIBLE
from ..pairing import Size, number_ranges, stretched
from ..scene import Person
from .from_masks import cleaned_person, numbered, people_from_blobs, photo_size, resize_mask, without_repeats
from .label_images import COLOURS, GREY, people_from_labels, resize_labels

AUTOMATIC = "automatic"
PER_MASK = "one person per mask"
BLOBS = "separate blobs"
LABELS = "label image"

Boxes = Sequence[Sequence[dict]]
"""The boxes of each photo."""


class Plan(NamedTuple):
    """What is to be made of some masks."""

    mode: str  # PER_MASK, BLOBS or LABELS
    photos: list[int]  # which photo, from 0, each mask belongs to
    said: list[str]  # sentences on what was decided


class FromMasks(NamedTuple):
    """All people, and the sentences on what was done."""

    people: list[Person]
    text: str


def planned(split: str, masks: int, photos: int, first: int = 0, boxes: Boxes = (), all_photos: bool = False) -> Plan:
    """What `masks` masks are, by their number, that of the photos and the boxes that came with them.

    split: AUTOMATIC, or one of the modes. photos: 0 if nobody knows. first: the photo that the artist names, from 0.
    boxes: those of each photo; all_photos: they are meant for every photo.

    Boxes decide first: a mask for each, in the order of the photos. Else AUTOMATIC takes as many masks as there are
    photos to be one for each; a single one to belong to photo `first`; and several of another number to be people of
    that photo. A mask that is alone in its photo may show several people, each in one piece; of several masks for one
    photo (or with boxes) each is one person, also behind a pole that splits the mask in two. Raises ValueError where
    boxes and masks do not fit together.
    """
    if split in (BLOBS, LABELS):
        to = list(range(first, first + masks))
        return Plan(split, to, [_one_each(to, photos)] if masks > 1 or photos > 1 else [])
    if boxes:
        frames = list(boxes) * (max(photos, 1) if all_photos else 1)
        to = [index for index, frame in enumerate(frames) for _ in frame]
        if len(to) == masks:
            return Plan(PER_MASK, to, [f"By the boxes: {_belonging(to)}."] if len(frames) > 1 and masks else [])
        alone = "There is one mask for several boxes: switch individual_masks on in the detector."
        if split == AUTOMATIC and masks == len(frames):
            to = list(range(masks)) if masks > 1 else [first]
            said = [_one_each(to, photos)] if masks > 1 else []
            return Plan(BLOBS, to, [*said, alone] if any(len(frame) > 1 for frame in frames) else said)
        if photos <= 1 and len(frames) <= 1:
            return Plan(PER_MASK, [0] * masks, [alone] if masks == 1 and len(to) > 1 else [])
        raise ValueError(
            f"boxes: there are {len(to)} boxes in {len(frames)} photos, but {masks} masks. Connect the boxes that "
            "belong to the masks, and switch individual_masks on in the detector: one mask for each box."
        )
    together = [first] * masks
    if split == AUTOMATIC and masks == photos > 1 and first == 0:
        return Plan(BLOBS, list(range(masks)), [_one_each(range(masks), photos)])
    said = []
    if photos > 1 and masks or masks > 1 and split == AUTOMATIC:
        said.append(_together(split, masks, photos, first))
    return Plan(BLOBS if split == AUTOMATIC and masks == 1 else PER_MASK, together, said)


def people_from_masks(
    masks: Sequence[Tensor], plan: Plan, sizes: Sequence[Size], existing: Sequence[Person] = (), decided: bool = False
) -> FromMasks:
    """The people of some masks, numbered, after those who were found before.

    masks: [H, W], 0..1, each; label images may be [H, W, C]. sizes: height and width of each photo, where they are
    known: masks are fitted to them. decided: AUTOMATIC made the plan, so the text says what a blob was taken for.
    """
    known = dict(enumerate(sizes))
    own = [(int(mask.shape[0]), int(mask.shape[1])) for mask in masks]
    fit = [known.setdefault(to, photo_size(existing, to) or size) for to, size in zip(plan.photos, own, strict=True)]
    found: list[Person] = []
    said = list(plan.said)
    specks = 0
    shown = [bool((mask > (0 if plan.mode == LABELS else VISIBLE)).any()) for mask in masks]
    if plan.mode == LABELS:
        images = [resize_labels(mask, size) for mask, size in zip(masks, fit, strict=True)]
        found, specks, by = people_from_labels(images, plan.photos)
        said += _label_words(found, existing, by)
    else:
        parts = 0
        for mask, to, size in zip(masks, plan.photos, fit, strict=True):
            here = resize_mask(mask[None], size)[0]
            if plan.mode == BLOBS:
                new, stray = people_from_blobs(here, to)
            else:
                person, stray = cleaned_person(here, to)
                new = [] if person is None else [person]
            parts = max(parts, len(new))
            found += new
            specks += stray
        if decided and plan.mode == BLOBS and parts > 1:
            said.append(
                "Each separate part of a mask is one person. If they are parts of one, choose 'one person per mask'."
                if len(masks) == 1
                else "Each separate part of a mask is one person."
            )
    # A batch has one size. Nothing of an empty mask can lie in a wrong place.
    pairs = dict.fromkeys((size, frame) for size, frame, here in zip(own, fit, shown, strict=True) if here)
    for size, frame in pairs:
        said += stretched("masks", [size], [frame])
    once = without_repeats(found, existing)
    people = numbered(once, existing)
    lines = [_counted(people, len(once) if existing else None), *said, *_photos_words(people, len(sizes))]
    lines += _left_out(shown.count(False) if people else 0, len(found) - len(once), specks)
    return FromMasks(people, "\n".join(lines))


def _belonging(photos: Sequence[int]) -> str:
    """Words such as: photo 1 has mask 1, photo 2 has masks 2-4."""
    words = []
    for photo in sorted(set(photos)):
        here = [index + 1 for index, to in enumerate(photos) if to == photo]
        words.append(f"photo {photo + 1} has mask{'s' if len(here) > 1 else ''} {number_ranges(here)}")
    return ", ".join(words)


def _one_each(photos: Sequence[int], count: int) -> str:
    """The sentence for one mask in each photo."""
    start = f"{len(photos)} mask{'s' * (len(photos) != 1)}"
    start += f" for {count} photos: " if count > 1 else ": "
    if len(photos) <= 4:
        return start + ", ".join(f"mask {index} for photo {to + 1}" for index, to in enumerate(photos, 1)) + "."
    return (
        f"{start}one for each, from mask 1 for photo {photos[0] + 1} to mask {len(photos)} for photo {photos[-1] + 1}."
    )


def _together(split: str, masks: int, photos: int, first: int) -> str:
    """The sentence for all masks in one photo, and what else could have been meant."""
    if masks == 1:
        return f"1 mask for {photos} photos: it is of photo {first + 1}."
    if photos == 1:
        return f"{masks} masks: each is one person."
    all_ = f"all of them are people of photo {first + 1}."
    if photos == 0:
        return f"{masks} masks: {all_}"
    line = f"{masks} masks for {photos} photos: {all_}"
    if masks != photos:
        return line + " Connect the detector's boxes, which tell the photos, or give one mask for each photo."
    if split == AUTOMATIC:
        return line + " For one mask in each photo set 'photo' to 1."
    return line + " For one mask in each photo choose 'automatic' or 'separate blobs'."


def _label_words(found: Sequence[Person], existing: Sequence[Person], by: str) -> list[str]:
    """Sentences on where the numbers of label images come from."""
    if not found:
        return []
    source = {
        GREY: "The grey level is the number.",
        COLOURS: "Colours are numbered as they first appear, from left to right, and keep their numbers.",
    }.get(by, "The number in the palette is the number.")
    highest = max((person.number for person in existing), default=0)
    return [source, *([f"They count on from {highest}: label 1 is number {highest + 1}."] if highest else [])]


def _photos_words(people: Sequence[Person], photos: int) -> list[str]:
    """Sentences on photos of a batch where nobody is, and on people of photos that are not there."""
    if not photos or not people:
        return []
    there = {person.photo + 1 for person in people}
    nobody = sorted(set(range(1, photos + 1)) - there)
    beyond = sorted(number for number in there if number > photos)
    lines = []
    if nobody:
        lines.append(f"Nobody in photo{'s' if len(nobody) > 1 else ''} {number_ranges(nobody)}.")
    if beyond:
        have = f"1 photo, and there is no photo {number_ranges(beyond)}" if photos == 1 else None
        have = have or f"{photos} photos, and there is no photo {number_ranges(beyond)}"
        lines.append(f"Some masks belong to no photo: image holds {have}.")
    return lines


def _counted(people: Sequence[Person], new: int | None) -> str:
    """The sentence on how many people there are, and how many of them are new (None: all)."""
    if not people:
        return (
            "Nobody: no mask shows anything. Paint a mask (right click on Load Image), connect a detector, or lower "
            "its threshold."
        )
    count = f"{len(people)} people" if len(people) != 1 else "1 person"
    return count if new is None else f"{count}, {new} of them new"


def _left_out(empty: int, repeats: int, specks: int) -> list[str]:
    """Sentences on masks and specks that were left out."""
    lines = []
    if empty:
        lines.append(f"{empty} empty mask{'s' if empty > 1 else ''} left out.")
    if repeats:
        lines.append(f"{repeats} mask{'s' if repeats > 1 else ''} of somebody who is there already left out.")
    if specks:
        lines.append(f"{specks} speck{'s' if specks > 1 else ''} too small for a person left out.")
    return lines
