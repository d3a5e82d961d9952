"""Make pose and depth pictures for ControlNets that know no layers: a row for each layer, in the photo's frame."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..body.poses import SEEN
from ..image import boxes
from ..image.area_shares import area_shares
from ..layers.work_size import size_of
from ..pairing import Shape, by, row_of, shape_of
from ..people.depth_order import check_depths
from ..scene import Body, Layer, Morphology, Scene
from .depth_picture import depth_pictures
from .skeleton import STICK, draw_face, draw_hands, placed_joints, skeletons

STICK_PIXELS, STICK_AT = 512 * STICK, 512 * 512
"""Half width of a limb, in pixels, for a model that was made for pictures of so many pixels."""

MOST_PIXELS = 4_000_000
"""Pixels of one row, at most."""

MOST_BYTES = 256 * 2**20
"""Bytes of all rows of one output, at most."""


class HintPictures(NamedTuple):
    """A row for every layer of all photos, in the scenes' order."""

    pose: Tensor  # [B, h, w, 3], 0..1, float32
    depth: Tensor  # [B, h, w, 3]
    lines: list[str]  # for each row: whose it is, in words


def hint_pictures(
    scenes: Sequence[Scene],
    morphologies: Sequence[Morphology],
    depth: Tensor | None = None,
    hands_and_face: bool = False,
    megapixels: float = 1.0,
) -> HintPictures:
    """Pictures of each person's body on their own layer, and of an empty hole on the background's.

    morphologies: one for each scene. depth [B, h, w]: near bright, one for all photos or one for each, in any size of
    their shape. hands_and_face: also draw those keypoints, where they are known. megapixels: what each layer's crop
    has in the pictures at least, as far as the photo's own size, MOST_PIXELS and MOST_BYTES allow.

    On a person's row stands their skeleton alone, with the joints that were worked out. On the background's stand the
    limbs of those who stay, as far as they were seen and lie outside its hole, because there they stay visible.
    Raises ValueError for inputs that do not belong together, or no layers.
    """
    size = _checked(scenes, morphologies, depth)
    rows = _row_size(scenes, size, megapixels)
    count = sum(len(scene.layers) for scene in scenes)
    # Filled row by row: so many pictures are not to lie in the memory twice.
    drawn = HintPictures(torch.zeros(count, *rows, 3), torch.zeros(count, *rows, 3), [])
    for index, (scene, morphology) in enumerate(zip(scenes, morphologies, strict=True)):
        own = None if depth is None else depth[row_of(len(depth), index)]
        depths = depth_pictures(scene.layers, size, morphology, rows, own)
        for layer, picture in zip(scene.layers, depths, strict=True):
            row = len(drawn.lines)
            drawn.pose[row] = _pose(layer, morphology, size, rows, hands_and_face).movedim(0, -1)
            drawn.depth[row] = picture[..., None]
            drawn.lines.append(_line(layer, morphology))
    return drawn


def _checked(scenes: Sequence[Scene], morphologies: Sequence[Morphology], depth: Tensor | None) -> tuple[int, int]:
    """Height and width of the photos."""
    sizes = [(int(scene.photo.shape[0]), int(scene.photo.shape[1])) for scene in scenes]
    if not any(scene.layers for scene in scenes):
        raise ValueError(
            "layers: there is none in it, because nobody is chosen to go. Choose somebody in Choose People."
        )
    if len(set(sizes)) > 1:
        raise ValueError("layers: the photos differ in size, so their pictures make no batch. Use one photo at a time.")
    if len(morphologies) != len(scenes):
        raise ValueError(
            f"morphology: it knows {len(morphologies)} photos, but layers holds {len(scenes)}. Connect the Read "
            "Bodies node that was given the same photos."
        )
    size = sizes[0]
    for morphology in morphologies:
        if shape_of(morphology.size, size, rounded=True) is not Shape.SAME:
            raise ValueError(
                f"morphology: its photo has {by(morphology.size)} px, that of layers {by(size)}: "
                f"{_other(morphology.size, size)}. Give Read Bodies and Split into Layers the same photo."
            )
    if depth is not None:
        check_depths(depth, len(scenes))
        own = (int(depth.shape[1]), int(depth.shape[2]))
        if shape_of(own, size, rounded=True) is not Shape.SAME:
            raise ValueError(
                f"depth: it has {by(own)} px, the photo {by(size)}: {_other(own, size)}. Connect the depth of the "
                "whole photo."
            )
    return size


