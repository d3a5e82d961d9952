"""Draw skeletons as OpenPose draws them, which is what pose ControlNets were trained on.

The layout is the public one of OpenPose's 18 joints as ControlNet's preprocessors draw it (Cao et al. 2019; Zhang et
al. 2023): 17 limbs in the first 17 of 18 colours, each a filled ellipse from joint to joint, darkened to 0.6; on top a
disc for each joint, in all 18 colours at full strength. Ellipses and discs have a middle pixel and 4 to each side of it
in a picture of 512 x 512.
"""

import colorsys
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..body.body_shape import body_shape
from ..body.poses import (
    L_ANKLE,
    L_EAR,
    L_ELBOW,
    L_EYE,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    NECK,
    NOSE,
    R_ANKLE,
    R_EAR,
    R_ELBOW,
    R_EYE,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    SEEN,
)
from ..image import boxes
from ..scene import Box

LIMBS = (
    (NECK, R_SHOULDER),
    (NECK, L_SHOULDER),
    (R_SHOULDER, R_ELBOW),
    (R_ELBOW, R_WRIST),
    (L_SHOULDER, L_ELBOW),
    (L_ELBOW, L_WRIST),
    (NECK, R_HIP),
    (R_HIP, R_KNEE),
    (R_KNEE, R_ANKLE),
    (NECK, L_HIP),
    (L_HIP, L_KNEE),
    (L_KNEE, L_ANKLE),
    (NECK, NOSE),
    (NOSE, R_EYE),
    (R_EYE, R_EAR),
    (NOSE, L_EYE),
    (L_EYE, L_EAR),
)
"""Pairs of joints in the order in which they are drawn; the n-th has the n-th colour."""

COLOURS = tuple(
    tuple(level / 255 for level in colour)
    for colour in (
        (255, 0, 0),
        (255, 85, 0),
        (255, 170, 0),
        (255, 255, 0),
        (170, 255, 0),
        (85, 255, 0),
        (0, 255, 0),
        (0, 255, 85),
        (0, 255, 170),
        (0, 255, 255),
        (0, 170, 255),
        (0, 85, 255),
        (0, 0, 255),
        (85, 0, 255),
        (170, 0, 255),
        (255, 0, 255),
        (255, 0, 170),
        (255, 0, 85),
    )
)
"""Red, green, blue of limbs and joints: a wheel in steps of 20 degrees."""

# From the wrist to each finger's tip.
BONES = tuple(
    (0 if step == 0 else 4 * finger + step, 4 * finger + step + 1) for finger in range(5) for step in range(4)
)

DARKENED = 0.6
"""Factor of a limb's colour."""

FINGER, FACE = 0.25, 0.75
"""Half width of a finger's line and radius of a face's point, as shares of a limb's half width."""

STICK = 4.5 / 512
"""Half width of a limb and radius of a joint, as a share of the side of a square picture."""

REACH = 0.5
"""Share of the photo's longer side: a joint that lies farther outside the photo is a mistake."""

FINE, FINEST = 2.0, 8
"""Half width, in pixels, below which a line is drawn larger and averaged, to cover its true area; the largest factor.
"""


def stick_of(size: tuple[int, int]) -> float:
    """Half width of a limb, in pixels, for a picture of this height and width."""
    return STICK * math.sqrt(size[0] * size[1])


def placed_joints(joints: Tensor, photo_size: tuple[int, int]) -> Tensor:
    """joints [n, 3] with the confidence that their place deserves: beyond the photo's edge it fades, until 0 at REACH
    of the longer side. What is not a number gets confidence 0.

    photo_size: height, width. Returns a copy in float32, on the joints' device.
    """
    joints = joints.float()
    known = torch.isfinite(joints).all(1)
    joints = torch.where(known[:, None], joints, torch.zeros_like(joints))
    edge = joints.new_tensor([photo_size[1], photo_size[0]])
    out = torch.maximum(-joints[:, :2], joints[:, :2] - edge).clamp(min=0).amax(1)
    believed = (1 - out / (REACH * max(photo_size))).clamp(0, 1) * joints[:, 2].clamp(0, 1)
    place = torch.where(believed[:, None] > 0, joints[:, :2], torch.zeros_like(joints[:, :2]))
    return torch.cat([place, believed[:, None]], 1)


