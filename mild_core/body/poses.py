"""Skeletons: joints of every format become OpenPose's 18 (COCO-18), in pixels of the photo.

Order: nose, neck, right shoulder, elbow, wrist, left shoulder, elbow, wrist, right hip, knee, ankle, left hip, knee,
ankle, right eye, left eye, right ear, left ear. Right and left are the person's own.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..pairing import Size, stretched

NOSE, NECK, R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST = range(8)
R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE, R_EYE, L_EYE, R_EAR, L_EAR = range(8, 18)

JOINTS = 18
HAND, FACE = 21, 70
"""Joints of a hand, and points of a face: 68 of the jaw, brows, nose, eyes and mouth, then the two pupils."""

SEEN = 0.05
"""Joints of a lower confidence were not seen: detectors give them as 0, 0."""

# where each of the 18 stands in COCO-17 (nose, left eye, right eye, left ear, ..., right ankle); the neck is made
_FROM_COCO_17 = (0, 0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
# the same in the 33 landmarks of MediaPipe (BlazePose)
_FROM_BLAZEPOSE = (0, 0, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7)
# OpenPose's BODY_25 has the middle of the hips in ninth place, and feet at the end
_FROM_BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)


class Pose(NamedTuple):
    """One skeleton of a photo. All places are x, y in pixels of the photo; a confidence of 0 says: not seen."""

    joints: Tensor  # [18, 3]: x, y, confidence 0..1
    hands: Tensor | None = None  # [2, 21, 3]: left, right
    face: Tensor | None = None  # [70, 3]


def seen(joints: Tensor) -> Tensor:
    """Which of the joints [18, 3] were seen, [18] bool."""
    return joints[:, 2] > SEEN


def from_coco_17(points: Tensor) -> Tensor:
    """[18, 3] from COCO-17 [17, 3] (x, y, confidence): the neck is the middle of the shoulders."""
    return _with_neck(points.float()[list(_FROM_COCO_17)])


def from_blazepose(points: Tensor) -> Tensor:
    """[18, 3] from MediaPipe's landmarks [33, 3] (x, y, confidence): the neck is the middle of the shoulders."""
    return _with_neck(points.float()[list(_FROM_BLAZEPOSE)])


def _with_neck(joints: Tensor) -> Tensor:
    right, left = joints[R_SHOULDER], joints[L_SHOULDER]
    joints[NECK] = (right + left) / 2
    # A shoulder that was not seen has no place: its middle with the other one has none either.
    joints[NECK, 2] = torch.minimum(right[2], left[2])
    return joints


def pose_box(joints: Tensor, margin: float = 0.1) -> tuple[float, float, float, float] | None:
    """Box x0, y0, x1, y1 in pixels around the joints [18, 3] that were seen, grown by `margin` of its longer side
    (heads, hands and feet go on beyond their joints); None if nothing was seen.
    """
    points = joints[seen(joints), :2]
    if not len(points):
        return None
    low, high = points.amin(0), points.amax(0)
    grow = float((high - low).max()) * margin
    return float(low[0]) - grow, float(low[1]) - grow, float(high[0]) + grow, float(high[1]) + grow


def pose_score(joints: Tensor) -> float:
    """Mean confidence, 0..1, of the joints that were seen; 0 if none was."""
    known = seen(joints)
    return float(joints[known, 2].mean().clamp(0, 1)) if known.any() else 0.0


def joints_in_frames(frames: Any, sizes: Sequence[tuple[int, int]]) -> list[list[Tensor]]:
    """The joints [18, 3] of everyone in each photo, in pixels of that photo: see poses_in_frames."""
    return [[pose.joints for pose in poses] for poses in poses_in_frames(frames, sizes)]


def poses_in_frames(frames: Any, sizes: Sequence[tuple[int, int]]) -> list[list[Pose]]:
    """The pose of everyone in each photo, in pixels of that photo.

    frames: POSE_KEYPOINT, a list of OpenPose frames (dicts with people, canvas_width and canvas_height), one for each
    photo, or one such dict. People without joints are left out, joints without a place have confidence 0. Coordinates
    may be pixels of the canvas or shares of it. sizes: height and width of each photo. Raises ValueError, in the
    socket's name, for anything else; hands and faces of an unknown number of points are left out.
    """
    if isinstance(frames, dict):
        frames = [frames]
    if not isinstance(frames, (list, tuple)) or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError(
            f"poses: expected OpenPose frames, got {type(frames).__name__}. Connect a POSE_KEYPOINT output such as "
            "SDPose's or DWPose's."
        )
    if frames and len(frames) != len(sizes):
        raise ValueError(
            f"poses: there are poses for {len(frames)} photos, but image holds {len(sizes)}. "
            "Connect the poses that were found in these photos."
        )
    return [_poses_in_frame(frame, size) for frame, size in zip(frames, sizes, strict=False)] or [[] for _ in sizes]


