"""Erases by restricting what a model may look at."""

from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..mild_core.attention.layer_regions import Maps
from ..mild_core.comfy.attention.erase import AttentiveEraser, covering, erase, grown_mask, noise_mask
from ..mild_core.scene import Scene
from .checks import checked_choice, checked_mask
from .show import shown
from .sockets import Layers

GUIDED = "attentive eraser"
ATTENTION_ALONE = "attention alone"

_DEFAULTS = AttentiveEraser()


class AttentionEraser(io.ComfyNode):
    """A MODEL that cannot look at what is to vanish."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_AttentionEraser",
            display_name="Erase by Attention",
            category="MILD/attention",
            description=(
                "Makes a model erase that was never trained to: while it paints, nothing in the picture may look at "
                "what is to vanish. No prompt, no training, no download. For Stable Diffusion 1.5 and 2, and SDXL, of "
                "which any checkpoint will do."
            ),
            search_aliases=[
                "attentive eraser",
                "object removal",
                "remove object",
                "remove person",
                "eraser",
                "inpaint",
                "attention",
                "aas",
                "sarg",
                "training free",
            ],
            inputs=[
                io.Model.Input("model", tooltip="Stable Diffusion 1.5, 2 or SDXL; inpaint checkpoints work too."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White where something is to vanish, over the whole picture: for KSampler. One mask, or "
                    "one for each picture of the latent. Or connect layers.",
                ),
                Layers.Input(
                    "layers",
                    optional=True,
                    tooltip="From Split into Layers: each layer's own hole, for Sample Layers. In place of a mask.",
                ),
                io.DynamicCombo.Input(
                    "method",
                    options=[
                        io.DynamicCombo.Option(GUIDED, [_guidance(), *_steps()]),
                        io.DynamicCombo.Option(ATTENTION_ALONE, _steps()),
                    ],
                    tooltip="attentive eraser: as published; in each step the model is asked with and without the "
                    "hidden part, and led away from the latter; takes up to twice as long. attention alone: the hidden "
                    "part, without this guidance; costs no time.",
                ),
                io.Float.Input(
                    "grow",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.1,
                    advanced=True,
                    tooltip="How much wider than the mask the hidden part is: 1 as published, which for SDXL is 1.5 % "
                    "of the picture's side, for Stable Diffusion 1.5 and 2 0.35 %. Layers have grown already.",
                ),
                io.String.Input(
                    "which",
                    default="all",
                    advanced=True,
                    tooltip="For layers, which of them: all, background, people, or person numbers such as 2 or 1,3.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="For KSampler, Sample Layers or any other sampler node."),
                io.Mask.Output(
                    display_name="mask",
                    tooltip="The grown mask, for Set Latent Noise Mask: what is hidden is also what is painted anew, "
                    "as published. Where layers are connected in place of a mask it is black: Sample Layers knows.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        grow: float,
        which: str,
        method: dict | None = None,
        mask: Tensor | None = None,
        layers: list[Scene] | None = None,
    ) -> io.NodeOutput:
        if (mask is None) == (layers is None):
            raise ValueError(
                "mask: connect either a mask (for KSampler) or layers (for Sample Layers)"
                + (", and not both." if mask is not None else "; now there is nothing to erase.")
            )
        chosen = _method(checked_choice(method, "method", [GUIDED, ATTENTION_ALONE]))
        if mask is not None:
            checked = checked_mask(mask, "mask")
            hidden = grown_mask(model, checked, grow)
            maps = Maps.of_mask(hidden)
            painted = noise_mask(model, hidden, (checked.shape[1], checked.shape[2]))
        else:
            maps = Maps.of(layers or [], which)
            painted = torch.zeros(1, 64, 64)  # as Load Image has it where there is no mask
        erasing = erase(model, maps, chosen)
        return io.NodeOutput(erasing, painted, ui=shown(cls, _sentence(maps, chosen, erasing is not model)))


def _guidance() -> io.Float.Input:
    return io.Float.Input(
        "guidance",
        default=_DEFAULTS.guidance,
        min=0.0,
        max=100.0,
        step=0.1,
        round=0.01,
        tooltip="How far the picture is led away from what is hidden. 9 as published for SDXL, 5 is milder; 0 does "
        "nothing. Set cfg to 1 beside it, or prompts pull the other way. It is added after all other nodes' guidance.",
    )


def _steps() -> list[io.Input]:
    """The inputs that every way of running the Attentive Eraser has."""
    return [
        io.Float.Input(
            "suppression",
            default=_DEFAULTS.suppression,
            min=0.0,
            max=1.0,
            step=0.05,
            advanced=True,
            tooltip="How choosy the hole is at first in where it looks: the smaller, the more evenly it looks about, "
            "and the less it copies whatever resembles the vanished one. 1 switches this off.",
        ),
        io.Float.Input(
            "suppressed",
            default=_DEFAULTS.suppressed,
            min=0.0,
            max=1.0,
            step=0.05,
            advanced=True,
            tooltip="For which share of the steps suppression holds: 0.25 is the first quarter, as published.",
        ),
        io.Float.Input(
            "until",
            default=_DEFAULTS.until,
            min=0.0,
            max=1.0,
            step=0.05,
            advanced=True,
            tooltip="For which share of the steps anything is hidden. 1: to the end, as published. Less saves time.",
        ),
    ]


def _method(chosen: dict[str, Any]) -> AttentiveEraser:
    guidance = float(chosen["guidance"]) if chosen["method"] == GUIDED else None
    return AttentiveEraser(guidance, *(float(chosen[name]) for name in ("suppression", "suppressed", "until")))


def _sentence(maps: Maps, method: AttentiveEraser, changed: bool) -> str:
    """What the MODEL will do, in words."""
    if not maps.any:
        return "There is nothing to erase, so the model stays as it is."
    if not changed:
        return "Guidance or until is 0, so the model stays as it is."
    count, full = len(maps.names), covering(maps)
    text = f"{count} hole{'s' if count > 1 else ''} hidden" + (
        "." if method.guidance is None else f", guidance {method.guidance:g}: up to twice as long. Best with cfg 1."
    )
    if full:
        text += f"\n{full} of them cover everything: nothing is left to look at there, so nothing is hidden."
    return text


NODES: list[type[io.ComfyNode]] = [AttentionEraser]
