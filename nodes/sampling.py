"""Samples the holes of the layers: KSampler's widgets, or NOISE, GUIDER, SAMPLER and SIGMAS."""

import functools

import comfy.samplers
from comfy_api.latest import io

from ..mild_core.comfy.sampling.joint import Agree
from ..mild_core.comfy.sampling.memory import MEMORY
from ..mild_core.comfy.sampling.prompts import Prompts, tooltip
from ..mild_core.comfy.sampling.sample_layers import (
    GROUNDS,
    PLATE,
    Options,
    Painted,
    SamplerSettings,
    sample_layers,
    sample_layers_advanced,
)
from ..mild_core.comfy.sampling.start import STARTS
from ..mild_core.scene import Scene
from .checks import NOT_CONNECTED, checked_clip
from .show import say, shown
from .sockets import Layers


def _layers() -> io.Input:
    return Layers.Input("layers", tooltip="From Split into Layers, or from another Sample Layers.")


def _vae() -> io.Input:
    return io.Vae.Input(
        "vae",
        optional=True,
        tooltip="The VAE that belongs to the model. The Built-in Model needs none.",
    )


def _options() -> list[io.Input]:
    """What both samplers ask for beside how to sample, in the order in which workflows keep the values."""
    return [
        io.String.Input(
            "which",
            default="all",
            advanced=True,
            tooltip="Layers to paint: all, background, people, or person numbers such as 2 or 1,3. The others "
            "pass through, so a second Sample Layers can paint them with another model or seed.",
        ),
        io.Combo.Input(
            "ground",
            options=list(GROUNDS),
            default=PLATE,
            advanced=True,
            tooltip="What is behind somebody who goes on behind an erased person while they are painted. plate: "
            "the background, painted first. neutral: a plain colour, so that the model sees nothing but them.",
        ),
        io.Combo.Input(
            "start",
            options=list(STARTS),
            default=STARTS[0],
            optional=True,  # graphs of before there was a choice still run
            advanced=True,
            tooltip="What the noise is laid over; never the erased person. automatic: noise for inpaint and Fill "
            "models and the Built-in Model; an exemplar fill for all other checkpoints; a layer's own picture if it "
            "was painted before and denoise is below 1. noise: a smooth fill of the hole, seen only below denoise "
            "1. exemplar fill: patches of the photo. own picture: what was painted before.",
        ),
        io.Combo.Input(
            "memory",
            options=list(MEMORY),
            default=MEMORY[0],
            optional=True,
            advanced=True,
            tooltip="automatic: as many layers of one size at once as fit. save memory: one layer at a time. The "
            "picture is the same.",
        ),
        io.Float.Input(
            "agree",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="Experimental. Above 0, layers that meet are painted at the same time, and told at each step "
            "which colours the others have at their seams; maybe at a lower scale: all lie on one crop. 0: each by "
            "itself. With ground plate the background is painted a second time. The text on the node says where it is "
            "off, as for layers whose adapters change weights and differ.",
        ),
        io.Float.Input(
            "agree_until",
            default=Agree().until,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="Share of the steps in which layers are told of the others; in the rest each finds its own detail.",
        ),
    ]


