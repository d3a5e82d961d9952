"""Keeps attention apart while a picture is sampled: the node, and the inputs that it shares."""

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..mild_core.attention.layer_regions import Maps
from ..mild_core.comfy.attention import gains as gain_files
from ..mild_core.comfy.attention.adaptive import TARGET
from ..mild_core.comfy.attention.blocks import ALL
from ..mild_core.comfy.attention.spatial import ADAPTIVE, FIXED, MODES, SpatialSettings, keep_apart
from ..mild_core.scene import Scene
from .checks import checked_mask
from .show import shown
from .sockets import Layers


def mask_inputs() -> list[io.Input]:
    """What stands in place of layers where KSampler paints."""
    return [
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="For KSampler, in place of layers: what is painted anew, over the whole picture.",
        ),
        io.Mask.Input(
            "avoid",
            optional=True,
            tooltip="Beside mask: people, or anything else, that must not show up in what is painted.",
        ),
    ]


def place_inputs(of_blocks: str = "") -> list[io.Input]:
    """In which blocks and steps a method holds. of_blocks: one more sentence about blocks."""
    return [
        io.String.Input(
            "blocks",
            default=ALL,
            advanced=True,
            tooltip="In which blocks of the model: all, or parts such as middle, output 3-5 (SD and SDXL), double, "
            f"single 0-9 (Flux). {of_blocks}".rstrip(),
        ),
        io.Float.Input(
            "start_percent",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            advanced=True,
            tooltip="From which share of the steps on. 0: from the first.",
        ),
        io.Float.Input(
            "end_percent",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            advanced=True,
            tooltip="Up to which share of the steps. 1: to the last.",
        ),
    ]


class SpatialAttention(io.ComfyNode):
    """Spatially-modulated attention on a MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_SpatialAttention",
            display_name="Stop Attention Bleed",
            category="MILD/attention",
            description=(
                "While a hole is painted, the model does not look at people who must not show up in it: a background "
                "takes nothing from anybody, a person nothing from anything else. For Sample Layers connect layers, "
                "for KSampler a mask."
            ),
            search_aliases=[
                "spatial attention",
                "spatially modulated attention",
                "sma",
                "attention bleed",
                "concept bleed",
                "keep attention apart",
                "steer attention",
                "regional attention",
                "attention mask",
                "leakage",
            ],
            inputs=[
                io.Model.Input(
                    "model", tooltip="Any checkpoint that Sample Layers takes. The Built-in Model does this by itself."
                ),
                Layers.Input(
                    "layers",
                    optional=True,
                    tooltip="For Sample Layers: the very layers that it gets. Each is kept apart in its own crop.",
                ),
                *mask_inputs(),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=5.0,
                    step=0.05,
                    tooltip="How firmly attention is kept apart. 0 changes nothing; 1 holds back most of what must not "
                    "be looked at, the least in the coarsest parts of the model.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=FIXED,
                    tooltip="fixed: every part of the model as firmly. adaptive: starts with this strength and then "
                    "measures, at every step, what the holes look at: each part of the model is held as firmly as it "
                    "needs to be.",
                ),
                io.String.Input(
                    "which",
                    default=ALL,
                    advanced=True,
                    tooltip="Layers that are kept apart: all, background, people, or person numbers such as 2 or 1,3. "
                    "With KSampler: the layer that Get Layer hands out.",
                ),
                *place_inputs(),
                io.Float.Input(
                    "target",
                    default=TARGET,
                    min=0.0,
                    max=0.999,
                    step=0.001,
                    round=0.0001,
                    advanced=True,
                    tooltip="For adaptive: how far own and foreign are to lie apart in what holes look at. 0.98: 99 "
                    "parts own, 1 foreign; 0.9: 95 and 5; 0: as much of the one as of the other.",
                ),
                io.Boolean.Input(
                    "words",
                    default=False,
                    advanced=True,
                    tooltip="For Flux and its like, where words and picture look at each other: the prompt's words "
                    "look away from those people, too, or the holes learn from the words what these have seen. Stops "
                    "more; the prompt may be followed less closely.",
                ),
                io.Combo.Input(
                    "gains",
                    options=gain_files.files(),
                    default=gain_files.NONE,
                    advanced=True,
                    tooltip="A file of learned strengths for this very model, from models/mild: a small .safetensors "
                    "with gains in its name. none: all parts of the model alike.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="For Sample Layers, KSampler or any other sampler node.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        strength: float,
        mode: str,
        which: str,
        blocks: str,
        start_percent: float,
        end_percent: float,
        target: float,
        words: bool,
        gains: str,
        layers: list[Scene] | None = None,
        mask: Tensor | None = None,
        avoid: Tensor | None = None,
    ) -> io.NodeOutput:
        maps = checked_maps(layers, which, mask, avoid)
        settings = SpatialSettings(strength, mode == ADAPTIVE, blocks, start_percent, end_percent, target, gains, words)
        patched, text = keep_apart(model, maps, settings)
        return io.NodeOutput(patched, ui=shown(cls, "\n".join([text, *maps.notes])))


def checked_maps(layers: list[Scene] | None, which: str, mask: Tensor | None, avoid: Tensor | None) -> Maps:
    """ValueError where it is not clear what is to be painted."""
    if (layers is None) == (mask is None):
        found = "nothing is connected" if mask is None else "both are connected"
        raise ValueError(f"layers, mask: {found}. Connect layers for Sample Layers, or a mask for KSampler.")
    if layers is not None:
        if avoid is not None:
            raise ValueError("avoid: layers know who must not be looked at. Disconnect it, or use a mask.")
        return Maps.of(layers, which)
    return Maps.of_mask(checked_mask(mask, "mask"), None if avoid is None else checked_mask(avoid, "avoid"))


NODES: list[type[io.ComfyNode]] = [SpatialAttention]
