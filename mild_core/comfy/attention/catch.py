"""Catches the attentions of a MODEL and gives each to a handler, with its block and tokens, which may change it.

    model = put(model, handler, "MILD_SpatialAttention")

A block's q, k and v are seen after rotary embedding by ComfyUI's `optimized_attention_override`. That does not say
which attention it is: a UNet's self- and cross-attention can have equal token counts. So forward hooks on the modules
announce it.

Both stand only while one call of the model runs, put there by a wrapper around it (APPLY_MODEL) and taken away in a
`finally`: nothing is left behind after Cancel or an error; they sit on the network that really runs, which is not
always the MODEL's (DualModelGuider, several GPUs, a MODEL loaded anew for hooks); unloading does not matter to them;
other nodes' overrides, set before or after, are called inside, and none can take ours away. Measured: 0.4 ms for
SDXL's 140 attentions. (Hooks of a `PatcherInjection` would stay for as long as the MODEL is loaded.)
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import comfy.model_patcher
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...attention.regions import Span
from .. import layouts
from ..compiled import Uncompiled
from ..families import layout_of
from .run import SamplingRun, note_of, progress, run_of, sigma_of
from .self_test import PYTORCH, SelfTest

KEY = "mild_attention"
OVERRIDE = "optimized_attention_override"

ONLY = "mild_only"
"""Key in transformer_options: the one handler that gets the attentions of this call of the model. It is a call of the
handler's own, beside those that paint: to all others nothing is asked.
"""

REFUSED = {"TomePatchModel": "Token Merging (ToMe)", "HyperTile": "HyperTile"}
"""Nodes that give an attention other tokens than the picture's: class of the node, and its name."""

TOKENS_CHANGED = (
    "model: {block} attends with {queries} x {keys} tokens, where {own} x {own_keys} were expected; another node on "
    "this MODEL changes its tokens (token merging, tiling, a reference). Take that node off the MODEL"
)


ALL_MISSED = (
    "model: {title} would have no effect: another node on this MODEL computes all {count} of the attentions that it "
    "works on by itself (a Reference ControlNet does so, or a node that puts its own attention in place of the "
    "model's). Take one of the two off the MODEL"
)
WINDOWS = (
    "model: Context Windows show the model a part of the picture, or of the batch, at a time, and MILD's attention "
    "nodes do not know where their masks lie in it. Take one of the two off the MODEL"
)

MOST_NAMED = 8
"""Blocks that a sentence names."""


class Site(NamedTuple):
    """One attention of one call of the model."""

    block: layouts.Block  # ("output", 3, 0), ("double", 5), ...
    kind: str  # "self", "cross" or "joint"
    spans: tuple[Span, ...]  # of the queries
    keys: tuple[Span, ...]  # of the keys: the same, except for cross-attention
    heads: int
    latent: tuple[int, ...]  # shape of the model's input in latent cells: with areas, that of the area
    progress: float  # through the sampling, 0..1


class Handler(Protocol):
    """Who changes attention."""

    @property
    def title(self) -> str:
        """The node's name, for sentences to the artist."""

    def acts_on(self, block: layouts.Block, kind: str) -> bool:
        """Whether it would do anything to this attention, in some step at least."""

    def begin(self, run: SamplingRun) -> None:
        """A sampling begins."""

    def attend(
        self, inner: "Inner", site: Site, q: Tensor, k: Tensor, v: Tensor, heads: int,
        transformer_options: dict[str, Any], *args: Any, **kwargs: Any,
    ) -> Tensor:  # fmt: skip
        """One attention. `return inner(q, k, v, heads, *args, **kwargs)` leaves it as it is.

        q, k, v: [B, N, heads * d], or [B, heads, N, d] with skip_reshape. `inner` may be called with more columns (a
        function that cannot carry them is then replaced) and, unless it wants the `whole`, on some tokens, rows or
        heads only, as often as needed. It gets the transformer_options by itself.
        """

    def end(self) -> None:
        """The sampling is over: done, cancelled or failed."""


def put(
    model: comfy.model_patcher.ModelPatcher, handler: Handler, key: str, instead_of: Handler | None = None
) -> comfy.model_patcher.ModelPatcher:
    """A clone of the MODEL whose attentions go through the handler. ValueError for a family without hooks.

    Several handlers: the one put first is called first, and its `inner` calls the next one.
    key: whose it is, for `handlers`; instead_of: a handler on the MODEL whose place this one takes.
    """
    layout_of(layouts.unwrapped(model.get_model_object("diffusion_model")))
    patched = model.clone()
    wrappers = patched.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY)
    place = next((n for n, sampling in enumerate(wrappers) if sampling.handler is instead_of), None)
    if place is not None:
        wrappers[place] = _Sampling(handler, key)  # a list of the clone's own
    else:
        patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _Sampling(handler, key))
    if not patched.get_wrappers(WrappersMP.APPLY_MODEL, KEY):
        patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, _call_model)
    return patched