class SampleLayers(io.ComfyNode):
    """Every layer by its own pathway, with KSampler's widgets."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_SampleLayers",
            display_name="Sample Layers",
            category="MILD/layers",
            description=(
                "Paints the holes of the layers, each layer on its own crop. Any MODEL works: the built-in one as the "
                "widgets stand; for a checkpoint connect its VAE, raise cfg, and add prompts where you like."
            ),
            search_aliases=["inpaint layers", "remove person", "object removal", "eraser", "clean plate", "ksampler"],
            inputs=[
                io.Model.Input("model", tooltip="What paints. Inpaint checkpoints and the Built-in Model erase best."),
                _layers(),
                _vae(),
                io.Clip.Input("clip", optional=True, tooltip=tooltip()),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="What should be seen, e.g. empty street. Nothing connected: prompts of this pack's own if "
                    "a clip is there, else zeroed text. Prompt Layers gives single layers prompts of their own. For "
                    "the Built-in Model: its CONDITIONING, if it has references.",
                ),
                io.Conditioning.Input(
                    "negative",
                    optional=True,
                    tooltip="What should not be seen, e.g. person. Nothing connected: as for positive. Unused at cfg "
                    "1.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Another seed, another try. Each layer draws noise of its own from it. What the Built-in "
                    "Model paints hardly changes with it.",
                ),
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=10000,
                    tooltip="20 suits the Built-in Model and most checkpoints; few-step models: 4 to 8.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="1 leaves it to start: noise for models made for inpainting; 0.75 over an exemplar fill "
                    "for all other checkpoints. Lower keeps more of what it starts from, which is never the erased "
                    "person.",
                ),
                io.Float.Input(
                    "cfg",
                    default=1.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    advanced=True,
                    tooltip="How strictly prompts are followed. Built-in Model and Flux: 1. SD1.5, SDXL: 5 to 8.",
                ),
                io.Combo.Input(
                    "sampler_name",
                    options=comfy.samplers.KSampler.SAMPLERS,
                    default="euler",
                    advanced=True,
                    tooltip="ComfyUI's samplers, all of them. euler suits the Built-in Model.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=comfy.samplers.KSampler.SCHEDULERS,
                    default="normal",
                    advanced=True,
                    tooltip="How noise decreases from step to step. normal suits the Built-in Model.",
                ),
                *_options(),
            ],
            outputs=[Layers.Output(display_name="layers", tooltip="The painted layers, for Recompose Photo.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model,
        layers: list[Scene],
        seed: int,
        steps: int,
        denoise: float,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        which: str,
        ground: str,
        vae=None,
        clip=NOT_CONNECTED,
        positive=None,
        negative=None,
        start: str = STARTS[0],
        memory: str = MEMORY[0],
        agree: float = 0.0,
        agree_until: float = Agree().until,
    ) -> io.NodeOutput:
        settings = SamplerSettings(seed, steps, cfg, sampler_name, scheduler, denoise)
        options = Options(which, ground, start, memory, Agree(agree, agree_until))
        prompts = Prompts(model, positive, negative, checked_clip(clip))
        painted = sample_layers(model, layers, settings, vae, prompts, options, functools.partial(say, cls))
        return io.NodeOutput(painted.scenes, ui=_shown(cls, layers, painted))


class SampleLayersAdvanced(io.ComfyNode):
    """The same for those who put noise, guidance, sampler and steps together themselves."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_SampleLayersAdvanced",
            display_name="Sample Layers (Advanced)",
            category="MILD/layers",
            description=(
                "Paints the holes of the layers like Sample Layers, with noise, guider, sampler and sigmas from nodes "
                "of their own, as for SamplerCustomAdvanced."
            ),
            search_aliases=["inpaint layers", "custom sampler", "sampler custom advanced", "guider", "remove person"],
            inputs=[
                io.Noise.Input("noise", tooltip="Random Noise, or another. Each layer draws noise of its own from it."),
                io.Guider.Input(
                    "guider", tooltip="The model and its prompts: from CFG Guider, Basic Guider and so on."
                ),
                io.Sampler.Input("sampler", tooltip="From KSampler Select or a node for one sampler."),
                io.Sigmas.Input(
                    "sigmas", tooltip="The steps: from Basic Scheduler, whose denoise says how much is repainted."
                ),
                _layers(),
                _vae(),
                *_options(),
            ],
            outputs=[Layers.Output(display_name="layers", tooltip="The painted layers, for Recompose Photo.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        noise,
        guider,
        sampler,
        sigmas,
        layers: list[Scene],
        which: str,
        ground: str,
        vae=None,
        start: str = STARTS[0],
        memory: str = MEMORY[0],
        agree: float = 0.0,
        agree_until: float = Agree().until,
    ) -> io.NodeOutput:
        options = Options(which, ground, start, memory, Agree(agree, agree_until))
        painted = sample_layers_advanced(
            noise, guider, sampler, sigmas, layers, vae, options, functools.partial(say, cls)
        )
        return io.NodeOutput(painted.scenes, ui=_shown(cls, layers, painted))


def _shown(cls: type[io.ComfyNode], before: list[Scene], painted: Painted) -> dict:
    """What was painted and what passed through, photo by photo where there are several; then how."""
    lines, any_painted = [], False
    for number, (old, new) in enumerate(zip(before, painted.scenes, strict=True), 1):
        changed = [layer.name for was, layer in zip(old.layers, new.layers, strict=True) if layer is not was]
        passed = [layer.name for was, layer in zip(old.layers, new.layers, strict=True) if layer is was]
        parts = [f"{len(changed)} painted: {', '.join(changed)}" if changed else "Nothing to paint"]
        if passed:
            parts.append(f"passed through: {', '.join(passed)}")
        photo = f"Photo {number}. " if len(before) > 1 else ""
        lines.append(photo + "; ".join(parts))
        any_painted = any_painted or bool(changed)
    warning = ""
    if not any_painted:
        layers = any(scene.layers for scene in before)
        why = "none of the layers was painted" if layers else "there is no layer, because nothing was chosen to go"
        warning = f"nothing was painted: {why}."
    return shown(cls, "\n".join([*lines, *painted.notes]), warning=warning)


NODES: list[type[io.ComfyNode]] = [SampleLayers, SampleLayersAdvanced]
