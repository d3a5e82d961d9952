"""The built-in model's class: the exemplar prior as an ordinary ComfyUI model that works on pixels, without weights.

Its "latent" is the picture itself, [B, 3, H, W] in -1..1 (ComfyUI's `pixel_space` VAE). Nothing of a picture is kept
in the MODEL: what it reads comes with each sampling, from the latent (the clean pixels), from its noise mask (the
hole), and from optional values in the CONDITIONING:

    mild_allowed     mask, [H, W] or [B, H, W] of any size: the pixels that may be looked at (default: all outside the
                     hole)
    mild_references  further pictures of the same place, an IMAGE batch or a list of [H, W, C] in 0..1. A tuple (or what
                     Sample Layers joins, PerRow) instead of a list holds one such list for each row of the batch.
    mild_ground      a picture [H, W, 4] in 0..1 in the latent's frame: what is seen wherever nothing of the photo fits
                     better; its last channel is 1 where it may be seen at all. With it, what the latent shows inside
                     the hole is a first guess to begin from. PerRow: one for each row, or None.
    mild_crop        a box x0, y0, x1, y1: only this part of the picture is worked on, as if it were all of it. PerRow:
                     one for each row, or None.
"""

import functools
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, NamedTuple

import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_sampling
import comfy.supported_models_base
import comfy.utils
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ... import exemplar
from ...image.fill import area_resize
from ...scene import Box, rgb
from ..sampling.stacking import PerRow

SIGMA_MIN, SIGMA_MAX = 0.03, 6.0

BYTES_PER_MATCHED_PIXEL = 1024
MATCHED_PIXELS = 500_000
"""Working memory of comparing patches, which is done on levels of at most about so many pixels (measured: 150 to 600 MB
for 0.25 to 4 megapixels, the more the larger the hole)."""

LOOKED = "mild_looked"
"""In transformer_options: a function that is called with where the hole looks, for each row of each call: (the call's
transformer_options, row of the batch, [S, h, w] as exemplar.denoise gives it). The picture stays the same.
"""

DONE = "mild_done"
"""In transformer_options: a function that is called often with the share of each call that is done, 0..1."""

COPIES = 8
"""Tensors of the size of the noise that a sampler and this model hold at a time."""


class PixelSpace(comfy.latent_formats.LatentFormat):
    """Pixels as latents: no VAE weights, values -1..1. The factors let ComfyUI show live previews."""

    latent_channels = 3
    spacial_downscale_ratio = 1
    latent_rgb_factors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


class ExemplarSampling(comfy.model_sampling.ModelSamplingContinuousEDM, comfy.model_sampling.IMG_TO_IMG):
    """x0 prediction on raw x with continuous sigma (Karras et al. 2022, without input and output scaling)."""

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        """At full denoise start from noise alone: the latent shows whoever is to vanish; sigma 6 does not hide them."""
        # Called before each step, too: what the sampler does between two steps takes seconds in a large picture.
        comfy.model_management.throw_exception_if_processing_interrupted()
        if max_denoise:
            return noise * comfy.model_sampling.reshape_sigma(sigma, noise.ndim)
        return super().noise_scaling(sigma, noise, latent_image)


class ExemplarConfig(comfy.supported_models_base.BASE):
    """What ComfyUI asks a model's configuration for."""

    unet_extra_config: dict = {}
    sampling_settings = {"sigma_min": SIGMA_MIN, "sigma_max": SIGMA_MAX}
    latent_format = PixelSpace