def in_crop(joints: Tensor, crop: boxes.RealBox, size: tuple[int, int]) -> Tensor:
    """joints [n, 3] of the photo in the pixels of its crop drawn at size (height, width); pixel 0 covers 0 to 1."""
    scale = joints.new_tensor([size[1] / boxes.width(crop), size[0] / boxes.height(crop), 1.0])
    return (joints - joints.new_tensor([crop[0], crop[1], 0.0])) * scale


def body_area(joints: Tensor, photo_size: tuple[int, int], crop: boxes.RealBox, size: tuple[int, int]) -> Tensor | None:
    """Where the body of joints [18, 3] is, [height, width], 0..1, on the CPU, in the box `crop` of a photo of
    photo_size, drawn at size (both height and width); None if the joints show none.
    """
    found = body_shape(in_crop(placed_joints(joints, photo_size).cpu(), crop, size), size)
    return None if found is None else boxes.placed(*found, boxes.whole(size))


def skeletons(
    people: Sequence[Tensor],
    crop: boxes.RealBox,
    size: tuple[int, int],
    stick: float | None = None,
    dimmed: bool = False,
) -> Tensor:
    """The OpenPose picture [3, height, width], 0..1, float32, of the joints [18, 3] of all these people.

    crop: the box of the photo to draw, which may reach beyond it; size: its height and width here; stick: half width
    of a limb in pixels here (default stick_of(size)). Joints of a confidence up to poses.SEEN are not drawn, nor limbs
    that end in one. dimmed: the rest is as bright as it is sure; otherwise all have full colours. Edges are smooth and
    lie where they belong to a fraction of a pixel.
    """
    canvas = torch.zeros(3, *size)
    stick = stick_of(size) if stick is None else stick
    here = [in_crop(joints.cpu().float(), crop, size) for joints in people]
    bright = [joints[:, 2].clamp(0, 1) if dimmed else torch.ones(len(joints)) for joints in here]
    known = [(joints[:, 2] > SEEN).tolist() for joints in here]
    for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
        dark = canvas.new_tensor(colour) * DARKENED
        for joints, sure, drawn in zip(here, bright, known, strict=True):
            if drawn[start] and drawn[end]:
                opacity = float(torch.minimum(sure[start], sure[end]))
                ellipse(canvas, joints[start, :2], joints[end, :2], stick, dark, opacity)
    for joint, colour in enumerate(COLOURS):
        for joints, sure, drawn in zip(here, bright, known, strict=True):
            if drawn[joint]:
                point = joints[joint, :2]
                bar(canvas, point, point, stick, canvas.new_tensor(colour), float(sure[joint]))
    return canvas


def draw_hands(canvas: Tensor, points: Tensor, crop: Box, stick: float) -> None:
    """Draw one hand's points [21, 3] over canvas [3, height, width], which shows the photo's box `crop`.

    Fingers are thin lines in the colours of a wheel, joints blue discs as large as a body's. stick: see skeletons.
    """
    here = in_crop(points.cpu().float(), crop, (canvas.shape[1], canvas.shape[2]))
    known = (here[:, 2] > SEEN).tolist()
    for bone, (start, end) in enumerate(BONES):
        if known[start] and known[end]:
            colour = canvas.new_tensor(colorsys.hsv_to_rgb(bone / len(BONES), 1, 1))
            bar(canvas, here[start, :2], here[end, :2], FINGER * stick, colour)
    for point, seen in zip(here, known, strict=True):
        if seen:
            bar(canvas, point[:2], point[:2], stick, canvas.new_tensor([0.0, 0.0, 1.0]))


