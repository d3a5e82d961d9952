"""Body guidance as ComfyUI knows ControlNets: it goes with the prompts, has a strength and a span of steps, and stacks.

What it adds does not depend on the noisy picture, so its network runs once for a sampling; every step then hands on the
same tensors. Where nothing is known of anybody, nothing is added, and a sampling is what it would be without.
"""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import comfy.controlnet
import comfy.model_management
import comfy.model_patcher
import torch
import torch.nn.functional as F
from torch import Tensor

from ...guidance.config import GuidanceConfig
from ...guidance.maps import CHANNELS, maps, whole_photo_maps
from ...guidance.network import CONFIDENCE, MorphologyGuidance
from ...image import boxes
from ...image.framed import crop_of, same_frame
from ...pairing import by
from ...scene import Layer, Morphology
from ..families import body_config_of, family_of_base
from ..guidance_places import blocks_of

LIMB_BRIGHTNESS = 0.05
"""Brightness, 0..1, above which a cell of a skeleton picture has a limb in it."""

LIMB_REACH = 1 / 24
"""How far around a skeleton picture's limbs guidance works, as a share of its shorter side."""

MOST_CELLS = 256 * 256
"""Latent cells, for the estimate of memory: a picture of more is taken for a photo, which is made smaller first."""

Added = dict[str, list[Tensor | None]]
"""What ComfyUI's models add, by place: "input", "middle", "output"."""


class _Key(NamedTuple):
    """What residuals that were worked out are for."""

    shape: tuple[int, ...]
    chunks: int
    strength: float
    device: torch.device