class RowValues(comfy.conds.CONDRegular):
    """A list with what each row gets, such as its references. Rows may differ, so they are listed, never stacked."""

    def process_cond(self, batch_size, **kwargs):
        rows = self.cond * -(-batch_size // len(self.cond))
        return self._copy_with(rows[:batch_size])

    def can_concat(self, other):
        return True

    def concat(self, others):
        return [row for cond in (self, *others) for row in cond.cond]

    def size(self):
        return [1]


class ExemplarDenoiser(torch.nn.Module):
    """Stands where other models have their network."""

    dtype = torch.float32

    def __init__(self, quality: exemplar.Quality):
        super().__init__()
        self.quality = quality

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        clean: Tensor,
        hole: Tensor,
        allowed: Tensor,
        references: list[list[exemplar.Reference]],
        guided: Sequence[bool] | None = None,
        crops: Sequence[Box | None] | None = None,
        transformer_options: dict | None = None,
        **kwargs: object,
    ) -> Tensor:
        """x, clean [B, 3, H, W]; hole, allowed [B, 1, H, W]; sigma [B]; references, guided, crops: one for each row."""
        options = transformer_options or {}
        watch, tell = options.get(LOOKED), options.get(DONE)
        x0 = torch.empty_like(x)
        for row in range(len(x)):  # rows may be different photos with different references: each is its own problem
            tick = functools.partial(_tick, tell, row, len(x))
            tick(0.0)
            own = slice(row, row + 1)
            if not references[row] and bool(hole[own].any()) and not bool(allowed[own].any()):
                raise ValueError(
                    "The mask covers everything that may be looked at, so there is nothing left to learn from: mask "
                    "less, take in more of the photo around it, or connect references."
                )
            crop = None if crops is None else crops[row]
            part, known = _part(crop or (0, 0, x.shape[3], x.shape[2])), references[row]
            if crop is not None:
                known = [one._replace(picture=one.picture[part], covered=one.covered[part]) for one in known]
                x0[own] = clean[own].to(x0)
            x0[own][part] = exemplar.denoise(
                x[own][part].float(),
                sigma[own].float(),
                clean[own][part].float(),
                hole[own][part].float(),
                allowed[own][part].float(),
                known,
                tick,
                guided is not None and guided[row],
                None if watch is None else functools.partial(_watch_row, watch, options, row),
                self.quality,
            ).to(x0)
            tick(1.0)
        return x0


class ExemplarModel(comfy.model_base.BaseModel):
    """The exemplar prior behind the interface of every other ComfyUI model."""

    def __init__(self, quality: exemplar.Quality = exemplar.QUALITIES[exemplar.NORMAL]):
        super().__init__(ExemplarConfig({"disable_unet_model_creation": True}), comfy.model_base.ModelType.IMG_TO_IMG)
        self.model_sampling = ExemplarSampling(self.model_config)
        self.diffusion_model = ExemplarDenoiser(quality)
        # By the clean latent of a sampling, and gone with it. Entries of a CONDITIONING come one by one, with the same.
        self._found: MutableMapping[Tensor, list[_Found]] = WeakTensorKeyDictionary()

    def get_dtype_inference(self):
        """Always float32: distances between patches need it, and there are no weights to save memory on."""
        return torch.float32

    def process_timestep(self, timestep, **kwargs):
        """The denoiser wants sigma [B] itself, not ComfyUI's timestep log(sigma) / 4."""
        return self.model_sampling.sigma(timestep)

    def memory_required(self, input_shape, cond_shapes=None):
        """Bytes for input_shape [B, 3, H, W]. ComfyUI's formula takes pixels for latents: 77 GiB at 512 px.

        Rows are worked on one after another, so only the tensors held for all of them grow with B.
        """
        rows, channels, pixels = input_shape[0], input_shape[1], input_shape[2] * input_shape[-1]
        return min(pixels, MATCHED_PIXELS) * BYTES_PER_MATCHED_PIXEL + pixels * rows * channels * 4 * COPIES

    def extra_conds(self, **kwargs):
        """Clean pixels, hole, allowed pixels and references, one row each for every row of the noise."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        noise, latent = kwargs["noise"], kwargs.get("latent_image")
        mask = kwargs.get("denoise_mask")
        if noise.ndim != 4 or noise.shape[1] != 3:
            raise ValueError(
                f"The built-in model works on pixels, but the latent has shape {list(noise.shape)} instead of "
                "[batch, 3, height, width]: encode the photo with the VAE that the Built-in Model node gives."
            )
        if latent is None or (mask is None and torch.count_nonzero(latent) == 0):
            raise ValueError(
                "The built-in model learns from a photo and the latent is empty: encode a photo with the VAE that the "
                "Built-in Model node gives and connect that as latent_image."
            )
        # Without a noise mask everything is resampled, and everything may serve as an exemplar.
        hole = torch.ones_like(noise[:, :1]) if mask is None else (mask[:, :1] > 0).to(noise)
        given = kwargs.get("mild_allowed")
        outside = torch.ones_like(hole) if mask is None else 1 - hole
        allowed = outside if given is None else outside * _rows_of_mask(given, noise)
        clean = latent.to(noise)
        pictures = _rows_of_references(kwargs.get("mild_references"), len(noise))
        # Found in the photo once for each sampling: not at each of its steps, nor for each entry of the CONDITIONING.
        found = self._found.setdefault(latent, [])
        references = [
            [_registered(p, row, clean[row : row + 1].float(), allowed[row : row + 1].float(), found) for p in own]
            for row, own in enumerate(pictures * (len(noise) // len(pictures)))
        ]
        grounds = _rows_of_grounds(kwargs.get("mild_ground"), clean)
        references = [
            own if ground is None else [ground, *own] for ground, own in zip(grounds, references, strict=True)
        ]
        return {
            "clean": comfy.conds.CONDNoiseShape(clean),
            "hole": comfy.conds.CONDNoiseShape(hole),
            "allowed": comfy.conds.CONDNoiseShape(allowed),
            "references": RowValues(references),
            "guided": RowValues([ground is not None for ground in grounds]),
            "crops": RowValues(_rows_of(kwargs.get("mild_crop"), len(noise))),
        }


class _Found(NamedTuple):
    """A reference that was looked for in a photo."""

    row: int  # of the batch: which photo
    picture: Tensor  # [3, h, w]: the reference as it came
    allowed: Tensor  # [1, 1, H, W]: what of the photo it was compared with
    reference: exemplar.Reference


def _registered(picture: Tensor, row: int, clean: Tensor, allowed: Tensor, known: list[_Found]) -> exemplar.Reference:
    """The reference in the frame of this row's photo; looked for where it is not among the known ones, and joins them.

    picture [3, h, w]; clean [1, 3, H, W]; allowed [1, 1, H, W].
    """
    for one in known:
        if one.row == row and _equal(one.picture, picture) and _equal(one.allowed, allowed):
            return one.reference
    known.append(_Found(row, picture, allowed, exemplar.register(picture, clean, allowed)))
    return known[-1].reference


def _equal(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.shape == other.shape and torch.equal(one, other))


def _tick(tell: Callable[[float], None] | None, row: int, rows: int, share: float) -> None:
    """Allow Cancel, and say which share of a call with so many rows is done when `share` of this row is."""
    comfy.model_management.throw_exception_if_processing_interrupted()
    if tell is not None:
        tell((row + share) / rows)


def _watch_row(watch: Callable, transformer_options: dict, row: int, _: int, looked: Tensor) -> None:
    """exemplar.denoise gets one row at a time, whose number there is always 0."""
    watch(transformer_options, row, looked)


def _rows_of_mask(mask: Tensor, noise: Tensor) -> Tensor:
    """A mask of any size and batch as [B, 1, H, W] of 0 and 1, on the noise's device."""
    mask = mask.reshape(-1, 1, *mask.shape[-2:]).to(device=noise.device, dtype=torch.float32)
    mask = area_resize(mask, (noise.shape[-2], noise.shape[-1]))
    return (comfy.utils.repeat_to_batch_size(mask, len(noise)) > 0.5).to(noise)


