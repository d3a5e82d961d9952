"""The graph that erases people, in ComfyUI's API format: the demo and the benchmarks queue what our template shows."""

from collections.abc import Callable, Sequence
from typing import Any

Graph = dict[str, dict[str, Any]]
Inputs = dict[str, dict[str, Any]]
Link = list  # [node id, number of the output]


def erasing_graph(
    photo: tuple[str, dict, int],
    masks: Sequence[tuple[str, dict, int]],
    inputs_of: Callable[[str], Inputs],
    *,
    who: str = "all",
    split: str = "one person per mask",
    seed: int = 1,
    references: tuple[str, dict, int] | None = None,
    also_erase: tuple[str, dict, int] | None = None,
    effects: bool = False,
) -> Graph:
    """Photo and masks to the node "recompose", whose outputs are the picture and what changed.

    photo: (class, inputs, number of its output) of the node that gives the photo; masks: the same for each node that
    gives masks, whose people are numbered on from one to the next; references: the same for further photos of the
    place, also_erase: for a mask of what else goes; effects: whether Propose Effects stands before the choice.
    inputs_of(class) returns the inputs that ComfyUI names for a class, {"required": {name: [type, options]}}: all other
    widgets stand as they do in a new node.
    """
    graph: Graph = {}

    def add(name: str, kind: str, **inputs: Any) -> str:
        inputs = defaults(inputs_of(kind)) | inputs
        for known, node in graph.items():
            if (node["class_type"], node["inputs"]) == (kind, inputs):
                return known  # one node may give both photo and masks
        graph[name] = {"class_type": kind, "inputs": inputs}
        return name

    image: Link = [add("photo", photo[0], **photo[1]), photo[2]]
    people: dict[str, Link] = {}
    for number, (kind, inputs, output) in enumerate(masks, 1):
        source = add(f"masks-{number}", kind, **inputs)
        found = {"masks": [source, output], "image": image, "split": split} | people
        people = {"people": [add(f"people-{number}", "MILD_PeopleFromMasks", **found), 0]}
    if effects:
        people = {"people": [add("effects", "MILD_ProposeEffects", image=image, **people), 0]}
    add("choose", "MILD_ChoosePeople", image=image, who=who, **people)
    things: dict[str, Link] = {}
    if also_erase is not None:
        things = {"also_erase": [add("things", also_erase[0], **also_erase[1]), also_erase[2]]}
    add("layers", "MILD_Decompose", image=image, people=["choose", 0], **things)
    known: dict[str, Link] = {}
    if references is not None:
        known = {"references": [add("references", references[0], **references[1]), references[2]]}
    add("model", "MILD_BuiltInModel", **known)
    add("sample", "MILD_SampleLayers", model=["model", 0], layers=["layers", 0], positive=["model", 2], seed=seed)
    add("recompose", "MILD_Recompose", layers=["sample", 0])
    return graph


def defaults(inputs: Inputs) -> dict[str, Any]:
    """The values that the widgets of a new node have."""
    values = {}
    for name, (kind, *more) in inputs.get("required", {}).items():
        options = more[0] if more else {}
        choices = kind if isinstance(kind, list) else options.get("options")
        if "default" in options:
            values[name] = options["default"]
        elif choices:
            values[name] = choices[0]
    return values
