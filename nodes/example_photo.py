"""The photo that comes with the pack, so that a template runs before the artist has chosen a photo of their own."""

from comfy_api.latest import io

from ..mild_core.example_photo import load_example
from .sockets import Poses


class ExamplePhoto(io.ComfyNode):
    """Photo, people and the true empty place."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_ExamplePhoto",
            display_name="Example Photo",
            category="MILD/people",
            description=(
                "A photo of six pedestrians with a mask and a pose for each, and the same place without them. "
                "For trying things out: replace this node by Load Image with your own photo and masks. "
                "Photo: OpenCV (Apache-2.0 and BSD); scene: PETS 2009, University of Reading."
            ),
            search_aliases=["sample photo", "test image", "demo picture", "remove person", "pedestrians", "street"],
            inputs=[],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The photo, 768 x 576."),
                io.Mask.Output(display_name="masks", tooltip="Six masks, one per person, from left to right."),
                io.Image.Output(
                    display_name="background", tooltip="The same place without people, to compare a result with."
                ),
                io.Mask.Output(
                    display_name="hidden",
                    tooltip="Where person 3 may go on behind person 2, for Paint Hidden Part. Drawn by hand: a guess.",
                ),
                Poses.Output(display_name="poses", tooltip="Their poses, for Read Bodies, as far as they are seen."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        example = load_example()
        return io.NodeOutput(*example)


NODES: list[type[io.ComfyNode]] = [ExamplePhoto]
