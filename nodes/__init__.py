"""The nodes an artist sees. Each module holds the nodes of one step and lists them in NODES."""

from comfy_api.latest import ComfyExtension, io

from . import example_photo, layers, models, people, sampling


class MildExtension(ComfyExtension):
    """Tells ComfyUI which nodes this pack brings, in the order in which a picture passes through them."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [*example_photo.NODES, *people.NODES, *layers.NODES, *models.NODES, *sampling.NODES]