def draw_face(canvas: Tensor, points: Tensor, crop: Box, stick: float) -> None:
    """Draw a face's points [n, 3] as white discs over canvas [3, height, width], which shows the photo's box `crop`."""
    for point in in_crop(points.cpu().float(), crop, (canvas.shape[1], canvas.shape[2])):
        if point[2] > SEEN:
            bar(canvas, point[:2], point[:2], FACE * stick, canvas.new_tensor([1.0, 1.0, 1.0]))


def ellipse(canvas: Tensor, start: Tensor, end: Tensor, half_width: float, colour: Tensor, opacity: float = 1) -> None:
    """Paint a filled ellipse over canvas [3, H, W], whose long axis goes from start to end (x, y in pixels)."""
    half = max(float((end - start).norm()) / 2, 1e-3)

    def inside(along: Tensor, across: Tensor) -> Tensor:
        # Distance to the edge, to first order: the value of the implicit form over the length of its gradient.
        u, v = along / half, across / half_width
        value = torch.hypot(u, v)
        slope = torch.hypot(u / half, v / half_width) / value.clamp_min(1e-6)
        return (1 - value) / slope.clamp_min(1e-6)

    _paint(canvas, start, end, half_width, inside, colour, opacity)


def bar(canvas: Tensor, start: Tensor, end: Tensor, half_width: float, colour: Tensor, opacity: float = 1) -> None:
    """Paint a line with round ends (a disc, if it has no length) from start to end (x, y in pixels) over the canvas."""
    half = float((end - start).norm()) / 2

    def inside(along: Tensor, across: Tensor) -> Tensor:
        return half_width - torch.hypot((along.abs() - half).clamp(min=0), across)

    _paint(canvas, start, end, half_width, inside, colour, opacity)


def _paint(
    canvas: Tensor,
    start: Tensor,
    end: Tensor,
    half_width: float,
    inside: Callable[[Tensor, Tensor], Tensor],
    colour: Tensor,
    opacity: float,
) -> None:
    """Paint a shape that lies around the line from start to end, within its rectangle only.

    inside(along, across): pixels by which a point lies inside, from its place along the line, counted from the middle,
    and across it.
    """
    x0, y0, x1, y1 = (float(value) for value in (*start, *end))
    around = (
        math.floor(min(x0, x1) - half_width - 1),
        math.floor(min(y0, y1) - half_width - 1),
        math.ceil(max(x0, x1) + half_width + 1),
        math.ceil(max(y0, y1) + half_width + 1),
    )
    place = boxes.intersection(around, boxes.whole((canvas.shape[-2], canvas.shape[-1])))
    if not boxes.area(place):
        return
    length = math.hypot(x1 - x0, y1 - y0)
    along_x, along_y = ((x1 - x0) / length, (y1 - y0) / length) if length > 0 else (1.0, 0.0)
    fine = min(max(1, math.ceil(FINE / half_width)), FINEST)
    x = _centres(place[0], place[2], fine) - (x0 + x1) / 2
    y = _centres(place[1], place[3], fine)[:, None] - (y0 + y1) / 2
    cover = (inside(x * along_x + y * along_y, y * along_x - x * along_y) * fine + 0.5).clamp(0, 1)
    if fine > 1:
        cover = torch.nn.functional.avg_pool2d(cover[None], fine)[0]
    under = canvas[:, place[1] : place[3], place[0] : place[2]]
    under.lerp_(colour[:, None, None].expand_as(under), (cover * opacity)[None].expand_as(under))


def _centres(first: int, last: int, fine: int) -> Tensor:
    """The middles of the pixels first..last (exclusive), each cut into `fine` parts."""
    return first + (torch.arange((last - first) * fine, dtype=torch.float32) + 0.5) / fine
