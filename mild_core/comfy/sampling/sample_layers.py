"""Every layer is sampled by a pathway of its own, on its own crop, by ComfyUI's own samplers."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import comfy.sd
import torch
from comfy.sampler_helpers import convert_cond
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise
from torch import Tensor

from ...layers.painted import finished, plate_under
from ...people.selection import layers_named
from ...scene import Layer, Scene
from ..adapters import merged
from ..adapters.layer_strengths import note_on_models
from ..guidance import relation_text
from .conditioning import LayerConds
from .encode import Encoded, LatentSpace, decode, encode, latent_space, work_size_of
from .groups import LayerRow, Sampling, groups, rows_apart, sampled
from .memory import AUTOMATIC as AUTOMATIC_MEMORY
from .memory import Memory
from .own_rows import row_notes
from .progress import Progress, Work, previewer_of
from .prompts import Prompts
from .row_noise import sampled_alone
from .start import AUTOMATIC as AUTOMATIC_START
from .start import EXEMPLAR, ExemplarFill, Start, decided, picture_of
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


DEFAULTS = Options()


class Painted(NamedTuple):
    """What comes back."""

    scenes: list[Scene]
    notes: list[str]  # sentences for the artist


class Run(NamedTuple):
    """What all layers of one sampling share."""

    sampling: Sampling
    space: LatentSpace
    sigmas: Callable[[float], Tensor]  # for a denoise
    conds: dict[str, dict[str, list]]  # by layer id: prompts as the guider keeps them
    own: LayerConds
    memory: Memory
    progress: Progress
    work: Work  # of the MODEL, for the bar
    fill_work: Work  # of the exemplar fills
    notes: list[str]


class Planned(NamedTuple):
    """A layer to paint."""

    layer: Layer
    size: tuple[int, int]  # height and width in pixels at which it is painted
    start: Start


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
    filled = [plan for plan in planned if plan.start.how == EXEMPLAR]
    fill = ExemplarFill() if filled else None
    work = _work(planned, space, sigmas)
    fill_work = {} if fill is None else _fill_work(filled, fill)
    # All of them first: the text encoder and the model need not change places in the memory.
    prompted = {plan.layer.id: _prompted(sampling.guider, prompts(plan.layer)) for plan in planned}
    notes = _row_notes(prompted, len(scenes))
    conds, relation_notes = relation_text.for_layers(prompted, [plan.layer for plan in planned])
    notes.extend(relation_notes)
    run = Run(
        sampling,
        space,
        sigmas,
        conds,
        LayerConds(sampling.photo_sizes, notes),
        Memory(sampling.guider.model_patcher, options.memory),
        Progress(sampling.guider.model_patcher, scenes, _total(work) + _total(fill_work)),
        work,
        fill_work,
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

    for phase in _phases(planned, options.ground):
        if not phase:
            continue
        plates = {}
        if options.ground == PLATE:
            plates = {
                plan.layer.id: plate_under(so_far(scenes[plan.layer.photo]), plan.layer.box)
                for plan in phase
                if plan.layer.likely is not None
            }
        for layer in _phase(phase, plates, run, fill):
            done[layer.id] = layer
    run.notes.extend(_said(planned))
    return Painted([so_far(scene) for scene in scenes], run.notes)


def _phases(planned: Sequence[Planned], ground: str) -> list[list[Planned]]:
    """People painted over the finished background have to wait for it; the rest is painted at the same time."""
    waits = [plan for plan in planned if ground == PLATE and plan.layer.likely is not None]
    return [[plan for plan in planned if plan not in waits], waits]


def _phase(
    phase: Sequence[Planned], plates: dict[str, Tensor | None], run: Run, fill: ExemplarFill | None
) -> Iterable[Layer]:
    """Encode all, sample all, decode all: VAE and model change places in the memory once each."""
    pictures = {}
    for plan in phase:
        comfy.model_management.throw_exception_if_processing_interrupted()
        pictures[plan.layer.id] = picture_of(plan.layer, plan.start.how, plan.size, plates.get(plan.layer.id))
    if fill is not None:
        pictures |= _fills([plan for plan in phase if plan.start.how == EXEMPLAR], plates, run, fill)
    rows, encoded = [], {}
    for plan in phase:
        comfy.model_management.throw_exception_if_processing_interrupted()
        layer = plan.layer
        encoded[layer.id] = encode(layer, pictures.pop(layer.id), run.space, plates.get(layer.id))
        sigmas, conds = run.sigmas(plan.start.denoise), run.conds[layer.id]
        rows.append(_row(encoded[layer.id], sigmas, run.own, run.space, conds))
    alone = sampled_alone(run.sampling.sampler) or run.space.eraser.row_by_row
    callback = functools.partial(run.progress.callback, run.work, run.progress.previewer)
    samples = {}
    weights = functools.partial(merged.merged_for, run.sampling.guider)
    for group in groups(rows, alone or not rows_apart(run.sampling.guider), weights):
        for row, sample in sampled(group, run.sampling, run.memory, callback, run.notes):
            samples[row.layer.id] = sample
            run.progress.sampled(run.work[row.layer.id])
    for layer_id, sample in samples.items():
        comfy.model_management.throw_exception_if_processing_interrupted()
        one = encoded[layer_id]
        layer = finished(one.layer, decode(sample, one, run.space), one.plate)
        run.progress.finished(layer)
        yield layer


def _fills(
    phase: Sequence[Planned], plates: dict[str, Tensor | None], run: Run, fill: ExemplarFill
) -> dict[str, Tensor]:
    """Exemplar fills [1, h, w, 3] by layer id, each with a seed of its own."""
    sampling = fill.sampling(run.sampling.noise.seed, list(run.sampling.photo_sizes))
    memory = Memory(fill.space.model)
    callback = functools.partial(run.progress.callback, run.fill_work, previewer_of(fill.space.model))
    pictures = {}
    for plan in phase:
        one = fill.encoded(plan.layer, plan.size, plates.get(plan.layer.id))
        row = _row(one, fill.sigmas, run.own, fill.space, fill.guider.original_conds)
        for _, sample in sampled([row], sampling, memory, callback, run.notes):
            pictures[plan.layer.id] = fill.picture(sample)
        run.progress.sampled(run.fill_work[plan.layer.id])
    return pictures


def _row(one: Encoded, sigmas: Tensor, own: LayerConds, space: LatentSpace, conds: dict[str, list]) -> LayerRow:
    """The layer with its conds, cropped like it, and with the values that its model gets for it."""
    values = one.inpaint | space.eraser.layer_values(one.layer, one.hole, one.plate)
    cells = tuple(one.latent.shape[2:])
    here = {name: own.of(name, entries, one.layer, cells, values) for name, entries in conds.items()}
    return LayerRow(one.layer, one.size, one.latent, one.hole, sigmas, here)


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


def _work(planned: Sequence[Planned], space: LatentSpace, sigmas: Callable[[float], Tensor]) -> Work:
    """How much work each step with each layer is to the MODEL."""
    return {
        plan.layer.id: space.eraser.step_work(sigmas(plan.start.denoise), plan.layer, plan.size) for plan in planned
    }


def _fill_work(filled: Sequence[Planned], fill: ExemplarFill) -> Work:
    """The same for the exemplar fills, scaled as if their mean step were as much work as a pixel model's: how fast the
    two models are beside each other depends on the machine.
    """
    own = _work(filled, fill.space, lambda denoise: fill.sigmas)
    total = _total(own)
    scale = sum(plan.size[0] * plan.size[1] for plan in filled) * max(len(fill.sigmas) - 1, 0) / total if total else 1.0
    return {layer_id: [scale * step for step in steps] for layer_id, steps in own.items()}


def _total(work: Work) -> float:
    return sum(sum(steps) for steps in work.values())


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
