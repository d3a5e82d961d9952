"""What a parser finds of one person: how the crop is made for it, and how its answer is mapped back onto the mask."""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from ...image import boxes
from ...image.framed import crop_of
from ...image.growth import VISIBLE
from ...scene import Box, Person, rgb

INSTEAD = "choose another parser"
"""What the artist can do where a parser's package is missing."""

MARGIN = 0.1
"""A model sees a person's box grown by this share of its longer side."""


class Parsed(NamedTuple):
    """The parts of one person's body, as a model saw them."""

    box: Box  # of the person's mask, in pixels of the photo
    parts: Tensor  # [h, w] of box, uint8: body_parts.PARTS; 0 outside the mask
    sure: Tensor  # [h, w] of box, 0..1: confidence of `parts`; 0 outside the mask
    joints: Tensor | None = None  # [18, 3], as Person.joints, from a model that finds joints too


Parse = Callable[[Tensor, Person], Parsed]
"""The parts of a person in a photo [H, W, C], 0..1, C in 1, 3, 4; the person's mask has the photo's size."""


def crop_around(person: Person) -> Box:
    """The part of the photo that a model gets: a square, as far as the photo goes. In narrow crops, stretched to its
    own square, MediaPipe's model recognises much less of a person.
    """
    wide, high = boxes.width(person.box), boxes.height(person.box)
    side = (1 + 2 * MARGIN) * max(wide, high)
    return boxes.grown(person.box, (side - wide) / 2, (side - high) / 2, person.size)


def picture(photo: Tensor, box: Box, size: tuple[int, int]) -> Tensor:
    """photo [H, W, C] under box, stretched to size (height, width): [size, 3], 0..1, float32, on the CPU."""
    crop = rgb(boxes.cut(photo, box)).permute(2, 0, 1)[None].float()
    small = F.interpolate(crop, size=size, mode="bilinear", antialias=True, align_corners=False)
    return small[0].permute(1, 2, 0).clamp(0, 1).cpu().contiguous()


def within_mask(person: Person, crop: Box, parts: Tensor, sure: Tensor, joints: Tensor | None = None) -> Parsed:
    """A model's answer for the crop, parts [h, w] and sure [h, w], resampled to the person's box, and 0 outside the
    mask: a model labels everybody in the crop.
    """
    place, size = boxes.inside(person.box, crop), (boxes.height(crop), boxes.width(crop))
    own = (boxes.height(person.box), boxes.width(person.box))
    mask = person.mask > VISIBLE
    here = crop_of(parts[None, None], place, size, own, nearest=True)[0, 0].to(mask.device) * mask
    certain = crop_of(sure[None, None], place, size, own)[0, 0].to(mask.device).clamp(0, 1) * mask
    return Parsed(person.box, here, certain, joints)
