"""Reads what an artist types: "all but 2" becomes people, "background, 3" becomes layers."""

import re
import unicodedata
from collections.abc import Container, Iterable, Sequence

from ..pairing import number_ranges
from ..scene import BACKGROUND, PERSON, Person, Scene

# The same words in Chinese: the pack is translated, and web/picker/choice.js reads the same.
_ALL_IN_CHINESE = ("全部", "所有", "所有人", "全体", "全體", "大家", "每个人", "每個人", "全选", "全選")
ALL = ("all", "everyone", "everybody", "*", *_ALL_IN_CHINESE)
NONE = ("none", "nobody", "no one", "无", "無", "没有", "沒有", "没有人", "沒有人", "无人", "無人", "全不选", "全不選")
BACKGROUNDS = (BACKGROUND, "backgrounds", "背景")
PEOPLE = ("people", "persons", PERSON, "人物", "人")
_BUT = re.compile(r"^\s*(?:all|everyone|everybody)\s+(?:but|except|without)\s+(.+)$", re.IGNORECASE | re.DOTALL)
_EVERYONE = "|".join(sorted(_ALL_IN_CHINESE, key=len, reverse=True))
_BUT_IN_CHINESE = re.compile(
    rf"^(?:{_EVERYONE})?\s*,?\s*除[了去]?\s*(.+?)(?:\s*(?:以外|之外|外))?(?:\s*,?\s*的?\s*(?:{_EVERYONE}))?$", re.DOTALL
)
_RANGE = re.compile(r"^(\d+)\s*[-\u2013\u2014~\u301c到至]\s*(\d+)$")
_SEPARATOR = re.compile(r"[,;\n\uff0c\u3001\uff1b]|\band\b", re.IGNORECASE)
_AND_IN_CHINESE = re.compile(r"以及|[和与與及跟]")
_NUMBER_IN_CHINESE = re.compile(r"(?:(?:人物|第)\s*)?(\d+)(?:\s*[号號])?")


def plain(text: str) -> str:
    """What an artist typed, its full-width letters, digits and signs as plain ones: as keyboards for Chinese and
    Japanese write them.
    """
    return unicodedata.normalize("NFKC", text).strip()


def choose(people: Sequence[Person], who: str) -> list[Person]:
    """The same people, with `erased` set on those whom `who` names and cleared on all others.

    who: "all", "none", numbers and ranges ("1,3", "2-4"), "all but 2", or names; or the same in Chinese ("全部",
    "除了2以外"). A number means the person of that number in every photo. Raises ValueError for text that names
    somebody who is not there.
    """
    chosen = _numbers(people, who)
    return [person._replace(erased=person.number in chosen) for person in people]


def numbers_by_place(people: Sequence[Person], who: str) -> list[int]:
    """Numbers that `who` names and that people of several photos have because of their places only, not of a label:
    they may be somebody else in each photo.
    """
    text = plain(who)
    if not text or text.lower() in ALL + NONE:
        return []
    named = _listed(people, all_but(people, text) or text)
    return [
        number
        for number in sorted(named)
        if len({person.photo for person in people if person.number == number and not person.labelled}) > 1
    ]


def _numbers(people: Sequence[Person], who: str) -> set[int]:
    text = plain(who)
    everyone = {person.number for person in people}
    if not text:
        raise ValueError("who: nothing is written there. Write all, none, numbers such as 1,3 or 2-4, or all but 2.")
    if text.lower() in ALL:
        return everyone
    if text.lower() in NONE:
        return set()
    excepted = all_but(people, text)
    return _listed(people, text) if excepted is None else everyone - _listed(people, excepted)


def all_but(people: Sequence[Person], text: str) -> str | None:
    """Who is left out by a text such as "all but 2", as it is written there; None if it is no such text.

    A name that begins with the sign for "but" is a name.
    """
    if but := _BUT.match(text):
        return but.group(1)
    if text.lower() in {plain(person.name).lower() for person in people}:
        return None
    but = _BUT_IN_CHINESE.match(text)
    return None if but is None else but.group(1)


