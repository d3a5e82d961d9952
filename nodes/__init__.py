"""The nodes an artist sees. Each module holds the nodes of one step and lists them in NODES."""

from comfy_api.latest import ComfyExtension, io

from . import (
    adapters,
    attention,
    choose,
    effects,
    eraser,
    example_photo,
    find,
    gap,
    guidance,
    hidden,
    layer,
    models,
    morphology,
    order,
    people,
    pose_hint,
    prompts,
    recompose,
    sampling,
    split,
)


class MildExtension(ComfyExtension):
    """Lists the pack's nodes for ComfyUI, in the order in which a picture passes through them."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        steps = (
            example_photo,
            find,
            people,
            effects,
            choose,
            order,
            hidden,
            morphology,
            split,
            layer,
            models,
            adapters,
            attention,
            eraser,
            gap,
            prompts,
            pose_hint,
            guidance,
            sampling,
            recompose,
        )
        return [node for step in steps for node in step.NODES]
