"""What AdaEraser compares with: the picture in which whoever is to vanish is still there.

The erased person's pixels reach the model here, because this is the method: its nodes say so.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import comfy.model_management
import comfy.model_patcher
import comfy.sd
import torch
import torch.nn.functional as F
from torch import Tensor

from ...attention.layer_regions import Key, Maps
from ...attention.regions import HOLE
from ...image import boxes
from ...layers.painted import resized
from ...pairing import Size
from ...scene import Scene, rgb
from ..pixel_space import is_pixel_space
from ..sampling.encode import LatentSpace, latent_of, latent_space, work_size_of

NEEDS_VAE = (
    "vae: adaeraser compares each layer with the photo itself, which still shows whoever goes. Connect the "
    "checkpoint's VAE to vae (or a mask in place of layers)"
)
EMPTY = (
    "the latent that the sampler was given is empty or all alike inside the hole: it does not show whoever is to "
    "vanish, so there is little to compare with. Connect VAE Encode (or InpaintModelConditioning) of the photo"
)

LEAST_SPREAD = 0.1
"""Share of the whole latent's standard deviation below which a hole counts as all alike."""
LEAST_CELLS = 4
"""Latent cells of a hole of which fewer can be alike by chance."""


class Source(Protocol):
    """Where the latents of the source come from."""

    def latent(self, key: Key, given: Tensor, note: Callable[[str], None]) -> Tensor:
        """[1, c, h, w] (with frames: [1, c, 1, h, w]) in the place of a row of the latent that is sampled, which is
        `given`, as a VAE encodes it. note: takes a sentence for the artist.
        """


class GivenLatent:
    """The latent that the sampler is given: as published, where the photo itself is encoded for it."""

    def __init__(self, maps: Maps):
        self._maps = maps

    def latent(self, key: Key, given: Tensor, note: Callable[[str], None]) -> Tensor:
        if alike(given[0], self._maps.masks(key)[HOLE]):
            note(EMPTY)
        return given


def alike(latent: Tensor, hole: Tensor) -> bool:
    """Whether a latent [c, ..., h, w] shows nothing inside the hole [H, W], 0..1."""
    cells = F.adaptive_max_pool2d(hole[None].float(), latent.shape[-2:])[0].to(latent.device) > 0
    inside, whole = latent[..., cells].flatten(1).float(), latent.flatten(1).float()
    if inside.shape[1] < LEAST_CELLS:
        return not bool(latent.any())
    spread = [float(part.std(1, correction=0).mean()) for part in (inside, whole)]
    return spread[0] <= LEAST_SPREAD * spread[1]


class PhotoCrops:
    """The photo's own crop of each layer."""

    def __init__(
        self, scenes: Sequence[Scene], maps: Maps, model: comfy.model_patcher.ModelPatcher, vae: comfy.sd.VAE | None
    ):
        """All are encoded at once, as Sample Layers will paint them: VAE and model change places in memory once.
        ValueError without a VAE, for a MODEL that works on latents, and for another model's VAE.
        """
        if vae is None and not is_pixel_space(model):
            raise ValueError(NEEDS_VAE)
        self._space: LatentSpace = latent_space(model, vae)
        self._crops: dict[Key, Tensor] = {
            layer.id: boxes.cut(rgb(scene.photo), layer.box)
            for scene in scenes
            for layer in scene.layers
            if layer.id in maps.names
        }
        self._encoded: dict[tuple[Key, Size], Tensor] = {}
        for scene in scenes:
            size = (scene.photo.shape[0], scene.photo.shape[1])
            for layer in scene.layers:
                if layer.id in self._crops:
                    comfy.model_management.throw_exception_if_processing_interrupted()
                    self._at(layer.id, work_size_of(layer, size, self._space))

    def latent(self, key: Key, given: Tensor, note: Callable[[str], None]) -> Tensor:
        ratio = self._space.ratio
        return self._at(key, (given.shape[-2] * ratio, given.shape[-1] * ratio)).to(given)

    def _at(self, key: Key, size: Size) -> Tensor:
        """Encoded at this size (height, width) in pixels."""
        if (key, size) not in self._encoded:
            picture = resized(self._crops[key][None].float(), size)
            self._encoded[key, size] = latent_of(picture, self._space)
        return self._encoded[key, size]


def own_noise(like: Tensor, seed: int) -> Tensor:
    """Noise of a latent's row that depends on nothing else."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape, generator=generator)
