"""A row of a batch gets the noise that it gets alone, with every sampler of ComfyUI; what joins rows says so."""

import functools
from typing import NamedTuple

import comfy.k_diffusion.sampling as k_diffusion
import comfy.model_base
import comfy.model_patcher
import comfy.samplers
import comfy.supported_models
import pytest
import torch

from mild.mild_core.comfy.sampling.row_noise import for_rows, sampled_alone
from mild.tests.helpers import tiny_models

SEEDS = (11, 2**63 - 1, 5)
STEPS = 4
SIZE = (4, 8, 8)  # of a latent
CPU = torch.device("cpu")


class Case(NamedTuple):
    denoise: float
    cfg: float
    masked: bool


CASES = [Case(0.6, 7.0, False), Case(1.0, 1.0, True), Case(1.0, 7.0, False), Case(0.6, 1.0, True)]
"""The first two have everything once: for every sampler. All four: for one sampler of each kind."""

KINDS = ("euler", "ddim", "uni_pc", "euler_ancestral", "lcm", "er_sde", "dpmpp_sde", "dpmpp_2m_sde_gpu", "seeds_2",
         "sa_solver")  # fmt: skip
"""By the use of noise: none, under the mask, none and a loop of its own, drawn in each step by one function and by
others, a Brownian path on the CPU and on the GPU, several draws in a step.
"""


class Denoiser(torch.nn.Module):
    """Stands where a UNet would: sees neighbours, the time and the text, but no other row. Costs next to nothing."""

    dtype = torch.float32

    def __init__(self):
        super().__init__()
        self.sees = torch.nn.Conv2d(SIZE[0], SIZE[0], 3, padding=1, bias=False)

    def forward(self, x, timestep, context, **kwargs):
        shift = context.mean((1, 2)) + torch.sin(timestep.flatten())
        return x / 2 + torch.tanh(self.sees(x) + shift[:, None, None, None]) / 2


def make_model(kind):
    """A MODEL that predicts noise (SD1.5's kind) or flow (Flux' and SD3's: some samplers take another path)."""
    config = comfy.supported_models.SD15({"disable_unet_model_creation": True})
    kinds = {"noise": comfy.model_base.ModelType.EPS, "flow": comfy.model_base.ModelType.FLOW}
    network = comfy.model_base.BaseModel(config, kinds[kind])
    network.diffusion_model = tiny_models.randomize(Denoiser(), seed=0)
    return comfy.model_patcher.CoreModelPatcher(network.eval(), load_device=CPU, offload_device=CPU)


@pytest.fixture(params=["noise", "flow"], scope="module")
def model(request):
    return make_model(request.param)


@pytest.fixture(scope="module")
def noise_model():
    return make_model("noise")


