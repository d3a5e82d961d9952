"""Guides a model by bodies: a network from a file, put on the prompts."""

from comfy_api.latest import io

from ..mild_core.comfy.guidance.apply import guided
from ..mild_core.comfy.guidance.body_control import MorphologyControl
from ..mild_core.comfy.guidance.load import files, load_guidance, path_of
from ..mild_core.scene import Morphology
from .sockets import Bodies


class LoadMorphologyGuidance(io.ComfyNode):
    """A safetensors file as CONTROL_NET."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_LoadMorphologyGuidance",
            display_name="Load Body Guidance",
            category="MILD/bodies",
            is_experimental=True,  # no weights are published so far
            description=(
                "Loads a network that guides a model by how bodies stand, for Guide by Bodies or any Apply ControlNet. "
                "No such file is published with this pack so far: it is for those who trained one. Without one, Pose "
                "Hint with a stock pose ControlNet does a similar job."
            ),
            search_aliases=[
                "human morphology guidance",
                "HMG",
                "pose guidance",
                "parsing guidance",
                "load controlnet",
                "t2i adapter",
            ],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files(),
                    tooltip="A .safetensors file in ComfyUI/models/mild, saved by this pack's save_guidance; it says "
                    "by itself which models it is for. No weights are published with this pack so far. After adding "
                    "one, press R.",
                ),
            ],
            outputs=[
                io.ControlNet.Output(
                    display_name="guidance",
                    tooltip="For Guide by Bodies, or for Apply ControlNet with a skeleton picture.",
                ),
            ],
        )

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_guidance(path_of(file)))


class ApplyMorphology(io.ComfyNode):
    """Guidance by the bodies of the photos, on both prompts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_ApplyMorphology",
            display_name="Guide by Bodies",
            category="MILD/bodies",
            is_experimental=True,  # no weights are published so far
            description=(
                "Puts body guidance on the prompts: an arm that was hidden is painted where it must be, and nobody is "
                "painted where nobody is. Sample Layers shows each layer its own people; KSampler sees everyone who "
                "stays. What the estimates are unsure of counts less, down to nothing. Stacks with ControlNets."
            ),
            search_aliases=[
                "human morphology guidance",
                "HMG",
                "apply controlnet",
                "pose guidance",
                "openpose",
                "complete body",
                "hidden arm",
            ],
            inputs=[
                io.Conditioning.Input("positive", tooltip="What should be seen."),
                io.Conditioning.Input("negative", tooltip="What should not."),
                io.ControlNet.Input("guidance", tooltip="From Load Body Guidance."),
                Bodies.Input("morphology", tooltip="The people's bodies, from Read Bodies."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="How much skeletons, body parts and places count in the picture. 0: not at all.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    advanced=True,
                    tooltip="From which share of the steps on strength counts: 0 is the first.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    advanced=True,
                    tooltip="Up to which share of the steps strength counts: 1 is the last. Bodies are decided early.",
                ),
                io.Float.Input(
                    "relations",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    advanced=True,
                    tooltip="How much of who stands where, and in front of whom, is put into the prompt. 0: nothing.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="With guidance."),
                io.Conditioning.Output(display_name="negative", tooltip="With guidance."),
            ],
        )

    @classmethod
    def execute(
        cls,
        positive: list,
        negative: list,
        guidance: object,
        morphology: list[Morphology],
        strength: float,
        start_percent: float,
        end_percent: float,
        relations: float,
    ) -> io.NodeOutput:
        if not isinstance(guidance, MorphologyControl):
            raise ValueError(
                f"guidance: expected what Load Body Guidance gives, got {type(guidance).__name__}. An ordinary "
                "ControlNet takes pictures: connect it to Apply ControlNet, with the pictures of Pose Hint."
            )
        if not morphology:
            raise ValueError("morphology: there is no photo in it. Connect Read Bodies.")
        span = (start_percent, end_percent)
        return io.NodeOutput(*guided(positive, negative, guidance, morphology, strength, span, relations))


NODES: list[type[io.ComfyNode]] = [LoadMorphologyGuidance, ApplyMorphology]
