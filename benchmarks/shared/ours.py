"""Our own row: what an artist gets. The nodes run through ComfyUI's executor, every widget as it stands by default."""

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mild.mild_core.scene import Scene
from mild.tools.erase_graph import defaults, erasing_graph


def erase(
    photo: NDArray[np.float32],
    masks: NDArray[np.bool_],
    seed: int = 1,
    references: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """photo [H, W, 3], 0..1, without the people of masks [N, H, W]; references [n, h, w, 3] of the same place."""
    return erase_chosen(photo, masks, seed=seed, references=references)[0]


def erase_chosen(
    photo: NDArray[np.float32],
    masks: NDArray[np.bool_],
    *,
    who: str = "all",
    also_erase: NDArray[np.float32] | None = None,
    references: NDArray[np.float32] | None = None,
    seed: int = 1,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """As erase, for some of the people (`who`, by their place from the left) and with other things [H, W] to erase.

    Returns the picture and what changed [H, W], both as Recompose Photo gives them.
    """
    outputs = run_erasing(photo, masks, who, also_erase, references, seed)
    image, changed, *_ = outputs["recompose"]
    return image[0].float().numpy(), changed[0].numpy() > 0


def run_erasing(
    photo: NDArray[np.float32],
    masks: NDArray[np.bool_],
    who: str,
    also_erase: NDArray[np.float32] | None = None,
    references: NDArray[np.float32] | None = None,
    seed: int = 1,
    ground: str | None = None,
    quality: str | None = None,
    effects: bool = False,
    sampling: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """All outputs of the graph by node ("sample", "recompose", ...). ground: Sample Layers' widget, quality: Built-in
    Model's; None: default; effects: with Propose Effects, all that it proposes taken; sampling: further widgets of
    Sample Layers.
    """
    in_process = load_nodes()
    with in_process.InProcess() as comfy:

        def give(value: NDArray) -> tuple[str, dict[str, Any], int]:
            return "TEST_Give", {"key": comfy.give(torch.from_numpy(value))}, 0

        graph = erasing_graph(
            give(photo[None]),
            [give(masks.astype(np.float32))],
            inputs_of,
            who=who,
            seed=seed,
            references=None if references is None else give(references),
            also_erase=None if also_erase is None else give(also_erase[None]),
            effects=effects,
        )
        if ground is not None:
            graph["sample"]["inputs"]["ground"] = ground
        graph["sample"]["inputs"] |= sampling or {}
        if quality is not None:
            graph["model"]["inputs"]["quality"] = quality
        return comfy.run_graph(graph, wanted=["recompose"]).outputs


def paint(layers: list[Scene], seed: int = 1) -> NDArray[np.float32]:
    """The photo [H, W, 3] of layers that were made without nodes, painted by the Built-in Model and put together."""
    in_process = load_nodes()
    with in_process.InProcess() as comfy:
        graph = {
            "layers": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(layers)}},
            "model": {"class_type": "MILD_BuiltInModel", "inputs": defaults(inputs_of("MILD_BuiltInModel"))},
        }
        links = {"model": ["model", 0], "layers": ["layers", 0], "positive": ["model", 2], "seed": seed}
        graph["sample"] = {
            "class_type": "MILD_SampleLayers",
            "inputs": defaults(inputs_of("MILD_SampleLayers")) | links,
        }
        graph["recompose"] = {"class_type": "MILD_Recompose", "inputs": {"layers": ["sample", 0]}}
        image, *_ = comfy.run_graph(graph, wanted=["recompose"]).outputs["recompose"]
        return image[0].float().numpy()


def inputs_of(class_type: str) -> dict[str, Any]:
    """The inputs of a node class, as ComfyUI names them."""
    load_nodes()
    import nodes

    return nodes.NODE_CLASS_MAPPINGS[class_type].INPUT_TYPES()


@cache
def load_nodes() -> Any:
    """Real ComfyUI with our nodes, in this process: the executor that the tests use too."""
    from mild.tests.helpers import in_process

    in_process.register_pack()
    in_process.comfy.utils.set_progress_bar_enabled(False)
    return in_process
