"""The built-in model is told which part of a body is where, and keeps to it where it was asked to."""

import pytest
import torch

from mild.mild_core.comfy.erasers import builtin, exemplar_model
from mild.mild_core.comfy.pixel_space import pixel_vae
from mild.mild_core.comfy.sampling.conditioning import own_values
from mild.mild_core.morphology.parts import SEGMENTS
from mild.mild_core.scene import PERSON
from mild.tests.comfy.test_person_layers import WIDGETS, split

SIZE = (29, 43)
LEFT, RIGHT = SEGMENTS.index("torso"), SEGMENTS.index("foot")
WIDTH, THIRD = SIZE[1], SIZE[1] // 3


@pytest.fixture(scope="module")
def scene():
    """Two photos, red to the left and green to the right, with the hole between."""
    photos = 0.5 + 0.02 * torch.rand(2, *SIZE, 3, generator=torch.Generator().manual_seed(1))
    photos[:, :, : WIDTH // 2, 0] += 0.12
    photos[:, :, WIDTH // 2 :, 1] += 0.12
    masks = torch.zeros(2, *SIZE)
    masks[:, :, THIRD : WIDTH - THIRD] = 1
    return photos, masks


def labels(inside, size=SIZE):
    found = torch.full(size, LEFT, dtype=torch.uint8)
    found[:, -(size[1] // 3) :] = RIGHT
    found[:, size[1] // 3 : size[1] - size[1] // 3] = inside
    return found


@pytest.fixture
def sample(run_node, scene):
    """sample(strength, segments, rows=...): KSampler's picture [B, 3, H, W] in -1..1."""
    photos, masks = scene

    def run(strength, segments=None, rows=slice(0, 1), cfg=1.0):
        model = builtin.with_same_part(builtin.load_model(), strength)
        values = {} if segments is None else {"mild_segments": segments}
        conditioning = [[torch.zeros(1, 1, 1), values]]
        latent = {
            "samples": pixel_vae().encode(photos[rows]),
            "noise_mask": masks[rows],
            "batch_index": list(range(2))[rows],
        }
        return run_node(
            "KSampler",
            model=model,
            seed=1,
            steps=3,
            cfg=cfg,
            sampler_name="euler",
            scheduler="normal",
            positive=conditioning,
            negative=builtin.empty_conditioning(),
            denoise=1.0,
            latent_image=latent,
        )[0]["samples"]

    return run


def redness(picture, scene):
    inside = scene[1][0] > 0
    return float((picture[0][inside] > picture[1][inside]).float().mean())


def test_off_is_the_same_picture(sample):
    plain = sample(0)
    assert torch.equal(plain, sample(0, labels(LEFT)))
    assert torch.equal(plain, sample(1))
    assert torch.equal(plain, sample(1, torch.zeros(SIZE, dtype=torch.uint8)))
    assert torch.equal(plain, sample(1, labels(LEFT)[None] * 0 + LEFT))  # all of one part


def test_the_same_part_is_copied(sample, scene):
    plain = redness(sample(0)[0], scene)
    red = redness(sample(1, labels(LEFT))[0], scene)
    green = redness(sample(1, labels(RIGHT))[0], scene)
    assert green < plain - 0.1 and plain + 0.1 < red


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_rows_have_their_own_map_of_any_size(sample, cfg):
    both = torch.stack([labels(LEFT, (87, 129)), labels(RIGHT, (87, 129))])
    together = sample(1, both, slice(0, 2), cfg)
    for row in range(2):
        own = slice(row, row + 1)
        assert torch.allclose(together[own], sample(1, both[own], own, cfg), atol=1e-5)
    shared = sample(1, labels(RIGHT), slice(0, 2), cfg)
    assert torch.allclose(shared[1], together[1], atol=1e-5) and not torch.allclose(shared[0], together[0], atol=1e-3)


def test_the_node_sets_the_strength(run_node):
    for strength in (0.0, 0.7):
        model = run_node("MILD_BuiltInModel", model="exemplar", same_part=strength)[0]
        options = model.model_options["transformer_options"]
        assert options.get(exemplar_model.SAME_PART, exemplar_model.SAME_PART_DEFAULT) == strength
        assert builtin.with_same_part(model, strength) is model
    other = builtin.with_same_part(model, 0.2)
    assert other is not model and options[exemplar_model.SAME_PART] == 0.7


def people_layers(with_segments):
    """As in test_person_layers, in patterned clothes. Her layer says that what is hidden of her trunk is a leg."""
    one = split()[0]
    layers = []
    for layer in one.layers:
        if layer.domain == PERSON:
            pattern = 0.2 * torch.rand(*layer.hole.shape, 1, generator=torch.Generator().manual_seed(2))
            layer = layer._replace(pixels=(layer.pixels - pattern * (layer.alpha > 0)[..., None]).clamp(0, 1))
        if layer.domain == PERSON and with_segments:
            above = torch.arange(layer.box[1], layer.box[3])[:, None] < 62
            trunk = above & (layer.hole <= 0)
            parts = torch.where(trunk, SEGMENTS.index("torso"), SEGMENTS.index("lower leg")).to(torch.uint8)
            layer = layer._replace(segments=parts)
        layers.append(layer)
    return [one._replace(layers=tuple(layers))]


def test_layers_hand_their_segments_on(run_node, monkeypatch):
    scenes = people_layers(True)
    told = {layer.domain: own_values(layer, layer.hole[None, None], None) for layer in scenes[0].layers}
    assert "mild_segments" in told[PERSON] and sum("mild_segments" in values for values in told.values()) == 1
    monkeypatch.setattr(exemplar_model, "OTHER_PART", 5.0)  # her clothes are red and blue: farther apart than usual

    def sampled(strength, given):
        model = builtin.with_same_part(builtin.load_model(), strength)
        inputs = {"positive": builtin.empty_conditioning(), "layers": given, **WIDGETS, "steps": 2}
        done = run_node("MILD_SampleLayers", model=model, **inputs)[0]
        return {layer.domain: layer for layer in done[0].layers}

    plain, off, on = sampled(0, people_layers(False)), sampled(0, scenes), sampled(1, scenes)
    for domain, layer in plain.items():
        assert torch.equal(layer.pixels, off[domain].pixels) and torch.equal(layer.alpha, off[domain].alpha)
        changed = (layer.pixels != on[domain].pixels).any(-1)
        assert bool(changed.any()) == (domain == PERSON) and not changed[layer.hole <= 0].any()
