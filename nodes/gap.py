"""How well attention was kept apart: measured while a picture is sampled, then drawn."""

from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..mild_core.comfy.attention.recorder import Recorder, recording
from ..mild_core.preview.gap_report import report
from ..mild_core.scene import Scene
from .attention import checked_maps, mask_inputs
from .checks import checked_image
from .show import shown
from .sockets import Gap, Layers

ALIASES = ["attention gap", "cag", "cross-domain attention gap", "leakage", "attention bleed", "attention map"]


class RecordGap(io.ComfyNode):
    """A MODEL that records what its holes look at."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_RecordGap",
            display_name="Record Attention Gap",
            category="MILD/attention",
            description=(
                "Writes down, while the model paints, how much each hole looks at its own and at people who must not "
                "show up in it. The picture stays the same in float32; in half precision it moves as far as with "
                "another attention function. Show Attention Gap draws what was written down."
            ),
            search_aliases=[*ALIASES, "record attention", "measure attention"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Any that Sample Layers takes, the Built-in Model too. Stop Attention Bleed or Erase by "
                    "Attention may stand before or after this node: what is recorded is what remains with them.",
                ),
                Layers.Input(
                    "layers",
                    optional=True,
                    tooltip="For Sample Layers: the very layers that it gets. Each is recorded by itself.",
                ),
                *mask_inputs(),
                io.String.Input(
                    "which",
                    default="all",
                    advanced=True,
                    tooltip="Layers that are recorded: all, background, people, or person numbers such as 2 or 1,3. "
                    "With KSampler: the layer that Get Layer hands out.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="For one Sample Layers or KSampler: a second one starts the record anew.",
                ),
                Gap.Output(display_name="gap", tooltip="For Show Attention Gap. It fills while the model paints."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        which: str,
        layers: list[Scene] | None = None,
        mask: Tensor | None = None,
        avoid: Tensor | None = None,
    ) -> io.NodeOutput:
        maps = checked_maps(layers, which, mask, avoid)
        if not maps.any:
            raise ValueError(
                f"{'mask' if layers is None else 'layers'}: there is no hole, so there is nothing to record. Take this "
                "node out, or say what is to be painted."
            )
        return io.NodeOutput(*recording(model, maps))


class AttentionGap(io.ComfyNode):
    """What was recorded, as pictures and numbers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_AttentionGap",
            display_name="Show Attention Gap",
            category="MILD/attention",
            description=(
                "Draws what Record Attention Gap wrote down: how well each block of the model kept apart at each step, "
                "what the holes looked at, and where in the picture that is. A picture for each layer."
            ),
            search_aliases=[*ALIASES, "plot attention", "visualize attention", "heat map"],
            is_output_node=True,
            inputs=[
                Gap.Input("gap", tooltip="From Record Attention Gap, whose model was sampled with."),
                io.MultiType.Input(
                    "sampled",
                    [Layers, io.Image, io.Latent],
                    tooltip="What came out: the painted layers, the picture, or the latent. So this node runs after "
                    "the sampler; layers and pictures are drawn below what the hole looks at.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="image", tooltip="One picture for each layer, or for each row of the batch."
                ),
                io.String.Output(
                    display_name="numbers",
                    tooltip="Everything that was measured, by block, head and noise level, as JSON.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, gap: Recorder, sampled: Any) -> io.NodeOutput:
        scenes = sampled if isinstance(sampled, list) else ()
        image = checked_image(sampled, "sampled") if isinstance(sampled, Tensor) else None
        drawn = report(gap.record, gap.maps, scenes, image)
        return io.NodeOutput(drawn.pictures, drawn.numbers, ui=shown(cls, drawn.text, drawn.pictures))


NODES: list[type[io.ComfyNode]] = [RecordGap, AttentionGap]
