"""LoRA files for some layers only, all in one pass of the model."""

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..mild_core.comfy.adapters import read_lora
from ..mild_core.comfy.adapters.for_layers import adapt
from ..mild_core.scene import Scene
from .checks import NOT_CONNECTED, checked_clip
from .show import shown
from .sockets import Layers


def _strength(name: str, whose: str) -> io.Input:
    return io.Float.Input(
        name,
        default=1.0,
        min=-10.0,
        max=10.0,
        step=0.01,
        tooltip=f"How strongly {whose} LoRA works, in the model and in its CLIP. 0: not at all.",
    )


class LayerAdapters(io.ComfyNode):
    """A LoRA for the background and one for people, on a MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_LayerAdapters",
            display_name="Adapters for Layers",
            category="MILD/models",
            description=(
                "Gives the background one LoRA and people another, while Sample Layers paints them all in one pass. "
                "Chain it for more: nothing that an earlier one gave is replaced."
            ),
            search_aliases=[
                "lora",
                "lora per layer",
                "lora per person",
                "regional lora",
                "masked lora",
                "person lora",
                "background lora",
                "style lora",
                "lokr",
                "loha",
                "dora",
                "adapter",
            ],
            inputs=[
                io.Model.Input("model", tooltip="A checkpoint. The Built-in Model has no weights, so it takes none."),
                Layers.Input(
                    "layers",
                    tooltip="The very layers that Sample Layers gets. Backgrounds get the one file, people the other.",
                ),
                io.Combo.Input(
                    "background_lora",
                    options=read_lora.files(),
                    default=read_lora.NONE,
                    tooltip="For backgrounds, from models/loras: made for this kind of model, as for Load LoRA.",
                ),
                _strength("background_strength", "the background's"),
                io.Combo.Input(
                    "person_lora",
                    options=read_lora.files(),
                    default=read_lora.NONE,
                    tooltip="For people who stay and are completed, from models/loras.",
                ),
                _strength("person_strength", "the person's"),
                io.String.Input(
                    "people",
                    default="all",
                    advanced=True,
                    tooltip="Whom person_lora is for: all, or person numbers such as 2 or 1,3. For a LoRA of their "
                    "own each, chain this node with other numbers.",
                ),
                io.String.Input(
                    "which",
                    default="all",
                    advanced=True,
                    tooltip="Layers that may get anything: all, background, people, or person numbers such as 2 or "
                    "1,3. With KSampler: the layer that Get Layer hands out.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The model's own CLIP, for LoRA files that change the text encoder, too. Nothing "
                    "connected: those parts are left out.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="For Sample Layers, KSampler or any other sampler node."),
                io.Clip.Output(
                    display_name="background_clip",
                    tooltip="For prompts of backgrounds. Sample Layers takes either CLIP: it encodes its own prompts "
                    "with what each layer gets.",
                ),
                io.Clip.Output(
                    display_name="person_clip",
                    tooltip="For prompts of the people named in people, and for Sample Layers as well.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(
        cls, background_lora: str, person_lora: str, **others: object
    ) -> list[read_lora.Stamp | None]:
        return [read_lora.stamp(background_lora), read_lora.stamp(person_lora)]

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        layers: list[Scene],
        background_lora: str,
        background_strength: float,
        person_lora: str,
        person_strength: float,
        people: str,
        which: str,
        clip: object = NOT_CONNECTED,
    ) -> io.NodeOutput:
        background, person = (background_lora, background_strength), (person_lora, person_strength)
        adapted = adapt(model, layers, background, person, people, which, checked_clip(clip))
        told = shown(cls, adapted.text, warning=adapted.warning)
        return io.NodeOutput(adapted.model, adapted.background, adapted.person, ui=told)


NODES: list[type[io.ComfyNode]] = [LayerAdapters]
