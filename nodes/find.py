"""Finds people: from what other nodes detected, or by a detector that the artist has installed."""

from comfy_api.latest import io
from torch import Tensor

from ..mild_core.body.poses import joints_in_frames, stretched_canvases
from ..mild_core.comfy.find import find_people, weight_files
from ..mild_core.find import weight_sources
from ..mild_core.find.bounding_boxes import InFrames, boxes_of, found_in_frames
from ..mild_core.find.detections_to_people import Limits, found_by_pose
from ..mild_core.find.sam_prompts import BOX, BOX_AND_JOINTS, JOINTS
from ..mild_core.people.from_masks import numbered, stretched_people
from ..mild_core.preview.overlay import preview_people
from ..mild_core.scene import Person
from .checks import checked_choice, checked_image
from .show import shown
from .sockets import People, Poses
from .weights import fetch_input, file_input


class FindPeople(io.ComfyNode):
    """A photo becomes numbered people."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_FindPeople",
            display_name="Find People",
            category="MILD/people",
            description=(
                "Finds the people in a photo and numbers them from left to right. Connect the boxes or poses that "
                "ComfyUI's own detectors give (RT-DETR, SDPose), or choose a detector whose file you have. "
                "Has a detector masks already (SAM3 Detect), use People from Masks instead."
            ),
            search_aliases=[
                "detect people",
                "person detection",
                "find person",
                "segment people",
                "pose to mask",
                "boxes to masks",
                "openpose",
                "dwpose",
                "movenet",
                "mediapipe",
                "sam2",
                "segment anything",
                "remove person",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of photos."),
                io.BoundingBox.Input(
                    "boxes",
                    optional=True,
                    force_input=True,
                    tooltip="Boxes around people, from RT-DETR or any other detector: one list for each photo.",
                ),
                Poses.Input(
                    "poses",
                    optional=True,
                    tooltip="Poses from SDPose, DWPose or OpenPose nodes (POSE_KEYPOINT). A pose that lies in a box "
                    "belongs to it; any other is one more person.",
                ),
                People.Input(
                    "people",
                    optional=True,
                    tooltip="People found before: only those who are missing are added, and numbered on from them.",
                ),
                io.DynamicCombo.Input(
                    "detector",
                    options=_detectors(),
                    tooltip="Who else looks for people. only what is connected: nobody; ComfyUI's own SAM3 and RT-DETR "
                    "need nothing but their checkpoint, and their boxes are enough. The others need a package and a "
                    "file of weights, which nothing downloads unasked. MoveNet: good at finding people (Apache-2.0). "
                    "MediaPipe: gives masks, finds fewer (Apache-2.0). OpenPose: weights for non-commercial use only. "
                    "DWPose: Apache-2.0, hard to install.",
                ),
                io.DynamicCombo.Input(
                    "masks",
                    options=_masks(),
                    tooltip="How people get their masks. as found: the detector's own mask, else the body drawn around "
                    "its pose, else the filled box. boxes: always the filled box. SAM 2 (Meta, Apache-2.0): the "
                    "outline itself, by far the best; by onnxruntime and two files, or by Meta's package and a "
                    "checkpoint.",
                ),
                io.String.Input(
                    "labels",
                    default="person",
                    advanced=True,
                    tooltip="Boxes with another label are left out, boxes without any are kept. Several names are "
                    "parted by commas (person, dog); empty keeps every box.",
                ),
                io.Int.Input(
                    "max_people",
                    default=100,
                    min=1,
                    max=1000,
                    advanced=True,
                    tooltip="At most this many people in a photo: those of whom the detector is surest.",
                ),
                io.Float.Input(
                    "min_size",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    advanced=True,
                    tooltip="People smaller than this are left out: 0.1 is a tenth of the photo's shorter side.",
                ),
                io.Float.Input(
                    "overlap",
                    default=0.8,
                    min=0.1,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Two boxes that share more than this are the same person, found twice. Lower it if one "
                    "person comes twice, raise it if one of two who embrace is missing.",
                ),
                fetch_input(),
            ],
            outputs=[
                People.Output(display_name="people", tooltip="For Choose People."),
                io.Image.Output(display_name="preview", tooltip="The photo with everyone outlined and numbered."),
                io.BoundingBox.Output(
                    display_name="boxes",
                    tooltip="A box around each person who was found now, one list for each photo: for SAM3 Detect or "
                    "any other node that takes boxes.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        labels: str,
        max_people: int,
        min_size: float,
        overlap: float,
        detector: dict | None = None,
        masks: dict | None = None,
        boxes: list | dict | None = None,
        poses: list[dict] | None = None,
        people: list[Person] | None = None,
        fetch_when_missing: bool = False,
    ) -> io.NodeOutput:
        photos = list(checked_image(image))
        detector = checked_choice(detector, "detector", [option.key for option in _detectors()])
        masks = checked_choice(masks, "masks", [option.key for option in _masks()])
        if boxes is None and poses is None and detector["detector"] == find_people.CONNECTED:
            shown(cls, "\n".join(_there(whole=True)))
            raise ValueError(
                "detector: nothing says where people are: connect boxes (SAM3 Detect, RT-DETR) or poses (SDPose), or "
                "choose MoveNet or MediaPipe here. The node's text lists what is on this machine, and where the rest "
                "comes from."
            )
        existing = people or []
        sizes = [(int(photo.shape[0]), int(photo.shape[1])) for photo in photos]
        given = found_in_frames([] if boxes is None else boxes, sizes, labels)
        skeletons = joints_in_frames([] if poses is None else poses, sizes)
        seen = [[one for joints in frame if (one := found_by_pose(joints)) is not None] for frame in skeletons]
        limits = Limits(overlap, min_size, max_people)
        result = find_people.find_people(
            photos, given.found, seen, existing, detector, masks, limits, fetch_when_missing
        )
        everybody = numbered(result.people, existing)
        count = max([person.photo + 1 for person in everybody] + [len(photos)])
        preview = preview_people(everybody, photos, count)
        said = stretched_canvases([] if poses is None else poses, sizes) + stretched_people(existing, sizes)
        said = [_sentence(result, len(existing), given, labels), *said]
        if masks["masks"] == find_people.AS_FOUND and any(bool((one.mask == 1).all()) for one in result.people):
            said.append(
                "Where nothing but a box is known, the mask is the whole box: SAM 2 as masks finds the outline."
            )
        text = "\n".join([*said, *result.fetched, *_there(whole=not everybody)])
        frames = [boxes_of(frame) for frame in result.found]
        return io.NodeOutput(everybody, preview, frames, ui=shown(cls, text, preview))


def _detectors() -> list[io.DynamicCombo.Option]:
    """Each detector with its own settings."""
    return [
        io.DynamicCombo.Option(find_people.CONNECTED, []),
        io.DynamicCombo.Option(
            find_people.MOVENET,
            [
                file_input("model", weight_sources.MOVENET),
                _threshold(0.1, "lower finds more people, and more that are none"),
                _closer(),
            ],
        ),
        io.DynamicCombo.Option(
            find_people.MEDIAPIPE,
            [
                file_input("model", weight_sources.MEDIAPIPE),
                _threshold(0.5, "lower finds more people, and more that are none"),
                _closer(),
            ],
        ),
        io.DynamicCombo.Option(
            find_people.OPENPOSE,
            [
                file_input("model", weight_sources.OPENPOSE),
                _threshold(0.3, "the mean score of somebody's joints"),
            ],
        ),
        io.DynamicCombo.Option(
            find_people.DWPOSE,
            [
                file_input("people_model", weight_sources.YOLOX),
                file_input("pose_model", weight_sources.DWPOSE),
                _threshold(0.3, "the mean score of somebody's joints"),
            ],
        ),
    ]


def _masks() -> list[io.DynamicCombo.Option]:
    """Each way to make masks with its own settings."""
    return [
        io.DynamicCombo.Option(find_people.AS_FOUND, []),
        io.DynamicCombo.Option(find_people.BOXES, []),
        io.DynamicCombo.Option(
            find_people.SAM2_ONNX,
            [
                file_input("encoder", weight_sources.SAM2_ENCODER),
                file_input("decoder", weight_sources.SAM2_DECODER),
                _prompts(),
            ],
        ),
        io.DynamicCombo.Option(find_people.SAM2_PACKAGE, [file_input("model", weight_sources.SAM2), _prompts()]),
    ]


def _threshold(default: float, means: str) -> io.Float.Input:
    tooltip = f"How sure the detector must be: {means}."
    return io.Float.Input("threshold", default=default, min=0.01, max=1.0, step=0.01, tooltip=tooltip)


def _closer() -> io.Int.Input:
    return io.Int.Input(
        "closer",
        default=2,
        min=1,
        max=6,
        advanced=True,
        tooltip="1 looks at the photo once. 2 looks again at 2 x 2 parts of it, 3 at 3 x 3, and so on: for small "
        "people and crowds. Takes longer.",
    )


def _prompts() -> io.Combo.Input:
    return io.Combo.Input(
        "prompts",
        options=[BOX, BOX_AND_JOINTS, JOINTS],
        default=BOX,
        advanced=True,
        tooltip="What SAM 2 gets of a person: the box, the joints, or both. With joints it also gets the joints in the "
        "box that are somebody else's, to keep out: try it where people hold one another.",
    )


def _there(whole: bool) -> list[str]:
    """Which detectors are on this machine; where the others come from, in full only where the artist lacks one."""
    return weight_files.listing([*weight_sources.FINDERS, *weight_sources.SEGMENTERS], whole)


def _sentence(result: find_people.Result, before: int, given: InFrames, labels: str) -> str:
    """What was found, in words."""
    count = len(result.people)
    if not count and not before:
        lines = ["Nobody found. Lower the detector's threshold, or paint a mask and use People from Masks."]
    else:
        lines = [f"{count + before} people" if count + before != 1 else "1 person"]
        lines[0] += f", {count} of them new" if before else ""
    if result.known:
        lines.append(f"{result.known} found before and not added again.")
    if result.left_out:
        lines.append(f"{result.left_out} too small, outside the photo or more than max_people: left out.")
    if given.other:
        lines.append(f"{given.other} box{'es' if given.other > 1 else ''} not labelled {labels} left out.")
    if given.shares:
        lines.append("The boxes are numbers from 0 to 1: read as shares of the photo, not as pixels.")
    return "\n".join(lines)


NODES: list[type[io.ComfyNode]] = [FindPeople]
