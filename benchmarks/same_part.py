"""What copying from the same part of the body is worth: `erase_quality.py --occlusion --parts ONNX --data DIR`

The same layers are painted twice: as they are, and with `same_part` 1 on Built-in Model, each person's parts and joints
read by BodyPix in the photo that holds the front person. Scenes of even number may be looked at while the rule is made;
those of odd number judge it.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from metrics import mean_with_interval
from numpy.typing import NDArray
from ours import inputs_of, load_nodes

from mild.tools.erase_graph import erasing_graph

if TYPE_CHECKING:
    from occlusion import Result

STRENGTH = 1.0


@cache
def parser_of(weights: Path) -> Any:
    """BodyPix's parser; raises ValueError without onnxruntime or for another file."""
    from mild.mild_core.morphology.parsers import bodypix

    return bodypix.parser(weights)


def painted_twice(
    photo: NDArray[np.float32], masks: NDArray[np.bool_], who: str, weights: Path
) -> tuple[list[Any], list[Any]]:
    """The scene of photo [H, W, 3] with people's masks [N, H, W], as Sample Layers paints it without and with the
    rule; `who` goes.
    """
    in_process = load_nodes()
    with in_process.InProcess() as comfy:

        def given(value: Any) -> tuple[str, dict[str, Any], int]:
            return "TEST_Give", {"key": comfy.give(value)}, 0

        people = given(torch.from_numpy(masks.astype(np.float32)))
        graph = erasing_graph(given(torch.from_numpy(photo[None])), [people], inputs_of, who=who)
        before = comfy.run_graph(graph, wanted=["layers", "choose"]).outputs
        found = before["choose"][0]
        scenes = [with_segments(one, found, weights) for one in before["layers"][0]]
        kind, inputs, output = given(scenes)
        graph["told"] = {"class_type": kind, "inputs": inputs}
        graph["sample"]["inputs"]["layers"] = ["told", output]
        results = []
        for strength in (0.0, STRENGTH):
            graph["model"]["inputs"]["same_part"] = strength
            results.append(comfy.run_graph(graph, wanted=["sample"]).outputs["sample"][0])
    return results[0], results[1]


def with_segments(scene: Any, people: Sequence[Any], weights: Path) -> Any:
    """The scene whose person layers know their segments."""
    from mild.mild_core.morphology.hidden_joints import with_hidden_joints
    from mild.mild_core.morphology.layer_segments import segments_of
    from mild.mild_core.scene import PERSON, Body

    size = int(scene.photo.shape[0]), int(scene.photo.shape[1])
    gone = [(person.box, person.mask) for person in people if person.erased]
    layers = []
    for layer in scene.layers:
        if layer.domain == PERSON:
            person = next(one for one in people if one.number == layer.number)
            parsed = parser_of(weights)(scene.photo, person)
            joints, inferred = with_hidden_joints(parsed.joints, (person.box, person.mask), gone, size)
            body = Body(
                person.number,
                person.name,
                False,
                person.box,
                person.mask,
                joints=joints,
                inferred=inferred,
                parts=parsed.parts,
                parts_box=parsed.box,
                parts_sure=parsed.sure,
            )
            layer = layer._replace(segments=segments_of(layer, body))
        layers.append(layer)
    return scene._replace(layers=tuple(layers))


def differences(results: Sequence["Result"], without: str, ruled: str, order: Sequence[str]) -> str:
    """LPIPS* of the completed part with the rule minus without, scene by scene: all scenes of `order`, even, odd."""
    scores = {(result.scene.name, result.row): result.scores.completed_lpips for result in results}
    lines = []
    for which, names in (("all", order), ("even", order[::2]), ("odd", order[1::2])):
        pairs = [scores[name, ruled] - scores[name, without] for name in names if (name, ruled) in scores]
        mean = mean_with_interval(pairs)
        better, worse = (sum(sign * pair > 1e-4 for pair in pairs) for sign in (-1, 1))
        lines.append(
            f"completed LPIPS*, {ruled} minus {without}, {which} scenes: {mean.value:+.4f} ± {mean.half:.4f} "
            f"(n = {mean.n}, better {better}, worse {worse})"
        )
    return "\n".join(lines)
