"""Every layer is sampled by a pathway of its own, on its own crop, by ComfyUI's own samplers."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import comfy.sd
import torch
from comfy.sampler_helpers import convert_cond
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise
from torch import Tensor

from ...layers.painted import plate_under
from ...people.selection import layers_named
from ...scene import Layer, Scene
from ..adapters import merged
from ..adapters.layer_strengths import note_on_models
from ..guidance import relation_text
from .conditioning import LayerConds
from .encode import LatentSpace, latent_space, work_size_of
from .groups import Sampling
from .joint import Agree, Together, together
from .memory import AUTOMATIC as AUTOMATIC_MEMORY
from .memory import Memory
from .own_rows import row_notes
from .pathways import Run, paint_apart, paint_together
from .progress import Progress, Work, fill_work_of, total_of, work_of
from .prompts import Prompts
from .start import AUTOMATIC as AUTOMATIC_START
from .start import EXEMPLAR, ExemplarFill, Planned, decided
from .text_fits import check_text

NEUTRAL, PLATE = "neutral", "plate"
GROUNDS = (NEUTRAL, PLATE)
"""What is behind people who are completed while they are painted: a plain colour, or the finished background (where it
is not painted, the plain colour all the same).
"""


class SamplerSettings(NamedTuple):
    """KSampler's widgets."""

    seed: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    denoise: float


class Options(NamedTuple):
    """What both nodes ask for beside how to sample."""

    which: str = "all"
    ground: str = PLATE
    start: str = AUTOMATIC_START
    memory: str = AUTOMATIC_MEMORY
    agree: Agree = Agree()


DEFAULTS = Options()


class Painted(NamedTuple):
    """What comes back."""

    scenes: list[Scene]
    notes: list[str]  # sentences for the artist


def unsaid(text: str) -> None:
    """Where nobody listens before the end: what would be said is among the notes, too."""


def sample_layers(
    model: comfy.model_patcher.ModelPatcher,
    scenes: Sequence[Scene],
    settings: SamplerSettings,
    vae: comfy.sd.VAE | None = None,
    prompts: Prompts | None = None,
    options: Options = DEFAULTS,
    say: Callable[[str], None] = unsaid,
) -> Painted:
    """Paint the holes of the layers that options.which names; all other layers pass through as the same objects.

    vae: required unless the MODEL works on pixels; prompts: default zeroed text. Raises ValueError when `which` names
    no layer, the VAE is missing or another model's, or the model returns NaN. say: gets what the artist should know
    before anything is painted.
    """
    to_paint, notes = _to_paint(scenes, options.which)
    if not to_paint:
        return Painted(list(scenes), notes)
    prompts = Prompts(model, None, None, None) if prompts is None else prompts
    space = latent_space(model, vae)
    guider = comfy.samplers.CFGGuider(model)
    guider.set_cfg(settings.cfg)
    sampler = comfy.samplers.sampler_object(settings.sampler_name)
    planned = _planned(to_paint, scenes, space, options.start, settings.denoise, False)
    sampling = Sampling(guider, Noise_RandomNoise(settings.seed), sampler, _sizes(scenes), scenes)
    painted = _painted(
        scenes, planned, sampling, space, lambda denoise: _sigmas(model, settings, denoise), prompts.of, options, say
    )
    return Painted(painted.scenes, [*notes, *painted.notes, *prompts.notes()])


def sample_layers_advanced(
    noise: Any,
    guider: comfy.samplers.CFGGuider,
    sampler: comfy.samplers.Sampler,
    sigmas: Tensor,
    scenes: Sequence[Scene],
    vae: comfy.sd.VAE | None = None,
    options: Options = DEFAULTS,
    say: Callable[[str], None] = unsaid,
) -> Painted:
    """The same with NOISE, GUIDER, SAMPLER and SIGMAS. Prompts are the guider's, but for layers with some of their own.

    Raises ValueError as sample_layers does, for SIGMAS that are no numbers, and for a GUIDER that keeps its prompts
    where ComfyUI's own do not.
    """
    to_paint, notes = _to_paint(scenes, options.which)
    if not to_paint:
        return Painted(list(scenes), notes)
    if len(sigmas) < 2:
        return Painted(list(scenes), [*notes, "No steps to take: the SIGMAS are empty."])
    _check_sigmas(sigmas, "sigmas: the SIGMAS hold", "Ask for more steps, or take another scheduler.")
    kept = getattr(guider, "original_conds", None)
    if not isinstance(kept, dict) or not kept:
        raise ValueError(
            f"guider: {type(guider).__name__} does not keep its prompts as ComfyUI's guiders do. Connect CFG Guider, "
            "Basic Guider or Dual CFG Guider."
        )
    space = latent_space(guider.model_patcher, vae)
    full = sampler.max_denoise(_Sampled(guider.model_patcher), sigmas)
    planned = _planned(to_paint, scenes, space, options.start, 1.0 if full else 0.5, True)
    sampling = Sampling(guider, noise, sampler, _sizes(scenes), scenes)

    def own(layer: Layer) -> dict[str, list]:
        given = {}
        for name, conds in (("positive", layer.positive), ("negative", layer.negative)):
            if not conds:  # an empty CONDITIONING counts as none
                continue
            if name in kept:
                check_text(guider.model_patcher, conds, f"Prompt Layers: {name} of {layer.name}")
                given[name] = conds
            else:
                notes.append(
                    f"Prompt Layers: {name} of {layer.name} is not used: this GUIDER ({type(guider).__name__}) reads "
                    f"{', '.join(kept)} only."
                )
        return given

    painted = _painted(scenes, planned, sampling, space, lambda denoise: sigmas, own, options, say)
    return Painted(painted.scenes, [*notes, *painted.notes])