class _State:
    """What one sampling gathers; lives in its transformer_options, so that samplings never share any."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self.note = note
        self.handlers: list[Handler] = []
        self.self_test = SelfTest()
        self.uncompiled = Uncompiled("MILD's attention nodes", note)
        self.networks: dict[int, tuple[layouts.Layout, list[layouts.Attention]]] = {}
        self.caught: set[tuple[layouts.Block, str]] = set()
        self.passed: set[tuple[layouts.Block, str]] = set()  # computed at least once without an override
        self._checked: set[int] = set()

    def attentions(self, network: torch.nn.Module) -> tuple[layouts.Layout, list[layouts.Attention]]:
        if id(network) not in self.networks:
            layout = layout_of(network)
            self.networks[id(network)] = layout, layout.attentions(network)
        return self.networks[id(network)]

    def check(self, network: torch.nn.Module) -> None:
        """After the network's first call: ValueError where a handler got none of its attentions, before the artist
        has waited for all steps.
        """
        if id(network) in self._checked:
            return
        self._checked.add(id(network))
        found = [block for attention in self.attentions(network)[1] for block in attention.blocks]
        for handler in self.handlers:
            wanted = [block for block in found if handler.acts_on(*block)]
            if wanted and not self.caught.intersection(wanted):
                raise ValueError(ALL_MISSED.format(title=handler.title, count=len(wanted)))

    def note_missed(self) -> None:
        """A sentence for each handler on attentions that were never caught, or not always."""
        every = [block for _, found in self.networks.values() for attention in found for block in attention.blocks]
        blocks = list(dict.fromkeys(every))
        titles: dict[tuple, list[str]] = {}
        for handler in self.handlers:
            wanted = [block for block in blocks if handler.acts_on(*block)]
            missed = tuple(block for block in wanted if block not in self.caught or block in self.passed)
            if missed:
                titles.setdefault((len(wanted), missed), []).append(handler.title)
        for (count, missed), who in titles.items():
            names = [f"{_named(block)} ({kind})" for block, kind in missed[:MOST_NAMED]]
            if len(missed) > MOST_NAMED:
                names.append(f"and {len(missed) - MOST_NAMED} more")
            sometimes = "" if self.caught.isdisjoint(missed) else ", some of them in a part of the steps only"
            self.note(
                f"{' and '.join(dict.fromkeys(who))}: {len(missed)} of {count} attentions are another node's"
                f"{sometimes}; they stay as that node has them: {', '.join(names)}."
            )


class _Sampling:
    """Around a whole sampling (OUTER_SAMPLE)."""

    def __init__(self, handler: Handler, key: str):
        self.handler, self.key = handler, key

    def __call__(self, executor: Any, noise: Tensor, latent: Tensor, *args: Any, **kwargs: Any) -> Any:
        guider = executor.class_obj
        options = guider.model_options["transformer_options"]  # a copy for this sampling
        outermost = KEY not in options
        state = options.setdefault(KEY, _State(note_of(options)))
        if outermost:
            _refuse(options)
        state.handlers.append(self.handler)
        self.handler.begin(run_of(guider, args[1], latent.shape))
        try:
            result = executor(noise, latent, *args, **kwargs)
        finally:
            self.handler.end()
        if outermost:
            state.note_missed()
        return result


def _refuse(options: dict[str, Any]) -> None:
    for patch in options.get("patches", {}).get("attn1_patch", ()):
        name = REFUSED.get(getattr(patch, "__qualname__", "").split(".")[0])
        if name:
            raise ValueError(f"model: {name} merges or cuts the tokens that MILD's attention nodes steer; take it off")


def refuse_windows(options: dict[str, Any]) -> None:
    """ValueError where this call of the model, by its transformer_options, is one of ComfyUI's context windows."""
    if "context_window" in options:
        raise ValueError(WINDOWS)


def _call_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    """Around one call of the model (APPLY_MODEL)."""
    options = dict(transformer_options or {})
    state = options.get(KEY)
    if state is None:  # called by somebody outside a sampling
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
    refuse_windows(options)
    references = tuple(tuple(reference.shape) for reference in kwargs.get("ref_latents") or ())
    sizes = layouts.Sizes(tuple(x.shape), references, 0 if c_crossattn is None else c_crossattn.shape[1])
    done = progress(options["sample_sigmas"], sigma_of(options))
    handlers = [options[ONLY]] if ONLY in options else state.handlers
    call = _ModelCall(state, handlers, sizes, done, options.get(OVERRIDE))
    options[OVERRIDE] = call.override
    network = layouts.unwrapped(executor.class_obj.diffusion_model)
    with state.uncompiled.of(executor.class_obj.diffusion_model, options), call.announced(network):
        result = executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
    state.check(network)
    return result


