"""Who stands in front of whom. First version: contact with the ground; the artist's rank wins."""

from collections.abc import Sequence

from . import boxes
from .scene import Box, Person


def nearness(box: Box, size: tuple[int, int]) -> tuple[float, float]:
    """Sort key that is larger for who is nearer: lower feet first, then, where the photo cuts both off, the larger
    figure.
    """
    return box[3] / size[0], boxes.area(box) / (size[0] * size[1])


def back_to_front(people: Sequence[Person]) -> list[Person]:
    """These people of one photo, farthest first.

    Ranks given by the artist hold among those who have one (larger is nearer). Who has none keeps the place that feet
    give.
    """
    natural = sorted(people, key=lambda person: nearness(person.box, person.size))
    places = [place for place, person in enumerate(natural) if person.rank is not None]
    ranked = sorted((natural[place] for place in places), key=lambda person: person.rank or 0.0)
    for place, person in zip(places, ranked, strict=True):
        natural[place] = person
    return natural
