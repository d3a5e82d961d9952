"""Sample Layers on people who go on behind erased ones: grounds, outlines, and what is left alone."""

import pytest
import torch

from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.comfy.sampling.sample_layers import GROUNDS
from mild.mild_core.image import boxes
from mild.mild_core.layers.decompose import decompose
from mild.mild_core.layers.recompose import recompose
from mild.mild_core.layers.start_picture import start_picture
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.scene import PERSON
from mild.tests.helpers.tiny_models import made_for, make

WIDGETS = {
    "seed": 5,
    "steps": 2,
    "denoise": 1.0,
    "cfg": 1.0,
    "sampler_name": "euler",
    "scheduler": "normal",
    "which": "all",
    "ground": "plate",
}
RED, BLUE = (0.8, 0.1, 0.1), (0.15, 0.15, 0.7)
MODELS = [None, "sd15", "sd15_inpaint"]


@pytest.fixture(autouse=True)
def small_native_size(monkeypatch):
    """Random models learn nothing from larger crops."""
    made_for(monkeypatch, 96 * 96)


def standing():
    """Masks of somebody in red and blue, whose right side stands behind somebody else, and of the latter."""
    y = (torch.arange(110).float()[:, None] - 8) / 90
    x = (torch.arange(120).float()[None] - 45) / 90
    head = (x / 0.07) ** 2 + ((y - 0.08) / 0.08) ** 2 < 1
    body = (x.abs() < 0.16) & (y > 0.15) & (y < 0.6)
    legs = ((x.abs() - 0.075).abs() < 0.06) & (y >= 0.55) & (y < 1)
    whole = head | body | legs
    front = torch.zeros_like(whole)
    front[20:104, 47:75] = True
    return whole, whole & ~front, front


def split(colour=(0.0, 1.0, 0.0)):
    """The scene of a photo in which the front person, in `colour`, goes."""
    whole, visible, front = standing()
    generator = torch.Generator().manual_seed(0)
    photo = 0.6 + 0.2 * torch.rand(110, 120, 1, generator=generator).expand(-1, -1, 3).contiguous()
    rows = torch.arange(110)[:, None, None]
    photo = torch.where(whole[..., None], torch.where(rows < 62, torch.tensor(RED), torch.tensor(BLUE)), photo)
    photo = torch.where(front[..., None], torch.tensor(colour), photo)
    people = numbered([person_from_mask(mask.float()) for mask in (visible, front)])
    people = [person._replace(erased=number == 1) for number, person in enumerate(people)]
    return decompose(photo[None], people)


@pytest.fixture
def sample(run_node):
    def run(scenes, tiny=None, **changes):
        model = builtin.load_model() if tiny is None else tiny.model
        return run_node(
            "MILD_SampleLayers", model=model, vae=tiny and tiny.vae, layers=scenes, **{**WIDGETS, **changes}
        )[0]

    return run


def person_layer(scenes):
    return next(layer for layer in scenes[0].layers if layer.domain == PERSON)


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("family", MODELS)
def test_only_the_persons_hole_is_painted(sample, family, ground):
    """Pixels of the person, and everything outside the holes, stay bit for bit; the erased colour never matters."""
    tiny = family and make(family)
    results = []
    for colour in ((0.0, 1.0, 0.0), (1.0, 0.0, 1.0)):
        before = split(colour)
        after = sample(before, tiny, ground=ground)
        old, new = person_layer(before), person_layer(after)
        outside = old.hole == 0
        assert new.sampled and torch.isfinite(new.pixels).all()
        assert torch.equal(new.pixels[outside], old.pixels[outside])
        assert torch.equal(new.alpha[outside], old.alpha[outside])
        assert (new.alpha[~outside] >= 0).all() and (new.alpha[~outside] <= 1).all()
        image = recompose(after)
        assert image.outside == 0
        _, visible, _ = standing()
        deep = torch.nn.functional.max_pool2d((~visible)[None, None].float(), 5, 1, 2)[0, 0] == 0
        assert torch.equal(image.image[0][deep], before[0].photo[deep])
        results.append(image.image)
    front = standing()[2]
    grown = torch.nn.functional.max_pool2d(front[None, None].float(), 3, 1, 1)[0, 0] > 0
    assert torch.equal(results[0][0][grown], results[1][0][grown])


@pytest.mark.parametrize("ground", GROUNDS)
def test_a_person_goes_on_in_their_own_colours(sample, ground):
    """The hidden half comes back, red above and blue below, and the wall beside it stays."""
    whole, _, front = standing()
    layer = person_layer(sample(split(), ground=ground, steps=8))
    alpha = boxes.placed(layer.alpha, layer.box, (0, 0, 120, 110))
    shown, true = (alpha > 0.5) & front, whole & front
    assert (shown & true).sum() / (shown | true).sum() > 0.35
    assert (alpha[25:95, 69:75] < 0.2).all()
    pixels = torch.zeros(110, 120, 3)
    boxes.cut(pixels, layer.box).copy_(layer.pixels)
    assert (pixels[30:52, 48:54] - torch.tensor(RED)).abs().mean() < 0.1
    assert (pixels[72:90, 50:55] - torch.tensor(BLUE)).abs().mean() < 0.15


def test_people_alone_are_painted_on_the_neutral_ground(sample):
    """Where the background is not painted yet there is no plate; where it was painted before, there is."""
    scenes = split()
    alone = person_layer(sample(scenes, which="people"))
    assert torch.equal(alone.pixels, person_layer(sample(scenes, which="people", ground="neutral")).pixels)
    together = person_layer(sample(scenes))
    after = person_layer(sample(sample(scenes, which="background"), which="people"))
    assert torch.equal(together.pixels, after.pixels) and torch.equal(together.alpha, after.alpha)
    assert not torch.equal(together.pixels, alone.pixels)


def test_a_second_sampling_begins_from_the_first(sample):
    tiny = make("sd15")
    for ground in GROUNDS:
        first = sample(split(), ground=ground)
        second = person_layer(sample(first, tiny, which="people", denoise=0.3, ground=ground))
        start = start_picture(person_layer(first))
        inside = person_layer(first).hole > 0
        certain = inside & (person_layer(first).alpha > 0.95)
        assert torch.allclose(start[certain], person_layer(first).pixels[certain], atol=0.06)
        assert second.sampled and torch.equal(second.pixels[~inside], person_layer(first).pixels[~inside])
