"""Label images become people: everyone under the number that the label gives, the same in every photo of a batch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..scene import Person
from .from_masks import cleaned_person

MOST_LABELS = 255
"""Distinct values in one label image, black not counted."""

LEAST_PLAIN = 0.75
"""Least share of the pixels of a label image that have the colour of all their neighbours."""

GREY = "grey levels"
PALETTE = "numbers of the palette"
COLOURS = "colours in the order of their first appearance"


class Labelled(NamedTuple):
    """Who is in some label images."""

    people: list[Person]  # numbered by their labels
    specks: int  # parts of labels that were left out, see blobs.without_specks
    by: str  # GREY, PALETTE or COLOURS: where the numbers come from


def people_from_labels(images: Sequence[Tensor], photos: Sequence[int]) -> Labelled:
    """Every distinct grey value or colour of images [H, W] or [H, W, C], 0..1, but for black, is a person.

    photos: which photo of the batch each image belongs to. Values are compared as 8-bit levels, as a PNG holds them. A
    grey level is its own number. Colours of the palette that segmentation data sets use (PASCAL VOC, DAVIS) stand for
    numbers, too: ComfyUI loads such a PNG as RGB. Other colours are numbered as they first appear, photo by photo and
    from left to right: a rank among the colours of one photo would change when somebody leaves. Raises ValueError for
    more than 255 values in an image.
    """
    codes = [_codes(image) for image in images]
    values = [[int(value) for value in torch.unique(code) if value != 0] for code in codes]
    most = max(map(len, values), default=0)
    if most > MOST_LABELS:
        raise ValueError(
            f"masks: the label image has {most} different colours, {MOST_LABELS} at most can be people. "
            "Save it as PNG without smoothing (JPEG and resizing make new colours), or use 'separate blobs'."
        )
    numbers, by = _numbers(codes, values)
    people: list[Person] = []
    specks = 0
    for code, here, photo in zip(codes, values, photos, strict=True):
        for value in here:
            person, stray = cleaned_person((code == value).float(), photo)
            specks += stray
            if person is not None:
                people.append(person._replace(number=numbers[value], labelled=True))
    return Labelled(people, specks, by)


def resize_labels(image: Tensor, size: tuple[int, int]) -> Tensor:
    """A label image [H, W] or [H, W, C] at another height and width. Colours are not mixed on the way: between two
    people there would be a third.
    """
    if tuple(image.shape[:2]) == tuple(size):
        return image
    channels = image[None, None] if image.ndim == 2 else image.permute(2, 0, 1)[None]
    channels = F.interpolate(channels.float(), size=tuple(size), mode="nearest-exact")[0]
    return channels[0] if image.ndim == 2 else channels.permute(1, 2, 0)


def looks_labelled(image: Tensor) -> bool:
    """Whether a picture [H, W, C], 0..1, is made of several plain areas beside black, as label images are. A mask with
    soft edges has more colours, but those lie in lines.
    """
    code = _codes(image)
    middle = code[1:-1, 1:-1]
    plain = (middle == code[:-2, 1:-1]) & (middle == code[2:, 1:-1])
    plain &= (middle == code[1:-1, :-2]) & (middle == code[1:-1, 2:])
    if float(plain.sum()) < LEAST_PLAIN * middle.numel():
        return False
    return 1 < int((torch.unique(middle[plain]) != 0).sum()) <= MOST_LABELS


def _codes(image: Tensor) -> Tensor:
    """Red, green and blue of every pixel, 8 bits each, as one number [H, W]."""
    levels = ((image[..., None] if image.ndim == 2 else image[..., :3]).clamp(0, 1) * 255).round().to(torch.int64)
    red, green, blue = levels.expand(*levels.shape[:2], 3).unbind(-1) if levels.shape[-1] == 1 else levels.unbind(-1)
    return (red * 256 + green) * 256 + blue


def _numbers(codes: Sequence[Tensor], values: Sequence[Sequence[int]]) -> tuple[dict[int, int], str]:
    """The number of every value of a batch, and where it comes from."""
    known = {value for here in values for value in here}
    if all(value % 0x010101 == 0 for value in known):
        return {value: value & 0xFF for value in known}, GREY
    palette = {_palette_colour(number): number for number in range(1, 256)}
    if known <= set(palette):
        return {value: palette[value] for value in known}, PALETTE
    numbers: dict[int, int] = {}
    for code, here in zip(codes, values, strict=True):
        columns = torch.arange(code.shape[1], device=code.device)
        new = [value for value in here if value not in numbers]
        middles = {value: float(columns[(code == value).any(0)].float().mean()) for value in new}
        for value in sorted(new, key=lambda value: middles[value]):
            numbers[value] = len(numbers) + 1
    return numbers, COLOURS


def _palette_colour(number: int) -> int:
    """The colour of a label in the palette of PASCAL VOC's development kit: the number's bits go in turn to red, green
    and blue, from the highest bit of each.
    """
    colour = 0
    for step in range(8):
        bits = number >> 3 * step
        for channel in range(3):
            colour |= (bits >> channel & 1) << 7 - step << 8 * (2 - channel)
    return colour
