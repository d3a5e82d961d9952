"""Which mask, picture or row of a prompt belongs to which photo of a batch, and whether it has the photo's shape.

Every node that takes something beside photos asks here, and prints the sentences that come back: what is paired in
another way than the artist meant, or stretched, makes a wrong picture without any error.

The rule is ComfyUI's: one for all, or one for each; a batch of prompts is dealt out in turn. Sizes may differ as long
as the shape (the aspect ratio) is the same; then a mask is scaled without a word. Where the shape differs it is
stretched, and a sentence says so.
"""

import math
from collections.abc import Iterable, Sequence
from enum import Enum

Size = tuple[int, int]
"""Height and width in pixels."""

SAME_SHAPE = 0.02
"""Aspect ratios may differ by this share: a mask whose sides were rounded to a multiple of 8 is no other mask."""

ROUNDED_TO = (64, 32, 16, 8)
"""Pixels: preprocessors and image models stretch pictures until both sides are multiples of one of these."""

MOST_ROUNDING = 0.1
"""Share by which aspect ratios may differ at most because of rounding, however small the picture is."""


class Shape(Enum):
    """How a picture of one size lies over a photo of another."""

    SAME = "the same shape"
    TURNED = "the photo's shape, turned by 90 degrees"
    OTHER = "another shape"


def row_of(count: int, photo: int) -> int:
    """Which of `count` rows (1 or more) belongs to photo number `photo`, from 0: dealt out in turn, as ComfyUI's own
    samplers deal the rows of a prompt or a mask out to a batch.
    """
    return photo % count


def check_count(count: int, photos: int, socket: str, what: str = "masks") -> None:
    """Raise ValueError, with the socket's name, unless there is one of these for all photos, or one for each."""
    if count not in (1, photos):
        one = what.removesuffix("s")
        many = f"{photos} photos" if photos != 1 else "1 photo"
        raise ValueError(f"{socket}: got {count} {what} for {many}. Connect one {one}, or one for each photo.")


def dealt(what: str, count: int, photos: int) -> str | None:
    """The sentence for rows of which there is neither one for all photos nor one for each; None where there is."""
    if count in (1, photos):
        return None
    if count > photos:
        which = f"the first {photos} count" if photos > 1 else "the first counts"
        return f"{what}: {count} for {photos} photo{'s' * (photos > 1)}: {which}."
    return f"{what}: {count} for {photos} photos: dealt out in turn, so that photo {count + 1} gets the first again."


def shape_of(size: Size, frame: Size, rounded: bool = False) -> Shape:
    """How a picture of this size lies over a frame (a photo, a crop) of that size.

    The same: aspect ratios differ by SAME_SHAPE at most, or by what rounding each side to whole pixels makes. rounded:
    the picture comes from a node that works in multiples of 8 to 64 px (ROUNDED_TO), and may be off by that rounding:
    a preprocessor that works on 512 px returns 704 x 512 for 1024 x 768, a stretch of 3 %.
    """
    if _stretch(size, frame) <= _slack(size, frame, rounded):
        return Shape.SAME
    turned = (size[1], size[0])
    return Shape.TURNED if _stretch(turned, frame) <= _slack(turned, frame, rounded) else Shape.OTHER


def stretched(
    what: str,
    sizes: Sequence[Size],
    frames: Sequence[Size],
    frame: str = "the photo",
    rounded: bool = False,
    item: str | None = None,
) -> list[str]:
    """Sentences on what had to be stretched, one for each pair of sizes; none where every shape is the same.

    what: the name of the socket, or of what it holds, a plural if its first word ends in s; sizes: of each item;
    frames: of what each lies over; frame: what that is called. Several items are told apart by their numbers, from 1;
    item: the words before the number of a single one, else `what` without its s. rounded: see shape_of. Leave out what
    is empty: nothing of it can be in a wrong place.
    """
    found: dict[tuple[Size, Size], list[int]] = {}
    for number, (size, over) in enumerate(zip(sizes, frames, strict=True), 1):
        if shape_of(size, over, rounded) is not Shape.SAME:
            found.setdefault((size, over), []).append(number)
    lines = []
    for (size, over), numbers in found.items():
        name = what
        if len(sizes) > 1:
            words = what if len(numbers) > 1 else item or what.removesuffix("s")
            name = f"{words} {number_ranges(numbers)}"
        several = len(numbers) > 1 or name.split()[0].endswith("s")
        was = "they were" if several else "it was"
        line = f"{name}: {by(size)} px, {frame} {by(over)}: another shape, so {was} stretched"
        line += f" by {math.expm1(_stretch(size, over)):.0%}."
        if shape_of(size, over, rounded) is Shape.TURNED:
            fits, turned, way = ("They fit", "were they", "their") if several else ("It fits", "was it", "its")
            line += f" {fits} when turned by 90 degrees: {turned}, or {frame}, turned on {way} way (EXIF)?"
        else:
            line += " Was one of them cropped or padded on its way?"
        lines.append(line)
    return lines


def number_ranges(numbers: Iterable[int]) -> str:
    """Numbers in order, each once, those that follow one another as a range: 1-3, 5."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def by(size: Size) -> str:
    """Height and width as artists write them: width x height."""
    return f"{size[1]} x {size[0]}"


def _stretch(size: Size, frame: Size) -> float:
    """|log| of the quotient of the aspect ratios: 0 is none."""
    return abs(math.log(size[1] * frame[0] / (size[0] * frame[1])))


def _slack(size: Size, frame: Size, rounded: bool) -> float:
    """The largest _stretch that still counts as the same shape."""
    rounding = sum(0.5 / side for side in (*size, *frame))
    if rounded:
        multiple = next((multiple for multiple in ROUNDED_TO if size[0] % multiple == size[1] % multiple == 0), 0)
        rounding = max(rounding, multiple / 2 * (1 / size[0] + 1 / size[1]))
    return max(SAME_SHAPE, min(rounding, MOST_ROUNDING))
