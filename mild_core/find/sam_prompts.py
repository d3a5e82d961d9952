"""Prompts for a promptable model such as SAM 2, and the best mask of its answer."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..body.poses import L_HIP, L_SHOULDER, L_WRIST, NECK, NOSE, R_HIP, R_SHOULDER, R_WRIST, seen
from ..image import boxes
from ..image.blobs import blobs
from ..image.boxes import RealBox
from ..scene import Box
from .found import Found, clipped

BOX_AND_JOINTS = "box and joints"
BOX = "box"
JOINTS = "joints"

SURE = 0.4
"""Confidence from which joints are used as points: one point beside the body, and the mask is somebody else's."""

ASKED = (NOSE, NECK, R_SHOULDER, L_SHOULDER, R_HIP, L_HIP, R_WRIST, L_WRIST)

BEYOND = 0.15
"""A mask may go on beyond the box of its prompt by this share of the box's longer side: boxes cut off hands."""

STEEPNESS = 4.0
"""Factor on the logits before the sigmoid: without it the mask's soft edge is half a person wide."""

LEAST_OPACITY = 0.2
"""What is less opaque than this belongs to the background..."""

SPECK = 0.02
"""...and so do blobs of less than this share of the largest one."""


class Prompt(NamedTuple):
    """Points of a photo, with SAM's labels: 1 on the person, 0 beside the person, 2 and 3 the corners of the box."""

    points: Tensor  # [N, 2]: x, y in pixels of the photo
    labels: Tensor  # [N], int64
    box: RealBox  # around the person, in pixels of the photo


def prompts(found: Sequence[Found], by: str) -> list[Prompt]:
    """One for each of the people found in a photo.

    by: BOX, JOINTS or BOX_AND_JOINTS. Joints are points on the person; where people overlap, the others' joints in the
    box are points beside the person. Without any sure joint the box is the prompt.
    """
    return [_prompt(index, found, by) for index in range(len(found))]


def _prompt(index: int, found: Sequence[Found], by: str) -> Prompt:
    one = found[index]
    own = _sure(one) if by != BOX else torch.zeros(0, 2)
    points, labels = [own], [1] * len(own)
    if by != BOX:
        for other in (*found[:index], *found[index + 1 :]):
            theirs = _sure(other)
            x0, y0, x1, y1 = one.box
            inside = (theirs[:, 0] > x0) & (theirs[:, 0] < x1) & (theirs[:, 1] > y0) & (theirs[:, 1] < y1)
            points.append(theirs[inside])
            labels += [0] * int(inside.sum())
    if by != JOINTS or not len(own):
        # SAM was trained with the box before the points.
        points.insert(0, torch.tensor([[one.box[0], one.box[1]], [one.box[2], one.box[3]]]))
        labels = [2, 3, *labels]
    return Prompt(torch.cat(points), torch.tensor(labels), one.box)


def _sure(one: Found) -> Tensor:
    """x, y [N, 2] of the joints that serve as points."""
    if one.joints is None:
        return torch.zeros(0, 2)
    joints = one.joints.cpu()[list(ASKED)]
    return joints[seen(joints) & (joints[:, 2] >= SURE), :2]


def best_mask(logits: Tensor, scores: Tensor, prompt: Prompt, size: tuple[int, int]) -> tuple[Tensor, Box]:
    """The best of the masks a model proposes, as [h, w], 0..1, with its box in a photo of this height and width.

    logits [n, a, b] cover the whole photo (> 0: the person), scores [n] say how sure the model is. Only the part around
    the prompt's box is enlarged to the photo's pixels. An empty answer gives the filled box: somebody is there.
    """
    best = logits[int(scores.argmax())].float()
    grow = BEYOND * max(prompt.box[2] - prompt.box[0], prompt.box[3] - prompt.box[1])
    x0, y0, x1, y1 = prompt.box
    place = clipped((x0 - grow, y0 - grow, x1 + grow, y1 + grow), size)
    own = clipped(prompt.box, size)
    if place is None or own is None:
        raise ValueError(f"a prompt's box {prompt.box} lies outside of a photo of {size[1]} x {size[0]} pixels")
    mask = torch.sigmoid(STEEPNESS * _enlarged(best, place, size))
    mask = _without_specks(mask * (mask >= LEAST_OPACITY))
    tight = boxes.tight_box(mask)
    if tight is None or float(mask.max()) <= 0.5:
        return torch.ones(boxes.height(own), boxes.width(own), device=logits.device), own
    return boxes.cut(mask, tight).clone(), boxes.outside(tight, place)


def _without_specks(mask: Tensor) -> Tensor:
    """mask [h, w] with its large blobs only."""
    parts, _ = blobs(mask > 0, 0)
    if len(parts) < 2:
        return mask
    areas = [int(shape.sum()) for _, shape in parts]
    result = torch.zeros_like(mask)
    for (box, shape), area in zip(parts, areas, strict=True):
        if area >= SPECK * max(areas):
            under = boxes.cut(result, box)
            torch.maximum(under, boxes.cut(mask, box) * shape, out=under)
    return result


def _enlarged(logits: Tensor, place: Box, size: tuple[int, int]) -> Tensor:
    """The part of logits [a, b] that lies under `place` of a photo of this size, at the photo's own pixels."""
    x = (torch.arange(place[0], place[2], device=logits.device) + 0.5) / size[1] * 2 - 1
    y = (torch.arange(place[1], place[3], device=logits.device) + 0.5) / size[0] * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None]
    large = F.grid_sample(logits[None, None], grid.float(), mode="bilinear", padding_mode="border", align_corners=False)
    return large[0, 0]
