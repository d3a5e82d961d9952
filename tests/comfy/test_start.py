"""What a layer starts from: never whoever is erased, and what its model can make something of."""

import pytest
import torch

from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.comfy.sampling import encode
from mild.mild_core.comfy.sampling.start import EXEMPLAR, EXEMPLAR_DENOISE, NOISE, OWN, STARTS, decided
from mild.mild_core.scene import Scene
from mild.tests.helpers.layers import WIDGETS, background, check, layers_of, picture
from mild.tests.helpers.tiny_models import make

pytestmark = pytest.mark.usefixtures("small_native_size")


def space_of(family):
    if family is None:
        return encode.latent_space(builtin.load_model(), None)
    tiny = make(family)
    return encode.latent_space(tiny.model, tiny.vae)


@pytest.fixture(scope="module")
def layer():
    return background(picture(), (20, 10, 40, 50))


@pytest.mark.parametrize(
    ("family", "fresh", "painted"),
    [(None, NOISE, OWN), ("sd15", EXEMPLAR, OWN), ("flux", EXEMPLAR, OWN), ("sd15_inpaint", NOISE, OWN)],
)
def test_automatic_suits_the_model(family, fresh, painted, layer):
    space = space_of(family)
    whole = 1.0 if fresh == NOISE else EXEMPLAR_DENOISE
    assert decided("automatic", 1.0, layer, space) == (fresh, whole)
    assert decided("automatic", 0.6, layer, space) == (fresh, 0.6)
    # What was painted already: below denoise 1 it is refined, at 1 it is tried afresh.
    done = layer._replace(sampled=True)
    assert decided("automatic", 0.6, done, space) == (painted, 0.6)
    assert decided("automatic", 1.0, done, space) == (fresh, whole)
    # Given SIGMAS cannot be lowered: at full noise a fill would not be seen.
    assert decided("automatic", 1.0, layer, space, fixed=True) == (NOISE, 1.0)
    for start in STARTS[1:]:
        wanted = NOISE if family is None and start == EXEMPLAR else start
        assert decided(start, 0.4, layer, space) == (wanted, 0.4)


def test_nonsense_is_refused(layer):
    with pytest.raises(ValueError, match="start: got 'luck'"):
        decided("luck", 1.0, layer, space_of(None))


@pytest.mark.parametrize(
    ("start", "denoise", "painted"),
    [(start, denoise, painted) for start in (NOISE, OWN) for denoise in (1.0, 0.6) for painted in (False, True)]
    + [(EXEMPLAR, 1.0, False), (EXEMPLAR, 0.6, True), ("automatic", 0.6, False), ("automatic", 0.6, True)],
)
def test_no_start_shows_whoever_is_erased(sample, scenes, start, denoise, painted):
    tiny = make("sd15")
    results = []
    for colour in ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0)):
        here = [
            scene._replace(
                layers=tuple(
                    layer._replace(pixels=torch.where(layer.hole[..., None] > 0, torch.tensor(colour), layer.pixels))
                    for layer in scene.layers
                )
            )
            for scene in scenes
        ]
        if painted:
            here = sample(here, tiny, start="noise", seed=9)
        done = sample(here, tiny, start=start, denoise=denoise)
        check(here, done)
        results.append(layers_of(done))
    assert all(torch.equal(layer.pixels, results[1][key].pixels) for key, layer in results[0].items())


def test_exemplar_fill_is_made_of_the_photo(sample):
    """Stripes go on through the hole: at a low denoise a random model leaves most of the fill."""
    stripes = (torch.arange(96) // 8 % 2).float()[:, None, None].expand(96, 96, 3).contiguous() * 0.8 + 0.1
    layer = background(stripes, (40, 40, 56, 56))
    scene = [Scene(stripes, (layer,))]
    inside = (layer.hole > 0)[..., None]
    off = {}
    for start in ("noise", "exemplar fill"):
        # denoise 0 shows what the sampler starts from, through a model on pixels, which loses nothing.
        tiny = make("chroma_radiance")
        (painted,) = sample(scene, tiny, start=start, denoise=0.0)[0].layers
        off[start] = float((painted.pixels - stripes).abs()[inside.expand_as(stripes)].mean())
    assert off["exemplar fill"] < off["noise"] / 3


def test_the_node_says_what_it_started_from(comfy, scenes):
    tiny = make("sd15")
    given = {"model": tiny.model, "vae": tiny.vae, "layers": scenes}
    graph = {key: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for key, value in given.items()}
    graph["sample"] = {
        "class_type": "MILD_SampleLayers",
        "inputs": {**WIDGETS, **{key: [key, 0] for key in given}, "start": "automatic"},
    }
    ran = comfy.run_graph(graph, wanted=["sample"])
    (text,) = ran.ui["sample"]["text"]
    assert "exemplar fill" in text and "0.75" in text
    # The bar counts the fill's steps too, and previews never stop.
    values = [step.value for step in ran.progress if step.node == "sample"]
    assert values == sorted(values) and values[-1] == ran.progress[-1].maximum
    previews = [step for step in ran.progress if step.preview]
    assert len(previews) >= 3 * 2
