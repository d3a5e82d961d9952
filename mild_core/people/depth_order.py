"""Depth order: who stands in front of whom, by what the artist says, else by outlines that meet, by depth, by feet.

What the artist says holds. Guesses are taken from the surest to the least sure, each unless it contradicts those
before it; so where guesses go round in a circle, the least sure one is dropped.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..image import boxes
from ..image.growth import VISIBLE
from ..pairing import check_count, row_of
from ..scene import Box, Person
from .contact import Contact, contacts
from .from_masks import fitted, photo_size
from .order_text import Told, told_pairs

DECISIVE = 2.0
"""A logit from which the outlines decide without the depth image: 0.88 as a probability."""

DEPTH_WEIGHT = 20.0
"""Logit of one person being nearer than another by the whole range of depths of the photo."""

SAME_DEPTH = 0.01
"""Share of the range of depths below which two people count as equally near."""

SAMPLES = 64
"""A person's depth is read at this many places along each side of the mask's box, at most."""


class Pair(NamedTuple):
    """Two people of an Order who come near each other."""

    front: int  # places in Order.people
    back: int
    confidence: float  # 0..1: how sure outlines or depths are; 1 if the artist said so, 0 if they point the other way
    told: bool  # by the artist, in pairs or in ranks
    touching: bool
    place: tuple[float, float]  # x, y in pixels of the photo, between them


class Order(NamedTuple):
    """The people of one photo, from the farthest to the nearest."""

    people: list[Person]
    pairs: tuple[Pair, ...]


def nearness(box: Box, size: tuple[int, int]) -> tuple[float, float]:
    """Sort key that is larger for who is nearer: lower feet first, then, where the photo cuts both off, the larger
    figure.
    """
    return box[3] / size[0], boxes.area(box) / (size[0] * size[1])


def back_to_front(people: Sequence[Person]) -> list[Person]:
    """These people of one photo, farthest first, by their ranks and by what is seen."""
    ranks = {person.rank for person in people}
    if None not in ranks and len(ranks) == len(people):
        return sorted(people, key=lambda person: person.rank or 0.0)
    return in_order(people).people


def check_depths(depth: Tensor, photos: int) -> None:
    """Raises ValueError unless depth [B, h, w] holds one picture for all photos or one for each."""
    check_count(len(depth), photos, "depth", "pictures")


def with_ranks(
    people: Sequence[Person], text: str = "", depth: Tensor | None = None, photos: int | None = None
) -> tuple[list[Person], dict[int, Order]]:
    """The people of any number of photos, as they were given but with `rank` set for everyone: 0 is the farthest of
    the person's photo. And each photo's order.

    text: what the artist says (order_text.told_pairs). depth [B, h, w], one for all photos or one for each; photos:
    how many there are, if that is known. Raises ValueError for text that cannot be followed, for another number of
    depth images, and for people in a photo for which there is none.
    """
    if depth is not None and photos is not None:
        check_depths(depth, photos)
    told = told_pairs(people, text)
    orders = {}
    ranks: dict[tuple[int, int], float] = {}
    for photo in sorted({person.photo for person in people}):
        if depth is not None and 1 < depth.shape[0] <= photo:
            raise ValueError(
                f"depth: there are people in photo {photo + 1}, but depth holds {depth.shape[0]} pictures. "
                "Connect one depth image, or one for each photo."
            )
        here = [person for person in people if person.photo == photo]
        own = None if depth is None else depth[row_of(len(depth), photo)]
        order = in_order(here, own, [pair for pair in told if pair.photo == photo])
        ranks |= {(photo, person.number): float(rank) for rank, person in enumerate(order.people)}
        orders[photo] = order
    return [person._replace(rank=ranks[person.photo, person.number]) for person in people], orders


def in_order(people: Sequence[Person], depth: Tensor | None = None, told: Iterable[Told] = ()) -> Order:
    """The order of these people of one photo.

    depth [h, w], of any size: larger is nearer, in any unit. told: pairs that the artist settled, free of circles;
    after them come ranks (Person.rank, larger is nearer, equal ranks say nothing), then what is seen. The people come
    back as they were given.
    """
    size = photo_size(people, people[0].photo) if people else None
    if size is None:
        return Order([], ())
    fit = [fitted(person, size) for person in people]
    meeting = contacts(fit)
    near = [nearness(person.box, size) for person in fit]
    depths = None if depth is None else relative_depths(fit, depth)
    graph = _Graph(len(fit))
    place = {person.number: index for index, person in enumerate(people)}
    for pair in told:
        if pair.back in place and pair.front in place:
            graph.add(place[pair.back], place[pair.front])
    _add_ranks(graph, people)
    settled = graph.copy()
    guesses = [(_logit(contact, near, depths), contact) for contact in meeting]
    for logit, contact in sorted(guesses, key=lambda guess: -abs(guess[0])):
        back, front = (contact.second, contact.first) if logit > 0 else (contact.first, contact.second)
        if logit:
            graph.add(back, front)
    natural = near if depths is None else list(zip(depths, near, strict=True))
    order = graph.sorted(sorted(range(len(fit)), key=lambda index: natural[index]))
    return Order([people[index] for index in order], tuple(_pairs(order, guesses, settled)))


def relative_depths(people: Sequence[Person], depth: Tensor) -> list[float]:
    """Each person's median depth, as a share of the range of depths in the photo; all 0 for a flat depth image.

    people of one size; depth [h, w], of any size.
    """
    height, width = depth.shape
    some = depth[:: max(1, height // 256), :: max(1, width // 256)].float().flatten()
    low, high = torch.quantile(some, some.new_tensor([0.02, 0.98])).tolist()
    if not high > low:
        return [0.0] * len(people)
    medians = []
    for person in people:
        x0, y0, x1, y1 = person.box
        rows = _spread(y1 - y0)
        columns = _spread(x1 - x0)
        seen = person.mask.cpu()[rows][:, columns] > VISIBLE
        y = ((rows + y0 + 0.5) * height / person.size[0]).long().clamp(0, height - 1)
        x = ((columns + x0 + 0.5) * width / person.size[1]).long().clamp(0, width - 1)
        values = depth[y.to(depth.device)][:, x.to(depth.device)].float().cpu()
        medians.append((float((values[seen] if seen.any() else values).median()) - low) / (high - low))
    return medians


def _spread(length: int) -> Tensor:
    return torch.linspace(0, length - 1, min(length, SAMPLES)).round().long()


def _logit(contact: Contact, near: Sequence[tuple[float, float]], depths: Sequence[float] | None) -> float:
    """Above 0 if the first of a contact seems to be in front of the second."""
    if depths is not None and not (contact.touching and abs(contact.logit) >= DECISIVE):
        difference = depths[contact.first] - depths[contact.second]
        if abs(difference) >= SAME_DEPTH:
            return DEPTH_WEIGHT * difference
    if contact.logit:
        return contact.logit
    return math.copysign(1e-3, 1 if near[contact.first] > near[contact.second] else -1)


def _add_ranks(graph: "_Graph", people: Sequence[Person]) -> None:
    ranked = sorted((person.rank, index) for index, person in enumerate(people) if person.rank is not None)
    for place, (rank, back) in enumerate(ranked):
        for higher, front in ranked[place + 1 :]:
            if higher > rank:
                graph.add(back, front)


def _pairs(order: Sequence[int], guesses: Sequence[tuple[float, Contact]], settled: "_Graph") -> list[Pair]:
    """Those who meet, as they stand in the finished order."""
    place = {index: where for where, index in enumerate(order)}
    pairs = []
    for logit, contact in guesses:
        back, front = sorted((contact.first, contact.second), key=lambda index: place[index])
        told = settled.has(back, front)
        agrees = (logit > 0) == (front == contact.first)
        confidence = 1.0 if told else math.tanh(abs(logit) / 2) if agrees else 0.0
        pairs.append(Pair(place[front], place[back], confidence, told, contact.touching, contact.place))
    return pairs


class _Graph:
    """Who must stand in front of whom: for each person the set (as bits) of those who must stand in front of them."""

    def __init__(self, count: int):
        self.nearer = [0] * count
        self.farther = [0] * count
        self.direct: list[list[int]] = [[] for _ in range(count)]

    def copy(self) -> "_Graph":
        copy = _Graph(0)
        copy.nearer, copy.farther = self.nearer[:], self.farther[:]
        copy.direct = [fronts[:] for fronts in self.direct]
        return copy

    def has(self, back: int, front: int) -> bool:
        """Whether it follows that `front` stands in front of `back`."""
        return bool(self.nearer[back] >> front & 1)

    def add(self, back: int, front: int) -> None:
        """Put one behind the other, unless that is settled already, either way."""
        if back == front or self.has(back, front) or self.has(front, back):
            return
        self.direct[back].append(front)
        above, below = self.nearer[front] | 1 << front, self.farther[back] | 1 << back
        for index in _bits(below):
            self.nearer[index] |= above
        for index in _bits(above):
            self.farther[index] |= below

    def sorted(self, natural: Sequence[int]) -> list[int]:
        """Everyone, farthest first; whom nothing settles in natural order."""
        key = {index: where for where, index in enumerate(natural)}
        behind = [0] * len(key)
        for fronts in self.direct:
            for front in fronts:
                behind[front] += 1
        ready = [(key[index], index) for index in natural if not behind[index]]
        heapq.heapify(ready)
        order = []
        while ready:
            _, index = heapq.heappop(ready)
            order.append(index)
            for front in self.direct[index]:
                behind[front] -= 1
                if not behind[front]:
                    heapq.heappush(ready, (key[front], front))
        return order


def _bits(number: int) -> Iterable[int]:
    """Places of the ones in a number."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
