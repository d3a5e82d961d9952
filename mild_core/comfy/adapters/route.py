"""Gives each row of a batch the adapters of its layer, in one call of the model.

    y = W x + sum over adapters of strength(row) * scale * up (down x)

Forward hooks on the modules of the network see what goes in and comes out. So it does not matter how a weight is stored
(fp8, quantised, offloaded), and what other nodes do to it, or to a module's forward, adds up with this. The hooks
stand only while one call of the model runs, put there by a wrapper around it (APPLY_MODEL) and taken away in a
`finally`, for the reasons that `attention/catch.py` gives.

The weights are a MODEL of their own beside the MODEL (weights.py).
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

import comfy.model_patcher
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .. import layouts
from ..attention.run import SamplingRun, rows_of, run_of
from ..compiled import Uncompiled
from ..families import family_of_base
from .adapter import Adapter, Given, check_nameless
from .addition import add
from .formats import Part, place_of
from .rows import Gains, Inputs, patches_in
from .weights import KEY, Weights, beside, put_beside

MOST_NAMED = 8
"""Modules that a sentence names."""

ALL_MISSED = (
    "lora: {name} would have no effect: another node on this MODEL computes all {count} of the modules that it changes "
    "by itself. Take that node off, or apply the LoRA by Load LoRA"
)
WINDOWS = (
    "model: Context Windows show the model a part of the batch at a time, and Adapters for Layers does not know which. "
    "Take one of the two off the MODEL"
)


def route(model: comfy.model_patcher.ModelPatcher, given: Sequence[Given]) -> comfy.model_patcher.ModelPatcher:
    """A clone of the MODEL whose rows get what their layers are given, of each adapter what is `routed`.

    Called again on its result it adds. The same object where there is nothing to do: no adapter, only strengths of 0.
    Adapters have to fit the MODEL (matched.can_route).
    """
    given = [one for one in given if one.adapter.routed and any(one.strengths.values())]
    if not given:
        return model
    dtype = model.get_model_object("manual_cast_dtype") or model.model_dtype()
    adapters = list({id(one.adapter): one.adapter for one in given}.values())
    patched = model.clone()
    name = put_beside(patched, adapters, dtype)
    numbers = {id(adapter): number for number, adapter in enumerate(adapters)}
    routed = [_Routed(one, name, numbers[id(one.adapter)], _paths(one.adapter)) for one in given]
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _Sampling(routed))
    if not patched.get_wrappers(WrappersMP.APPLY_MODEL, KEY):
        patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, _call_model)
    return patched


class _Routed(NamedTuple):
    """Who gets an adapter, and where its weights are."""

    given: Given
    name: UUID  # of the weights beside the MODEL
    number: int  # of the adapter among them
    paths: frozenset[str]  # of the modules that it changes

    def parts(self, weights: Mapping[UUID, Weights]) -> Sequence[Part]:
        return weights[self.name].parts[self.number]


def _paths(adapter: Adapter) -> frozenset[str]:
    return frozenset(place.path for target in adapter.routed if (place := place_of(target)) is not None)


class _State:
    """What one sampling gathers; lives in its transformer_options, so that samplings never share any."""

    def __init__(self, run: SamplingRun, guider: Any) -> None:
        self.run, self.guider = run, guider
        self.routed: list[_Routed] = []
        self.ran: list[set[str]] = []  # modules that ran, for each of `routed`
        self.missed: list[set[str]] = []  # that did not, in one call of the model at least
        self.uncompiled = Uncompiled("Adapters for Layers", run.note)

    def join(self, routed: Sequence[_Routed]) -> None:
        """ValueError where layers and rows do not go together."""
        rows: Sequence[str | int] = self.run.rows or range(self.run.shape[0])
        for one in routed:
            for row in rows:
                one.given.strength(row, len(rows))
            self.routed.append(one)
            self.ran.append(set())
            self.missed.append(set())
        if not self.run.rows:
            check_nameless(one.given for one in self.routed)

    def weights_for(self, model: Any) -> dict[UUID, Weights] | None:
        """Those for this BaseModel: the MODEL's, or its copy's on another GPU. None for all others: Dual Model CFG
        Guider hands the first MODEL's wrappers to the second one's network too.
        """
        patcher = self.guider.model_patcher
        for one in (patcher, *patcher.get_additional_models_with_key("multigpu")):
            if one.model is model:
                return beside(one)
        return None

    def note_call(self, wanted: Sequence[int], ran: set[str]) -> None:
        """After a call of the model: ValueError where an adapter met none of its modules, before the artist has waited
        for all steps.
        """
        if not ran and any(self.ran[number] for number in wanted):
            return  # a cache of whole calls (EasyCache) has answered
        for number in wanted:
            paths = self.routed[number].paths
            self.ran[number] |= paths & ran
            self.missed[number] |= paths - ran
            if not self.ran[number]:
                name = self.routed[number].given.adapter.name
                raise ValueError(ALL_MISSED.format(name=name, count=len(paths)))

    def note_missed(self) -> None:
        """A sentence for each adapter on modules that never ran, or not always."""
        for one, ran, missed in zip(self.routed, self.ran, self.missed, strict=True):
            if not missed:
                continue
            names = sorted(missed)
            if len(names) > MOST_NAMED:
                names = [*names[:MOST_NAMED], f"and {len(missed) - MOST_NAMED} more"]
            sometimes = "" if ran.isdisjoint(missed) else ", some of them in a part of the steps only"
            count = len(one.paths)
            self.run.note(
                f"{one.given.adapter.name}: {len(missed)} of the {count} modules that it changes did not run, or "
                f"another node computes them by itself{sometimes}; it has no effect there: {', '.join(names)}."
            )


class _Sampling:
    """Around a whole sampling (OUTER_SAMPLE)."""

    def __init__(self, routed: Sequence[_Routed]):
        self.routed = routed

    def __call__(self, executor: Any, noise: Tensor, latent: Tensor, *args: Any, **kwargs: Any) -> Any:
        guider = executor.class_obj
        options = guider.model_options["transformer_options"]  # a copy for this sampling
        outermost = KEY not in options
        if outermost:
            options[KEY] = _State(run_of(guider, args[1], latent.shape), guider)
        state: _State = options[KEY]
        state.join(self.routed)
        result = executor(noise, latent, *args, **kwargs)
        if outermost:
            state.note_missed()
        return result


def _call_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    """Around one call of the model (APPLY_MODEL)."""
    options = transformer_options or {}
    state: _State | None = options.get(KEY)
    call = functools.partial(executor, x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)
    if state is None:  # called by somebody outside a sampling
        return call()
    weights = state.weights_for(executor.class_obj)
    if weights is None:
        return call()
    if "context_window" in options:
        raise ValueError(WINDOWS)
    rows = rows_of(state.run, options, len(x))
    each = len(rows) // len(options["uuids"])
    gains = [[float(one.given.strength(row.layer, each)) for row in rows] for one in state.routed]
    wanted = [number for number, strengths in enumerate(gains) if any(strengths)]
    if not wanted:
        return call()
    model, ran = executor.class_obj, set[str]()
    routed = [
        (one.parts(weights), Gains(one.given.adapter.name, gains[number], x.device))
        for number, one in enumerate(state.routed)
        if number in wanted
    ]
    with state.uncompiled.of(model.diffusion_model, options), _hooked(model, routed, x, ran.add):
        result = call()
    state.note_call(wanted, ran)
    return result


@contextmanager
def _hooked(
    model: Any, routed: Sequence[tuple[Sequence[Part], Gains]], x: Tensor, note: Callable[[str], None]
) -> Iterator[None]:
    """Inside, the modules of the BaseModel's network add what their rows get. note: gets the path of each that did."""
    network = layouts.unwrapped(model.diffusion_model)
    modules: dict[str, list[tuple[Part, Gains]]] = {}
    for its_parts, gains in routed:
        for part in its_parts:
            modules.setdefault(part.place.path, []).append((part, gains))
    patches, family = patches_in(model, x.shape), family_of_base(model)
    hooks = []
    try:
        for path, parts in modules.items():
            try:
                module = network.get_submodule(path)
            except AttributeError:  # another node put something else in its place
                continue
            repeated = family.repeated is not None and re.search(family.repeated, path) is not None
            inputs = Inputs(path, len(x), patches if path.startswith(family.on_patches) else 0, repeated)
            hooks.append(module.register_forward_hook(functools.partial(_add, parts, inputs, note), with_kwargs=True))
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _add(
    parts: Sequence[tuple[Part, Gains]], inputs: Inputs, note: Callable[[str], None], module: torch.nn.Module,
    args: tuple, kwargs: dict, y: Tensor,
) -> Tensor:  # fmt: skip
    """After a module has run."""
    x = args[0] if args else next(iter(kwargs.values()))
    if y.data_ptr() == x.data_ptr():  # another node's, which hands on what it gets
        y = y.clone()
    taken = inputs.take(len(x))
    for part, gains in parts:
        add(part, module, x, y, taken.runs(gains))
    note(inputs.path)
    return y
