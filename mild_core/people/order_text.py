"""Reads what an artist writes about who stands in front: "2<3", "3 in front of 1", or a list from far to near."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..pairing import number_ranges
from ..scene import Person
from .selection import number_of, plain, who_exists

HELP = "Write pairs such as 2<3 (3 stands in front of 2), or everyone from the farthest to the nearest: 3,1,2."

_BEHIND = r"(?:is |stands |is standing )?(?:behind|farther than|beyond)"
_BEFORE = r"(?:is |stands |is standing )?(?:in front of|nearer than|before)"
_FARTHER = re.compile(rf"<|{_BEHIND}", re.IGNORECASE)
_RELATION = re.compile(rf"(<|>|\b{_BEHIND}\b|\b{_BEFORE}\b)", re.IGNORECASE)
_WHO = r"([^,;\n\u3001<>]+?)"
_IN_CHINESE = re.compile(rf"{_WHO}\s*站?在\s*{_WHO}\s*的?([前后後])[面方边邊]?(?=\s*(?:[,;\n\u3001]|$))")
_STATEMENT = re.compile(r"[,;\n\u3001]|\band\b", re.IGNORECASE)
_LIST = re.compile(r"[,;\n\u3001]")


class Told(NamedTuple):
    """One pair that the artist settled."""

    photo: int  # from 0
    front: int  # numbers of the two people
    back: int


def told_pairs(people: Sequence[Person], text: str) -> list[Told]:
    """The pairs that `text` settles; none if it is empty.

    text: pairs ("2<3", "3>2", "3 in front of 2", "2 behind 3", "3在2前面": 3 is nearer in all five) and chains
    ("1<2<3"), between commas or lines; or, without any such sign, one list from the farthest to the nearest ("3,1,2").
    Signs and digits may be full-width ones. Numbers or names; a number means the person of that number in every photo.
    Raises ValueError if somebody is not there, if a part says nothing, or if pairs go round in a circle.
    """
    text = plain(text)
    if not text:
        return []
    text = _IN_CHINESE.sub(lambda said: f"{said[1]}{'>' if said[3] == '前' else '<'}{said[2]}", text)
    chains = _chains(text) if _RELATION.search(text) else [_listed(people, text)]
    pairs: list[Told] = []
    for back, front in (pair for chain in chains for pair in chain):
        pairs += _resolved(people, back, front)
    pairs = list(dict.fromkeys(pairs))
    for photo in {pair.photo for pair in pairs}:
        _refuse_circles(people, [pair for pair in pairs if pair.photo == photo], photo)
    return pairs


def _chains(text: str) -> list[list[tuple[str, str]]]:
    """Statements as pairs of words, the farther one first."""
    chains = []
    for statement in (part.strip() for part in _STATEMENT.split(text)):
        if not statement:
            continue
        words = [word.strip() for word in _RELATION.split(statement)]
        names, signs = words[::2], words[1::2]
        if not signs:
            raise ValueError(f"order: '{statement}' alone says nothing beside pairs. {HELP}")
        if not all(names):
            raise ValueError(f"order: on one side of '{statement}' nobody stands. {HELP}")
        chains.append(
            [
                (one, other) if _FARTHER.fullmatch(sign) else (other, one)
                for one, sign, other in zip(names, signs, names[1:], strict=False)
            ]
        )
    return chains


def _listed(people: Sequence[Person], text: str) -> list[tuple[str, str]]:
    """A list from the farthest to the nearest as a chain of pairs."""
    names = {plain(person.name).lower() for person in people}
    words: list[str] = []
    for part in (part.strip() for part in _LIST.split(text)):
        words += [part] if part.lower() in names else part.split()
    if len(words) < 2:
        raise ValueError(f"order: '{text.strip()}' alone is no order. {HELP}")
    return list(zip(words, words[1:], strict=False))


def _resolved(people: Sequence[Person], back: str, front: str) -> list[Told]:
    """The pair in every photo where both are."""
    behind, before = _meant(people, back), _meant(people, front)
    pairs = []
    for photo in sorted({person.photo for person in behind} & {person.photo for person in before}):
        ends = []
        for word, meant in ((back, behind), (front, before)):
            here = sorted({person.number for person in meant if person.photo == photo})
            if len(here) > 1:
                raise ValueError(f"order: {number_ranges(here)} are all called '{word}'. Write their numbers.")
            ends.append(here[0])
        if ends[0] == ends[1]:
            raise ValueError(f"order: '{back}' and '{front}' are one person; a pair needs two. {HELP}")
        pairs.append(Told(photo, front=ends[1], back=ends[0]))
    if not pairs:
        raise ValueError(f"order: '{back}' and '{front}' are in different photos, where neither hides the other.")
    return pairs


def _meant(people: Sequence[Person], word: str) -> list[Person]:
    named = [person for person in people if plain(person.name).lower() == word.lower()]
    if named:
        return named
    number = number_of(word)
    if number is None:
        raise ValueError(f"order: '{word}' is neither a number nor a name here. {_sentence(who_exists(people))} {HELP}")
    numbered = [person for person in people if person.number == number]
    if not numbered:
        raise ValueError(f"order: there is no person {word}; {who_exists(people)}")
    return numbered


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _refuse_circles(people: Sequence[Person], pairs: Sequence[Told], photo: int) -> None:
    """Raises ValueError that names who stands in front of whom in a circle."""
    nearer: dict[int, set[int]] = {}
    for pair in pairs:
        nearer.setdefault(pair.back, set()).add(pair.front)
    while open_ends := [who for who, fronts in nearer.items() if not fronts & nearer.keys()]:
        for who in open_ends:
            del nearer[who]
    if not nearer:
        return
    # Everyone left has somebody in front who is left too, so following them leads back to one already passed.
    path = [min(nearer)]
    while path.count(path[-1]) < 2:
        path.append(min(nearer[path[-1]] & nearer.keys()))
    names = {person.number: person.name for person in people if person.photo == photo}
    circle = " < ".join(names[number] for number in path[path.index(path[-1]) :])
    raise ValueError(
        f"order: this goes round in a circle: {circle} (< means: stands behind). Take one of these pairs out."
    )
