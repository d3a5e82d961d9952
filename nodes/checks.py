"""What our nodes ask of pictures and masks before anything is done with them: one sentence for each way to be wrong."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from comfy.sd import CLIP
from torch import Tensor

from ..mild_core.pairing import Size, stretched


def checked_image(image: Tensor, socket: str = "image", numbers: bool = True) -> Tensor:
    """IMAGE [B, H, W, C], 0..1, C in 1, 3, 4, as it is (a single [H, W, C] becomes a batch; the tensor is not copied).

    numbers: every pixel is going to be used, so none may be NaN. Raises ValueError, with the socket's name, for
    anything else and for whole numbers (0..255).
    """
    if not isinstance(image, Tensor):
        raise ValueError(
            f"{socket}: expected an IMAGE, got {type(image).__name__}. Connect a node that gives pictures."
        )
    picture = image[None] if image.ndim == 3 else image
    if picture.ndim != 4 or picture.shape[-1] not in (1, 3, 4) or 0 in picture.shape:
        raise ValueError(
            f"{socket}: expected a photo with 1, 3 or 4 channels, got a tensor of shape {list(image.shape)}. "
            "Connect an IMAGE such as Load Image gives."
        )
    if not picture.is_floating_point():
        raise ValueError(
            f"{socket}: expected a photo of floating point numbers from 0 to 1, got {_type(picture)}. The node before "
            "it breaks ComfyUI's rule for IMAGE: it has to convert the photo to float and divide it by 255."
        )
    return _checked_numbers(picture, socket) if numbers else picture


def checked_mask(mask: Tensor, socket: str) -> Tensor:
    """MASK [B, H, W], clamped to 0..1 in float32; [H, W] and [B, 1, H, W] are understood too, and bool.

    Raises ValueError, with the socket's name, for anything else, for NaN values, and for whole numbers, of which
    nobody knows whether they go up to 1 or to 255.
    """
    return _mask_rows(mask, socket).clamp(0, 1)


def _mask_rows(mask: Tensor, socket: str) -> Tensor:
    """As checked_mask, with the values as they came."""
    if not isinstance(mask, Tensor):
        raise ValueError(f"{socket}: expected a MASK, got {type(mask).__name__}. Connect a node that gives masks.")
    flat = mask[None] if mask.ndim == 2 else mask[:, 0] if mask.ndim == 4 and mask.shape[1] == 1 else mask
    if flat.ndim != 3 or 0 in flat.shape:
        raise ValueError(
            f"{socket}: expected a MASK, got a tensor of shape {list(mask.shape)}. "
            "For a picture, put Convert Image to Mask in between."
        )
    if not (flat.is_floating_point() or flat.dtype == torch.bool):
        raise ValueError(
            f"{socket}: expected a mask of floating point numbers from 0 to 1, got {_type(flat)}. The node before it "
            "breaks ComfyUI's rule for MASK: it has to convert the mask to float, and divide it by 255 if that is its "
            "white."
        )
    return _checked_numbers(flat, socket).float()


def checked_nearness(depth: Tensor, invert: bool = False) -> Tensor:
    """A `depth` socket's IMAGE or MASK as [B, H, W], float32, larger is nearer: pictures are read by their brightness,
    masks by their values, which may be raw ones of any range.

    invert: darker is nearer in it. Raises ValueError as checked_image and checked_mask do.
    """
    is_mask = isinstance(depth, Tensor) and (depth.ndim < 4 or (depth.shape[1] == 1 and depth.shape[-1] > 4))
    nearer = _mask_rows(depth, "depth") if is_mask else checked_image(depth, "depth")[..., :3].float().mean(-1)
    return -nearer if invert else nearer


def checked_choice(choice: dict[str, Any] | None, name: str, options: Sequence[str]) -> dict[str, Any]:
    """What a DynamicCombo hands on: the choice under its own name, and the values that belong to it.

    ComfyUI hands on nothing where it does not know the choice: one of another version of this pack, or an API client's.
    So the argument of `execute` is None by default. Raises ValueError with all that can be chosen.
    """
    if choice is None or choice.get(name) not in options:
        raise ValueError(
            f"{name}: this version of the pack does not know what was chosen. Choose one of: {', '.join(options)}."
        )
    return choice


NOT_CONNECTED = object()
"""Default of a `clip` input: a checkpoint without a text encoder hands on None, which is something else."""


def checked_clip(clip: object) -> CLIP | None:
    """CLIP, or None if nothing is connected. Raises ValueError for a connected checkpoint that has no text encoder."""
    if clip is None:
        raise ValueError(
            "clip: there is no CLIP in what is connected. If it comes from a checkpoint, that one was saved without "
            "its text encoder: load it with Load CLIP, or connect nothing. Behind Adapters for Layers: connect clip "
            "there."
        )
    return None if clip is NOT_CONNECTED else cast(CLIP, clip)


def stretched_mask(mask: Tensor | None, socket: str, size: Size, frame: str = "the photo") -> list[str]:
    """The sentence on a checked mask [B, h, w] that lies over a photo of another shape; none where it fits, or where
    nothing is marked: Load Image gives an empty mask of 64 x 64 for a photo without transparency.
    """
    if mask is None or not mask.any():
        return []
    return stretched(socket, [(int(mask.shape[1]), int(mask.shape[2]))], [size], frame)


def _type(values: Tensor) -> str:
    """The name of its numbers' type: uint8."""
    return str(values.dtype).removeprefix("torch.")


def _checked_numbers(values: Tensor, socket: str) -> Tensor:
    """The sum of a tensor is NaN when anything in it is: much cheaper than a map of 24 million answers."""
    for index, one in enumerate(values):
        if not torch.isfinite(one.float().sum() if one.dtype != torch.float32 else one.sum()):
            raise ValueError(
                f"{socket}: number {index + 1} of the batch holds pixels that are not numbers (NaN or infinite). "
                "The node before it broke: with a VAE, try --fp32-vae; otherwise load or render the picture again."
            )
    return values
