"""What the pathway of a layer starts from, and how much of it the noise leaves."""

from typing import NamedTuple

import comfy.samplers
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise
from torch import Tensor

from ...layers.start_picture import start_picture
from ...scene import Layer
from ..erasers.builtin import empty_conditioning, load_model
from .encode import Encoded, LatentSpace, encode, latent_space
from .groups import Sampling

AUTOMATIC, NOISE, EXEMPLAR, OWN = "automatic", "noise", "exemplar fill", "own picture"
STARTS = (AUTOMATIC, NOISE, EXEMPLAR, OWN)

EXEMPLAR_DENOISE = 0.75
"""How far a checkpoint that knows no inpainting repaints the exemplar fill: enough for detail, too little for a new
person in the place of the erased one.
"""

FILL_STEPS = 8
"""Sampling steps of the built-in model: few, because what it fills is painted over."""


class Start(NamedTuple):
    """Decided for one layer."""

    how: str  # NOISE, EXEMPLAR or OWN
    denoise: float


class Planned(NamedTuple):
    """A layer to paint."""

    layer: Layer
    size: tuple[int, int]  # height and width in pixels at which it is painted
    start: Start


def decided(start: str, denoise: float, layer: Layer, space: LatentSpace, fixed: bool = False) -> Start:
    """What a layer starts from, by the widgets `start` and `denoise`, and by what its model can do.

    automatic: a layer that was painted before starts from that at denoise below 1; a model without inpaint channels,
    which at full noise would see nothing of the hole's surroundings at first, from the exemplar fill, and denoise 1
    then means EXEMPLAR_DENOISE; all else from noise. fixed: denoise is that of given SIGMAS and cannot be lowered.
    """
    if start not in STARTS:
        raise ValueError(f"start: got '{start}', expected one of {', '.join(STARTS)}.")
    if start == AUTOMATIC:
        if layer.sampled and denoise < 1:
            start = OWN
        elif space.inpaint_channels or space.eraser.fills_itself or (fixed and denoise >= 1):
            start = NOISE
        else:
            return Start(EXEMPLAR, EXEMPLAR_DENOISE if denoise >= 1 else denoise)
    if start == EXEMPLAR and space.eraser.fills_itself:
        start = NOISE
    return Start(start, denoise)


def picture_of(layer: Layer, how: str, size: tuple[int, int], plate: Tensor | None) -> Tensor:
    """[1, h, w, 3] of `size` (height, width): the layer's own result for OWN, else its surroundings and a smooth fill.

    The hole never shows whoever is erased.
    """
    return start_picture(layer if how == OWN else layer._replace(sampled=False), plate, size)[None]


class ExemplarFill:
    """Fills holes with patches of their own photo: the built-in model, for a few steps."""

    def __init__(self):
        model = load_model()
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(empty_conditioning(), empty_conditioning())
        self.guider = guider
        self.space = latent_space(model, None)
        sampler = comfy.samplers.KSampler(model, FILL_STEPS, model.load_device, "euler", "normal")
        self.sigmas = sampler.sigmas

    def sampling(self, seed: int, photo_sizes: list[tuple[int, int]]) -> Sampling:
        """How its rows are sampled."""
        return Sampling(self.guider, Noise_RandomNoise(seed), comfy.samplers.sampler_object("euler"), photo_sizes)

    def encoded(self, layer: Layer, size: tuple[int, int], plate: Tensor | None) -> Encoded:
        """The layer at the size (height, width) at which the other model will go on."""
        return encode(layer, picture_of(layer, NOISE, size, plate), self.space, plate)

    def picture(self, samples: Tensor) -> Tensor:
        """Samples of one row -> [1, h, w, 3]."""
        return self.space.vae.decode(samples).float()