def _rows_of_references(
    references: list[Tensor] | tuple[list[Tensor], ...] | Tensor | None, rows: int
) -> list[list[Tensor]]:
    """References as one list of [3, h, w] in -1..1 for each row, or a single list for all rows."""
    if references is None:
        return [[]]
    per_row = references if isinstance(references, (tuple, PerRow)) else (references,)
    if len(per_row) not in (1, rows):
        raise ValueError(f"mild_references names {len(per_row)} rows, but {rows} are sampled.")
    return [[rgb(picture.float()).movedim(-1, 0) * 2 - 1 for picture in pictures or ()] for pictures in per_row]


def _rows_of(value: Any, rows: int) -> list[Any]:
    """A value for each row: its own, or the same for all of them."""
    given = value if isinstance(value, PerRow) else [value]
    return given * (rows // len(given))


def _part(crop: Box) -> tuple[slice, ...]:
    """Of a picture [1, C, H, W]."""
    return slice(None), slice(None), slice(crop[1], crop[3]), slice(crop[0], crop[2])


def _rows_of_grounds(ground: Tensor | PerRow | None, clean: Tensor) -> list[exemplar.Reference | None]:
    """What is behind the person in each row of clean [B, 3, H, W]: one picture for all of them, or one for each."""
    found = []
    for picture in ground if isinstance(ground, PerRow) else [ground]:
        if picture is not None:
            picture = area_resize(picture.float().movedim(-1, 0)[None], (clean.shape[2], clean.shape[3])).to(clean)
            seen = (picture[:, 3:] > 0.99).to(picture)
            picture = exemplar.Reference(picture[:, :3] * 2 - 1, seen, True)
        found.append(picture)
    return _rows_of(PerRow(found), len(clean))