class MorphologyControl(comfy.controlnet.ControlBase):
    """A MorphologyGuidance, its weights in a patcher, and the picture or the people that it is to follow.

    morphology: the people of the photos, in place of a picture; our samplers then draw them anew for each layer.
    """

    def __init__(self, network: MorphologyGuidance, patcher: comfy.model_patcher.ModelPatcher):
        super().__init__()
        self.network = network
        self.patcher = patcher
        self.config = network.config
        self.compression_ratio = self.config.map_cell
        self.upscale_algorithm = "bilinear"
        self.morphology: tuple[Morphology, ...] = ()
        self.dtype = torch.float32  # in which the MODEL computes
        self.t2i_places = 0  # of the MODEL's family
        self._once: dict[tuple[int, int], list[Tensor] | None] = {}  # by the latent's height and width
        self._ready: dict[_Key, list[Tensor] | None] = {}

    def set_cond_hint(
        self,
        cond_hint: Tensor,
        strength: float = 1.0,
        timestep_percent_range: tuple[float, float] = (0.0, 1.0),
        vae: Any = None,
        extra_concat: Sequence[Tensor] = (),
    ) -> "MorphologyControl":
        """cond_hint [B, C, H, W], 0..1: C = len(CHANNELS) for maps; 3 (1 and 4 are understood) for a skeleton picture.

        Raises ValueError for other numbers of channels.
        """
        count = cond_hint.shape[1]
        if count == 1:
            cond_hint = cond_hint.expand(-1, 3, -1, -1)
        elif count == 4:
            cond_hint = cond_hint[:, :3]
        elif count not in (3, len(CHANNELS)):
            raise ValueError(
                f"image: body guidance reads a skeleton picture (3 channels) or maps ({len(CHANNELS)} channels), and "
                f"this has {count}. Connect Pose Hint, or use Guide by Bodies in place of Apply ControlNet."
            )
        self._forget()
        self.morphology = ()
        # Whatever a mask cuts out of a picture is for ControlNets that paint.
        return super().set_cond_hint(cond_hint, strength, timestep_percent_range, vae, [])

    def set_people(
        self, morphology: Sequence[Morphology], strength: float = 1.0, span: tuple[float, float] = (0.0, 1.0)
    ) -> "MorphologyControl":
        """Follow these people, one Morphology for each photo (at least one), in place of a picture.

        Samplers that know of no layers get maps of whole photos.
        """
        self.set_cond_hint(whole_photo_maps(morphology), strength, span)
        self.morphology = tuple(morphology)
        return self

    def layer_hint(
        self, layer: Layer, morphology: Morphology | None, size: tuple[int, int], photo_size: tuple[int, int]
    ) -> Tensor | None:
        """Maps [1, len(CHANNELS), h, w] for a layer that is sampled at `size` (height, width in pixels).

        morphology: the layers' own of this photo, if they have one; what Guide by Bodies was given goes before it.
        None if there is neither: then the picture is all there is. A photo for which neither Guide by Bodies nor the
        layers have bodies has empty maps. photo_size: of the layer's photo; the bodies may have been
        read in a copy of another size. Raises ValueError for one of another shape.
        """
        people = next((given for given in self.morphology if given.photo == layer.photo), morphology)
        height, width = (max(side * self.config.map_cell // self.config.cell, 1) for side in size)
        if people is None:
            return torch.zeros(1, len(CHANNELS), height, width) if self.morphology else None
        if not same_frame(people.size, photo_size):
            raise ValueError(
                f"morphology: the bodies were read in a photo of {by(people.size)} px, but photo {layer.photo + 1} of "
                f"the layers has {by(photo_size)}: another shape. Give Read Bodies and Split into Layers one photo."
            )
        return maps(people, layer.number, boxes.scaled(layer.box, photo_size, people.size), (height, width))[None]

    def pre_run(self, model: Any, percent_to_timestep_function: Any) -> None:
        """Before the first step. Raises ValueError when guidance and MODEL are of different families."""
        if not _fits(self.config, model):
            raise ValueError(
                f"guidance: this body guidance is for {self.config.words()}, but the MODEL is {_words_of(model)}: load "
                "a guidance file or a MODEL that fits the other."
            )
        super().pre_run(model, percent_to_timestep_function)
        self.dtype = model.get_dtype_inference()
        self.t2i_places = family_of_base(model).t2i_places
        self._forget()  # also of a sampling that was cancelled, which nobody cleans up after

    def get_control(
        self, x_noisy: Tensor, t: Tensor, cond: dict, batched_number: int, transformer_options: dict
    ) -> Added | None:
        """What to add in this step to a batch of `batched_number` chunks, ControlNets before this one included."""
        before = None
        if self.previous_controlnet is not None:
            before = self.previous_controlnet.get_control(x_noisy, t, cond, batched_number, transformer_options)
        if self.timestep_range is not None and not self.timestep_range[0] >= t[0] >= self.timestep_range[1]:
            return before
        own = self._residuals(x_noisy, batched_number)
        return before if own is None else self._merged(own, before)

    def copy(self) -> "MorphologyControl":
        """Another one with settings of its own, and the same weights."""
        other = MorphologyControl(self.network, self.patcher)
        self.copy_to(other)
        return other

    def copy_to(self, c: "MorphologyControl") -> None:
        """Settings, and what is to be followed."""
        super().copy_to(c)
        c.morphology = self.morphology

    def deepclone_multigpu(self, load_device: torch.device, autoregister: bool = False) -> "MorphologyControl":
        """A copy with weights of its own for another device."""
        network = copy.deepcopy(self.network)
        other = MorphologyControl(
            network,
            comfy.model_patcher.ModelPatcher(
                network, load_device=load_device, offload_device=comfy.model_management.unet_offload_device()
            ),
        )
        self.copy_to(other)
        if autoregister:
            self.multigpu_clones[load_device] = other
        return other

    def get_models(self) -> list[comfy.model_patcher.ModelPatcher]:
        """What has to be on the device for sampling."""
        return [*super().get_models(), self.patcher]

    def inference_memory_requirements(self, dtype: torch.dtype) -> float:
        """Bytes beside the weights: maps, features of the first level and residuals, in float32; an estimate."""
        mine = 0.0
        if isinstance(self.cond_hint_original, Tensor):
            rows, channels, height, width = self.cond_hint_original.shape
            cell = self.config.map_cell if channels == len(CHANNELS) else self.config.cell
            cells = min(height * width / cell**2, MOST_CELLS)
            shrinks = 4 if self.config.is_unet else 1  # with every level
            kept = sum(width / shrinks**level for level, width in enumerate(self.config.widths))
            drawn = len(CHANNELS) * self.config.map_cell**2
            mine = 4.0 * rows * cells * (3 * drawn + (4 * self.config.inner[0] + 2 * kept) / self.config.patch**2)
        return super().inference_memory_requirements(dtype) + mine

    def cleanup(self) -> None:
        """Let go of what the sampling kept."""
        self._forget()
        super().cleanup()

    def _forget(self) -> None:
        self._once.clear()
        self._ready.clear()

    def _residuals(self, x: Tensor, chunks: int) -> list[Tensor] | None:
        """In the order of config.blocks, strength included, for the rows of x; None if nothing is to be added.

        A hint of one row gives one row, which serves all.
        """
        key = _Key(tuple(x.shape), chunks, self.strength, x.device)
        if key not in self._ready:
            cells = x.shape[-2], x.shape[-1]
            if cells not in self._once:
                self._once[cells] = self._run(cells, x.device)
            found = self._once[cells]
            if found is not None and self.strength != 0:
                rows = [comfy.controlnet.broadcast_image_to(one, x.shape[0], chunks) for one in found]
                self._ready[key] = [(one * self.strength).to(self.dtype) for one in rows]
            else:
                self._ready[key] = None
        return self._ready[key]

    def _run(self, cells: tuple[int, int], device: torch.device) -> list[Tensor] | None:
        """The network's answer, float32, for a latent of so many cells; None if there is nothing in it."""
        if not isinstance(self.cond_hint_original, Tensor):
            return None
        size = cells[0] * self.config.map_cell, cells[1] * self.config.map_cell
        drawn = _maps(_middle(self.cond_hint_original, size).to(device=device, dtype=torch.float32))
        if not bool((drawn[:, CONFIDENCE] > 0).any()):
            return None
        residuals = self.network(drawn)
        return residuals if any(bool(one.any()) for one in residuals) else None

    def _merged(self, own: list[Tensor], before: Added | None) -> Added:
        """own and what comes before; UNets take from the end of these lists (so they need new ones in every step), and
        Flux counts from the start.
        """
        added: list[Tensor | None] = [None] * (self.config.blocks[-1] + 1)
        for block, residual in zip(self.config.blocks, own, strict=True):
            added[block] = residual
        theirs = list(before["input"]) if before is not None else []
        if self.config.is_unet:
            # Stock code adds lists up from their far ends, so one shorter than a T2I-Adapter's would act a block late.
            added += [None] * (self.t2i_places - len(added))
            theirs.reverse()
        for place, other in enumerate(theirs):
            if place == len(added):
                added.append(None)
            mine = added[place]
            added[place] = other if mine is None else mine if other is None else other + mine
        if self.config.is_unet:
            added.reverse()
        rest = {name: list(before[name]) if before is not None else [] for name in ("middle", "output")}
        return {"input": added, **rest}


def _fits(config: GuidanceConfig, model: Any) -> bool:
    """Whether guidance of this configuration can be added to this BaseModel."""
    theirs = body_config_of(model)
    if theirs is None:
        return False
    if not config.is_unet:
        theirs = theirs._replace(widths=theirs.widths[:1] * len(config.blocks))
    same = ("family", "widths", "context", "cell", "patch")
    if any(getattr(config, name) != getattr(theirs, name) for name in same):
        return False
    return config.blocks == theirs.blocks if config.is_unet else config.blocks[-1] < blocks_of(model)


def _words_of(model: Any) -> str:
    """For a sentence to the artist: what kind of model this is."""
    config = body_config_of(model)
    return type(model.model_config).__name__ if config is None else config.words()


def _middle(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, C, *size]: the middle of pictures [B, C, H, W] in the shape of `size`, as stock code crops ControlNets'."""
    height, width = pictures.shape[-2:]
    if (height, width) == size:
        return pictures
    scale = min(height / size[0], width / size[1])
    keep = max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
    top, left = (height - keep[0]) // 2, (width - keep[1]) // 2
    return crop_of(pictures, (left, top, left + keep[1], top + keep[0]), (height, width), size)


def _maps(pictures: Tensor) -> Tensor:
    """Maps [B, len(CHANNELS), h, w] of maps, or of skeleton pictures [B, 3, h, w]: sure wherever a limb is near."""
    if pictures.shape[1] == len(CHANNELS):
        return pictures
    drawn = (pictures.amax(1, keepdim=True) > LIMB_BRIGHTNESS).float()
    reach = max(round(min(pictures.shape[-2:]) * LIMB_REACH), 2)
    result = pictures.new_zeros(pictures.shape[0], len(CHANNELS), *pictures.shape[-2:])
    result[:, :3] = pictures
    result[:, CONFIDENCE : CONFIDENCE + 1] = F.max_pool2d(drawn, 2 * reach + 1, stride=1, padding=reach)
    return result
