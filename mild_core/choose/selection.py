"""Reads what an artist types: "all but 2" becomes people, "background, 3" becomes layers."""

import re
from collections.abc import Sequence

from ..people import spoken
from ..scene import BACKGROUND, PERSON, Person, Scene

ALL = ("all", "everyone", "everybody", "*")
NONE = ("none", "nobody", "no one")
_BUT = re.compile(r"^\s*(?:all|everyone|everybody)\s+(?:but|except|without)\s+(.+)$", re.IGNORECASE | re.DOTALL)
_RANGE = re.compile(r"^(\d+)\s*[-\u2013]\s*(\d+)$")
_SEPARATOR = re.compile(r"[,;\n\uff0c\u3001]|\band\b", re.IGNORECASE)


def choose(people: Sequence[Person], who: str) -> list[Person]:
    """The same people, with `erased` set on those whom `who` names and cleared on all others.

    who: "all", "none", numbers and ranges ("1,3", "2-4"), "all but 2", or names. A number means the person of that
    number in every photo. Raises ValueError for text that names somebody who is not there.
    """
    chosen = _numbers(people, who)
    return [person._replace(erased=person.number in chosen) for person in people]


def numbers_by_place(people: Sequence[Person], who: str) -> list[int]:
    """Numbers that `who` names and that people of several photos have because of their places only, not of a label:
    they may be somebody else in each photo.
    """
    text = who.strip()
    if not text or text.lower() in ALL + NONE:
        return []
    but = _BUT.match(text)
    named = _listed(people, but.group(1) if but else text)
    return [
        number
        for number in sorted(named)
        if len({person.photo for person in people if person.number == number and not person.labelled}) > 1
    ]


def _numbers(people: Sequence[Person], who: str) -> set[int]:
    text = who.strip()
    everyone = {person.number for person in people}
    if not text:
        raise ValueError("who: nothing is written there. Write all, none, numbers such as 1,3 or 2-4, or all but 2.")
    if text.lower() in ALL:
        return everyone
    if text.lower() in NONE:
        return set()
    if but := _BUT.match(text):
        return everyone - _listed(people, but.group(1))
    return _listed(people, text)


def _listed(people: Sequence[Person], text: str) -> set[int]:
    everyone = {person.number for person in people}
    names: dict[str, set[int]] = {}
    for person in people:
        names.setdefault(person.name.strip().lower(), set()).add(person.number)
    chosen: set[int] = set()
    for part in _parts(text):
        if part.lower() in names:
            chosen |= names[part.lower()]
            continue
        wanted = _range(part)
        if wanted is None:
            wanted = _range(" ".join(part.split()).replace(" ", ","))
        if wanted is None:
            raise ValueError(
                f"who: '{part}' is neither a number nor a name here. {who_exists(people)} "
                "Write all, none, numbers such as 1,3 or 2-4, all but 2, or a name."
            )
        missing = sorted(set(wanted) - everyone)
        if missing:
            raise ValueError(f"who: there is no person {spoken(missing)}; {who_exists(people)}")
        chosen |= set(wanted)
    return chosen


def _parts(text: str) -> list[str]:
    return [part.strip() for part in _SEPARATOR.split(text) if part.strip()]


def _range(part: str) -> list[int] | None:
    """Numbers of "3", "2-4" or "1,3" (what stood there with blanks between); None if it is nothing of the kind."""
    numbers: list[int] = []
    for word in part.split(","):
        if word.isdecimal():
            numbers.append(int(word))
        elif span := _RANGE.match(word):
            first, last = sorted((int(span.group(1)), int(span.group(2))))
            if last - first > 10_000:
                return None
            numbers.extend(range(first, last + 1))
        else:
            return None
    return numbers or None


def who_exists(people: Sequence[Person]) -> str:
    """Whom one may name, photo by photo, as the end of a sentence that says who is not there."""
    photos = sorted({person.photo for person in people})
    if not photos:
        return "nobody was found in this photo."
    if len(photos) == 1:
        return f"this photo has {spoken(person.number for person in people)}."
    lists = (f"photo {p + 1} has {spoken(q.number for q in people if q.photo == p)}" for p in photos)
    return "; ".join(lists) + "."


def layers_named(scenes: Sequence[Scene], which: str) -> set[str]:
    """Ids of the layers that `which` names: "all", "background", "people", numbers ("2", "2-4"), names or ids, in any
    mix.

    Raises ValueError when a part of the text names no layer. Scenes without any layer give an empty set for the group
    words.
    """
    layers = [layer for scene in scenes for layer in scene.layers]
    text = which.strip()
    if not text:
        raise ValueError("which: nothing is written there. Write all, background, people, or numbers such as 2 or 1,3.")
    named: set[str] = set()
    for part in _parts(text):
        word = part.lower()
        if word in ALL:
            found = layers
        elif word in (BACKGROUND, "backgrounds"):
            found = [layer for layer in layers if layer.domain == BACKGROUND]
        elif word in ("people", "persons", PERSON):
            found = [layer for layer in layers if layer.domain == PERSON]
        else:
            found = [layer for layer in layers if word in (layer.id.lower(), layer.name.lower())]
            numbers = _range(part) or _range(" ".join(part.split()).replace(" ", ","))
            if not found and numbers:
                found = [layer for layer in layers if layer.number in numbers]
            if not found and layers:
                raise ValueError(f"which: no layer is called '{part}'. {_layers_that_exist(scenes)}")
        named |= {layer.id for layer in found}
    return named


def _layers_that_exist(scenes: Sequence[Scene]) -> str:
    layers = [layer for scene in scenes for layer in scene.layers]
    numbers = [layer.number for layer in layers if layer.number is not None]
    people = f"person layers {spoken(numbers)}" if numbers else "no person layers (nobody who stays was hidden)"
    return f"There are: background, {people}. Write all, background, people, or numbers."
