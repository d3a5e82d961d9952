"""The built-in model runs wherever any other MODEL does."""

import comfy.hooks
import comfy.model_management
import comfy.samplers
import pytest
import torch

from mild.mild_core.comfy.erasers import builtin, exemplar_model
from mild.mild_core.comfy.pixel_space import pixel_vae

SIZE = (37, 51)


@pytest.fixture(scope="module")
def scene():
    """Two photos with a smooth picture and a hole each, 37 x 51 px."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(2, 3, 8, 10, generator=generator)
    photos = torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic").clamp(0, 1).movedim(1, -1)
    masks = torch.zeros(2, *SIZE)
    masks[0, 5:20, 8:30] = 1
    masks[1, 10:30, 20:40] = 1
    return photos, masks


@pytest.fixture(scope="module")
def built_in():
    return builtin.load_model(), pixel_vae(), builtin.empty_conditioning()


def latent_of(photos, masks=None):
    latent = {"samples": pixel_vae().encode(photos)}
    return latent if masks is None else {**latent, "noise_mask": masks}


@pytest.fixture
def ksampler(run_node, built_in):
    """ksampler(latent, ...): KSampler on the built-in model, as pixels in -1..1."""
    model, _, empty = built_in

    def sample(latent, **changes):
        inputs = {
            "model": model,
            "seed": 1,
            "steps": 3,
            "cfg": 1.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "positive": empty,
            "negative": empty,
            "denoise": 1.0,
            **changes,
        }
        return run_node("KSampler", latent_image=latent, **inputs)[0]["samples"]

    return sample


def known(masks):
    return (masks == 0)[:, None].expand(-1, 3, -1, -1)


def test_node_gives_all_that_a_sampler_needs(run_graph, run_node, comfy, scene):
    photos, masks = scene
    graph = {
        "model": {"class_type": "MILD_BuiltInModel", "inputs": {"model": "exemplar"}},
        "photos": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(photos)}},
        "masks": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(masks)}},
        "encode": {"class_type": "VAEEncode", "inputs": {"pixels": ["photos", 0], "vae": ["model", 1]}},
        "mask": {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["encode", 0], "mask": ["masks", 0]}},
        "noise": {"class_type": "RandomNoise", "inputs": {"noise_seed": 5}},
        "guider": {"class_type": "BasicGuider", "inputs": {"model": ["model", 0], "conditioning": ["model", 2]}},
        "sampler": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "dpmpp_2m"}},
        "sigmas": {
            "class_type": "BasicScheduler",
            "inputs": {"model": ["model", 0], "scheduler": "karras", "steps": 3, "denoise": 1.0},
        },
        "sample": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                "noise": ["noise", 0],
                "guider": ["guider", 0],
                "sampler": ["sampler", 0],
                "sigmas": ["sigmas", 0],
                "latent_image": ["mask", 0],
            },
        },
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sample", 0], "vae": ["model", 1]}},
    }
    ran = run_graph(graph, wanted=["decode"])
    result = ran.outputs["decode"][0]
    assert result.shape == photos.shape and torch.isfinite(result).all()
    outside = masks == 0
    assert torch.allclose(result[outside], photos[outside], atol=1e-6)
    assert (result - photos)[masks > 0].abs().max() > 0.01
    previews = [step.preview[1] for step in ran.progress if step.preview]
    assert len(previews) == 3 and previews[0].size == (SIZE[1], SIZE[0])


@pytest.mark.parametrize("sampler_name", comfy.samplers.SAMPLER_NAMES)
def test_every_sampler_runs(ksampler, scene, sampler_name):
    photos, masks = scene
    latent = latent_of(photos[:1], masks[:1])
    result = ksampler(latent, sampler_name=sampler_name)
    assert torch.isfinite(result).all()
    # Some of core's samplers extrapolate a little, and two stop at sigma_min; that is so with every model.
    assert (result - latent["samples"])[known(masks[:1])].abs().max() < 5 * exemplar_model.SIGMA_MIN


@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
def test_every_scheduler_runs(ksampler, scene, scheduler):
    photos, masks = scene
    latent = latent_of(photos, masks)
    result = ksampler(latent, scheduler=scheduler)
    assert torch.isfinite(result).all()
    assert torch.allclose(result[known(masks)], latent["samples"][known(masks)], atol=1e-5)


def test_same_seed_same_picture(ksampler, scene):
    latent = latent_of(*scene)
    first = ksampler(latent)
    assert torch.equal(first, ksampler(latent))
    assert torch.equal(first, ksampler(latent, model=builtin.load_model()))


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_rows_are_different_photos(ksampler, scene, cfg):
    photos, masks = scene
    widgets = {"cfg": cfg, "scheduler": "simple", "denoise": 0.6}
    both = ksampler({**latent_of(photos, masks), "batch_index": [0, 1]}, **widgets)
    for row in range(2):
        # batch_index: alone, the row gets the noise that it has in the batch.
        latent = {**latent_of(photos[row : row + 1], masks[row : row + 1]), "batch_index": [row]}
        assert torch.allclose(ksampler(latent, **widgets)[0], both[row], atol=1e-5)
    assert (both[0] - both[1]).abs().max() > 0.1


def test_guidance_between_equal_conds_changes_nothing(ksampler, scene):
    latent = latent_of(*scene)
    assert torch.allclose(ksampler(latent, cfg=4.0), ksampler(latent), atol=1e-5)


def test_erased_pixels_leave_no_trace(ksampler, scene):
    photos, masks = scene
    inside = masks.bool()[..., None]
    green, red = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])
    results = [ksampler(latent_of(torch.where(inside, colour, photos), masks)) for colour in (green, red)]
    assert torch.equal(*results)


def test_half_precision_in_and_out(built_in, scene):
    photos, masks = scene
    network = built_in[0].model
    clean = pixel_vae().encode(photos)
    hole = masks[:, None]
    noisy = clean + 2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    answers = []
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        conds = {
            "clean": clean.to(dtype),
            "hole": hole.to(dtype),
            "allowed": 1 - hole.to(dtype),
            "references": [[], []],
        }
        answers.append(network.apply_model(noisy.to(dtype), torch.full((2,), 2.0, dtype=dtype), **conds))
        assert torch.isfinite(answers[-1]).all()
    assert torch.allclose(answers[0][known(masks)], answers[1][known(masks)], atol=1e-2)


def test_compute_dtype_of_the_model_does_not_matter(ksampler, built_in, scene):
    half = built_in[0].clone()
    half.set_model_compute_dtype(torch.bfloat16)
    latent = latent_of(*scene)
    assert torch.equal(ksampler(latent, model=half), ksampler(latent))


def test_without_mask_the_picture_is_resampled_from_itself(ksampler, scene):
    latent = latent_of(scene[0])
    result = ksampler(latent)
    assert torch.isfinite(result).all() and result.std() > 0.05
    assert result.min() >= latent["samples"].min() - 0.05 and result.max() <= latent["samples"].max() + 0.05


def test_lower_denoise_stays_nearer(ksampler, scene):
    latent = latent_of(scene[0])
    far, near = ((ksampler(latent, denoise=d) - latent["samples"]).abs().mean() for d in (1.0, 0.2))
    assert near < far


def test_allowed_pixels_of_any_size(ksampler, built_in, scene):
    photos, masks = scene
    latent = latent_of(photos, masks)
    left = torch.zeros(8, 8)
    left[:, :4] = 1
    only_left = [[built_in[2][0][0], {"mild_allowed": left}]]
    changed = latent_of(torch.cat([photos[:, :, :40], 1 - photos[:, :, 40:]], 2), masks)
    # What may not be looked at does not matter: the hole comes out the same when the far right is inverted.
    inside = (masks[:1] > 0)[:, None].expand(-1, 3, -1, -1)
    first, second = (ksampler(pick, positive=only_left, negative=only_left)[:1] for pick in (latent, changed))
    assert torch.allclose(first[inside], second[inside], atol=1e-5)
    assert not torch.allclose(first[inside], ksampler(latent)[:1][inside], atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_references_travel_in_the_conditioning(run_node, ksampler, scene, channels):
    photos, masks = scene
    pictures = torch.cat([photos, torch.ones_like(photos[..., :1])], -1)[..., :channels]
    model, _, conditioning = run_node("MILD_BuiltInModel", model="exemplar", references=pictures)
    assert len(conditioning[0][1]["mild_references"]) == 2
    full = torch.ones_like(masks)
    result = ksampler(latent_of(photos, full), model=model, positive=conditioning)
    assert torch.isfinite(result).all()


def test_cancel_leaves_the_next_run_unharmed(run_node, built_in, ksampler, scene):
    latent = latent_of(*scene)
    before = ksampler(latent, steps=4)
    for moment in (1, 3):
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            run_node(
                "KSampler",
                interrupt_at=moment,
                model=built_in[0],
                seed=2,
                steps=4,
                cfg=1.0,
                denoise=1.0,
                sampler_name="euler",
                scheduler="normal",
                positive=built_in[2],
                negative=built_in[2],
                latent_image=latent,
            )
    assert torch.equal(before, ksampler(latent, steps=4, model=built_in[0].clone()))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (64, 3)])
def test_tiny_sides(ksampler, size):
    photos = torch.rand(1, *size, 3, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(1, *size)
    masks[:, :, -1] = 1
    if size == (1, 1):
        masks = torch.zeros(1, 1, 1)
    result = ksampler(latent_of(photos, masks))
    assert result.shape == (1, 3, *size) and torch.isfinite(result).all()


def test_hooks_on_the_conditioning(ksampler, built_in, scene):
    hooks = comfy.hooks.HookGroup()
    hooks.add(comfy.hooks.TransformerOptionsHook({"wrappers": {}}))
    conditioning = [[built_in[2][0][0], {"hooks": hooks}]]
    latent = latent_of(*scene)
    assert torch.equal(ksampler(latent, positive=conditioning), ksampler(latent))


def test_part_of_a_picture_by_area(run_node, ksampler, built_in, scene):
    """ConditioningSetArea cuts clean pixels and hole like the noise."""
    (area,) = run_node(
        "ConditioningSetAreaPercentage", conditioning=built_in[2], width=0.5, height=0.5, x=0.2, y=0.3, strength=1.0
    )
    latent = latent_of(*scene)
    result = ksampler(latent, positive=built_in[2] + area)
    assert torch.isfinite(result).all()
    assert torch.allclose(result[known(scene[1])], latent["samples"][known(scene[1])], atol=1e-5)


@pytest.mark.parametrize(
    ("latent", "words"),
    [
        ({"samples": torch.zeros(1, 3, 16, 16)}, "empty: encode a photo"),
        ({"samples": torch.zeros(1, 4, 16, 16), "downscale_ratio_spacial": 8}, "empty: encode a photo"),
        ({"samples": torch.randn(1, 4, 16, 16)}, "works on pixels"),
        ({"samples": torch.randn(1, 3, 16, 16), "noise_mask": torch.ones(1, 16, 16)}, "nothing left to learn from"),
    ],
)
def test_one_sentence_for_bad_latents(ksampler, latent, words):
    with pytest.raises(ValueError, match=words):
        ksampler(latent)


def test_reference_with_nan_is_named(run_node):
    with pytest.raises(ValueError, match="references"):
        run_node("MILD_BuiltInModel", model="exemplar", references=torch.full((1, 4, 4, 3), float("nan")))


@pytest.mark.parametrize("size", [(512, 512), (4000, 6000)])
def test_memory_is_asked_for_in_proportion(built_in, size):
    """ComfyUI's own formula would ask for 77 GiB at 512 px, and unload everything else."""
    asked = built_in[0].model.memory_required([1, 3, *size])
    picture = 3 * 4 * size[0] * size[1]
    assert 4 * picture < asked < 700e6 + 10 * picture


def test_no_picture_stays_in_the_model(ksampler, built_in, scene):
    ksampler(latent_of(*scene))
    kept = sum(tensor.numel() for tensor in built_in[0].model.state_dict().values())
    assert kept == 2000  # the noise schedule
    assert not [value for value in vars(built_in[0].model.diffusion_model).values() if isinstance(value, torch.Tensor)]
