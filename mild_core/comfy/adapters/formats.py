"""The formats of adapters: which of them add to a layer's output."""

from typing import Any

from comfy.weight_adapter import LoHaAdapter, LoKrAdapter, LoRAAdapter

DORA = {LoRAAdapter: 4, LoHaAdapter: 7, LoKrAdapter: 8}
"""Formats whose change of a weight is a product of small matrices, and where in `weights` DoRA's norms stand."""


def routable(adapter: Any) -> bool:
    """Whether it adds to a layer's output, whatever the weight is: LoRA, LoHa and LoKr do.

    Not so DoRA (scales the weight), OFT and BOFT (turn it), GLoRA (reads it), ComfyUI's patches "diff" and "set", and a
    LoRA that makes the weight larger (Flux Depth and Canny): the model would have to be given more channels.
    """
    place = DORA.get(type(adapter))
    if place is None or adapter.weights[place] is not None:
        return False
    return not isinstance(adapter, LoRAAdapter) or adapter.weights[5] is None
