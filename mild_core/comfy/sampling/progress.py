"""One progress bar over all layers, and a live preview of the whole photo with what has been painted so far."""

from collections.abc import Callable, Mapping, Sequence

import comfy.model_management
import comfy.model_patcher
import comfy.utils
import latent_preview
import numpy as np
from PIL import Image
from torch import Tensor

from ...image.fill import area_resize, shrunk
from ...scene import PERSON, Box, Layer, Scene, rgb
from .encode import LatentSpace
from .start import ExemplarFill, Planned

BAR = 1000
"""What the bar counts to: steps are not alike, so it counts thousandths of the work."""

Work = Mapping[str, Sequence[float]]
"""By layer id: how much work each step is, in a unit that all of them share."""

PREVIEW_SIDE = 512
"""Pixels of the longer side of the preview."""


def work_of(planned: Sequence[Planned], space: LatentSpace, sigmas: Callable[[float], Tensor]) -> Work:
    """How much work each step with each layer is to the MODEL; sigmas: for a denoise."""
    return {
        plan.layer.id: space.eraser.step_work(sigmas(plan.start.denoise), plan.layer, plan.size) for plan in planned
    }


def fill_work_of(filled: Sequence[Planned], fill: ExemplarFill) -> Work:
    """The same for the exemplar fills, scaled as if their mean step were as much work as a pixel model's: how fast the
    two models are beside each other depends on the machine.
    """
    own = work_of(filled, fill.space, lambda denoise: fill.sigmas)
    total = total_of(own)
    scale = sum(plan.size[0] * plan.size[1] for plan in filled) * max(len(fill.sigmas) - 1, 0) / total if total else 1.0
    return {layer_id: [scale * step for step in steps] for layer_id, steps in own.items()}


def total_of(work: Work) -> float:
    """Of all steps of all layers."""
    return sum(sum(steps) for steps in work.values())


def previewer_of(model: comfy.model_patcher.ModelPatcher) -> latent_preview.LatentPreviewer | None:
    """ComfyUI's previewer for the MODEL, as its settings have it; None where previews are off."""
    return latent_preview.get_previewer(model.load_device, model.get_model_object("latent_format"))


class Batch:
    """A sampler's callback for a batch whose rows are layers."""

    def __init__(
        self,
        progress: "Progress",
        layers: Sequence[Layer],
        work: Work,
        previewer: latent_preview.LatentPreviewer | None,
    ):
        self.progress = progress
        self.layers = layers
        self.previewer = previewer
        self.steps = [sum(rows) for rows in zip(*(work[layer.id] for layer in layers), strict=True)]
        self.step = 0
        self.calls, self.expected = 0, 1  # of the model in this step, and in each as far as the last one tells
        self.share = 0.0  # of this call

    def __call__(self, number: int, x0: Tensor, x: Tensor, total_steps: int) -> None:
        # What the sampler does between two calls takes seconds where the picture is large, and so does its preview.
        comfy.model_management.throw_exception_if_processing_interrupted()
        # Adaptive samplers make as many steps as they like: the bar stays within this batch's share.
        self.step = min(number + 1, len(self.steps))
        self.expected = self.calls + 1
        self.calls, self.share = 0, 0.0
        preview = self.progress.preview(self.layers, x0, self.previewer)
        self.progress.show(self.progress.done + sum(self.steps[: self.step]), preview)

    def within(self, share: float) -> None:
        """Which share of a call of the model is done, 0..1. Samplers of higher order call it more than once a step."""
        if share < self.share:
            self.calls += 1
        self.share = share
        if self.step < len(self.steps):
            part = min((self.calls + share) / self.expected, 1.0) * self.steps[self.step]
            self.progress.show(self.progress.done + sum(self.steps[: self.step]) + part)


