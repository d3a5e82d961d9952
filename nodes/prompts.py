"""Different prompts for different layers."""

from comfy_api.latest import io

from ..mild_core.comfy.sampling.own_rows import conditioning_notes
from ..mild_core.people.selection import layers_named
from ..mild_core.scene import Layer, Scene
from .show import shown
from .sockets import Layers


class PromptLayers(io.ComfyNode):
    """The named layers carry these prompts with them; Sample Layers then prefers them to its own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_PromptLayers",
            display_name="Prompt Layers",
            category="MILD/layers",
            description=(
                "Gives some layers prompts of their own: one for the background, another for everybody, a third for "
                "person 2. Several of these nodes in a row add up; where two name the same layer, the later one wins. "
                "Layers without prompts of their own get what is connected to Sample Layers."
            ),
            search_aliases=[
                "regional prompt",
                "prompt per person",
                "prompt per layer",
                "conditioning",
                "background prompt",
                "clip text encode",
                "remove person",
                "object removal",
            ],
            inputs=[
                Layers.Input("layers", tooltip="From Split into Layers, or from another Prompt Layers."),
                io.String.Input(
                    "which",
                    default="people",
                    tooltip="Layers that get these prompts: all, background, people, or person numbers such as 2 or "
                    "1,3. The others pass through as they are.",
                ),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="What should be seen in these layers, e.g. a woman in a red coat. From CLIP Text Encode "
                    "with the model's own CLIP. Nothing connected: stays as it was.",
                ),
                io.Conditioning.Input(
                    "negative",
                    optional=True,
                    tooltip="What should not be seen in these layers. Nothing connected: stays as it was.",
                ),
            ],
            outputs=[Layers.Output(display_name="layers", tooltip="For Sample Layers, or another Prompt Layers.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, layers: list[Scene], which: str, positive: list | None = None, negative: list | None = None
    ) -> io.NodeOutput:
        given = {"positive": positive, "negative": negative}
        given = {side: conditioning for side, conditioning in given.items() if conditioning is not None}
        named = layers_named(layers, which)
        result = [_prompted(scene, named, given) for scene in layers] if given else list(layers)
        rows = [note for side in given for note in conditioning_notes(side, given[side], len(layers))]
        return io.NodeOutput(result, ui=shown(cls, "\n".join([_sentence(result, named, list(given)), *rows])))


def _prompted(scene: Scene, named: set[str], given: dict[str, list]) -> Scene:
    """The scene with these prompts on the layers named. Others, and a scene of others only, are the same objects."""
    if not any(layer.id in named for layer in scene.layers):
        return scene
    changed = (layer._replace(**given) if layer.id in named else layer for layer in scene.layers)
    return scene._replace(layers=tuple(changed))


def _sentence(scenes: list[Scene], named: set[str], given: list[str]) -> str:
    """Who got what here, and what the others have; photo by photo where there are several."""
    if not given:
        return "Neither positive nor negative is connected, so nothing changed."
    lines = []
    for number, scene in enumerate(scenes, 1):
        here = [layer for layer in scene.layers if layer.id in named]
        others = [layer for layer in scene.layers if layer.id not in named]
        parts = [f"{' and '.join(given)} for {_names(here)}"] if here else ["Nobody here is named"]
        before = [layer for layer in others if _own(layer)]
        if before:
            theirs = ", ".join(f"{layer.name} ({_own(layer)})" for layer in before)
            parts.append(f"from another Prompt Layers: {theirs}")
        rest = [layer for layer in others if not _own(layer)]
        if rest:
            parts.append(f"as connected to Sample Layers: {_names(rest)}")
        text = ". ".join(part[0].upper() + part[1:] for part in parts)
        lines.append((f"Photo {number}. " if len(scenes) > 1 else "") + text + ".")
    return "\n".join(lines)


def _names(layers: list[Layer]) -> str:
    return ", ".join(layer.name for layer in layers)


def _own(layer: Layer) -> str:
    """Which prompts a layer has of its own, in words; empty where it has none."""
    return " and ".join(side for side in ("positive", "negative") if getattr(layer, side) is not None)


NODES: list[type[io.ComfyNode]] = [PromptLayers]