class _ModelCall:
    """One call of the model: which attention is running, and which handler gets it."""

    def __init__(
        self, state: _State, handlers: Sequence[Handler], sizes: layouts.Sizes, done: float,
        former: Callable[..., Tensor] | None,
    ):  # fmt: skip
        self.state, self.handlers, self.sizes, self.done, self.former = state, handlers, sizes, done, former
        self.next: list[tuple[layouts.Block, str, layouts.Tokens]] = []

    @contextmanager
    def announced(self, network: torch.nn.Module) -> Iterator[None]:
        """Inside, the network's modules announce their attentions."""
        layout, attentions = self.state.attentions(network)
        hooks = []
        try:
            for module, blocks in attentions:
                before = functools.partial(self._before, network, layout, blocks)
                hooks.append(module.register_forward_pre_hook(before, with_kwargs=True))
                hooks.append(module.register_forward_hook(self._after))
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _before(
        self, network: Any, layout: layouts.Layout, blocks: tuple, module: torch.nn.Module, args: tuple, kwargs: dict
    ) -> None:
        if not _asks(args, kwargs):
            self.next = []
            self.state.passed.update(blocks)
            return
        self.next = [(block, kind, layout.spans(network, kind, args, kwargs, self.sizes)) for block, kind in blocks]

    def _after(self, *args: Any) -> None:
        self.next = []

    def override(
        self, func: Callable, q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any, **kwargs: Any
    ) -> Tensor:
        """What ComfyUI calls in place of an attention function."""
        if not self.next:  # not announced: a ControlNet's, a text refiner's, another node's own
            return self.plain(func)(q, k, v, heads, *args, **kwargs)
        block, kind, tokens = self.next.pop(0)
        site = Site(block, kind, *tokens, heads, self.sizes.latent, self.done)
        self.state.caught.add((block, kind))
        inner = Inner(self, func, site, q.shape[-1] if q.ndim == 4 else q.shape[-1] // heads, kwargs, 0)
        return inner(q, k, v, heads, *args, **kwargs)

    def plain(self, func: Callable) -> Callable[..., Tensor]:
        return func if self.former is None else functools.partial(self.former, func)

    def function(self, func: Callable, q: Tensor, heads: int, kwargs: dict[str, Any]) -> Callable[..., Tensor]:
        """The one that can carry q's columns: with other nodes' override, else that with PyTorch's, else PyTorch's."""
        candidates: dict[Any, Callable[..., Tensor]] = {}
        if self.former is not None:
            candidates[_name(self.former), _name(func)] = self.plain(func)
            candidates[_name(self.former), "PyTorch's"] = self.plain(PYTORCH)
        elif func is not inspect.unwrap(PYTORCH):
            candidates[_name(func)] = func
        candidates["PyTorch's"] = PYTORCH
        passed_on = {name: kwargs[name] for name in ("transformer_options", "_inside_attn_wrapper", "attn_precision")
                if name in kwargs}  # fmt: skip
        return self.state.self_test.choose(candidates, q, heads, low_precision_attention=False, **passed_on)


class Inner:
    """What a handler calls to go on: the next handler, and after the last one the attention function."""

    def __init__(self, call: _ModelCall, func: Callable, site: Site, width: int, kwargs: dict[str, Any], number: int):
        self.call, self.func, self.site, self.width, self.number = call, func, site, width, number
        # Without the second one, a function that falls back on another would come here again.
        self.always = {"transformer_options": kwargs["transformer_options"], "_inside_attn_wrapper": True}

    @property
    def whole(self) -> bool:
        """Whether somebody else comes next, another handler or another node's override, who must see all tokens."""
        return self.call.former is not None or self.number < len(self.call.handlers)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any, **kwargs: Any) -> Tensor:
        kwargs |= self.always
        if self.number < len(self.call.handlers):
            self._check(q, k)
            inner = Inner(self.call, self.func, self.site, self.width, kwargs, self.number + 1)
            options = kwargs.pop("transformer_options")
            handler = self.call.handlers[self.number]
            return handler.attend(inner, self.site, q, k, v, heads, options, *args, **kwargs)
        if (q.shape[-1] if q.ndim == 4 else q.shape[-1] // heads) == self.width:
            return self.call.plain(self.func)(q, k, v, heads, *args, **kwargs)
        # SageAttention, asked so, uses PyTorch's by itself.
        kwargs["low_precision_attention"] = False
        return self.call.function(self.func, q, heads, kwargs)(q, k, v, heads, *args, **kwargs)

    def _check(self, q: Tensor, k: Tensor) -> None:
        expected = layouts.length(self.site.spans), layouts.length(self.site.keys)
        if (q.shape[-2], k.shape[-2]) != expected:
            raise ValueError(TOKENS_CHANGED.format(
                block=_named(self.site.block), queries=q.shape[-2], keys=k.shape[-2], own=expected[0],
                own_keys=expected[1],
            ))  # fmt: skip


def _asks(args: tuple, kwargs: dict) -> bool:
    """Whether a module's call brings the transformer_options along, by which its attention asks for overrides. Packs
    with a forward of their own leave them out (Advanced-ControlNet's Reference): then nobody is asked.
    """
    return any(isinstance(value, dict) and OVERRIDE in value for value in (*args, *kwargs.values()))


def _name(function: Callable) -> str:
    """Not the function itself: some nodes make theirs anew for each call of the model."""
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _named(block: layouts.Block) -> str:
    return " ".join(map(str, block))
