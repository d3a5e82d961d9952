"""Erases by restricting what a model may look at."""

from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io
from torch import Tensor

from ..mild_core.attention.layer_regions import Maps
from ..mild_core.comfy.attention.adaeraser import AdaEraser, soften
from ..mild_core.comfy.attention.erase import (
    AttentiveEraser,
    SelfRectifying,
    covering,
    erase,
    grown_mask,
    noise_mask,
    rectify,
)
from ..mild_core.scene import Scene
from .attention import place_inputs
from .checks import checked_choice, checked_mask
from .show import shown
from .sockets import Layers

GUIDED = "attentive eraser"
ATTENTION_ALONE = "attention alone"
RECTIFYING = "self-rectifying attention"
PRESENCE = "adaeraser"
METHODS = [GUIDED, ATTENTION_ALONE, RECTIFYING, PRESENCE]

_DEFAULTS = AttentiveEraser()

_LARGEST = "For adaeraser with SD and SDXL all means those of at most 4,096 tokens."


class AttentionEraser(io.ComfyNode):
    """A MODEL that cannot look at what is to vanish."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_AttentionEraser",
            display_name="Erase by Attention",
            category="MILD/attention",
            description=(
                "Makes a model erase that was never trained to, by what it may look at while it paints. No prompt, no "
                "training, no download. attentive eraser and attention alone (nothing looks at what is to vanish): "
                "any checkpoint of Stable Diffusion 1.5 and 2, and SDXL. self-rectifying attention (EraDiff's: the "
                "hole does not look at itself; its training and weights are not public) and adaeraser (what still "
                "resembles the erased counts less; the model is shown the photo with them in it): also SD3, Flux, "
                "Flux 2, Chroma, Qwen-Image, Lumina 2 and Z-Image."
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
                "eradiff",
                "erase diffusion",
                "sra",
                "self-rectifying attention",
                "adaeraser",
            ],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Stable Diffusion 1.5, 2 or SDXL; for the last two methods also SD3, Flux and its like. "
                    "Inpaint checkpoints work too.",
                ),
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
                        io.DynamicCombo.Option(RECTIFYING, place_inputs(_LARGEST)),
                        io.DynamicCombo.Option(PRESENCE, place_inputs(_LARGEST)),
                    ],
                    tooltip="attentive eraser: as published; in each step the model is asked with and without the "
                    "hidden part, and led away from the latter; takes up to twice as long. attention alone: the hidden "
                    "part, without this guidance; costs no time. self-rectifying attention: the hole does not look at "
                    "itself (EraDiff's attention, without its training); hardly any time. adaeraser: holds back what "
                    "still resembles the photo with the erased in it, which the model is shown beside: one more call "
                    "of the model in each step.",
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
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="For adaeraser with layers: the checkpoint's, to show the model the photo with the erased "
                    "still in it. With a mask the latent of KSampler is that photo. Models of pixels need none.",
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
        vae: VAE | None = None,
    ) -> io.NodeOutput:
        if (mask is None) == (layers is None):
            raise ValueError(
                "mask: connect either a mask (for KSampler) or layers (for Sample Layers)"
                + (", and not both." if mask is not None else "; now there is nothing to erase.")
            )
        chosen = _method(checked_choice(method, "method", METHODS))
        if mask is not None:
            checked = checked_mask(mask, "mask")
            hidden = grown_mask(model, checked, grow)
            maps = Maps.of_mask(hidden)
            painted = noise_mask(model, hidden, (checked.shape[1], checked.shape[2]))
        else:
            maps = Maps.of(layers or [], which)
            painted = torch.zeros(1, 64, 64)  # as Load Image has it where there is no mask
        if isinstance(chosen, AdaEraser):
            erasing = soften(model, maps, chosen, layers, vae)
        elif isinstance(chosen, SelfRectifying):
            erasing = rectify(model, maps, chosen)
        else:
            erasing = erase(model, maps, chosen)
        text = _sentence(maps, chosen, erasing is not model)
        if vae is not None and not (isinstance(chosen, AdaEraser) and maps.of_layers):
            text += "\nvae is not used: only adaeraser with layers needs it."
        return io.NodeOutput(erasing, painted, ui=shown(cls, text))


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


Method = AttentiveEraser | SelfRectifying | AdaEraser


def _method(chosen: dict[str, Any]) -> Method:
    if chosen["method"] in (RECTIFYING, PRESENCE):
        kind = AdaEraser if chosen["method"] == PRESENCE else SelfRectifying
        return kind(str(chosen["blocks"]), float(chosen["start_percent"]), float(chosen["end_percent"]))
    guidance = float(chosen["guidance"]) if chosen["method"] == GUIDED else None
    return AttentiveEraser(guidance, *(float(chosen[name]) for name in ("suppression", "suppressed", "until")))


def _sentence(maps: Maps, method: Method, changed: bool) -> str:
    """What the MODEL will do, in words."""
    if not maps.any:
        return "There is nothing to erase, so the model stays as it is."
    if not changed:
        why = "Guidance or until is 0" if isinstance(method, AttentiveEraser) else "start_percent is end_percent"
        return f"{why}, so the model stays as it is."
    count, full = len(maps.names), covering(maps)
    holes = "1 hole" if count == 1 else f"{count} holes"
    if isinstance(method, SelfRectifying):
        lines = [f"{holes} {'does not look at itself' if count == 1 else 'do not look at themselves'}."]
    elif isinstance(method, AdaEraser):
        lines = [
            f"{holes} {'is' if count == 1 else 'are'} compared with the photo in which whoever goes is still there: "
            "the model sees it, by one more call in each step.",
            "The photo is each layer's own crop."
            if maps.of_layers
            else "The photo is the latent that KSampler gets: let it show whoever is to vanish.",
        ]
    elif method.guidance is None:
        lines = [f"{holes} hidden."]
    else:
        lines = [f"{holes} hidden, guidance {method.guidance:g}: up to twice as long. Best with cfg 1."]
    if full:
        lines.append(
            f"{full} of them cover everything: nothing is left to look at there, so the model stays as it is there."
        )
    return "\n".join(lines)


NODES: list[type[io.ComfyNode]] = [AttentionEraser]
