"""Live previews of Sample Layers, where another pack draws them."""

import latent_preview
import pytest

from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.comfy.sampling.progress import previewer_of
from mild.tests.helpers.layers import WIDGETS, check
from mild.tests.helpers.tiny_models import make


class Drawn:
    """A previewer of another pack: it sends its pictures to the front end by itself."""

    def __init__(self, answer):
        self.answer = answer
        self.seen = []

    def decode_latent_to_preview_image(self, preview_format, x0):
        self.seen.append(tuple(x0.shape))
        return self.answer


@pytest.mark.parametrize("family", [None, "sd15"])
@pytest.mark.parametrize("answer", [None, ("JPEG", None, 512)])
@pytest.mark.usefixtures("small_native_size")
def test_another_pack_may_draw_the_previews(comfy, scenes, monkeypatch, family, answer):
    drawn = Drawn(answer)
    monkeypatch.setattr(latent_preview, "get_previewer", lambda device, latent_format: drawn)
    tiny = None if family is None else make(family)
    given = {"model": tiny.model if tiny else builtin.load_model(), "layers": scenes}
    given |= {"vae": tiny.vae} if tiny else {}
    graph = {key: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for key, value in given.items()}
    links = {key: [key, 0] for key in given}
    graph["sample"] = {"class_type": "MILD_SampleLayers", "inputs": {**WIDGETS, **links}}
    ran = comfy.run_graph(graph, wanted=["sample"])
    check(scenes, ran.outputs["sample"][0])
    steps = [step for step in ran.progress if step.node == "sample"]
    assert steps[-1].value == steps[-1].maximum and not any(step.preview for step in steps)
    assert len(drawn.seen) == 2 * 3 and {shape[0] for shape in drawn.seen} == {1}


def test_previews_are_in_the_patched_latent_format(monkeypatch):
    asked, own = [], object()
    monkeypatch.setattr(latent_preview, "get_previewer", lambda device, latent_format: asked.append(latent_format))
    model = builtin.load_model()
    model.add_object_patch("latent_format", own)
    previewer_of(model)
    assert asked == [own]
