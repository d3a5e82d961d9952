"""What the sampler and the attention nodes ask of a MODEL that is to erase, with the answers of a checkpoint.

A special model is one file beside this one with a subclass that says what differs with it, and a loader that puts an
object of it on the MODEL (`attach`). It is an attachment: ComfyUI hands those on to whatever is cloned from a MODEL,
copies for other devices and for hooks included, while a MODEL that was made into an eraser stays what it was itself.
"""

from collections.abc import Mapping

import comfy.model_patcher
import torch
from torch import Tensor

from ...scene import Box, Layer
from ..families import family_of

KEY = "mild_eraser"


class Eraser:
    """An ordinary checkpoint."""

    name = "this model"  # in sentences to the artist
    reads_text = True  # False: any CONDITIONING will do, and none of the pack's own prompts is made for it
    fills_itself = False  # it starts from noise: it makes by itself what others find in an exemplar fill
    has_weights = True  # False: there is nothing in it that a LoRA could change
    row_by_row = False  # rows of a batch are worked on one after another, so nothing is gained by batches
    keeps_apart = False  # it looks at nobody whom a layer must not look at, without being steered
    per_row: tuple[str, ...] = ()  # values of a CONDITIONING that rows of a batch may differ in, or lack
    done: str | None = None  # transformer_options' key of a function that gets which share of a call is done, 0..1
    looked: str | None = None  # transformer_options' key of a function that gets where holes look; None: attention

    def native_pixels(self, model: comfy.model_patcher.ModelPatcher) -> int | None:
        """How many pixels the MODEL was made for; None: any size, so that crops keep their scale."""
        return family_of(model).native_pixels

    def multiple(self, model: comfy.model_patcher.ModelPatcher) -> int:
        """Pixels of which both sides of a crop are whole multiples: two latent cells at least, because UNets halve
        them; a whole patch where transformers cut larger ones.
        """
        patch = getattr(model.get_model_object("diffusion_model"), "patch_size", 2)
        patch = patch[-1] if isinstance(patch, tuple | list) else patch  # video models: frames, height, width
        ratio = model.get_model_object("latent_format").spacial_downscale_ratio
        return max(ratio * max(patch, 2), 16)

    def step_work(self, sigmas: Tensor, layer: Layer, size: tuple[int, int]) -> list[float]:
        """How much work each step with this layer is, painted at this size (height, width in pixels), in a unit that is
        the same for all layers of this model: here the pixels, every step alike.
        """
        return [float(size[0] * size[1])] * max(len(sigmas) - 1, 0)

    def doubt(self, layer: Layer, conds: Mapping[str, list[dict]]) -> str | None:
        """A sentence, for before it is painted, on a hole that this model will hardly fill well; conds: the layer's."""
        return None

    def layer_values(self, layer: Layer, hole: Tensor, plate: Tensor | None) -> dict:
        """Values for the layer's CONDITIONING beside its text and inpaint channels.

        hole [1, 1, h, w]: the layer's in latent cells; plate [h', w', 3]: what a person is painted on (None: the
        neutral ground, or a background).
        """
        return {}

    def framed_values(self, own: Box) -> dict:
        """Values for a layer that is painted on a larger crop than its own, which lies at `own` in that one's latent
        cells.
        """
        return {}


ORDINARY = Eraser()


def attach(model: comfy.model_patcher.ModelPatcher, eraser: Eraser) -> None:
    """Say how this MODEL erases. It is changed itself: give a clone where it is somebody else's."""
    model.set_attachments(KEY, eraser)


def eraser_of(model: comfy.model_patcher.ModelPatcher) -> Eraser:
    """How this MODEL erases: an ordinary checkpoint where nothing else was said."""
    eraser = model.get_attachment(KEY)
    return ORDINARY if eraser is None else eraser


def without_text(**values: object) -> list:
    """A CONDITIONING with nothing but these values: KSampler requires one."""
    return [[torch.zeros(1, 1, 1), values]]
