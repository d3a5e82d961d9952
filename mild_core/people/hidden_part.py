"""The hidden part of a person behind somebody erased, as the artist painted it: it takes the place of any guess."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..image import boxes
from ..pairing import number_ranges
from ..scene import Person
from .from_masks import resize_mask
from .selection import number_of, plain, who_exists


def with_hidden(people: Sequence[Person], who: str, masks: Tensor, photo: int = 0) -> list[Person]:
    """The same people; the one whom `who` names (number or name) goes on where the mask says.

    masks [B, h, w], 0..1, of any size: for photo number `photo` (from 0) and those after it. An empty mask says that
    nothing of the person is hidden. Parts of the mask where nobody is erased are ignored when the photo is split.
    Raises ValueError if the person is not in a photo that has a mask, if several are meant, or if the person is erased.
    """
    result = list(people)
    for index, mask in enumerate(masks):
        here = [place for place, person in enumerate(people) if person.photo == photo + index]
        place = _named(people, here, who, photo + index)
        person = people[place]
        if person.erased:
            raise ValueError(contradiction(person))
        full = resize_mask(mask[None].to(person.mask), person.size)[0]
        box = boxes.tight_box(full)
        if box is None:
            x, y = person.box[:2]
            box = (x, y, x + 1, y + 1)
        result[place] = person._replace(hidden=boxes.cut(full, box).clone(), hidden_box=box)
    return result


def contradiction(person: Person) -> str:
    """Why an erased person cannot go on anywhere."""
    return (
        f"people: {person.name} goes, but Paint Hidden Part says where that person goes on behind others. "
        f"Let {person.name} stay in Choose People, or take that node out."
    )


def _named(people: Sequence[Person], here: Sequence[int], who: str, photo: int) -> int:
    """Place of the person called `who` among those of one photo."""
    word = " ".join(plain(who).split())
    found = [place for place in here if plain(people[place].name).lower() == word.lower()]
    if not found:
        found = [place for place in here if people[place].number == number_of(word)]
    where = f" in photo {photo + 1}" if {person.photo for person in people} - {0} or photo else ""
    if not found:
        raise ValueError(
            f"who: there is no '{word}'{where}; {who_exists(people)} Write one person's number or name."
            if word
            else f"who: nothing is written there; {who_exists(people)} Write one person's number or name."
        )
    if len(found) > 1:
        numbers = number_ranges(people[place].number for place in found)
        raise ValueError(f"who: {numbers} are all called '{word}'{where}. Write one number.")
    return found[0]


def is_empty(person: Person) -> bool:
    """Whether the artist said that nothing of the person is hidden."""
    return person.hidden is not None and not torch.any(person.hidden)
