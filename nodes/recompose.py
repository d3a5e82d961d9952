"""Puts layers together to a photo again."""

from comfy_api.latest import io

from ..mild_core.layers.recompose import Recomposed, recompose, report
from ..mild_core.layers.seams import MEAN, SEAMS
from ..mild_core.scene import Scene
from .show import shown
from .sockets import Layers


class Recompose(io.ComfyNode):
    """Sampled layers in, the photo out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_Recompose",
            display_name="Recompose Photo",
            category="MILD/layers",
            description=(
                "Puts the painted layers over the photo, from back to front, in the photo's level and grain. Outside "
                "the holes, and wherever somebody stays or something is protected, every pixel is the photo's own."
            ),
            search_aliases=[
                "merge layers",
                "composite",
                "recompose",
                "remove person",
                "object removal",
                "eraser",
                "clean plate",
                "inpaint",
                "changed mask",
            ],
            inputs=[
                Layers.Input("layers", tooltip="From Sample Layers."),
                io.Combo.Input(
                    "seam",
                    options=list(SEAMS),
                    default=MEAN,
                    optional=True,  # graphs of before there was a choice still run
                    tooltip="Checkpoints often paint a little too dark, too light or in another tint. mean: every hole "
                    "as a whole is brought to the level of the photo around it. gradient: the level is followed along "
                    "the hole's border, for tints that differ from side to side. none: as it was painted.",
                ),
                io.Boolean.Input(
                    "grain",
                    default=True,
                    optional=True,
                    tooltip="Gives what was painted the photo's grain (camera noise) where it is smoother than its "
                    "surroundings. The same every time.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The finished photo, in its own size and channels."),
                io.Mask.Output(display_name="changed", tooltip="White where a pixel differs from the photo."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, layers: list[Scene], seam: str = MEAN, grain: bool = True) -> io.NodeOutput:
        result = recompose(layers, seam, grain)
        return io.NodeOutput(result.image, result.changed, ui=shown(cls, report(result), warning=_nothing(result)))


def _nothing(result: Recomposed) -> str:
    """Why the picture is the photo; empty where it is another one."""
    if result.changed.any():
        return ""
    return f"nothing was erased: {'no layer was painted' if result.unsampled else 'there was nothing to paint'}."


NODES: list[type[io.ComfyNode]] = [Recompose]
