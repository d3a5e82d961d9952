"""BodyPix with MobileNet (Google, Apache-2.0) as an ONNX file: 24 parts of the body, and 17 joints.

Decoded as Papandreou et al. do ("PersonLab", ECCV 2018, section 3.1): a joint is where its heat map is highest, moved
by the short offset there. Only joints on the person's mask are taken.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...image import boxes
from ...image.growth import VISIBLE
from ...optional_packages import onnx_session
from ...scene import Box, Person
from ..body_parts import PARTS, SETS
from ..poses import from_coco_17
from .parsed import INSTEAD, Parse, Parsed, crop_around, picture, within_mask

NAME = "BodyPix"
SIDE = 321
"""Longer side of the crop as the model sees it, in pixels."""

STEP = 16
"""Sides are a multiple of this and one more: then cell n of the output lies exactly on pixel n * STRIDE."""

STRIDE = 8
JOINTS = 17

OUTPUTS = ("segments", "part_heatmaps", "heatmaps", "short_offsets")


def parser(weights: Path) -> Parse:
    """A function that finds the parts and joints of a person in a photo.

    Raises ValueError if the package onnxruntime is absent or the file is no such model.
    """
    meant = "choose a BodyPix file such as bodypix_mobilenet050_stride8.onnx."
    session = onnx_session(weights, NAME, {"input"}, OUTPUTS, meant, INSTEAD)

    def parse(photo: Tensor, person: Person) -> Parsed:
        crop = crop_around(person)
        size = _size(crop)
        given = picture(photo, crop, size)[None] * (255 / 127.5) - 1
        answer = session.run(list(OUTPUTS), {"input": given.numpy()})
        body, parts, heat, offsets = (torch.from_numpy(one)[0] for one in answer)
        labels, sure = _parts(body, parts, size)
        return within_mask(person, crop, labels, sure, _joints(heat, offsets, person, crop, size))

    return parse


def _size(crop: Box) -> tuple[int, int]:
    """Height and width at which the model sees a crop."""
    scale = (SIDE - 1) / max(boxes.height(crop), boxes.width(crop))
    high, wide = (max(round(side * scale / STEP), 1) * STEP + 1 for side in (boxes.height(crop), boxes.width(crop)))
    return high, wide


def _parts(body: Tensor, parts: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The likeliest part of each pixel, [size] uint8 in PARTS, and how likely it is, from logits [h, w, 1] of a body
    and [h, w, LABELS] of its parts.

    A part that is seen from the front or from behind is one part here: their shares are added before they compete.
    """
    chance = torch.sigmoid(_at_size(body, size)) * _at_size(parts, size).softmax(0)
    merged = torch.zeros(len(PARTS), *size)
    merged.index_add_(0, torch.tensor(SETS[NAME][1:]), chance)
    sure, best = merged.max(0)
    return best.to(torch.uint8), sure


def _at_size(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """[C, size] from cells [h, w, C], whose outermost ones lie on the outermost pixels."""
    cells = logits.permute(2, 0, 1)[None].float()
    return F.interpolate(cells, size=size, mode="bilinear", align_corners=True)[0]


def _joints(heat: Tensor, offsets: Tensor, person: Person, crop: Box, size: tuple[int, int]) -> Tensor:
    """[18, 3] in pixels of the photo, from logits [h, w, JOINTS] and offsets [h, w, 2 * JOINTS], y before x, in pixels
    of the model's picture; only places on the person's mask or beside it count.
    """
    rows, columns = heat.shape[:2]
    mask = boxes.placed((person.mask > VISIBLE).float().cpu(), person.box, crop)[None, None]
    near = F.max_pool2d(F.adaptive_max_pool2d(mask, (rows, columns)), 3, 1, 1)[0, 0] > 0
    score, place = (torch.sigmoid(heat.float()) * near[..., None]).flatten(0, 1).max(0)
    y, x = place // columns, place % columns
    joint = torch.arange(JOINTS)
    down = y * STRIDE + offsets[y, x, joint] + 0.5
    across = x * STRIDE + offsets[y, x, joint + JOINTS] + 0.5
    points = torch.stack(
        [
            across * (boxes.width(crop) / size[1]) + crop[0],
            down * (boxes.height(crop) / size[0]) + crop[1],
            score,
        ],
        -1,
    )
    return from_coco_17(points)
