"""AdaEraser on a MODEL: keys in the hole count the less, the more of whoever is to vanish is still seen there.

In each step the model is first asked for the source (source.py) at the same noise level, with the same prompts, to
keep its attention rows of the hole's tokens; then the picture's own call compares its rows with them, block by block
(attention/presence.py). Rows of a batch and entries of the conditioning are compared each with its own.
"""

import functools
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import comfy.ldm.modules.diffusionmodules.openaimodel
import comfy.model_patcher
import comfy.sd
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...attention import evaluate, presence
from ...attention.factors import RowRule
from ...attention.kept_rows import KeptRows
from ...attention.layer_regions import Maps
from ...attention.regions import HOLE, IMAGE, SHOWN
from ...attention.rule import FORBIDDEN, Schedule, off, steps
from ...scene import Scene
from ...seeds import seed_of
from .. import layouts
from ..families import layout_of
from . import catch
from .blocks import ALL, chosen_blocks, every_block
from .catch import Inner, Site
from .erase import KEY, Erasing
from .run import SamplingRun, progress
from .second_call import uncached
from .source import GivenLatent, PhotoCrops, Source, own_noise
from .steer import Place, Steered

SOURCE = "mild_source"
"""Key of the wrappers that ask for the source."""

MOST_TOKENS = 4096
"""Picture's tokens of an attention beyond which a UNet's is left out unless its block is named."""
MOST_KEPT = 2**30
"""Bytes of the source's attention that are kept at most: of all blocks, rows of the latent and prompts together, each
block's at its own number of tokens. Beyond, every second block is left out, or more of them (KeptRows)."""

TOO_LARGE = (
    f"no attention of this model has {MOST_TOKENS:,} tokens of the picture or fewer, so nothing was held back. Name "
    "blocks of the model in blocks, or sample at a smaller size"
)
SOME_BLOCKS = (
    "the holes are so large that the source's attention is kept in every {stride}. block only, to stay below {most} MB "
    "for all pictures and prompts together"
)
NO_BLOCKS = (
    "the holes are so large that the source's attention in a single block takes more than {most} MB for all pictures "
    "and prompts together, so nothing was held back. Sample fewer pictures at once, or at a smaller size"
)
NOISY = (
    "the sampler was told to add no noise, so its latent seems to be noisy already: the source cannot be brought to "
    "the same noise level. Let the sampler add the noise, or connect layers in place of the mask"
)
NO_SOURCE = "another node skipped calls of the model for the source: attention stayed as it was there"


class _Tokens(NamedTuple):
    """Of one place."""

    hole: Tensor  # [n], int64: of the picture
    shown: Tensor  # [m]: the same in reference pictures, which show whoever is to vanish at every step
    picture: slice  # the picture's tokens
    all: int  # how many there are


class AdaEraser(NamedTuple):
    """AdaEraser (ICML 2026, arXiv 2605.15921). Which layers and steps is ours: where attention rows are cheap, all."""

    blocks: str = ALL
    start: float = 0.0  # share of the steps
    end: float = 1.0