def _listed(people: Sequence[Person], text: str) -> set[int]:
    everyone = {person.number for person in people}
    names: dict[str, set[int]] = {}
    for person in people:
        names.setdefault(plain(person.name).lower(), set()).add(person.number)
    chosen: set[int] = set()
    for part in _parts(text, names):
        if part.lower() in names:
            chosen |= names[part.lower()]
            continue
        wanted = _range(part)
        if wanted is None:
            raise ValueError(
                f"who: '{part}' is neither a number nor a name here. {who_exists(people)} "
                "Write all, none, numbers such as 1,3 or 2-4, all but 2, or a name."
            )
        missing = sorted(set(wanted) - everyone)
        if missing:
            raise ValueError(f"who: there is no person {number_ranges(missing)}; {who_exists(people)}")
        chosen |= set(wanted)
    return chosen


def _parts(text: str, names: Container[str]) -> list[str]:
    """What stands between commas and "and"; the Chinese "and" is one sign, which may be part of one of these names."""
    parts: list[str] = []
    for part in (part.strip() for part in _SEPARATOR.split(plain(text))):
        parts += [part] if part.lower() in names else (one.strip() for one in _AND_IN_CHINESE.split(part))
    return [part for part in parts if part]


def _range(part: str) -> list[int] | None:
    """Numbers of "3", "2-4" or "1 3"; None if it is nothing of the kind."""
    part = _NUMBER_IN_CHINESE.sub(r"\1", part)
    return _numbers_of([part]) or _numbers_of(part.split())


def number_of(word: str) -> int | None:
    """The number of "3"; None if it is none, or several."""
    numbers = _range(word)
    return numbers[0] if numbers and len(numbers) == 1 else None


def _numbers_of(words: Iterable[str]) -> list[int] | None:
    numbers: list[int] = []
    for word in words:
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
        return f"this photo has {number_ranges(person.number for person in people)}."
    lists = (f"photo {p + 1} has {number_ranges(q.number for q in people if q.photo == p)}" for p in photos)
    return "; ".join(lists) + "."


def layers_named(scenes: Sequence[Scene], which: str, socket: str = "which") -> set[str]:
    """Ids of the layers that `which` names: "all", "background", "people", numbers ("2", "2-4"), names or ids, in any
    mix.

    Raises ValueError, with the socket's name, when a part of the text names no layer. Scenes without any layer give an
    empty set for the group words.
    """
    layers = [layer for scene in scenes for layer in scene.layers]
    text = plain(which)
    names = {plain(name).lower() for layer in layers for name in (layer.id, layer.name)}
    if not text:
        raise ValueError(
            f"{socket}: nothing is written there. Write all, background, people, or numbers such as 2 or 1,3."
        )
    named: set[str] = set()
    for part in _parts(text, names):
        word = part.lower()
        if word in ALL:
            found = layers
        elif word in BACKGROUNDS:
            found = [layer for layer in layers if layer.domain == BACKGROUND]
        elif word in PEOPLE:
            found = [layer for layer in layers if layer.domain == PERSON]
        else:
            found = [layer for layer in layers if word in (layer.id.lower(), plain(layer.name).lower())]
            numbers = _range(part)
            if not found and numbers:
                found = [layer for layer in layers if layer.number in numbers]
            if not found and layers:
                raise ValueError(f"{socket}: no layer is called '{part}'. {_layers_that_exist(scenes)}")
        named |= {layer.id for layer in found}
    return named


def _layers_that_exist(scenes: Sequence[Scene]) -> str:
    layers = [layer for scene in scenes for layer in scene.layers]
    numbers = [layer.number for layer in layers if layer.number is not None]
    people = f"person layers {number_ranges(numbers)}" if numbers else "no person layers (nobody who stays was hidden)"
    return f"There are: background, {people}. Write all, background, people, or numbers."