class _Sampled:
    """A MODEL before it is sampled, as Sampler.max_denoise sees a guider's while it is: with its patches in place."""

    def __init__(self, patcher: comfy.model_patcher.ModelPatcher):
        self.patcher = patcher

    @property
    def inner_model(self) -> "_Sampled":
        return self

    def __getattr__(self, name: str) -> Any:
        return self.patcher.get_model_object(name)


def _sizes(scenes: Sequence[Scene]) -> list[tuple[int, int]]:
    return [(scene.photo.shape[0], scene.photo.shape[1]) for scene in scenes]


def _to_paint(scenes: Sequence[Scene], which: str) -> tuple[list[Layer], list[str]]:
    """Layers that `which` names and that have a hole; and a sentence on those that have none."""
    named = layers_named(scenes, which)
    layers = [layer for scene in scenes for layer in scene.layers if layer.id in named]
    open_ = [bool((layer.hole > 0).any()) for layer in layers]
    whole = [layer.name for layer, has_hole in zip(layers, open_, strict=True) if not has_hole]
    notes = [f"No hole to paint: {', '.join(whole)}."] if whole else []
    return [layer for layer, has_hole in zip(layers, open_, strict=True) if has_hole], notes


def _planned(
    layers: Sequence[Layer], scenes: Sequence[Scene], space: LatentSpace, start: str, denoise: float, fixed: bool
) -> list[Planned]:
    sizes = _sizes(scenes)
    return [
        Planned(layer, work_size_of(layer, sizes[layer.photo], space), decided(start, denoise, layer, space, fixed))
        for layer in layers
    ]


def _painted(
    scenes: Sequence[Scene],
    planned: Sequence[Planned],
    sampling: Sampling,
    space: LatentSpace,
    sigmas: Callable[[float], Tensor],
    prompts: Callable[[Layer], dict[str, list]],
    options: Options,
    say: Callable[[str], None],
) -> Painted:
    joint: list[Together] = []
    notes: list[str] = []
    if options.agree.weight > 0 and options.agree.until > 0:
        joint, notes = together(planned, scenes, space, sampling, options.memory)
    alone = _alone(planned, joint, options.ground)
    fill = ExemplarFill() if any(plan.start.how == EXEMPLAR for plan in planned) else None
    works = [_works(alone, space, sigmas, fill)]
    # What layers that agree start from is made on their own crops.
    works += [(work_of(one.shared, space, sigmas), _works(one.own, space, sigmas, fill)[1]) for one in joint]
    # All of them first: the text encoder and the model need not change places in the memory.
    prompted = {plan.layer.id: _prompted(sampling.guider, prompts(plan.layer)) for plan in planned}
    notes.extend(_row_notes(prompted, len(scenes)))
    conds, relation_notes = relation_text.for_layers(prompted, [plan.layer for plan in planned])
    notes.extend(relation_notes)
    run = Run(
        sampling,
        space,
        sigmas,
        conds,
        LayerConds(sampling.photo_sizes, notes),
        Memory(sampling.guider.model_patcher, options.memory),
        Progress(sampling.guider.model_patcher, scenes, sum(total_of(work) for both in works for work in both)),
        *works[0],
        notes,
    )
    said = note_on_models(sampling.guider), merged.note(sampling.guider, [plan.layer for plan in planned])
    notes.extend(note for note in said if note)
    doubts = [space.eraser.doubt(plan.layer, conds[plan.layer.id]) for plan in planned]
    if known := [doubt for doubt in dict.fromkeys(doubts) if doubt]:
        notes.extend(known)
        say("\n".join(known))
    done: dict[str, Layer] = {}

    def so_far(scene: Scene) -> Scene:
        return scene._replace(layers=tuple(done.get(layer.id, layer) for layer in scene.layers))

    def plates_of(phase: Sequence[Planned]) -> dict[str, Tensor | None]:
        if options.ground != PLATE:
            return {}
        return {
            plan.layer.id: plate_under(so_far(scenes[plan.layer.photo]), plan.layer.box)
            for plan in phase
            if plan.layer.likely is not None
        }

    def paint(plans: Sequence[Planned], run: Run) -> None:
        for phase in _phases(plans, options.ground):
            if phase:
                done.update((layer.id, layer) for layer in paint_apart(phase, plates_of(phase), run, fill))

    paint(alone, run)
    for one, (work, fill_work) in zip(joint, works[1:], strict=True):
        shared = run._replace(work=work, fill_work=fill_work)
        layers = paint_together(one, plates_of(one.shared), shared, fill, options.agree)
        if layers is not None:
            done.update((layer.id, layer) for layer in layers)
            continue
        left = [plan for plan in one.own if plan.layer.id not in done]
        work, fill_work = _works(left, space, sigmas, fill)
        run.progress.total += total_of(work) - total_of(shared.work)
        paint(left, run._replace(work=work, fill_work=fill_work))
    run.notes.extend(_said(planned))
    return Painted([so_far(scene) for scene in scenes], run.notes)


