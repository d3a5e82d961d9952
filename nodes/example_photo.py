"""The photo that comes with the pack, so that a template runs before the artist has chosen a photo of their own."""

import torch
from comfy_api.latest import io
from torch import Tensor

from ..mild_core.example_photo import load_example
from .checks import checked_image, checked_mask
from .show import shown
from .sockets import Poses

OWN = (
    "Your photo in place of the example. What only the example has is empty: hidden shows nothing, poses nobody, "
    "background is your photo as it is."
)


class ExamplePhoto(io.ComfyNode):
    """Photo, people and the true empty place; or the artist's own photo, while one is connected."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_ExamplePhoto",
            display_name="Example Photo",
            category="MILD/people",
            description=(
                "A photo of six pedestrians with a mask and a pose for each, and the same place without them. "
                "For trying things out: connect Load Image with your own photo and mask, and these come out in "
                "place of the example. "
                "Photo: OpenCV (Apache-2.0 and BSD); scene: PETS 2009, University of Reading."
            ),
            search_aliases=["sample photo", "test image", "demo picture", "remove person", "pedestrians", "street"],
            inputs=[
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="Your own photo, from Load Image: it comes out in place of the example. While that node is "
                    "bypassed, the example does.",
                ),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="The mask that belongs to your photo: Load Image gives the one painted in the mask editor.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The photo, 768 x 576; or yours."),
                io.Mask.Output(
                    display_name="masks", tooltip="Six masks, one per person, from left to right; or yours."
                ),
                io.Image.Output(
                    display_name="background", tooltip="The same place without people, to compare a result with."
                ),
                io.Mask.Output(
                    display_name="hidden",
                    tooltip="Where person 3 may go on behind person 2, for Paint Hidden Part. Drawn by hand: a guess.",
                ),
                Poses.Output(display_name="poses", tooltip="Their poses, for Read Bodies, as far as they are seen."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, image: Tensor | None = None, masks: Tensor | None = None) -> io.NodeOutput:
        if image is None:
            if masks is not None:
                raise ValueError("masks: there is no photo that they belong to. Connect image as well.")
            return io.NodeOutput(*load_example())
        photos = checked_image(image)
        count, height, width = photos.shape[:3]
        empty = torch.zeros(count, height, width)
        own = empty if masks is None else checked_mask(masks, "masks")
        nobody = [{"people": [], "canvas_width": width, "canvas_height": height} for _ in range(count)]
        return io.NodeOutput(photos, own, photos, empty, nobody, ui=shown(cls, OWN))


NODES: list[type[io.ComfyNode]] = [ExamplePhoto]
