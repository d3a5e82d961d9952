"""Layers that meet are sampled at the same step, and told at each of them what the others show at their seams.

They need one shape, so all of them are sampled on the crop that holds theirs, as rows of one batch that cannot be cut
up. The arithmetic stands in layers/agreement.py; here is who takes part, and where it is put on a sampling.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import comfy.model_management
import comfy.patcher_extension
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...attention.rule import Schedule
from ...image import boxes
from ...layers.agreement import agreed, seen, told
from ...layers.common_frame import frame_of, framed, meeting, started
from ...layers.painted import resized
from ...scene import Box, Layer, Scene
from ..adapters.merged import merged_for
from ..attention import catch
from ..attention.run import progress
from .encode import LatentSpace, work_size_of
from .groups import LayerRow, Sampling, rows_apart
from .memory import SAVE
from .row_noise import sampled_alone
from .stacking import PerRow, signature
from .start import EXEMPLAR, Planned

KEY = "mild_agreement"
"""Of the wrapper around each prediction."""

SPREAD = 16
"""Standard deviation of the Gaussian, in pixels at which the layers are painted; one latent cell at least."""

OFF = "agree: off, {why}. Each of these layers is painted on its own."
ON = "agree: {names} are painted at the same time, on one crop of {crop} pixels, at {size} pixels{smaller}."
SMALLER = ", {shares} of the scale that they would have alone"


class Agree(NamedTuple):
    """What the artist asks for."""

    weight: float = 0.0  # 0..1; 0: the layers know nothing of one another
    until: float = 0.6  # share of the sampling after which they go on alone


class Together(NamedTuple):
    """Layers of one photo that meet."""

    own: list[Planned]  # as each would be painted alone
    shared: list[Planned]  # on one crop, of one size


def together(
    planned: Sequence[Planned], scenes: Sequence[Scene], space: LatentSpace, sampling: Sampling, memory: str
) -> tuple[list[Together], list[str]]:
    """Who can be sampled at the same time, and sentences on who cannot."""
    why = _impossible(sampling, memory)
    if why is not None:
        return [], [OFF.format(why=why)]
    plans = {plan.layer.id: plan for plan in planned}
    found, notes = [], []
    for group in meeting([plan.layer for plan in planned]):
        own = [plans[layer.id] for layer in group]
        scene = scenes[group[0].photo]
        frame = frame_of(group)
        if _knows_crops(sampling.guider) and any(layer.box != frame for layer in group):
            why = f"because {_names(own)} have crops of their own, which the attention nodes on this MODEL go by"
            notes.append(OFF.format(why=why))
            continue
        if len({merged_for(sampling.guider, layer.id) for layer in group}) > 1:
            why = f"because {_names(own)} get adapters that change the model's weights, and not the same ones"
            notes.append(OFF.format(why=why))
            continue
        layers = [framed(layer, frame, scene) for layer in group]
        photo_size = (scene.photo.shape[0], scene.photo.shape[1])
        size = max((work_size_of(layer, photo_size, space) for layer in layers), key=lambda size: size[0] * size[1])
        shared = [plan._replace(layer=layer, size=size) for plan, layer in zip(own, layers, strict=True)]
        found.append(Together(own, shared))
    if not found and not notes:
        notes.append(OFF.format(why="because no two of the layers to paint meet"))
    return found, notes


def _impossible(sampling: Sampling, memory: str) -> str | None:
    """Why no rows of this sampling can be at the same step."""
    if memory == SAVE:
        return "because memory says save memory, and layers that agree are in the memory at the same time"
    if sampled_alone(sampling.sampler):
        return "because this SAMPLER can only paint one layer at a time"
    if not rows_apart(sampling.guider):
        return f"because with this GUIDER ({type(sampling.guider).__name__}) layers are painted one at a time"
    return None


def _knows_crops(guider: Any) -> bool:
    """Whether attention nodes steer the MODEL by the layers as they were connected to them."""
    return bool(guider.model_patcher.get_wrappers(WrappersMP.OUTER_SAMPLE, catch.KEY))


def _names(plans: Sequence[Planned]) -> str:
    names = [plan.layer.name for plan in plans]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def said(shared: Together) -> str:
    """The sentence on layers that were sampled at the same time."""
    frame, size = shared.shared[0].layer.box, shared.shared[0].size
    shares = [(own.layer.name, _scale(one) / _scale(own)) for one, own in zip(shared.shared, shared.own, strict=True)]
    # Sides are whole multiples of some pixels, so that alone a layer may have hardly another scale.
    smaller = [f"{name} at {share:.0%}" for name, share in shares if share < 0.98]
    return ON.format(
        names=_names(shared.own),
        crop=f"{boxes.width(frame)} x {boxes.height(frame)}",
        size=f"{size[1]} x {size[0]}",
        smaller=SMALLER.format(shares=", ".join(smaller)) if smaller else "",
    )


def _scale(plan: Planned) -> float:
    """Pixels at which the layer is painted per pixel of the photo, along a side."""
    return math.sqrt(plan.size[0] * plan.size[1] / boxes.area(plan.layer.box))


def does_not_fit(shared: Together) -> str:
    """The sentence where the memory did not suffice."""
    return OFF.format(why=f"because {_names(shared.own)} do not fit into the memory at the same time")


def differs(shared: Together) -> str:
    """The sentence where the rows are not of one kind."""
    why = f"because the prompts, areas or ControlNets of {_names(shared.own)} cannot be one batch"
    return OFF.format(why=why)


def own_plate(shared: Planned, own: Planned, plate: Tensor | None) -> Tensor | None:
    """What the layer is painted on, on its own crop; plate: on the shared one."""
    return None if plate is None else boxes.cut(plate, boxes.inside(own.layer.box, shared.layer.box))


def as_started(own: Planned) -> Planned:
    """At the size at which its start is made: that of its pixels, so that it is resized once only; an exemplar fill's
    as alone.
    """
    size = (own.layer.pixels.shape[0], own.layer.pixels.shape[1])
    return own if own.start.how == EXEMPLAR else own._replace(size=size)


def in_frame(picture: Tensor, shared: Planned, own: Planned, plate: Tensor | None) -> Tensor:
    """[1, h, w, 3] of the size at which the shared crop is painted; picture [1, h', w', 3], of any size: what the layer
    starts from on its own crop; plate: on the shared one.
    """
    if own.layer.box == shared.layer.box:
        return resized(picture, shared.size)
    here = resized(picture, (own.layer.pixels.shape[0], own.layer.pixels.shape[1]))[0]
    return resized(started(here, own.layer, shared.layer, plate)[None], shared.size)


def part_of(layer: Layer, row: LayerRow) -> Box:
    """Where the layer's own crop lies in the row's latent, in cells."""
    frame, cells = row.layer.box, (row.latent.shape[-2], row.latent.shape[-1])
    size = (boxes.height(frame), boxes.width(frame))
    x0, y0, x1, y1 = boxes.scaled(boxes.inside(layer.box, frame), size, cells)
    return math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)


def alike(rows: Sequence[LayerRow], values: Sequence[dict], keys: Sequence[str]) -> list[LayerRow] | None:
    """The rows with conds that can be stacked, and values of their own beside; None where they cannot be. keys: values
    that some rows may lack, and which the model takes one by one.
    """
    rows = [
        row._replace(conds={name: [entry | own for entry in conds] for name, conds in row.conds.items()})
        for row, own in zip(rows, values, strict=True)
    ]
    entries = [entry for row in rows for conds in row.conds.values() for entry in conds]
    shared = [key for key in keys if any(key in entry for entry in entries)]
    result = [
        row._replace(
            conds={
                name: [entry | {key: PerRow([entry.get(key)]) for key in shared} for entry in conds]
                for name, conds in row.conds.items()
            }
        )
        for row in rows
    ]
    kinds = {(tuple(row.latent.shape), tuple(row.sigmas.tolist()), signature(row.conds)) for row in result}
    return result if len(kinds) == 1 else None


class Agreement:
    """Put around the predictions of one batch, whose rows are layers that meet."""

    def __init__(self, rows: Sequence[LayerRow], agree: Agree, ratio: int):
        """ratio: pixels per latent cell."""
        cells = (rows[0].latent.shape[-2], rows[0].latent.shape[-1])
        self.latent = torch.cat([row.latent for row in rows])
        self.hole = torch.cat([row.hole for row in rows])
        self.seen = seen([row.layer for row in rows], cells)
        self.spread = max(SPREAD / ratio, 1.0)
        self.weight = agree.weight * told([row.layer for row in rows], cells)
        self.when = Schedule(0.0, agree.until)
        self._here: tuple[Tensor, ...] | None = None  # on the device of the sampling

    def put_on(self, guider: Any) -> None:
        """Into the guider's own copy of the options: what all other nodes made of a prediction is what counts."""
        comfy.patcher_extension.add_wrapper_with_key(
            WrappersMP.PREDICT_NOISE, KEY, self.around, guider.model_options, is_model_options=True
        )

    def around(self, executor: Any, x: Tensor, timestep: Tensor, model_options: dict, *args: Any) -> Tensor:
        """A prediction of the guider, brought nearer to what the layers agree on."""
        x0 = executor(x, timestep, model_options, *args)
        options = model_options["transformer_options"]
        sigma = float(torch.as_tensor(timestep).flatten()[0])
        if self.when.at(progress(options["sample_sigmas"], sigma)) == 0:
            return x0
        # Of a large picture in pixels, what follows takes a while.
        comfy.model_management.throw_exception_if_processing_interrupted()
        if self._here is None:
            # As the guider itself brings latents into the model's range.
            known = self.latent
            if torch.count_nonzero(known):
                known = executor.class_obj.inner_model.process_latent_in(known)
            self._here = known.to(x0), self.hole.to(x0), self.seen.to(x0), self.weight.to(x0)
        known, hole, shown, weight = self._here
        # Video models have frames, one here: for the arithmetic they are channels.
        flat, known = (whole.reshape(len(whole), -1, *whole.shape[-2:]) for whole in (x0, known))
        return agreed(flat, known, hole, shown, self.spread, weight).view_as(x0)
