"""Pictures of bodies for stock ControlNets, a row for each layer."""

import torch
from comfy_api.latest import io
from torch import Tensor

from ..mild_core.guidance.depth_picture import grey_levels
from ..mild_core.guidance.hint_pictures import hint_pictures
from ..mild_core.image.fill import area_resize, shrunk
from ..mild_core.scene import Morphology, Scene, rgb
from .checks import checked_nearness
from .show import shown
from .sockets import Bodies, Layers

PREVIEW, DIM = 768, 0.35
"""Longest side of the preview, and how bright the photo is under the skeletons."""


class PoseHint(io.ComfyNode):
    """Each layer's skeleton and depth, for pose and depth ControlNets."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_PoseHint",
            display_name="Pose Hint",
            category="MILD/bodies",
            description=(
                "Draws bodies for the pose and depth ControlNets that you have: on each person's layer their own "
                "skeleton with the hidden arm worked out, on the background no body where somebody goes. Connect pose "
                "or depth to Apply ControlNet and its prompts to Sample Layers, which gives every layer its own "
                "picture."
            ),
            search_aliases=[
                "openpose",
                "controlnet",
                "skeleton",
                "depth",
                "pose",
                "hidden arm",
                "body completion",
                "remove person",
                "object removal",
            ],
            inputs=[
                Layers.Input("layers", tooltip="From Split into Layers. Give Sample Layers the same."),
                Bodies.Input(
                    "morphology",
                    optional=True,
                    tooltip="From Read Bodies. Nothing connected: what Split into Layers was given.",
                ),
                io.Image.Input(
                    "depth",
                    optional=True,
                    tooltip="The photo's depth, near bright, e.g. from Depth Anything: the depth pictures are made of "
                    "it. Nothing connected: plain shapes by who stands in front.",
                ),
                io.Boolean.Input(
                    "hands_and_face",
                    default=False,
                    advanced=True,
                    tooltip="Also draw the points of hands and faces, where the poses have them. Only for ControlNets "
                    "that know such points.",
                ),
                io.Float.Input(
                    "megapixels",
                    default=1.0,
                    min=0.05,
                    max=4.0,
                    step=0.05,
                    round=0.001,
                    advanced=True,
                    tooltip="How finely bodies are drawn: what the smallest layer gets of it, as far as the photo's "
                    "own size allows. Many layers of a large photo get less, for the memory.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="pose",
                    tooltip="A skeleton picture for each layer, in the photo's frame: for Apply ControlNet with an "
                    "OpenPose ControlNet.",
                ),
                io.Image.Output(
                    display_name="depth",
                    tooltip="A depth picture for each layer, near bright: for Apply ControlNet with a depth "
                    "ControlNet.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        layers: list[Scene],
        hands_and_face: bool,
        megapixels: float,
        morphology: list[Morphology] | None = None,
        depth: Tensor | None = None,
    ) -> io.NodeOutput:
        known = _known(layers, morphology)
        grey, scaled = (None, []) if depth is None else grey_levels(checked_nearness(depth))
        drawn = hint_pictures(layers, known, grey, hands_and_face, megapixels)
        text = [f"{row}: {line}" for row, line in enumerate(drawn.lines, 1)]
        text.append(f"{len(drawn.pose)} pictures of {drawn.pose.shape[2]} x {drawn.pose.shape[1]} px, in this order.")
        text += scaled
        if len(drawn.pose) == len(layers) > 1 and any(len(scene.layers) != 1 for scene in layers):
            text.append(
                "There are as many layers as photos, so Sample Layers would take these for pictures of the photos: "
                "give it one photo at a time."
            )
        return io.NodeOutput(drawn.pose, drawn.depth, ui=shown(cls, "\n".join(text), _preview(layers, drawn.pose)))


def _known(layers: list[Scene], morphology: list[Morphology] | None) -> list[Morphology]:
    if morphology is not None:
        return morphology
    known = [scene.morphology for scene in layers if scene.morphology is not None]
    if len(known) < len(layers):
        raise ValueError(
            "morphology: nothing is known of the bodies in these photos. Connect Read Bodies here or to Split into "
            "Layers."
        )
    return known


def _preview(layers: list[Scene], pose: Tensor) -> Tensor:
    """The skeletons over the darkened photos, small."""
    size = shrunk((pose.shape[1], pose.shape[2]), PREVIEW)
    small = area_resize(pose.movedim(-1, 1), size)
    photos = []
    for scene in layers:
        photo = area_resize(rgb(scene.photo).movedim(-1, 0)[None].float(), size).clamp(0, 1).to(small.device) * DIM
        photos.extend([photo] * len(scene.layers))
    return small.maximum(torch.cat(photos)).movedim(1, -1)


NODES: list[type[io.ComfyNode]] = [PoseHint]
