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

Graph = dict[str, dict[str, Any]]


def erase(photo: NDArray[np.float32], masks: NDArray[np.bool_], seed: int = 1) -> NDArray[np.float32]:
    """photo [H, W, 3], 0..1, without the people of masks [N, H, W]."""
    in_process = load_nodes()
    given = torch.from_numpy(photo)[None], torch.from_numpy(masks.astype(np.float32))
    with in_process.InProcess() as comfy:
        graph = erasing_graph(*[["TEST_Give", {"key": comfy.give(value)}] for value in given])
        graph["sample"]["inputs"]["seed"] = seed
        result = comfy.run_graph(graph, wanted=["recompose"]).outputs["recompose"][0]
    return result[0].float().numpy()


def erasing_graph(photo: list, masks: list) -> Graph:
    """The graph of our template in API format; photo and masks are (node id, inputs) of the nodes that give them."""
    graph = {"photo": node(*photo), "masks": node(*masks)}
    graph["people"] = node("MILD_PeopleFromMasks", {"masks": ["masks", 0]})
    graph["choose"] = node("MILD_ChoosePeople", {"people": ["people", 0]})
    graph["layers"] = node("MILD_Decompose", {"image": ["photo", 0], "people": ["choose", 0]})
    graph["model"] = node("MILD_BuiltInModel", {})
    graph["sample"] = node("MILD_SampleLayers", {"model": ["model", 0], "layers": ["layers", 0]})
    graph["recompose"] = node("MILD_Recompose", {"layers": ["sample", 0]})
    return graph


def node(class_type: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """A node of an API-format graph: widgets by default, then `inputs`."""
    load_nodes()
    import nodes

    widgets = {}
    for name, (kind, *more) in nodes.NODE_CLASS_MAPPINGS[class_type].INPUT_TYPES().get("required", {}).items():
        options = more[0] if more else {}
        choices = kind if isinstance(kind, list) else options.get("options")
        if "default" in options:
            widgets[name] = options["default"]
        elif choices:
            widgets[name] = choices[0]
    return {"class_type": class_type, "inputs": widgets | inputs}


@cache
def load_nodes() -> Any:
    """Real ComfyUI with our nodes, in this process: the executor that the tests use too."""
    from mild.tests.helpers import in_process

    in_process.register_pack()
    in_process.comfy.utils.set_progress_bar_enabled(False)
    return in_process