def _alone(planned: Sequence[Planned], joint: Sequence[Together], ground: str) -> list[Planned]:
    """Those that are painted by themselves: all who agree with nobody, and the ground that others are painted over."""
    agreeing = {plan.layer.id for one in joint for plan in one.own}
    under: set[str] = set()
    for one in joint:
        if any(_waits(plan, ground) for plan in one.own):
            under |= {plan.layer.id for plan in one.own if not _waits(plan, ground)}
    return [plan for plan in planned if plan.layer.id not in agreeing or plan.layer.id in under]


def _phases(planned: Sequence[Planned], ground: str) -> list[list[Planned]]:
    """People painted over the finished background have to wait for it; the rest is painted at the same time."""
    waits = [plan for plan in planned if _waits(plan, ground)]
    return [[plan for plan in planned if plan not in waits], waits]


def _waits(plan: Planned, ground: str) -> bool:
    return ground == PLATE and plan.layer.likely is not None


def _works(
    planned: Sequence[Planned], space: LatentSpace, sigmas: Callable[[float], Tensor], fill: ExemplarFill | None
) -> tuple[Work, Work]:
    """Of the MODEL, and of the exemplar fills."""
    filled = [plan for plan in planned if plan.start.how == EXEMPLAR]
    return work_of(planned, space, sigmas), {} if fill is None else fill_work_of(filled, fill)


def _prompted(guider: Any, own: dict[str, list]) -> dict[str, list]:
    """The guider's conds with `own` CONDITIONING in place of what it has under these names."""
    return guider.original_conds | {name: convert_cond(conditioning) for name, conditioning in own.items()}


def _row_notes(prompted: dict[str, dict[str, list]], photos: int) -> list[str]:
    """Sentences on CONDITIONING with neither one row nor one for each photo; prompted: conds by layer id."""
    notes: dict[str, None] = {}
    for conds in prompted.values():
        for name, entries in conds.items():
            notes |= dict.fromkeys(row_notes(name, entries, photos))
    return list(notes)


def _said(planned: Sequence[Planned]) -> list[str]:
    filled = [plan for plan in planned if plan.start.how == EXEMPLAR]
    if not filled:
        return []
    return [f"Started from an exemplar fill, denoise {filled[0].start.denoise:g}"]


def _sigmas(model: comfy.model_patcher.ModelPatcher, settings: SamplerSettings, denoise: float) -> Tensor:
    """The steps that KSampler would take with these widgets."""
    sampler = comfy.samplers.KSampler(
        model,
        steps=settings.steps,
        device=model.load_device,
        sampler=settings.sampler_name,
        scheduler=settings.scheduler,
        denoise=denoise,
        model_options=model.model_options,
    )
    _check_sigmas(
        sampler.sigmas,
        f"scheduler: with steps {settings.steps}, {settings.scheduler} gives",
        "Raise steps, or choose another scheduler.",
    )
    return sampler.sigmas


def _check_sigmas(sigmas: Tensor, given: str, remedy: str) -> None:
    """Some schedulers divide by the number of steps less one."""
    if not bool(torch.isfinite(sigmas).all()):
        raise ValueError(f"{given} noise levels that are not numbers (NaN). {remedy}")
