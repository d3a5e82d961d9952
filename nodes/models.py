"""Loading models: the built-in one, which needs no download."""

import torch
from comfy_api.latest import io

from ..mild_core.comfy.erasers import builtin
from ..mild_core.comfy.pixel_space import pixel_vae
from ..mild_core.exemplar import NORMAL, QUALITIES
from .checks import checked_image


class BuiltInModel(io.ComfyNode):
    """The exemplar prior as MODEL, VAE and CONDITIONING."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_BuiltInModel",
            display_name="Built-in Model",
            category="MILD/models",
            description=(
                "A model that needs no download: it fills holes with patches of the photo itself. "
                "Works with Sample Layers, KSampler and every other sampler node; use cfg 1."
            ),
            search_aliases=[
                "no download",
                "exemplar",
                "patch fill",
                "content aware fill",
                "inpaint",
                "eraser",
                "object removal",
            ],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=list(builtin.MODELS),
                    tooltip="exemplar: the photo's own patches are all it knows. No weights, no download, any size.",
                ),
                io.Image.Input(
                    "references",
                    optional=True,
                    tooltip=(
                        "Further photos of the same place, of any size: a frame without the person, a neighbouring "
                        "shot. Their patches may be used too. They travel in the CONDITIONING: connect it to the "
                        "sampler."
                    ),
                ),
                io.Combo.Input(
                    "quality",
                    options=list(QUALITIES),
                    default=NORMAL,
                    optional=True,  # graphs of before there was a choice still run
                    tooltip="draft: a first look in a third of the time or less, for choosing masks and growth; "
                    "textures are coarser and lines bend more. normal: for the finished picture.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="For Sample Layers or any sampler node."),
                io.Vae.Output(display_name="VAE", tooltip="ComfyUI's pixel-space VAE: this model works on pixels."),
                io.Conditioning.Output(
                    display_name="CONDITIONING",
                    tooltip="Empty but for the references. KSampler wants a positive and a negative: use it for both.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: str,
        references: torch.Tensor | None = None,
        quality: str = NORMAL,
        same_part: float | None = None,
    ) -> io.NodeOutput:
        """same_part: an input of older versions, without effect. ComfyUI leaves out an unknown value, but hands on
        an unknown link, which their API graphs may hold.
        """
        if references is not None:
            references = checked_image(references, "references")
        conditioning = builtin.empty_conditioning(references)
        return io.NodeOutput(builtin.load_model(model, quality), pixel_vae(), conditioning)


NODES: list[type[io.ComfyNode]] = [BuiltInModel]
