"""Find People: who was given, who is detected, and their masks, photo by photo."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import comfy.model_management
import comfy.utils
from torch import Tensor

from ...find import weight_sources
from ...find.detections_to_people import Limits, everyone, inside, person
from ...find.finders import mediapipe_pose, movenet
from ...find.finders.sam2_onnx import Sam2Onnx
from ...find.finders.tiles import find_in_tiles, tile_boxes
from ...find.found import Found, same_person
from ...find.sam_prompts import prompts
from ...people.from_masks import fitted
from ...scene import Person
from .openpose import dwpose, openpose
from .sam2 import FINDER as SAM2_PACKAGE
from .sam2 import Sam2Package
from .weight_files import Weights

CONNECTED = "only what is connected"
MOVENET = "MoveNet"
MEDIAPIPE = "MediaPipe"
OPENPOSE = "OpenPose (controlnet-aux)"
DWPOSE = "DWPose (controlnet-aux)"

AS_FOUND = "as found"
BOXES = "boxes"
SAM2_ONNX = "SAM 2 (ONNX)"

SAME_PERSON_IOU = 0.6
"""IoU (0..1) above which a box and the box around the mask of a person found before are the same person. (Less than
between two boxes: a box around a mask is tighter than a detector's.)
"""

Look = Callable[[Tensor], list[Found]]


class Result(NamedTuple):
    """Who was found."""

    people: list[Person]  # not numbered yet
    found: list[list[Found]]  # the same people as the detectors saw them, by photo
    left_out: int  # too small, outside of the photo, or too many
    known: int  # found before, and not added again
    fetched: list[str]  # what was downloaded, in sentences


def find_people(
    photos: Sequence[Tensor],
    given: Sequence[list[Found]],
    poses: Sequence[list[Found]],
    existing: Sequence[Person],
    detector: dict[str, Any],
    masks: dict[str, Any],
    limits: Limits,
    fetching: bool = False,
) -> Result:
    """The people of photos [H, W, C], 0..1, each with a mask.

    given, poses: whom boxes and poses show, by photo. existing: people found before. detector, masks: the choice and
    its settings, as the node's DynamicCombos hold them. fetching: files that are missing are downloaded. Shows
    progress; every step can be cancelled. Raises ValueError, in one sentence, if a package or a file is missing.
    """
    weights = Weights(fetching)
    segmenter = _segmenter(masks, weights)
    detected = _detected(photos, detector, limits.most_overlap, weights)
    found, left_out, known = [], 0, 0
    for index, photo in enumerate(photos):
        size = (int(photo.shape[0]), int(photo.shape[1]))
        here = everyone(given[index], poses[index], detected[index], limits.most_overlap)
        before = [_seen_before(one, size) for one in existing if one.photo == index]
        new = [one for one in here if not any(same_person(one, other, SAME_PERSON_IOU) for other in before)]
        known += len(here) - len(new)
        new, more = inside(new, size, limits)
        left_out += more
        found.append(new)
    people = _with_masks(photos, found, masks, segmenter)
    return Result(people, found, left_out, known, weights.said)


def _detected(
    photos: Sequence[Tensor], detector: dict[str, Any], most_overlap: float, weights: Weights
) -> list[list[Found]]:
    """Whom the detector that was chosen finds in each photo."""
    closer = int(detector.get("closer", 1))
    found: list[list[Found]] = [[] for _ in photos]
    with ExitStack() as stack:
        look = _look(detector, stack, weights)
        if look is not None:
            bar = comfy.utils.ProgressBar(len(photos) * len(tile_boxes((64, 64), closer)))
            for index, photo in enumerate(photos):
                comfy.model_management.throw_exception_if_processing_interrupted()
                found[index] = find_in_tiles(photo, closer, look, most_overlap, lambda: bar.update(1))
    return found


def _with_masks(
    photos: Sequence[Tensor], found: Sequence[list[Found]], masks: dict[str, Any], segmenter: Any
) -> list[Person]:
    """A person for each of those found, in the same order."""
    bar = comfy.utils.ProgressBar(max(sum(len(one) + 1 for one in found if one), 1))
    people = []
    for index, (photo, here) in enumerate(zip(photos, found, strict=True)):
        comfy.model_management.throw_exception_if_processing_interrupted()
        size = (int(photo.shape[0]), int(photo.shape[1]))
        if segmenter is not None and here:
            shapes = segmenter.masks(photo, prompts(here, masks["prompts"]), lambda: bar.update(1))
            made = [person(one, size, index, *shape) for one, shape in zip(here, shapes, strict=True)]
        elif masks["masks"] == BOXES:
            made = [person(one._replace(joints=None, mask=None), size, index) for one in here]
            made = [new and new._replace(joints=one.joints) for new, one in zip(made, here, strict=True)]
        else:
            made = [person(one, size, index) for one in here]
        people += [new for new in made if new is not None]
    return people


def _look(detector: dict[str, Any], stack: ExitStack, weights: Weights) -> Look | None:
    """The detector that was chosen, ready to look at photos until the stack is closed; None where only what is
    connected counts.
    """
    kind = detector["detector"]
    if kind == CONNECTED:
        return None
    threshold = float(detector["threshold"])
    if kind == MOVENET:
        return movenet.finder(weights.path_of(detector["model"], kind, weight_sources.MOVENET), threshold)
    if kind == MEDIAPIPE:
        path = weights.path_of(detector["model"], kind, weight_sources.MEDIAPIPE)
        return stack.enter_context(mediapipe_pose.finder(path, threshold))
    if kind == OPENPOSE:
        return openpose(weights.path_of(detector["model"], kind, weight_sources.OPENPOSE), threshold)
    boxes_from = weights.path_of(detector["people_model"], kind, weight_sources.YOLOX)
    return dwpose(boxes_from, weights.path_of(detector["pose_model"], kind, weight_sources.DWPOSE), threshold)


def _segmenter(masks: dict[str, Any], weights: Weights) -> Sam2Onnx | Sam2Package | None:
    """What makes masks of boxes and joints; None where the masks are those that were found."""
    kind = masks["masks"]
    if kind == SAM2_ONNX:
        encoder = weights.path_of(masks["encoder"], kind, weight_sources.SAM2_ENCODER)
        return Sam2Onnx(encoder, weights.path_of(masks["decoder"], kind, weight_sources.SAM2_DECODER))
    if kind == SAM2_PACKAGE:
        return Sam2Package(weights.path_of(masks["model"], kind, weight_sources.SAM2))
    return None


def _seen_before(one: Person, size: tuple[int, int]) -> Found:
    here = fitted(one, size)
    x0, y0, x1, y1 = here.box
    return Found((float(x0), float(y0), float(x1), float(y1)), 1.0, here.joints)
