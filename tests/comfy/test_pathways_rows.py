"""The rows of the pathways' benchmark run on random models of the real classes, at the sizes that they print."""

import comfy.model_base
import comfy.utils
import pytest
import torch

from mild.benchmarks.cost import pathways
from mild.benchmarks.shared import random_models

SCALE = 0.25
NARROW = 0.1


@pytest.mark.parametrize("kind", random_models.KINDS)
def test_rows_sample_what_they_say(kind):
    model = random_models.make(kind, NARROW)
    job = pathways.Job(model, pathways.make_scene(SCALE), SCALE, 1)
    browser = pathways.Browser()
    comfy.utils.set_progress_bar_global_hook(browser.hook)
    try:
        with torch.inference_mode():
            assert pathways.sizes(job, pathways.ours) == [(2, 192, 160), (6, 96, 128)]  # people as one batch
            assert browser.previews == 2
            assert pathways.sizes(job, pathways.same_crops) == [(2, 192, 160), (2, 96, 128)]
            assert pathways.sizes(job, pathways.full_frame) == [(2, 256, 192)]
            cost = pathways.measured(job, pathways.ours)
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
    assert cost.unet > 0 and cost.vae > 0 and 0 < cost.outside < 1
    assert isinstance(model.model.model, comfy.model_base.SDXL) == (kind == "sdxl")


def test_full_width_is_the_real_models():
    """Weights are not made: only their numbers count."""
    with torch.device("meta"):
        parameters = {
            kind: sum(
                parameter.numel()
                for parameter in comfy.model_base.UNetModel(
                    **random_models.settings(kind, 1.0).unet_config, device="meta"
                ).parameters()
            )
            for kind in random_models.KINDS
        }
    assert parameters == {"sd15": 859520964, "sdxl": 2567463684}