def rows_of_noise(seeds):
    """What RandomNoise makes for batches of one."""
    return torch.cat([torch.randn(1, *SIZE, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def text(seed):
    return [[torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(seed)), {}]]


def sigmas_of(model, case, sampler_name="euler"):
    return comfy.samplers.KSampler(model, STEPS, CPU, sampler_name, "normal", case.denoise).sigmas


def sample(model, sampler, sigmas, case, noise, seed=0, rows=slice(None)):
    """Sample these of three rows as one batch; noise [B, 4, 8, 8] has only them, latents and masks are cut here."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(text(1), text(2))
    guider.set_cfg(case.cfg)
    latent, mask = torch.zeros(3, *SIZE)[rows], None
    if case.masked or case.denoise < 1:
        latent = rows_of_noise((70, 71, 72))[rows]
    if case.masked:
        mask = (rows_of_noise((80, 81, 82))[rows, :1] > 0).float()
    return guider.sample(noise, latent, sampler, sigmas, denoise_mask=mask, disable_pbar=True, seed=seed)


def each_alone(model, sampler, sigmas, case, seeds=SEEDS):
    """The three rows, each a batch of one with the SAMPLER as it is."""
    rows = [slice(row, row + 1) for row in range(3)]
    return torch.cat(
        [sample(model, sampler, sigmas, case, rows_of_noise(seeds[row]), seeds[row][0], row) for row in rows]
    )


def assert_rows_as_alone(model, sampler, sigmas, case):
    alone = each_alone(model, sampler, sigmas, case)
    # The guider has one seed for all rows, which must not matter.
    together = sample(model, for_rows(sampler, SEEDS), sigmas, case, rows_of_noise(SEEDS), seed=1)
    assert alone.isfinite().all()
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4 * float(alone.max() - alone.min()))


@pytest.mark.parametrize("name", comfy.samplers.SAMPLER_NAMES)
def test_row_in_a_batch_is_the_row_alone(model, name):
    sampler = comfy.samplers.sampler_object(name)
    assert sampled_alone(sampler) == (name == "dpm_adaptive")
    if not sampled_alone(sampler):
        for case in CASES if name in KINDS else CASES[:2]:
            assert_rows_as_alone(model, sampler, sigmas_of(model, case, name), case)


@pytest.mark.parametrize("name", comfy.samplers.SAMPLER_NAMES)
def test_one_row_is_stock_and_the_sampler_stays(noise_model, name):
    sampler = comfy.samplers.sampler_object(name)
    before = (sampler.sampler_function, dict(sampler.extra_options), dict(sampler.inpaint_options))
    case = CASES[-1]
    sigmas, noise = sigmas_of(noise_model, case, name), rows_of_noise([3])
    stock = sample(noise_model, sampler, sigmas, case, noise, seed=3, rows=slice(0, 1))
    ours = sample(noise_model, for_rows(sampler, [3]), sigmas, case, noise, seed=3, rows=slice(0, 1))
    assert torch.equal(ours, stock)
    assert (sampler.sampler_function, sampler.extra_options, sampler.inpaint_options) == before
    assert for_rows(sampler, [3]).sampler_function.__name__ == sampler.sampler_function.__name__


@pytest.mark.parametrize("name", KINDS)
def test_noise_belongs_to_the_seed(noise_model, name):
    """Another seed changes its own row and no other; equal seeds on equal rows are equal. (That every sampler's rows
    are those of their own seeds is test_row_in_a_batch_is_the_row_alone.)
    """
    sampler, case = comfy.samplers.sampler_object(name), CASES[2]
    sigmas, noise = sigmas_of(noise_model, case, name), rows_of_noise((1, 1, 2))

    def together(*seeds):
        return sample(noise_model, for_rows(sampler, seeds), sigmas, case, noise, seed=7)

    equal, other = together(4, 4, 4), together(4, 5, 4)
    assert torch.equal(equal[0], equal[1])
    assert torch.equal(equal[::2], other[::2])
    draws = [sample(noise_model, sampler, sigmas, case, noise[:1], seed, slice(0, 1)) for seed in (4, 5)]
    if torch.equal(*draws):
        assert torch.equal(equal, other)
    else:
        assert (equal[1] - other[1]).abs().mean() > 0.5 * (draws[0] - draws[1]).abs().mean() > 0


@pytest.mark.parametrize("name", ["euler_ancestral", "dpmpp_sde", "dpmpp_2m_sde_gpu", "lcm"])
def test_first_part_of_a_schedule(noise_model, name):
    """SplitSigmas: the last time is not 0."""
    sigmas = sigmas_of(noise_model, CASES[2])[:3]
    assert_rows_as_alone(noise_model, comfy.samplers.sampler_object(name), sigmas, CASES[2])


def test_schedule_without_steps(noise_model):
    """SplitSigmas at step 0 leaves a single time, and a Brownian path needs two."""
    sampler, sigmas = comfy.samplers.sampler_object("dpmpp_2m_sde"), sigmas_of(noise_model, CASES[2])[:1]
    assert_rows_as_alone(noise_model, sampler, sigmas, CASES[2])


NODES = [
    ("SamplerEulerAncestral", {"eta": 0.7, "s_noise": 1.1}),
    ("SamplerEulerAncestralCFGPP", {"eta": 0.7, "s_noise": 1.1}),
    ("SamplerDPMPP_2S_Ancestral", {"eta": 0.7, "s_noise": 1.1}),
    ("SamplerDPMPP_SDE", {"eta": 0.7, "s_noise": 1.1, "r": 0.4, "noise_device": "gpu"}),
    ("SamplerDPMPP_SDE", {"eta": 0.7, "s_noise": 1.1, "r": 0.4, "noise_device": "cpu"}),
    ("SamplerDPMPP_2M_SDE", {"solver_type": "heun", "eta": 0.7, "s_noise": 1.1, "noise_device": "cpu"}),
    ("SamplerDPMPP_3M_SDE", {"eta": 0.7, "s_noise": 1.1, "noise_device": "gpu"}),
    ("SamplerLMS", {"order": 3}),
    ("SamplerLCM", {"s_noise": 1.2, "s_noise_end": 0.8, "noise_clip_std": 0.0}),
    ("SamplerER_SDE", {"solver_type": "Reverse-time SDE", "max_stage": 2, "eta": 0.7, "s_noise": 1.1}),
    ("SamplerSEEDS2", {"solver_type": "phi_2", "eta": 0.7, "s_noise": 1.1, "r": 0.6}),
    ("SamplerEulerCFGpp", {"version": "regular"}),
    ("SamplerSASolver", {"eta": 1.0, "sde_start_percent": 0.0, "sde_end_percent": 1.0, "s_noise": 1.1,
                         "predictor_order": 2, "corrector_order": 3, "use_pece": True, "simple_order_2": True}),
    ("KSamplerSelect", {"sampler_name": "ddim"}),
]  # fmt: skip


@pytest.mark.parametrize("node, widgets", NODES, ids=[f"{node}-{i}" for i, (node, _) in enumerate(NODES)])
def test_samplers_of_nodes(run_node, noise_model, node, widgets):
    model = {"model": noise_model} if node == "SamplerSASolver" else {}
    (sampler,) = run_node(node, **model, **widgets)
    assert not sampled_alone(sampler)
    assert_rows_as_alone(noise_model, sampler, sigmas_of(noise_model, CASES[1]), CASES[1])


ALONE = [
    ("SamplerDPMAdaptative", {"order": 3, "rtol": 0.05, "atol": 0.0078, "h_init": 0.05, "pcoeff": 0.0, "icoeff": 1.0,
                              "dcoeff": 0.0, "accept_safety": 0.81, "eta": 0.0, "s_noise": 1.0}),
    ("SamplerLCMUpscale", {"scale_ratio": 1.0, "scale_steps": -1, "upscale_method": "bislerp"}),
    ("SamplerLCM", {"s_noise": 1.0, "s_noise_end": 1.0, "noise_clip_std": 2.0}),
    ("SamplerARVideo", {"num_frame_per_block": 1}),
    ("VOIDSampler", {}),
]  # fmt: skip


@pytest.mark.parametrize("node, widgets", ALONE, ids=[node for node, _ in ALONE])
def test_nodes_whose_samplers_join_rows(run_node, node, widgets):
    (sampler,) = run_node(node, **widgets)
    assert sampled_alone(sampler)
    assert for_rows(sampler, [4]) is sampler
    with pytest.raises(ValueError, match="3 cannot be one batch"):
        for_rows(sampler, SEEDS)


@pytest.mark.parametrize(
    "sampler",
    [
        comfy.samplers.KSAMPLER(functools.partial(k_diffusion.sample_dpmpp_2m_sde, eta=0.6, solver_type="heun")),
        comfy.samplers.KSAMPLER(functools.partial(k_diffusion.sample_lcm, noise_sampler=None), {"s_noise": 0.9}),
        comfy.samplers.KSAMPLER(k_diffusion.sample_er_sde, {"noise_scaler": functools.partial(torch.mul, 2.0)}),
        comfy.samplers.KSAMPLER(k_diffusion.sample_euler_ancestral, {"eta": 0.6}, {"random": True}),
    ],
    ids=["partial", "partial_without_noise", "option_is_partial", "random_backdrop"],
)
def test_samplers_made_by_hand(noise_model, sampler):
    assert not sampled_alone(sampler)
    assert_rows_as_alone(noise_model, sampler, sigmas_of(noise_model, CASES[1]), CASES[1])


def sample_euler_ancestral(model, x, sigmas, extra_args=None, callback=None, disable=None, noise_sampler=None):
    """Of another pack: called like ComfyUI's and takes noise, but draws some that nobody gave it."""
    return x + torch.randn_like(x)


@functools.wraps(k_diffusion.sample_dpmpp_sde)
def wrapped(*args, **kwargs):
    return k_diffusion.sample_dpmpp_sde(*args, **kwargs) + torch.randn(1)


class OtherSampler(comfy.samplers.KSAMPLER):
    """Of another pack: what it does with the function is its own affair."""


UNKNOWN = {
    "churn": comfy.samplers.ksampler("euler", {"s_churn": 0.5}),
    "churn_in_partial": comfy.samplers.KSAMPLER(functools.partial(k_diffusion.sample_heun, s_churn=0.5)),
    "same_name": comfy.samplers.KSAMPLER(sample_euler_ancestral),
    "wrapper": comfy.samplers.KSAMPLER(wrapped),
    "partial_of_unknown": comfy.samplers.KSAMPLER(functools.partial(sample_euler_ancestral, noise_sampler=None)),
    "partial_with_arguments": comfy.samplers.KSAMPLER(functools.partial(k_diffusion.sample_euler, None)),
    "subclass": OtherSampler(k_diffusion.sample_euler),
    "no_ksampler": comfy.samplers.Sampler(),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_unknown_samplers_run_alone(kind):
    assert sampled_alone(UNKNOWN[kind])


def test_replaced_function_runs_alone(monkeypatch):
    """Packs register functions under ComfyUI's names; another version of ComfyUI may take no noise."""
    monkeypatch.setattr(k_diffusion, "sample_euler_ancestral", sample_euler_ancestral)
    assert sampled_alone(comfy.samplers.sampler_object("euler_ancestral"))

    def sample_lcm(model, x, sigmas, extra_args=None, callback=None, disable=None):
        return x + torch.randn_like(x)

    sample_lcm.__module__ = k_diffusion.__name__
    monkeypatch.setattr(k_diffusion, "sample_lcm", sample_lcm)
    assert sampled_alone(comfy.samplers.sampler_object("lcm"))


def test_noise_that_is_passed_stays(noise_model):
    """It may know the shape of one row only, so it is used for batches of one, and as it is."""
    asked = []

    def noise(sigma, sigma_next):
        asked.append(float(sigma))
        return torch.zeros(1, *SIZE)

    sampler = comfy.samplers.ksampler("euler_ancestral", {"noise_sampler": noise})
    assert sampled_alone(sampler)
    sigmas = sigmas_of(noise_model, CASES[2])
    results = [
        sample(noise_model, for_rows(sampler, [seed]), sigmas, CASES[2], rows_of_noise([9]), seed, slice(0, 1))
        for seed in (1, 2)
    ]
    assert asked == [*sigmas[:-2].tolist()] * 2
    assert torch.equal(*results)


def test_rows_and_seeds_must_be_as_many(noise_model):
    sampler = for_rows(comfy.samplers.sampler_object("euler_ancestral"), SEEDS[:2])
    with pytest.raises(ValueError, match="3 rows are sampled, but noise is asked for 2"):
        sample(noise_model, sampler, sigmas_of(noise_model, CASES[2]), CASES[2], rows_of_noise(SEEDS))