def _other(own: tuple[int, int], size: tuple[int, int]) -> str:
    """In which way a picture of this size is no picture of a photo of that one."""
    turned = shape_of(own, size, rounded=True) is Shape.TURNED
    return "another shape, which fits when turned by 90 degrees" if turned else "another shape"


def _row_size(scenes: Sequence[Scene], size: tuple[int, int], megapixels: float) -> tuple[int, int]:
    """Height and width of a row: the smallest crop gets its megapixels, unless the photo or the memory has less."""
    layers = [layer for scene in scenes for layer in scene.layers]
    smallest = min(boxes.area(layer.box) for layer in layers)
    photo = size[0] * size[1]
    most = min(photo, MOST_PIXELS, MOST_BYTES / (len(layers) * 3 * 4))
    scale = min((megapixels * 1e6 / smallest) ** 0.5, (most / photo) ** 0.5)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _pose(
    layer: Layer, morphology: Morphology, photo_size: tuple[int, int], rows: tuple[int, int], hands_and_face: bool
) -> Tensor:
    """The OpenPose picture [3, height, width] of one layer."""
    frame = boxes.whole(morphology.size)
    # What the model is going to see is the crop at the size at which it is painted: there, limbs have their width.
    painted = size_of(layer, photo_size, STICK_AT)
    stick = STICK_PIXELS * (boxes.area(layer.box) / (painted[0] * painted[1])) ** 0.5 * rows[0] / photo_size[0]
    if layer.number is not None:
        here = [(body, _known(body, morphology)) for body in morphology.bodies if body.number == layer.number]
    else:
        here = [(body, _seen_outside(body, layer, morphology, photo_size)) for body in _staying(morphology)]
    canvas = skeletons([joints for _, joints in here if joints is not None], frame, rows, stick)
    if hands_and_face:
        for body, _ in here:
            for hand in () if body.hands is None else body.hands:
                draw_hands(canvas, placed_joints(hand, morphology.size), frame, stick)
            if body.face is not None:
                draw_face(canvas, placed_joints(body.face, morphology.size), frame, stick)
    if layer.number is None:
        canvas *= area_shares(layer.hole, layer.box, boxes.whole(photo_size), rows).cpu() == 0
    return canvas


def _staying(morphology: Morphology) -> list[Body]:
    return [body for body in morphology.bodies if not body.erased]


def _known(body: Body, morphology: Morphology) -> Tensor | None:
    return None if body.joints is None else placed_joints(body.joints, morphology.size)


def _seen_outside(body: Body, layer: Layer, morphology: Morphology, photo_size: tuple[int, int]) -> Tensor | None:
    """The body's joints without those that nobody saw and those in the layer's hole: limbs must not lead into it."""
    joints = _known(body, morphology)
    if joints is None:
        return None
    scale = joints.new_tensor([photo_size[1] / morphology.size[1], photo_size[0] / morphology.size[0]])
    places = (joints[:, :2] * scale - joints.new_tensor(layer.box[:2])).floor().long()
    within = ((places >= 0) & (places < places.new_tensor([layer.hole.shape[1], layer.hole.shape[0]]))).all(1)
    places = torch.where(within[:, None], places, 0)
    hidden = within & (layer.hole.to(joints.device)[places[:, 1], places[:, 0]] > 0)
    if body.inferred is not None:
        hidden |= body.inferred.to(joints.device)
    joints[:, 2] *= ~hidden
    return joints


def _line(layer: Layer, morphology: Morphology) -> str:
    if layer.number is None:
        posed = [body.name for body in _staying(morphology) if body.joints is not None]
        stand = "stands" if len(posed) == 1 else "stand"
        beside = f"; outside it {stand} {', '.join(posed)}" if posed else ""
        return f"{layer.name} ({layer.id}): no body in its hole{beside}."
    body = next((body for body in morphology.bodies if body.number == layer.number), None)
    joints = None if body is None else _known(body, morphology)
    known = 0 if joints is None else int((joints[:, 2] > SEEN).sum())
    if body is None or not known:
        return (
            f"{layer.name} ({layer.id}): no pose is known of this person, so the pose picture is empty. Connect poses "
            "to Read Bodies, or use depth."
        )
    guessed = 0 if body.inferred is None else int(body.inferred.sum())
    worked_out = f", {guessed} of them hidden and worked out" if guessed else ""
    return f"{layer.name} ({layer.id}): {known} joints{worked_out}."
