"""MediaPipe's multiclass selfie segmenter (Google, Apache-2.0): hair, skin of face and body, clothes, accessories."""

from pathlib import Path

import torch
from torch import Tensor

from ...optional_packages import optional_module
from ...scene import Person
from ..body_parts import SETS
from .parsed import INSTEAD, Parse, Parsed, crop_around, picture, within_mask

NAME = "MediaPipe multiclass"
SIDE = 256
"""Pixels: the crop is stretched to a square of this side, as MediaPipe does."""

CLASSES = 6
THREADS = 2


def parser(weights: Path) -> Parse:
    """A function that finds the parts of a person in a photo; it finds no joints.

    Raises ValueError if the package ai-edge-litert is absent or the file is no such model.
    """
    litert = optional_module("ai_edge_litert.interpreter", "ai-edge-litert", NAME, INSTEAD)
    try:
        model = litert.Interpreter(str(weights), num_threads=THREADS)
        model.allocate_tensors()
        source, result = model.get_input_details()[0], model.get_output_details()[0]
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{NAME}: {weights.name} cannot be read ({error}). Choose another file.") from None
    if tuple(source["shape"]) != (1, SIDE, SIDE, 3) or tuple(result["shape"]) != (1, SIDE, SIDE, CLASSES):
        raise ValueError(f"{NAME}: {weights.name} is another kind of model. Choose selfie_multiclass_256x256.tflite.")

    def parse(photo: Tensor, person: Person) -> Parsed:
        crop = crop_around(person)
        model.set_tensor(source["index"], picture(photo, crop, (SIDE, SIDE))[None].numpy())
        model.invoke()
        scores = torch.from_numpy(model.get_tensor(result["index"])[0].copy()).softmax(-1)
        # Inside the mask the background class is left out: what remains uncertain there has a low confidence.
        sure, best = scores[..., 1:].max(-1)
        parts = torch.tensor(SETS[NAME], dtype=torch.uint8)[best + 1]
        return within_mask(person, crop, parts, sure)

    return parse
