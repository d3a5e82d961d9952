"""Check that bodies belong to the people of a split, and give these people the bodies' joints."""

from collections.abc import Sequence

from ..image import boxes
from ..people.from_masks import fitted
from ..scene import Body, Morphology, Person


def check_morphology(
    morphology: Sequence[Morphology], people: Sequence[Person], count: int, size: tuple[int, int]
) -> None:
    """Raises ValueError, in the artist's words, if bodies were read in other photos or of other people.

    count, size: the photos' number, height and width.
    """
    if len(morphology) != count:
        raise ValueError(
            f"morphology: got bodies of {len(morphology)} photos, but image holds {count}. Connect the same batch of "
            "photos to Read Bodies."
        )
    for index, one in enumerate(morphology):
        if tuple(one.size) != size:
            raise ValueError(
                f"morphology: bodies were read in a photo of {one.size[1]} x {one.size[0]} pixels, but this one has "
                f"{size[1]} x {size[0]}. Connect the same photo to Read Bodies and to Split into Layers."
            )
        here = {person.number: person for person in people if person.photo == index}
        bodies = {body.number: body for body in one.bodies}
        strangers = sorted(here.keys() ^ bodies.keys())
        if strangers:
            number = strangers[0]
            where = "Split into Layers, but not in Read Bodies" if number in here else "Read Bodies, but not here"
            raise ValueError(
                f"morphology: person {number} of photo {index + 1} is known to {where}. Connect the same people to "
                "both nodes."
            )
        for number, person in here.items():
            _check_body(bodies[number], person, size)


def _check_body(body: Body, person: Person, size: tuple[int, int]) -> None:
    if body.erased != person.erased:
        change = "goes here, but stays in Read Bodies"
        if body.erased:
            change = "stays here, but goes in Read Bodies"
        raise ValueError(
            f"morphology: {person.name} {change}. Connect the people of the last Choose People to both nodes."
        )
    if not boxes.overlap(body.box, fitted(person, size).box):
        raise ValueError(
            f"morphology: {person.name} stands elsewhere in Read Bodies. Connect the same people to both nodes."
        )


def with_joints_of(body: Body | None, person: Person) -> Person:
    """The person with the body's joints, worked out ones included; with the person's own if the body has none."""
    return person if body is None or body.joints is None else person._replace(joints=body.joints)
