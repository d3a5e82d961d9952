"""The network of body guidance: nothing before training, then everything it is shown matters, where it is sure."""

import pytest
import torch
from safetensors import safe_open

from mild.mild_core.body.body_parts import PARTS
from mild.mild_core.guidance.config import GuidanceConfig, check, from_metadata
from mild.mild_core.guidance.maps import CHANNELS, LARGEST, whole_photo_maps
from mild.mild_core.guidance.network import CONFIDENCE, MorphologyGuidance, save_guidance
from mild.mild_core.guidance.token_features import people_of
from mild.tests.helpers.bodies import morphology

CONFIGS = {
    "unet": GuidanceConfig("sd15", (16, 24, 32), (2, 5, 8), (8, 12, 16), 20, token_width=16, token_heads=2),
    "flux": GuidanceConfig("flux", (24, 24), (0, 2), (12,), 20, patch=2, token_width=16, token_heads=2),
    "flux2": GuidanceConfig("flux2", (24,), (0,), (12,), 20, cell=16, token_width=16, token_heads=2),
}
PRIORS = {
    "pose": slice(0, 3),
    "parsing": slice(3, 3 + len(PARTS) - 1),
    "who stands where": slice(3 + len(PARTS) - 1, CONFIDENCE),
}


def network(kind, seed=0):
    """With weights as after some training: nothing is zero."""
    generator = torch.Generator().manual_seed(seed)
    made = MorphologyGuidance(CONFIGS[kind])
    for parameter in made.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.copy_(noise * (parameter[0].numel() if parameter.ndim > 1 else 4) ** -0.5)
    return made


