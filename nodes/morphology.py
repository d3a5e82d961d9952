"""Reads people's bodies: pose, body parts, and who stands in front of whom."""

from comfy_api.latest import io
from torch import Tensor

from ..mild_core.body.body_parts import SETS, to_parts
from ..mild_core.body.label_maps import labels_of
from ..mild_core.body.poses import Pose, poses_in_frames, seen, stretched_canvases
from ..mild_core.body.read_bodies import read_bodies
from ..mild_core.comfy.find import parse_people, weight_files
from ..mild_core.find import weight_sources
from ..mild_core.pairing import stretched
from ..mild_core.people.from_masks import stretched_people
from ..mild_core.preview.morphology_plot import preview_morphology
from ..mild_core.scene import Morphology, Person
from .checks import checked_choice, checked_image, checked_nearness
from .show import shown
from .sockets import Bodies, People, Poses
from .weights import fetch_input, file_input


class ReadBodies(io.ComfyNode):
    """People, poses and body parts become bodies."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_Morphology",
            display_name="Read Bodies",
            category="MILD/bodies",
            description=(
                "Brings together what is known of each person's body: the pose, the body parts, and who stands in "
                "front of whom. Connect poses (SDPose, DWPose) and the label map of a human parser, or choose a parser "
                "whose file you have. Joints that somebody who goes hides are worked out. Then Split into Layers knows "
                "better where a hidden person goes on, and Pose Hint and Guide by Bodies can guide a model by it."
            ),
            search_aliases=[
                "human morphology",
                "body parts",
                "human parsing",
                "clothes segmentation",
                "pose",
                "skeleton",
                "openpose",
                "dwpose",
                "sdpose",
                "bodypix",
                "mediapipe",
                "schp",
                "hidden arm",
                "occlusion",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of photos."),
                People.Input("people", tooltip="From Choose People, or from whoever finds people."),
                Poses.Input(
                    "poses",
                    optional=True,
                    tooltip="Poses from SDPose, DWPose or OpenPose nodes (POSE_KEYPOINT), in any order: each goes to "
                    "the person on whom it lies. A pose that lies on nobody is shown and left out.",
                ),
                io.MultiType.Input(
                    "parsing",
                    types=[io.Mask, io.Image],
                    optional=True,
                    tooltip="The label map of a human parser, not a mask: grey levels or the usual colours, one value "
                    "for each body part. One for each photo, or one for each person.",
                ),
                io.Combo.Input(
                    "labels",
                    options=list(SETS),
                    default="ATR",
                    tooltip="Which label set the connected parsing uses; see your parser's page. ATR, LIP and CIHP: "
                    "clothes and limbs, as SCHP and SegFormer clothes give. ours: the numbers of this pack.",
                ),
                io.DynamicCombo.Input(
                    "parser",
                    options=_parsers(),
                    tooltip="Who else looks at each person. only what is connected: nobody. The others need a package "
                    "and a file of weights, which nothing downloads unasked. MediaPipe multiclass: hair, face, skin "
                    "and clothes (by Google, Apache-2.0). BodyPix: arms, legs and torso, left and right, and a pose "
                    "for people who have none (by Google, Apache-2.0).",
                ),
                io.MultiType.Input(
                    "depth",
                    types=[io.Image, io.Mask],
                    optional=True,
                    advanced=True,
                    tooltip="A depth image of any size, brighter is nearer, as Depth Anything and MiDaS give. Asked "
                    "where outlines leave open who is in front. One picture, or one for each photo.",
                ),
                io.Boolean.Input(
                    "invert_depth",
                    default=False,
                    advanced=True,
                    tooltip="For depth images in which darker is nearer.",
                ),
                io.Float.Input(
                    "min_confidence",
                    default=0.3,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Joints of poses, and joints and body parts of the parser, that are less sure than this "
                    "count as not seen. Raise it if skeletons go astray, lower it if arms or legs are missing.",
                ),
                fetch_input(),
            ],
            outputs=[
                Bodies.Output(
                    display_name="morphology", tooltip="For Split into Layers, Pose Hint and Guide by Bodies."
                ),
                io.Image.Output(
                    display_name="preview",
                    tooltip="The photo with skeletons, coloured body parts, and arrows from who is in front to whom "
                    "they hide. Joints that were worked out are hollow, their limbs dashed.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        people: list[Person],
        labels: str,
        invert_depth: bool,
        min_confidence: float,
        parser: dict | None = None,
        poses: list[dict] | dict | None = None,
        parsing: Tensor | None = None,
        depth: Tensor | None = None,
        fetch_when_missing: bool = False,
    ) -> io.NodeOutput:
        photos = list(checked_image(image))
        parser = checked_choice(parser, "parser", [option.key for option in _parsers()])
        sizes = [(int(photo.shape[0]), int(photo.shape[1])) for photo in photos]
        frames = None
        if poses is not None:
            frames = [[_sure(pose, min_confidence) for pose in frame] for frame in poses_in_frames(poses, sizes)]
        maps = None if parsing is None else to_parts(labels_of(_label_picture(parsing), labels), labels)
        nearer = None if depth is None else checked_nearness(depth, invert_depth)
        weights = weight_files.Weights(fetch_when_missing)
        parsed = parse_people.parse_people(people, photos, parser, min_confidence, weights)
        morphologies = read_bodies(people, sizes, frames, maps, nearer, parsed)
        preview = preview_morphology(morphologies, photos)
        text = [_sentence(morphologies), *weights.said, *stretched_people(people, sizes)]
        text += [] if poses is None else stretched_canvases(poses, sizes)
        for socket, picture in (("parsing", maps), ("depth", nearer)):
            if picture is not None and picture.any():
                own = (int(picture.shape[1]), int(picture.shape[2]))
                text += stretched(socket, [own], sizes[:1], rounded=True)
        return io.NodeOutput(morphologies, preview, ui=shown(cls, "\n".join(text), preview))


def _parsers() -> list[io.DynamicCombo.Option]:
    """Each parser with its file."""
    return [
        io.DynamicCombo.Option(parse_people.CONNECTED, []),
        io.DynamicCombo.Option(
            parse_people.MEDIAPIPE,
            [file_input("model", weight_sources.MULTICLASS)],
        ),
        io.DynamicCombo.Option(
            parse_people.BODYPIX,
            [file_input("model", weight_sources.BODYPIX)],
        ),
    ]


def _sure(pose: Pose, least: float) -> Pose:
    """The pose without the joints of which its estimator is less sure."""

    def kept(points: Tensor | None) -> Tensor | None:
        return None if points is None else points * (points[..., 2:] >= least)

    return Pose(pose.joints * (pose.joints[:, 2:] >= least), kept(pose.hands), kept(pose.face))


def _label_picture(parsing: Tensor) -> Tensor:
    """[B, h, w] or [B, h, w, C] as it is: its values are labels, which nothing may clamp."""
    if not isinstance(parsing, Tensor):
        raise ValueError(f"parsing: expected a MASK or an IMAGE, got {type(parsing).__name__}. Connect a label map.")
    flat = parsing[:, 0] if parsing.ndim == 4 and parsing.shape[1] == 1 and parsing.shape[-1] > 4 else parsing
    is_image = flat.ndim == 4 and flat.shape[-1] in (1, 3, 4)
    if not (is_image or flat.ndim in (2, 3)) or 0 in flat.shape:
        raise ValueError(
            f"parsing: expected a MASK or an IMAGE, got a tensor of shape {list(parsing.shape)}. Connect the label map "
            "of a human parser."
        )
    return flat


def _sentence(morphologies: list[Morphology]) -> str:
    """What is known, in words, photo by photo."""
    lines = []
    for morphology in morphologies:
        bodies = morphology.bodies
        start = f"Photo {morphology.photo + 1}: " if len(morphologies) > 1 else ""
        with_pose = sum(body.joints is not None and bool(seen(body.joints).any()) for body in bodies)
        with_parts = sum(body.parts is not None and bool((body.parts > 0).any()) for body in bodies)
        bodies_text = f"{len(bodies)} bod{'y' if len(bodies) == 1 else 'ies'}"
        if not bodies:
            line = f"{start}Nobody is here."
        elif with_pose or with_parts:
            line = f"{start}{bodies_text}: {with_pose} with a pose, {with_parts} with body parts."
        else:
            line = (
                f"{start}{bodies_text}: nothing is known but their places. Connect poses or parsing, or choose a "
                "parser."
            )
        worked_out = sum(0 if body.inferred is None else int(body.inferred.sum()) for body in bodies)
        if worked_out:
            line += f" {worked_out} hidden joint{'s' if worked_out > 1 else ''} worked out."
        lines.append(line)
        if morphology.nobody:
            one = len(morphology.nobody) == 1
            fits = "1 pose fits nobody and is" if one else f"{len(morphology.nobody)} poses fit nobody and are"
            lines.append(f"{start}{fits} left out.")
    return "\n".join(lines)


NODES: list[type[io.ComfyNode]] = [ReadBodies]
