"""Where text and picture lie in the tokens of an attention: one layout for networks that order them alike.

An attention of a network runs inside some module; `attentions` lists these modules, and `spans` works out from the
arguments of such a module's call, and from the sizes of the model's call, what lies where in its tokens.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import comfy.ldm.chroma.model
import comfy.ldm.flux.model
import comfy.ldm.lumina.model
import comfy.ldm.modules.attention
import comfy.ldm.modules.diffusionmodules.mmdit
import comfy.ldm.modules.diffusionmodules.openaimodel
import comfy.ldm.qwen_image.model
import torch

from ..attention.regions import IMAGE, REFERENCE, Span

TEXT = "text"
PADDING = "padding"

SELF, CROSS, JOINT = "self", "cross", "joint"

Block = tuple[str | int, ...]
"""Names a block as replace patches do: ("output", 3, 0) is transformer 0 of output block 3; ("double", 5), ..."""


class Attention(NamedTuple):
    """A module and the attentions that one call of it runs, in this order."""

    module: torch.nn.Module
    blocks: tuple[tuple[Block, str], ...]  # block, and kind: SELF, CROSS or JOINT


class Sizes(NamedTuple):
    """Of one call of the model."""

    latent: tuple[int, ...]  # [B, C, (frames,) H, W] in latent cells; with areas, of the area
    references: tuple[tuple[int, ...], ...]  # the same of each reference latent
    text: int  # tokens of the conditioning


class Tokens(NamedTuple):
    queries: tuple[Span, ...]
    keys: tuple[Span, ...]


class Layout(NamedTuple):
    networks: tuple[type, ...]
    attentions: Callable[[Any], list[Attention]]
    spans: Callable[[Any, str, tuple, dict, Sizes], Tokens]  # network, kind, arguments of the module, sizes

    def fits(self, network: torch.nn.Module) -> bool:
        """Whether the network's tokens lie so."""
        return (
            isinstance(network, self.networks)
            and type(network).__name__ not in UNTRIED
            and not any("time_stack" in name for name, _ in network.named_modules())  # of a video model
        )


UNTRIED = ("NextDiTPixelSpace",)
"""Subclasses that order their tokens otherwise, or that nobody has tried."""


def unwrapped(network: torch.nn.Module) -> torch.nn.Module:
    """The network itself, where torch.compile stands in front of it."""
    return getattr(network, "_orig_mod", network)


def length(spans: tuple[Span, ...]) -> int:
    return sum(span.length for span in spans)


def _row(*parts: tuple[str, int, tuple[int, int] | None]) -> tuple[Span, ...]:
    """Spans one after another from (kind, length, grid); what has no tokens is left out."""
    spans: list[Span] = []
    for kind, tokens, grid in parts:
        if tokens:
            spans.append(Span(kind, length(tuple(spans)), tokens, grid))
    return tuple(spans)


def _given(args: tuple, kwargs: dict, position: int, name: str) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)


