"""Make a depth picture for each layer, near bright and far dark, as depth ControlNets know them.

Where a depth picture of the photo is connected, the background layer shows it without those who go: their places are
filled smoothly from the ground around, which is a guess and no measurement. A person's layer shows that ground with
the person's body on it: what is seen of the body as measured, what is hidden filled from the rest of it. Without a
connected picture there are only shapes: bodies in flat grey by the order in which they stand, on a ground that comes
nearer towards the bottom, as the ground does in most photos.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..body.relations import RANK
from ..image import boxes
from ..image.area_shares import area_shares
from ..image.fill import area_resize, push_pull
from ..image.growth import grow
from ..scene import Body, Layer, Morphology
from .skeleton import body_area

HORIZON, NEAREST_GROUND = 0.05, 0.45
"""Grey, 0..1, of the plain ground at the photo's upper and lower edge."""

FARTHEST, NEAREST = 0.5, 0.9
"""Grey, 0..1, of the farthest and of the nearest person: always nearer than the plain ground."""

RIM = 0.01
"""Depth pictures are soft: a person's depth reaches so far beyond the mask, as a share of the photo's longer side."""

WHOLE = 0.99
"""Share of a cell from which on it shows the depth of the person who fills it, and nobody else's."""

COVERED = 0.5
"""Share of a cell from which on people cover it."""


def grey_levels(depth: Tensor) -> tuple[Tensor, list[str]]:
    """Depth [B, h, w] of any range as grey levels 0..1, and a sentence where that changed it: raw depth of a model is
    brought to 0..1 linearly, all pictures of a batch alike.
    """
    low, high = float(depth.min()), float(depth.max())
    if 0 <= low and high <= 1:
        return depth, []
    said = f"depth: its values go from {low:.3g} to {high:.3g}, so they were scaled to 0..1, the largest near."
    return (depth - low) / max(high - low, 1e-12), [said]


def depth_pictures(
    layers: Sequence[Layer],
    photo_size: tuple[int, int],
    morphology: Morphology,
    size: tuple[int, int],
    depth: Tensor | None = None,
) -> Iterator[Tensor]:
    """The depth picture [height, width], 0..1, float32, on the CPU, of each of these layers of one photo in turn, in
    the photo's frame.

    photo_size: height and width of the photo, in whose pixels the layers' boxes are (the morphology may have been read
    in a copy of another size); size: height and width of the pictures; depth [h, w]: of the photo, in any size, near
    bright, 0..1.
    """
    bodies = morphology.bodies
    measured = None if depth is None else area_resize(depth[None, None].float().cpu(), size)[0, 0].clamp(0, 1)
    masks = [area_shares(body.mask, body.box, boxes.whole(morphology.size), size).cpu() for body in bodies]
    holes = [area_shares(layer.hole, layer.box, boxes.whole(photo_size), size).cpu() for layer in layers]
    stay = [index for index, body in enumerate(bodies) if not body.erased]
    behind = [hole for layer, hole in zip(layers, holes, strict=True) if layer.number is None]
    gone = _most([*behind, *(masks[index] for index, body in enumerate(bodies) if body.erased)], size)
    # On a person's layer the others are not seen: they stand in layers of their own.
    alone = _most([*masks, *holes], size)
    grounds: dict[bool, Tensor] = {}

    def ground(background: bool) -> Tensor:
        if measured is None:
            return _plain_ground(size)
        if background not in grounds:
            people = _most(masks, size) > COVERED
            grounds[background] = _without(measured, gone if background else alone, people)
        return grounds[background]

    for layer, hole in zip(layers, holes, strict=True):
        if layer.number is None:
            # Whoever stays stands in the background's own pixels, outside its hole.
            here = {index: masks[index] * (hole == 0) for index in stay}
        else:
            here = {
                index: torch.maximum(masks[index], _hidden(layer, body, photo_size, morphology, size) * (hole > 0))
                for index, body in enumerate(bodies)
                if body.number == layer.number
            }
        picture = ground(layer.number is None)
        for index in sorted(here, key=lambda index: float(morphology.own[index, RANK])):
            if measured is None:
                grey = FARTHEST + (NEAREST - FARTHEST) * float(morphology.own[index, RANK])
                picture = torch.lerp(picture, torch.full_like(picture, grey), here[index])
            elif layer.number is not None:
                picture = _with_body(picture, measured, masks[index], here[index])
        yield picture


def _most(masks: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """What any of these masks covers, [height, width]."""
    result = torch.zeros(size)
    for mask in masks:
        torch.maximum(result, mask, out=result)
    return result


def _plain_ground(size: tuple[int, int]) -> Tensor:
    rows = (torch.arange(size[0], dtype=torch.float32) + 0.5) / size[0]
    return (HORIZON + (NEAREST_GROUND - HORIZON) * rows)[:, None].expand(size)


def _without(measured: Tensor, gone: Tensor, people: Tensor) -> Tensor:
    """The measured depth with `gone` (0..1) filled from what is nobody's: whoever stays beside it is no ground.

    people [height, width], bool: who stays keeps their depth up to the outline; a rim of those who go does not.
    """
    reach = RIM * max(measured.shape)
    rim = grow(gone > 0, reach)
    known = ~(rim | grow(people, reach))
    if not bool(known.any()):
        return torch.where(rim, _plain_ground((measured.shape[0], measured.shape[1])), measured)
    ground = push_pull(measured[None, None], known[None, None].float())[0, 0]
    return torch.where(rim & ~(people & (gone == 0)), ground, measured)


def _with_body(picture: Tensor, measured: Tensor, mask: Tensor, whole: Tensor) -> Tensor:
    """The picture with a body `whole` (0..1) at the depth that is measured where `mask` is, going on smoothly."""
    place = boxes.tight_box(whole > 0)
    if place is None:
        return picture
    known = boxes.cut(mask, place)
    known = (known >= min(WHOLE, float(known.max()))) & (known > 0)
    if not bool(known.any()):
        return picture
    depth = push_pull(boxes.cut(measured, place)[None, None], known[None, None].float())[0, 0]
    picture = picture.clone()
    boxes.cut(picture, place).lerp_(depth, boxes.cut(whole, place))
    return picture


def _hidden(
    layer: Layer, body: Body, photo_size: tuple[int, int], morphology: Morphology, size: tuple[int, int]
) -> Tensor:
    """Where the person probably is, seen or not, [height, width]: by the skeleton, else by the layer's `likely`."""
    if body.joints is not None:
        found = body_area(body.joints, morphology.size, boxes.whole(morphology.size), size)
        if found is not None:
            return found
    if layer.likely is not None:
        return area_shares((layer.likely > 0.5).float(), layer.box, boxes.whole(photo_size), size).cpu()
    return torch.zeros(size)