class AdaErasing(Erasing):
    """A handler, and the wrappers that ask for the source."""

    def __init__(self, maps: Maps, source: Source, blocks: list[tuple[layouts.Block, str]], limit: int | None,
                 when: Schedule):  # fmt: skip
        """blocks: where, in the network's order; limit: tokens of a picture up to which an attention counts."""
        self.source, self.limit = source, limit
        self.there = blocks
        super().__init__(maps, lambda key, names: off(names), lambda *block: block in self.there, when=when)

    def _forget(self) -> None:
        super()._forget()
        self._latent: Tensor | None = None  # of the source, as a VAE encodes it
        self._noise: Tensor | None = None
        self._inside = False  # whether the latent is the model's own kind already
        self._sigma: float | None = None  # what is kept is for this noise level,
        self._asked: set[Any] = set()  # and for these entries of the conditioning
        self._kept = KeptRows(self.there, MOST_KEPT)
        self._tokens: dict[Place, _Tokens | None] = {}
        self._said: set[str] = set()
        self._acted = self._left_out = False

    def end(self) -> None:
        if self.run is not None and self._left_out and not self._acted:
            self._say(TOO_LARGE)
        super().end()

    def _say(self, sentence: str) -> None:
        if self.run is not None and sentence not in self._said:
            self._said.add(sentence)
            self.run.note(f"{self.title}: {sentence}.")

    # -- the source ---------------------------------------------------------------------------------------------------

    def around(self, executor: Any, noise: Tensor, latent: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Around a whole sampling (OUTER_SAMPLE), after `begin` and before the model is loaded, as the VAE may be."""
        if self.run is not None:
            self._prepare(self.run, noise, latent)
        return executor(noise, latent, *args, **kwargs)

    def _prepare(self, run: SamplingRun, noise: Tensor, latent: Tensor) -> None:
        names = run.rows or range(latent.shape[0])
        keys = [self.maps.key(name, len(names)) for name in names]
        if all(key is None for key in keys):
            return
        rows = [latent[n : n + 1] for n in range(len(keys))]
        found = [row if key is None else self.source.latent(key, row, self._say)
                 for row, key in zip(rows, keys, strict=True)]  # fmt: skip
        self._latent, self._noise = torch.cat(found), noise
        if not bool(noise.any()):
            self._say(NOISY)
            self._noise = torch.cat([own_noise(row, seed_of(0, name)) for row, name in zip(rows, names, strict=True)])

    def before(
        self, executor: Any, model: Any, conds: list, x: Tensor, timestep: Tensor, model_options: dict[str, Any]
    ) -> Any:
        """Around the calls of the model for one noise level (CALC_COND_BATCH): the source's come first."""
        options = model_options.get("transformer_options", {})
        if catch.KEY in options and catch.ONLY not in options and self._latent is not None:
            catch.refuse_windows(options)
            sigma = float(timestep.flatten()[0])
            if self.when.at(progress(options["sample_sigmas"], sigma)) > 0:
                within = uncached(options) | {catch.ONLY: self}
                own = {**model_options, "transformer_options": within}
                self._ask(executor, model, conds, x, timestep, own, sigma)
        return executor(model, conds, x, timestep, model_options)

    def _ask(
        self, executor: Any, model: Any, conds: list, x: Tensor, timestep: Tensor, model_options: dict[str, Any],
        sigma: float,
    ) -> None:  # fmt: skip
        if sigma != self._sigma:
            self._sigma = sigma
            self._kept.clear()
            self._asked.clear()
        entries = {cond.get("uuid") for one in conds if one is not None for cond in one}
        if entries <= self._asked:  # samplers, and other nodes' guidance, ask more than once at a noise level
            return
        executor(model, conds, self._noised(model, x, timestep), timestep, model_options)
        self._asked |= entries
        if self._kept.stride > 1:
            sentence = NO_BLOCKS if self._kept.none else SOME_BLOCKS
            self._say(sentence.format(stride=self._kept.stride, most=MOST_KEPT // 2**20))
        kept = self._kept.bytes
        if kept and "kept" not in self._said:
            self._said.add("kept")
            logging.info("MILD: AdaEraser keeps %.1f MB of the source's attention between two calls", kept / 2**20)

    def _noised(self, model: Any, x: Tensor, timestep: Tensor) -> Tensor:
        """The source at this noise level, under one and the same noise in all steps: the sampler's own."""
        assert self._latent is not None and self._noise is not None
        if not self._inside:
            self._latent = self._latent.to(x.device, torch.float32)
            if bool(self._latent.any()):  # ComfyUI shifts no empty latents
                self._latent = model.process_latent_in(self._latent)
            self._noise, self._inside = self._noise.to(x.device, torch.float32), True
        return model.model_sampling.noise_scaling(timestep, self._noise, self._latent).to(x.dtype)

    # -- attentions ---------------------------------------------------------------------------------------------------

    def attend(
        self, inner: Inner, site: Site, q: Tensor, k: Tensor, v: Tensor, heads: int,
        transformer_options: dict[str, Any], *args: Any, **kwargs: Any,
    ) -> Tensor:  # fmt: skip
        rows = self.steered(site, transformer_options, q)
        block = site.block, site.kind
        tokens = [self._tokens_of(row) if self._kept.takes_part(block) else None for row in rows]
        if all(one is None for one in tokens):
            return inner(q, k, v, heads, *args, **kwargs)
        asked = evaluate.logits_of(q, k, v, heads, *args, **kwargs)
        source = transformer_options.get(catch.ONLY) is self
        chunks = transformer_options["uuids"]
        rules: list[RowRule | None] = [None] * len(rows)
        for n, (row, one) in enumerate(zip(rows, tokens, strict=True)):
            if one is None:
                continue
            whose = chunks[n * len(chunks) // len(rows)], row.row.layer  # entry of the conditioning, row of the latent
            about = presence.Rows(asked.q[n], asked.k[n], one.hole, asked.scale, asked.mask_of(n), one.picture)
            kept = self._kept.get(block, whose)
            if source:
                size = len(one.hole) * (one.picture.stop - one.picture.start) * presence.kept_as(q.dtype).itemsize
                self._kept.keep(block, whose, size, functools.partial(presence.source_rows, about))
            elif kept is not None:  # several GPUs may share the entries out otherwise
                rules[n] = _rule(presence.presence(kept.to(q.device), about), one)
            else:
                self._say(NO_SOURCE)
        if source:
            return inner(q, k, v, heads, *args, **kwargs)
        return evaluate.attend(inner, q, k, v, heads, *args, rows=rules, whole=inner.whole, **kwargs)

    def _tokens_of(self, steered: Steered) -> _Tokens | None:
        """None where this attention is left alone in this row: by what does not depend on the other rows."""
        place = steered.place
        if place is None:
            return None
        if place not in self._tokens:
            self._tokens[place] = self._found(place)
        tokens = self._tokens[place]
        if tokens is None:
            return None
        count = tokens.picture.stop - tokens.picture.start
        if self.limit is not None and count > self.limit:
            self._left_out = True
            return None
        self._acted = True
        return tokens

    def _found(self, place: Place) -> _Tokens | None:
        members = self.members(place)
        if members is None or self.covers(place, members):
            return None
        start, length = next((span.start, span.length) for span in place.spans if span.kind == IMAGE)
        hole, shown = (
            members.touched[:, members.names.index(name)].nonzero()[:, 0]
            if name in members.names
            else torch.empty(0, dtype=torch.int64, device=place.device)
            for name in (HOLE, SHOWN)
        )
        return _Tokens(hole, shown, slice(start, start + length), len(members.touched))


def _rule(present: Tensor, tokens: _Tokens) -> RowRule:
    """For all queries alike."""
    b = torch.zeros(tokens.all, 1, device=present.device)
    b[tokens.hole, 0] = presence.key_bias(present)
    b[tokens.shown] = -FORBIDDEN
    return RowRule(a=torch.ones_like(b), b=b)


def soften(
    model: comfy.model_patcher.ModelPatcher,
    maps: Maps,
    method: AdaEraser,
    scenes: Sequence[Scene] | None = None,
    vae: comfy.sd.VAE | None = None,
) -> comfy.model_patcher.ModelPatcher:
    """A clone of the MODEL that erases what lies in the holes, at one more call of the model for each of its calls; the
    MODEL itself where there is nothing to do. scenes, vae: of layers, in place of masks; their photos are encoded.

    ValueError for a family without hooks, for blocks that it does not have, for steps that end before they begin, and
    for layers without a VAE, unless the MODEL works on pixels.
    """
    chosen, when = chosen_blocks(model, method.blocks), steps(method.start, method.end)
    network = layouts.unwrapped(model.get_model_object("diffusion_model"))
    found = [block for attention in layout_of(network).attentions(network) for block in attention.blocks]
    if when is None or not maps.any:
        return model
    there = [block for block in found if block[1] != layouts.CROSS and chosen(*block)]
    levels = isinstance(network, comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel)
    source = PhotoCrops(scenes or [], maps, model, vae) if maps.of_layers else GivenLatent(maps)
    handler = AdaErasing(maps, source, there, MOST_TOKENS if levels and chosen is every_block else None, when)
    patched = catch.put(model, handler, KEY)
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, SOURCE, handler.around)
    patched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, SOURCE, handler.before)
    return patched
