"""Our own row: what an artist gets. The nodes run through ComfyUI's executor, every widget as it stands by default."""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))
import pack  # noqa: E402, F401  (makes `mild` importable)

from mild.tools.erase_graph import erasing_graph  # noqa: E402


def erase(
    photo: NDArray[np.float32],
    masks: NDArray[np.bool_],
    seed: int = 1,
    references: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """photo [H, W, 3], 0..1, without the people of masks [N, H, W]; references [n, h, w, 3] of the same place."""
    in_process = load_nodes()
    with in_process.InProcess() as comfy:
        image, people = (
            ("TEST_Give", {"key": comfy.give(torch.from_numpy(value))}, 0)
            for value in (photo[None], masks.astype(np.float32))
        )
        known = None
        if references is not None:
            known = ("TEST_Give", {"key": comfy.give(torch.from_numpy(references))}, 0)
        graph = erasing_graph(image, [people], inputs_of, seed=seed, references=known)
        result = comfy.run_graph(graph, wanted=["recompose"]).outputs["recompose"][0]
    return result[0].float().numpy()


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
