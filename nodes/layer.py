"""One layer for ComfyUI's own nodes: a picture and a mask out, a painted picture back in."""

from comfy_api.latest import io
from torch import Tensor

from ..mild_core.image import boxes
from ..mild_core.layers.one_layer import MEGAPIXEL, Given, give, take
from ..mild_core.pairing import Shape, shape_of
from ..mild_core.scene import BACKGROUND, Scene
from .checks import checked_image
from .show import shown
from .sockets import Layers

WHICH = (
    "background, or somebody's number if they have a layer. If the background has several parts, or the batch several "
    "photos, write the layer's id, such as 1/background-2 or 2/person-3: the error message lists them."
)
ALIASES = ["inpaint", "crop", "stitch", "inpaint crop", "remove person", "object removal", "eraser", "layer to image"]


class GetLayer(io.ComfyNode):
    """A layer's start picture and its hole."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_GetLayer",
            display_name="Get Layer",
            category="MILD/layers",
            description=(
                "Hands out one layer as a picture and a mask, so that KSampler or any other inpainting node can paint "
                "it. The picture never shows who is erased: the hole holds a smooth fill. Put Layer Back takes the "
                "painted picture in again."
            ),
            search_aliases=[*ALIASES, "layer mask"],
            inputs=[
                Layers.Input(
                    "layers", tooltip="From Split into Layers or Sample Layers. Give Put Layer Back the same."
                ),
                io.String.Input("which", default=BACKGROUND, tooltip=f"The layer: {WHICH}"),
                io.Float.Input(
                    "megapixels",
                    default=1.0,
                    min=0.0,
                    max=16.0,
                    step=0.01,
                    round=0.0001,
                    tooltip="What the model was made for: SD1.5 0.25, SDXL and Flux 1. The crop is scaled as if the "
                    "whole photo had that size (or the crop itself, where Split into Layers says detail). "
                    "0: the photo's own scale.",
                ),
                io.Int.Input(
                    "multiple",
                    default=16,
                    min=1,
                    max=256,
                    advanced=True,
                    tooltip="Sides are multiples of this many pixels, twice a latent cell: 16 suits SD1.5, SDXL, SD3 "
                    "and Flux; 1 the Built-in Model. The mask is made of whole cells.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="image",
                    tooltip="The layer's crop, its hole filled smoothly, or with its own result if it was painted "
                    "before. For VAE Encode or Inpaint Model Conditioning.",
                ),
                io.Mask.Output(
                    display_name="mask",
                    tooltip="White is to be painted. For Set Latent Noise Mask or Inpaint Model Conditioning.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, layers: list[Scene], which: str, megapixels: float, multiple: int) -> io.NodeOutput:
        given = give(layers, which, round(megapixels * MEGAPIXEL) or None, multiple)
        picture = given.picture[None]
        return io.NodeOutput(picture, given.mask[None], ui=shown(cls, _given(given), picture))


class PutLayer(io.ComfyNode):
    """A painted picture into the layer's hole."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_PutLayer",
            display_name="Put Layer Back",
            category="MILD/layers",
            description=(
                "Takes a picture that any nodes painted into the hole of one layer. Everything outside the hole stays "
                "as it was, bit for bit, so a model that changes the whole picture does no harm."
            ),
            search_aliases=[*ALIASES, "image to layer", "uncrop"],
            inputs=[
                Layers.Input("layers", tooltip="The very layers that Get Layer was given."),
                io.Image.Input("image", tooltip="The layer's picture, painted, in any size. Of a batch, the first."),
                io.String.Input("which", default=BACKGROUND, tooltip=f"The same as in Get Layer: {WHICH}"),
            ],
            outputs=[
                Layers.Output(
                    display_name="layers",
                    tooltip="All layers, this one painted: for Recompose Photo, or for the next Get Layer.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, layers: list[Scene], image: Tensor, which: str) -> io.NodeOutput:
        image = checked_image(image, numbers=False)  # what lies outside the hole is thrown away
        taken = take(layers, which, image[0])
        layer = taken.layer
        if not layer.sampled:
            lines = [f"{layer.name} has no hole, so it stays as it is."]
        else:
            lines = [f"{layer.name} ({layer.id}): painted."]
        if len(image) > 1:
            lines.append(f"image holds {len(image)} pictures: the first was taken.")
        lines += taken.notes
        if taken.notes:
            lines.append("Is it another layer's picture? Get Layer with a large multiple stretches small layers too.")
        return io.NodeOutput(taken.scenes, ui=shown(cls, "\n".join(lines)))


def _given(given: Given) -> str:
    """What came out, in words."""
    layer = given.layer
    size = f"{boxes.width(layer.box)} x {boxes.height(layer.box)}"
    lines = [f"{layer.name} ({layer.id}): {size} px of the photo, to be painted at {_size(given.picture)}."]
    own, hole = ((int(one.shape[0]), int(one.shape[1])) for one in (given.picture, layer.hole))
    if shape_of(own, hole, rounded=True) is not Shape.SAME:
        lines.append("Whole multiples make another shape of so small a layer; Put Layer Back stretches it back.")
    if not given.mask.any():
        lines.append("It has no hole, so there is nothing to paint.")
    return "\n".join(lines)


def _size(picture: Tensor) -> str:
    """Width x height of [h, w, ...]."""
    return f"{picture.shape[1]} x {picture.shape[0]}"


NODES: list[type[io.ComfyNode]] = [GetLayer, PutLayer]