def random_maps(kind, cells=(9, 7), rows=1, seed=1):
    cell = CONFIGS[kind].map_cell
    return torch.rand(
        rows, len(CHANNELS), cells[0] * cell, cells[1] * cell, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("kind", CONFIGS)
def test_nothing_is_added_before_training(kind):
    for residual in MorphologyGuidance(CONFIGS[kind])(random_maps(kind)):
        assert torch.equal(residual, torch.zeros_like(residual))


@pytest.mark.parametrize("cells", [(8, 8), (9, 7), (1, 1), (2, 5)])
def test_residuals_have_the_models_own_sizes(cells):
    """A UNet's levels halve, begun cells counted; Flux's tokens are 2 x 2 cells."""
    sizes = [cells]
    for _ in range(2):
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    shapes = [tuple(one.shape) for one in network("unet")(random_maps("unet", cells, 2))]
    assert shapes == [(2, width, *size) for width, size in zip((16, 24, 32), sizes, strict=True)]
    tokens = -(-cells[0] // 2) * -(-cells[1] // 2)
    assert [tuple(one.shape) for one in network("flux")(random_maps("flux", cells))] == [(1, tokens, 24)] * 2
    assert [tuple(one.shape) for one in network("flux2")(random_maps("flux2", cells))] == [(1, cells[0] * cells[1], 24)]


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("prior", PRIORS)
def test_each_prior_alone_changes_what_is_added(kind, prior):
    made, maps = network(kind), random_maps(kind)
    without = maps.clone()
    without[:, PRIORS[prior]] = 0
    alone = torch.zeros_like(maps)
    alone[:, CONFIDENCE] = 1
    empty = made(alone)
    alone[:, PRIORS[prior]] = maps[:, PRIORS[prior]]
    for full, less, only, nothing in zip(made(maps), made(without), made(alone), empty, strict=True):
        assert not torch.allclose(full, less, rtol=1e-2) and not torch.allclose(only, nothing, rtol=1e-2)


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_parameter_learns(kind):
    made = network(kind)
    everyone = people_of(morphology((40, 60), [(2, 3, 20, 38), (15, 5, 50, 36)]), 1)
    mixed = made.tokens.mix(torch.randn(1, 5, 20), made.tokens(everyone), everyone.confidence)
    (sum(one.square().mean() for one in made(random_maps(kind))) + mixed.square().mean()).backward()
    assert [name for name, one in made.named_parameters() if one.grad is None or not bool(one.grad.any())] == []


@pytest.mark.parametrize("kind", CONFIGS)
def test_training_can_start_from_zero(kind):
    """The convolutions at the end learn first; what lies before them from the second step on."""
    made, maps = MorphologyGuidance(CONFIGS[kind]), random_maps(kind)
    optimizer = torch.optim.SGD(made.parameters(), 0.1)
    for step in range(2):
        optimizer.zero_grad()
        sum((one - 1).square().mean() for one in made(maps)).backward()
        assert all(bool(one.weight.grad.any()) for one in made.leave)
        assert bool(made.enter.weight.grad.any()) == (step > 0)
        optimizer.step()


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_added_fades_with_confidence(kind):
    made, maps = network(kind), random_maps(kind)
    maps[:, CONFIDENCE] = 1
    # Confidence does not reach the network twice: it reads the same maps here, and only the gate changes.
    made.enter.weight.data.unflatten(1, (len(CHANNELS), -1))[:, CONFIDENCE] = 0
    full = made(maps)
    sizes = []
    for confidence in (0.5, 0.1, 0.0):
        maps[:, CONFIDENCE] = confidence
        for faded, whole in zip(made(maps), full, strict=True):
            assert torch.allclose(faded, whole * confidence, atol=1e-6)
        sizes.append(float(made(maps)[0].detach().abs().sum()))
    assert sizes[0] > sizes[1] > sizes[2] == 0


def test_confidence_gates_place_by_place():
    made, maps = network("unet"), random_maps("unet", (16, 16))
    maps[:, CONFIDENCE] = 0
    maps[:, CONFIDENCE, :16] = 1  # the upper half of 32
    for residual in made(maps):
        half = residual.shape[-2] // 2
        assert bool(residual[:, :, :half].all()) and not bool(residual[:, :, half:].any())


def test_a_tokens_place_is_its_cells_place():
    made, maps = network("flux"), random_maps("flux", (6, 10))
    maps[:, CONFIDENCE] = 0
    maps[:, CONFIDENCE, 4:8, 12:16] = 1  # cells 2-3, 6-7: the token in row 1, column 3 of 3 x 5
    for residual in made(maps):
        assert residual.any(-1).nonzero().tolist() == [[0, 1 * 5 + 3]]


@pytest.mark.parametrize("kind", CONFIGS)
def test_broken_weights_reach_nothing_that_is_unsure(kind):
    made, maps = network(kind), random_maps(kind)
    for parameter in made.leave.parameters():
        parameter.data.fill_(float("nan"))
    maps[:, CONFIDENCE] = 0
    assert all(torch.equal(one, torch.zeros_like(one)) for one in made(maps))


@pytest.mark.parametrize("kind", CONFIGS)
def test_rows_do_not_mix(kind):
    made, maps = network(kind), random_maps(kind, rows=3)
    for row in range(3):
        for together, alone in zip(made(maps), made(maps[row : row + 1]), strict=True):
            assert torch.allclose(together[row], alone[0], atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_a_file_names_its_network(tmp_path, dtype):
    made, path = network("flux").to(dtype), tmp_path / "a.safetensors"
    save_guidance(path, made, CONFIGS["flux"])
    with safe_open(path, framework="pt") as file:
        config = from_metadata(file.metadata())
        weights = {name: file.get_tensor(name) for name in file.keys()}
    assert config == CONFIGS["flux"] and {value.dtype for value in weights.values()} == {dtype}
    again = MorphologyGuidance(config).to(dtype)
    again.load_state_dict(weights)
    for one, other in zip(again.parameters(), made.parameters(), strict=True):
        assert torch.equal(one.float(), other.float())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "controlnet"}, "not a file of body guidance"),
        ({"labels": "LIP"}, "another label set"),
        ({"maps": "0" * 12}, "another label set"),
        ({"relations": "0" * 12}, "other relations"),
        ({"widths": "16,x"}, "damaged"),
        ({"family": "sd9"}, "'sd9'"),
        ({"widths": "16,24"}, "contradict"),
        ({"depth": "100000000"}, "contradict"),
        ({"blocks": "2,2,8"}, "contradict"),
        ({"token_heads": "3"}, "contradict"),
        ({"inner": "8,-12,16"}, "contradict"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(ValueError, match=words) as raised:
        from_metadata(CONFIGS["unet"].metadata() | changes)
    assert str(raised.value).count(". ") == 0


def test_metadata_may_be_absent():
    for metadata in (None, {}):
        with pytest.raises(ValueError, match="not a file of body guidance"):
            from_metadata(metadata)
    said = CONFIGS["unet"].metadata()
    del said["inner"]
    with pytest.raises(ValueError, match="damaged"):
        from_metadata(said)
    for config in CONFIGS.values():
        check(config)


def test_whole_photos_show_everyone_who_stays():
    size, boxes = (300, 520), [(20, 30, 140, 290), (150, 20, 300, 280), (330, 10, 500, 290)]
    maps = whole_photo_maps([morphology(size, boxes, erased=(2,)), morphology(size, boxes, erased=(1, 2, 3), photo=1)])
    assert maps.shape == (2, len(CHANNELS), round(300 * LARGEST / 520), LARGEST)
    here = {name: maps[0, CHANNELS.index(name)] for name in ("this", "kept", "erased")}
    for (x0, y0, x1, y1), name in zip(boxes, ("this", "erased", "this"), strict=True):
        inside = tuple(
            slice(round(a * LARGEST / 520) + 2, round(b * LARGEST / 520) - 2) for a, b in ((y0, y1), (x0, x1))
        )
        assert all(bool((here[other][inside] > 0.9).all()) == (other == name) for other in here)
        assert bool(maps[0, :3, inside[0], inside[1]].any()) == (name == "this")
    assert not bool(maps[1, :3].any()) and not bool(maps[1, CHANNELS.index("this")].any())
