"""Body guidance for the small models, with random weights or as it is before training."""

import mild.tests.helpers.in_process  # noqa: F401 (puts ComfyUI in place, so it stands first)

# isort: split
import comfy.model_management
import comfy.ops

from mild.mild_core.comfy.morphology.control import MorphologyControl
from mild.mild_core.comfy.morphology.families import config_of
from mild.mild_core.comfy.morphology.load import patcher_for
from mild.mild_core.morphology.guidance import MorphologyGuidance
from mild.tests.helpers.tiny_models import TinyModel, randomize

ZERO_AT_FIRST = ("leave.", "tokens.out.")


def make_guidance(tiny: TinyModel, seed: int | None = 0, dtype=None) -> MorphologyControl:
    """A CONTROL_NET for this model; seed None: what adds to the model is zero, all else is random as with seed 0."""
    network = randomize(MorphologyGuidance(config_of(tiny.model.model), comfy.ops.manual_cast), seed or 0)
    if seed is None:
        for name, parameter in network.named_parameters():
            if name.startswith(ZERO_AT_FIRST):
                parameter.data.zero_()
    network = network.eval().requires_grad_(False).to(dtype)
    return MorphologyControl(network, patcher_for(network, comfy.model_management.get_torch_device()))
