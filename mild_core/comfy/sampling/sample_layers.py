"""Every layer is sampled by a pathway of its own, on its own crop, by ComfyUI's own samplers."""

from collections.abc import Sequence
from typing import NamedTuple

import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.sd
import comfy.utils
from torch import Tensor

from ...choose.selection import layers_named
from ...complete.ground import surely_hers
from ...complete.plate import plate_under
from ...fill import area_resize
from ...painted import finished
from ...scene import Layer, Scene
from ...seeds import seed_of
from .conditioning import complete, for_layer
from .encode import Encoded, LatentSpace, decode, encode, latent_space
from .progress import Progress
from .rows import name_rows

NEUTRAL, PLATE = "neutral", "plate"
GROUNDS = (NEUTRAL, PLATE)
"""What people who are completed stand on while they are painted: a plain colour, or the finished background (where it
is not painted, the plain colour all the same).
"""


class Settings(NamedTuple):
    """KSampler's widgets, and the ground."""

    seed: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    denoise: float
    ground: str = PLATE


class Run(NamedTuple):
    """What all layers of one sampling share."""

    space: LatentSpace
    positive: list
    negative: list
    settings: Settings
    sigmas: Tensor
    photo_sizes: list[tuple[int, int]]  # height, width
    progress: Progress


def sample_layers(
    model: comfy.model_patcher.ModelPatcher,
    scenes: Sequence[Scene],
    settings: Settings,
    vae: comfy.sd.VAE | None = None,
    positive: list | None = None,
    negative: list | None = None,
    which: str = "all",
) -> list[Scene]:
    """Paint the holes of the layers that `which` names; all other layers pass through as the same objects.

    vae: required unless the MODEL works on pixels. positive, negative: CONDITIONING, zeroed where missing. Raises
    ValueError when `which` names no layer, the VAE is missing or another model's, or the model returns NaN.
    """
    named = layers_named(scenes, which)
    layers = [layer for scene in scenes for layer in scene.layers]
    to_paint = [layer for layer in layers if layer.id in named and bool((layer.hole > 0).any())]
    if not to_paint:
        return list(scenes)
    sigmas = _sigmas(model, settings)
    run = Run(
        latent_space(model, vae),
        *complete(model, positive, negative),
        settings,
        sigmas,
        [(scene.photo.shape[0], scene.photo.shape[1]) for scene in scenes],
        Progress(model, scenes, len(to_paint), len(sigmas) - 1),
    )
    painted: dict[str, Layer] = {}
    waiting = {layer.id for layer in to_paint}

    def so_far(scene: Scene) -> Scene:
        return scene._replace(layers=tuple(painted.get(layer.id, layer) for layer in scene.layers))

    # Backgrounds come first in every scene: people are painted on them if asked for.
    for scene in scenes:
        for layer in (layer for layer in scene.layers if layer.id in waiting):
            comfy.model_management.throw_exception_if_processing_interrupted()
            plate = None
            if settings.ground == PLATE and layer.likely is not None:
                plate = plate_under(so_far(scene), layer.box)
            for result in sample_group([encode(layer, run.photo_sizes[layer.photo], run.space, plate)], run):
                painted[result.id] = result
                run.progress.finished(result)
    return [so_far(scene) for scene in scenes]


def sample_group(group: Sequence[Encoded], run: Run) -> list[Layer]:
    """Sample layers of equal latent shape as one ordinary batch of stock code, and return them painted.

    One layer at a time for now: samplers that draw noise while they run take it from a single seed, the layer's.
    """
    (row,) = group
    guider = comfy.samplers.CFGGuider(run.space.model)
    photo_size = run.photo_sizes[row.layer.photo]
    allowed = row.layer.allowed
    if row.layer.likely is not None:
        allowed = surely_hers(row.layer.pixels, row.layer.alpha, row.layer.hole, row.plate)
    allowed = area_resize(allowed[None, None].float(), (row.hole.shape[-2], row.hole.shape[-1]))[0]
    conds = [
        for_layer(conds, row.layer, photo_size, allowed, row.inpaint, row.plate)
        for conds in (run.positive, run.negative)
    ]
    guider.set_conds(*conds)
    guider.set_cfg(run.settings.cfg)
    name_rows(guider, [row.layer.id])
    seed = layer_seed(run.settings.seed, row.layer.id)
    samples = guider.sample(
        comfy.sample.prepare_noise(row.latent, seed),
        row.latent,
        comfy.samplers.sampler_object(run.settings.sampler_name),
        run.sigmas,
        denoise_mask=row.hole,
        callback=run.progress.callback([row.layer]),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    samples = samples.to(
        device=comfy.model_management.intermediate_device(), dtype=comfy.model_management.intermediate_dtype()
    )
    return [finished(row.layer, decode(samples, row, run.space), row.plate)]


def layer_seed(seed: int, layer_id: str) -> int:
    """Noise belongs to (seed, layer): one more erased person changes no other layer."""
    return seed_of(seed, layer_id)


def _sigmas(model: comfy.model_patcher.ModelPatcher, settings: Settings) -> Tensor:
    """The steps that KSampler would take with these widgets."""
    sampler = comfy.samplers.KSampler(
        model,
        steps=settings.steps,
        device=model.load_device,
        sampler=settings.sampler_name,
        scheduler=settings.scheduler,
        denoise=settings.denoise,
        model_options=model.model_options,
    )
    return sampler.sigmas