class Progress:
    """Shows how far a sampling of so much work in all its layers has come. Every update allows Cancel."""

    def __init__(self, model: comfy.model_patcher.ModelPatcher, scenes: Sequence[Scene], total: float):
        self.total = total
        self.done = 0.0
        self.shown = 0
        self.bar = comfy.utils.ProgressBar(BAR)
        self.previewer = previewer_of(model)
        self.scenes = scenes
        self.canvases: dict[int, Image.Image] = {}  # what is ready, by photo
        self.drafts: dict[int, Image.Image] = {}  # with the batch that is being sampled
        self.holes: dict[tuple[str, Box], Image.Image] = {}  # by layer id and crop: resizing a large hole takes time

    def callback(self, work: Work, previewer: latent_preview.LatentPreviewer | None, layers: Sequence[Layer]) -> Batch:
        """A sampler callback for a batch whose rows are these layers; previewer: of the model that samples."""
        return Batch(self, layers, work, previewer)

    def sampled(self, steps: Sequence[float]) -> None:
        """A layer is through with its steps, so much work each; what its last preview showed stays until it is
        decoded.
        """
        self.done += sum(steps)
        self.canvases |= self.drafts
        self.drafts = {}
        self.show(self.done)

    def finished(self, layer: Layer) -> None:
        """A layer is ready: its pixels stay on the preview."""
        if self.previewer:
            shown = layer.alpha * (layer.hole > 0) if layer.domain == PERSON else layer.hole
            size, corner = self._place(layer)
            picture = area_resize(layer.pixels.movedim(-1, 0)[None].float(), size)[0].movedim(0, -1)
            self._canvas(layer.photo).paste(_image(picture), corner, _thumbnail(shown, size))
        self.show(self.done)

    def show(self, work: float, preview: tuple | None = None) -> None:
        """So much of all the work is done. The bar never goes back, where a batch is tried again in halves either."""
        value = round(BAR * work / self.total) if self.total > 0 else BAR
        self.shown = max(self.shown, min(value, BAR))
        self.bar.update_absolute(self.shown, BAR, preview)

    def preview(
        self, layers: Sequence[Layer], x0: Tensor, previewer: latent_preview.LatentPreviewer | None
    ) -> tuple | None:
        """What ComfyUI's progress bar takes as a preview; None where there is none, or where it is not ours to draw.

        Other packs put their own previewers in the place of ComfyUI's: they send their pictures to the front end by
        themselves and return none.
        """
        if not previewer:
            return None
        pictures = {}
        for row, layer in enumerate(layers):
            size, _ = self._place(layer)
            one = x0[row : row + 1]
            if one.ndim == 4 and one.shape[-2] >= size[0] and one.shape[-1] >= size[1]:
                one = area_resize(one, size)  # models that work on pixels: decoding every one of them would take long
            preview = previewer.decode_latent_to_preview_image("JPEG", one)
            if preview is not None and isinstance(preview[1], Image.Image):
                pictures[layer.id] = preview[1]
        if not pictures:
            return None
        self.drafts = {photo: self._canvas(photo).copy() for photo in {layer.photo for layer in layers}}
        for layer in layers:
            if layer.id in pictures:
                self._draw(self.drafts[layer.photo], layer, pictures[layer.id])
        return "JPEG", self.drafts[layers[0].photo], PREVIEW_SIDE

    def _draw(self, canvas: Image.Image, layer: Layer, picture: Image.Image) -> None:
        """Put the picture, of any size, into the layer's hole. At every step, so only what is seen of it is resized."""
        (height, width), (left, top) = self._place(layer)
        key = layer.id, layer.box
        if key not in self.holes:
            self.holes[key] = _thumbnail(layer.hole, (height, width))
        hole = self.holes[key]
        box = hole.getbbox()
        if box is None:  # too small to be seen on the preview
            return
        x, y = picture.width / width, picture.height / height
        source = (box[0] * x, box[1] * y, box[2] * x, box[3] * y)
        part = picture.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BILINEAR, source)
        canvas.paste(part, (left + box[0], top + box[1]), hole.crop(box))

    def _canvas(self, photo: int) -> Image.Image:
        if photo not in self.canvases:
            pixels = self.scenes[photo].photo
            pixels = rgb(pixels)
            size = shrunk((pixels.shape[0], pixels.shape[1]), PREVIEW_SIDE)
            self.canvases[photo] = _image(area_resize(pixels.movedim(-1, 0)[None].float(), size)[0].movedim(0, -1))
        return self.canvases[photo]

    def _place(self, layer: Layer) -> tuple[tuple[int, int], tuple[int, int]]:
        """Height and width of the layer on its photo's canvas, and its left upper corner (x, y)."""
        canvas = self._canvas(layer.photo)
        height, width = self.scenes[layer.photo].photo.shape[:2]
        x0, x1 = (round(side * canvas.width / width) for side in (layer.box[0], layer.box[2]))
        y0, y1 = (round(side * canvas.height / height) for side in (layer.box[1], layer.box[3]))
        return (max(1, y1 - y0), max(1, x1 - x0)), (x0, y0)


def _thumbnail(mask: Tensor, size: tuple[int, int]) -> Image.Image:
    """mask [h, w], 0..1, as a grey picture of size (height, width)."""
    return Image.fromarray(_bytes(area_resize(mask[None, None].float(), size)[0, 0]))


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(_bytes(pixels))


def _bytes(values: Tensor) -> np.ndarray:
    return (values.clamp(0, 1) * 255).byte().cpu().numpy()
