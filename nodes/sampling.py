"""Painting what the layers miss."""

import comfy.samplers
from comfy_api.latest import io

from ..mild_core.comfy.sampling.sample_layers import GROUNDS, PLATE, Settings, sample_layers
from ..mild_core.scene import Scene
from .show import shown
from .sockets import Layers


class SampleLayers(io.ComfyNode):
    """Every layer by its own pathway, with KSampler's widgets."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_SampleLayers",
            display_name="Sample Layers",
            category="MILD",
            description=(
                "Paints the holes of the layers, each layer on its own crop. Any MODEL works: the built-in one as the "
                "widgets stand; for a checkpoint connect its VAE, raise cfg, and add prompts where you like."
            ),
            search_aliases=["inpaint layers", "remove person", "object removal", "eraser", "clean plate", "ksampler"],
            inputs=[
                io.Model.Input("model", tooltip="What paints. Inpaint checkpoints and the Built-in Model erase best."),
                Layers.Input("layers", tooltip="From Split into Layers, or from another Sample Layers."),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="The VAE that belongs to the model. The Built-in Model needs none.",
                ),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="What should be seen, e.g. empty street. Nothing connected: the model gets zeroed text. "
                    "For the Built-in Model: its CONDITIONING, if it has references.",
                ),
                io.Conditioning.Input(
                    "negative",
                    optional=True,
                    tooltip="What should not be seen, e.g. person. Nothing connected: zeroed text. Unused at cfg 1.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Another seed, another try. Each layer draws noise of its own from it.",
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
                    tooltip="1 paints from noise. Lower starts from a smooth fill of the hole, or from the layer's own "
                    "result if it was sampled before; never from the erased person. For checkpoints that are no "
                    "inpaint models, after the Built-in Model: 0.75.",
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
                    tooltip="What somebody who goes on behind an erased person stands on while she is painted. plate: "
                    "the background, painted first. neutral: a plain colour, so that the model sees nothing but her.",
                ),
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
        positive=None,
        negative=None,
    ) -> io.NodeOutput:
        settings = Settings(seed, steps, cfg, sampler_name, scheduler, denoise, ground)
        painted = sample_layers(model, layers, settings, vae, positive, negative, which)
        return io.NodeOutput(painted, ui=shown(cls, _sentence(layers, painted)))


def _sentence(before: list[Scene], after: list[Scene]) -> str:
    """What was painted and what passed through, photo by photo where there are several."""
    lines = []
    for number, (old, new) in enumerate(zip(before, after, strict=True), 1):
        painted = [layer.name for was, layer in zip(old.layers, new.layers, strict=True) if layer is not was]
        passed = [layer.name for was, layer in zip(old.layers, new.layers, strict=True) if layer is was]
        parts = [f"{len(painted)} painted: {', '.join(painted)}" if painted else "Nothing to paint"]
        if passed:
            parts.append(f"passed through: {', '.join(passed)}")
        photo = f"Photo {number}. " if len(before) > 1 else ""
        lines.append(photo + "; ".join(parts))
    return "\n".join(lines)


NODES: list[type[io.ComfyNode]] = [SampleLayers]