def stretched_canvases(frames: Any, sizes: Sequence[Size]) -> list[str]:
    """Sentences on poses that were read in a picture of another shape than their photo: poses_in_frames stretches
    them. frames, sizes: as there, and already read by it.
    """
    frames = [frames] if isinstance(frames, dict) else list(frames)
    canvases = [
        _canvas(frame, size) if frame.get("people") else size for frame, size in zip(frames, sizes, strict=False)
    ]
    whole = [(max(round(height), 1), max(round(width), 1)) for height, width in canvases]
    return stretched("poses", whole, list(sizes[: len(whole)]), item="poses of photo")


def _canvas(frame: dict, size: Size) -> tuple[float, float]:
    """Height and width of the picture in whose pixels a frame's poses are; the photo's where the frame says none."""
    return float(frame.get("canvas_height") or size[0]), float(frame.get("canvas_width") or size[1])


def _poses_in_frame(frame: dict, size: tuple[int, int]) -> list[Pose]:
    everybody = (_pose(person) for person in frame.get("people") or [])
    poses = [pose for pose in everybody if pose is not None and seen(pose.joints).any()]
    height, width = _canvas(frame, size)
    # OpenPose's own files hold pixels, some nodes give shares of the canvas: nobody is within two pixels of a corner.
    largest = max((float(pose.joints[seen(pose.joints), :2].abs().max()) for pose in poses), default=0.0)
    is_share = largest <= 2.0 and max(height, width) > 8
    scale = torch.tensor([size[1] * (1.0 if is_share else 1 / width), size[0] * (1.0 if is_share else 1 / height), 1.0])

    def placed(points: Tensor | None) -> Tensor | None:
        return None if points is None else points * scale

    return [Pose(pose.joints * scale, placed(pose.hands), placed(pose.face)) for pose in poses]


def _pose(person: dict) -> Pose | None:
    """One person of a frame, in the frame's own coordinates; None without joints."""
    joints = _joints(person)
    if joints is None:
        return None
    hands = [_points(person.get(f"hand_{side}_keypoints_2d"), (HAND,)) for side in ("left", "right")]
    face = _points(person.get("face_keypoints_2d"), (68, FACE))
    if face is not None and len(face) < FACE:
        face = torch.cat([face, torch.zeros(FACE - len(face), 3)])
    both = torch.stack([torch.zeros(HAND, 3) if hand is None else hand for hand in hands])
    return Pose(joints, both if (both[..., 2] > 0).any() else None, face)


def _joints(person: dict) -> Tensor | None:
    """[18, 3] of one person of a frame; None without joints."""
    flat = person.get("pose_keypoints_2d") or []
    if not flat:
        return None
    points = _points(flat, (17, 18, 25))
    if points is None:
        raise ValueError(
            f"poses: somebody's pose_keypoints_2d holds {len(flat)} values; 18 joints of x, y and confidence are "
            "understood, also 25 (BODY_25) or 17 (COCO). Connect a node that gives body poses of people."
        )
    if len(points) == 17:
        return from_coco_17(points)
    return points[list(_FROM_BODY_25)] if len(points) == 25 else points


def _points(flat: Any, counts: Sequence[int]) -> Tensor | None:
    """[N, 3] of x, y, confidence one after the other; None if they are not one of these counts of points."""
    try:
        values = torch.tensor([float(value or 0) for value in flat or []], dtype=torch.float32)
    except (TypeError, ValueError):
        return None
    if len(values) % 3 or len(values) // 3 not in counts:
        return None
    points = torch.nan_to_num(values.reshape(-1, 3), nan=0.0, posinf=0.0, neginf=0.0)
    # A joint at 0, 0 was not found, whatever its confidence; -1, -1 is what some nodes write for the same.
    points[:, 2] = torch.where((points[:, :2] <= 0).all(-1), torch.zeros(()), points[:, 2].clamp(0, 1))
    return points


def pose_distance(one: Tensor, other: Tensor) -> float | None:
    """Mean distance of the joints that both [18, 3] have, as a share of the larger one's size; None if fewer than
    three are shared.
    """
    both = seen(one) & seen(other).to(one.device)
    if int(both.sum()) < 3:
        return None
    size = max(_extent(one), _extent(other), 1.0)
    return float((one[both, :2] - other.to(one.device)[both, :2]).norm(dim=-1).mean()) / size


def _extent(joints: Tensor) -> float:
    """Longer side of the joints' box in pixels."""
    points = joints[seen(joints), :2]
    return float((points.amax(0) - points.amin(0)).max()) if len(points) else 0.0