def _patches(size: tuple[int, ...], patch: int) -> tuple[str, int, tuple[int, int]]:
    """A picture's tokens; a patch that the latent fills only in part counts."""
    if len(size) == 5 and size[2] != 1:
        raise ValueError(f"model: attention over {size[2]} frames cannot be steered yet, only that of single pictures")
    grid = (-(-size[-2] // patch), -(-size[-1] // patch))
    return IMAGE, grid[0] * grid[1], grid


def _text_first(text: int, sizes: Sizes, patch: int) -> Tokens:
    """Text, then the picture, then reference pictures: Flux, Chroma, Stable Diffusion 3, Qwen-Image."""
    references = [(REFERENCE, *_patches(size, patch)[1:]) for size in sizes.references]
    spans = _row((TEXT, text, None), _patches(sizes.latent, patch), *references)
    return Tokens(spans, spans)


# -- UNets ------------------------------------------------------------------------------------------------------------


def _unet_attentions(network: Any) -> list[Attention]:
    parts = {"input": network.input_blocks, "middle": [network.middle_block], "output": network.output_blocks}
    result = []
    for part, blocks in parts.items():
        for number, layers in enumerate(blocks):
            for layer in layers or ():
                if isinstance(layer, comfy.ldm.modules.attention.SpatialTransformer):
                    for index, block in enumerate(layer.transformer_blocks):
                        name = (part, number, index)
                        result.append(Attention(block.attn1, ((name, CROSS if block.disable_self_attn else SELF),)))
                        if block.attn2 is not None:
                            result.append(Attention(block.attn2, ((name, CROSS),)))
    return result


def _unet_spans(network: Any, kind: str, args: tuple, kwargs: dict, sizes: Sizes) -> Tokens:
    # The exact size of this block: inner blocks of a 19 x 13 latent have 10 x 7.
    grid = tuple(kwargs["transformer_options"]["activations_shape"][-2:])
    picture = _row((IMAGE, grid[0] * grid[1], grid))
    context = _given(args, kwargs, 1, "context")
    return Tokens(picture, picture if kind == SELF or context is None else _row((TEXT, context.shape[1], None)))


# -- transformers -----------------------------------------------------------------------------------------------------


def _flux_attentions(network: Any) -> list[Attention]:
    double = [Attention(block, ((("double", n), JOINT),)) for n, block in enumerate(network.double_blocks)]
    return double + [Attention(block, ((("single", n), JOINT),)) for n, block in enumerate(network.single_blocks)]


def _flux_spans(network: Any, kind: str, args: tuple, kwargs: dict, sizes: Sizes) -> Tokens:
    # Nodes may have put tokens of their own before the text, so that it is counted here and not in the conditioning.
    text = kwargs["txt"].shape[1] if "txt" in kwargs else kwargs["transformer_options"]["img_slice"][0]
    return _text_first(text, sizes, network.patch_size)


def _sd3_attentions(network: Any) -> list[Attention]:
    result = []
    for n, block in enumerate(network.joint_blocks):
        second = ((("joint", n), SELF),) if block.x_block.x_block_self_attn else ()
        result.append(Attention(block, ((("joint", n), JOINT), *second)))
    return result


def _sd3_spans(network: Any, kind: str, args: tuple, kwargs: dict, sizes: Sizes) -> Tokens:
    text = _given(args, kwargs, 0, "context").shape[1] if kind == JOINT else 0
    return _text_first(text, sizes, network.x_embedder.patch_size[0])


def _qwen_attentions(network: Any) -> list[Attention]:
    return [Attention(block.attn, ((("double", n), JOINT),)) for n, block in enumerate(network.transformer_blocks)]


def _qwen_spans(network: Any, kind: str, args: tuple, kwargs: dict, sizes: Sizes) -> Tokens:
    return _text_first(_given(args, kwargs, 1, "encoder_hidden_states").shape[1], sizes, network.patch_size)


def _lumina_attentions(network: Any) -> list[Attention]:
    refiner = [Attention(block.attention, ((("refiner", n), SELF),)) for n, block in enumerate(network.noise_refiner)]
    return refiner + [Attention(block.attention, ((("joint", n), JOINT),)) for n, block in enumerate(network.layers)]


def _lumina_spans(network: Any, kind: str, args: tuple, kwargs: dict, sizes: Sizes) -> Tokens:
    """Z-Image pads the text's and the picture's tokens to multiples; Lumina 2 does not."""
    if sizes.references:
        raise ValueError("model: no hooks for reference pictures in this model family yet")
    multiple = network.pad_tokens_multiple or 1
    picture = _patches(sizes.latent, network.patch_size)
    after = (PADDING, -picture[1] % multiple, None)
    if kind == SELF:
        spans = _row(picture, after)
    else:
        before = -sizes.text % multiple if sizes.text else multiple * (multiple > 1)
        spans = _row((TEXT, sizes.text, None), (PADDING, before, None), picture, after)
    return Tokens(spans, spans)


UNET = Layout((comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel,), _unet_attentions, _unet_spans)
FLUX = Layout((comfy.ldm.flux.model.Flux, comfy.ldm.chroma.model.Chroma), _flux_attentions, _flux_spans)
SD3 = Layout((comfy.ldm.modules.diffusionmodules.mmdit.MMDiT,), _sd3_attentions, _sd3_spans)
QWEN_IMAGE = Layout((comfy.ldm.qwen_image.model.QwenImageTransformer2DModel,), _qwen_attentions, _qwen_spans)
LUMINA = Layout((comfy.ldm.lumina.model.NextDiT,), _lumina_attentions, _lumina_spans)
