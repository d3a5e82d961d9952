"""A SAMPLER for a batch in which every row gets the noise that it would get alone.

ComfyUI's samplers draw what they add while they run from one generator for the whole batch, so a layer would come out
otherwise in a batch than alone. Here a copy of the SAMPLER is made that hands its function a `noise_sampler` with one
seed per row. That is safe only for functions whose every draw is known, and whose rows do not see each other. Those of
ComfyUI are listed below, as read in its source (comfy/k_diffusion/sampling.py, comfy/extra_samplers/uni_pc.py). A
function is recognised by being the very one that ComfyUI has, never by what it calls itself: other packs register
functions of their own next to ComfyUI's and wrap them. Whatever is not recognised is sampled one layer at a time, which
is slower and always right.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

import comfy.samplers
import torch
from comfy.extra_samplers import uni_pc
from comfy.k_diffusion import sampling
from torch import Tensor


class Draws(Enum):
    """What noise a sampler function draws where it is given none."""

    NOTHING = auto()
    NORMAL = auto()  # default_noise_sampler: from a generator on the latent's device
    BROWNIAN = auto()  # BrownianTreeNoiseSampler: one path, so that noise fits the times it is asked for
    BROWNIAN_ON_DEVICE = auto()  # the same, drawn on the latent's device


KNOWN = {
    "euler": Draws.NOTHING,
    "euler_cfg_pp": Draws.NOTHING,
    "euler_ancestral": Draws.NORMAL,
    "euler_ancestral_cfg_pp": Draws.NORMAL,
    "heun": Draws.NOTHING,
    "heunpp2": Draws.NOTHING,
    "exp_heun_2_x0": Draws.NOTHING,
    "exp_heun_2_x0_sde": Draws.NORMAL,
    "dpm_2": Draws.NOTHING,
    "dpm_2_ancestral": Draws.NORMAL,
    "lms": Draws.NOTHING,
    "dpmpp_2s_ancestral": Draws.NORMAL,
    "dpmpp_2s_ancestral_cfg_pp": Draws.NORMAL,
    "dpmpp_sde": Draws.BROWNIAN,
    "dpmpp_sde_gpu": Draws.BROWNIAN_ON_DEVICE,
    "dpmpp_2m": Draws.NOTHING,
    "dpmpp_2m_cfg_pp": Draws.NOTHING,
    "dpmpp_2m_sde": Draws.BROWNIAN,
    "dpmpp_2m_sde_gpu": Draws.BROWNIAN_ON_DEVICE,
    "dpmpp_2m_sde_heun": Draws.BROWNIAN,
    "dpmpp_2m_sde_heun_gpu": Draws.BROWNIAN_ON_DEVICE,
    "dpmpp_3m_sde": Draws.BROWNIAN,
    "dpmpp_3m_sde_gpu": Draws.BROWNIAN_ON_DEVICE,
    "ddpm": Draws.NORMAL,
    "lcm": Draws.NORMAL,
    "ipndm": Draws.NOTHING,
    "ipndm_v": Draws.NOTHING,
    "deis": Draws.NOTHING,
    "res_multistep": Draws.NORMAL,
    "res_multistep_cfg_pp": Draws.NORMAL,
    "res_multistep_ancestral": Draws.NORMAL,
    "res_multistep_ancestral_cfg_pp": Draws.NORMAL,
    "gradient_estimation": Draws.NOTHING,
    "gradient_estimation_cfg_pp": Draws.NOTHING,
    "er_sde": Draws.NORMAL,
    "seeds_2": Draws.NORMAL,
    "seeds_3": Draws.NORMAL,
    "sa_solver": Draws.NORMAL,
    "sa_solver_pece": Draws.NORMAL,
}
"""ComfyUI's functions sample_<name> whose rows can be kept apart. dpm_adaptive is not among them: the error of all rows
together chooses its steps. ar_video is not: it seeds torch's global generator."""

JOINING_OPTIONS = ("s_churn", "noise_clip_std")
"""Options that join rows when above 0: churn draws from the global generator, lcm clips by the deviation of all rows'
noise together."""


def sampled_alone(sampler: comfy.samplers.Sampler) -> bool:
    """True for a SAMPLER whose rows cannot be kept apart: each layer has to be a batch of its own."""
    return _draws(sampler) is None


def for_rows(sampler: comfy.samplers.Sampler, seeds: Sequence[int]) -> comfy.samplers.Sampler:
    """A copy of the SAMPLER that gives row i of a batch the noise of a batch of that row alone with seeds[i].

    The SAMPLER itself comes back where nothing has to change. Raises ValueError for several seeds where the rows have
    to be sampled alone.
    """
    draws = _draws(sampler)
    if draws is None:
        if len(seeds) > 1:
            raise ValueError(f"sampler: rows of this SAMPLER depend on each other, {len(seeds)} cannot be one batch.")
        return sampler
    if draws is Draws.NOTHING and not sampler.inpaint_options.get("random", False):
        return sampler
    twin = copy.copy(sampler)
    twin.sampler_function = _by_rows(sampler, draws, seeds)
    return twin


class RowNoise:
    """noise_sampler(sigma, sigma_next) -> noise [B, ...] like x, row i as if drawn for that row alone with seeds[i].

    sigmas: the schedule, some of it above 0. draws: which noise. Raises ValueError when x has not one row per seed.
    """

    def __init__(self, x: Tensor, sigmas: Tensor, seeds: Sequence[int], draws: Draws):
        if len(x) != len(seeds):
            raise ValueError(f"sampler: {len(x)} rows are sampled, but noise is asked for {len(seeds)}.")
        self.samplers: list[Callable[[Tensor, Tensor], Tensor]]
        if draws is Draws.NORMAL:
            self.samplers = [sampling.default_noise_sampler(x[i : i + 1], seed=seed) for i, seed in enumerate(seeds)]
        else:
            # Given a list of seeds, ComfyUI's own Brownian noise takes one for each row.
            on_cpu = draws is Draws.BROWNIAN
            first, last = sigmas[sigmas > 0].min(), sigmas.max()
            self.samplers = [sampling.BrownianTreeNoiseSampler(x, first, last, seed=list(seeds), cpu=on_cpu)]

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        return torch.cat([sampler(sigma, sigma_next) for sampler in self.samplers])


def _by_rows(sampler: comfy.samplers.KSAMPLER, draws: Draws, seeds: Sequence[int]) -> Callable:
    """The sampler's function, with noise for rows that have these seeds."""
    function = sampler.sampler_function
    random_backdrop = sampler.inpaint_options.get("random", False)

    # Whoever asks the sampler for its name (logs, other packs) gets the one it had.
    @functools.wraps(function)
    def by_rows(model: Any, x: Tensor, sigmas: Tensor, **options: Any) -> Tensor:
        if random_backdrop:
            # KSAMPLER has just drawn what is laid under the known part of the latent (ddim) from one seed for all.
            model.noise = _backdrop(model.noise, seeds)
        # With a single time the functions return before they draw, and a Brownian path needs two.
        if draws is not Draws.NOTHING and len(sigmas) > 1:
            options["noise_sampler"] = RowNoise(x, sigmas, seeds, draws)
        return function(model, x, sigmas, **options)

    return by_rows


def _backdrop(like: Tensor, seeds: Sequence[int]) -> Tensor:
    """Noise as KSAMPLER draws it for `random` inpaint options, but row by row."""
    rows = [
        torch.randn(like[:1].shape, generator=torch.Generator().manual_seed(seed + 1), device="cpu") for seed in seeds
    ]
    return torch.cat(rows).to(like)


def _draws(sampler: comfy.samplers.Sampler) -> Draws | None:
    """What noise a SAMPLER draws; None where that, or how its rows belong together, is not known."""
    # A subclass may sample in whatever way: only KSAMPLER itself is known.
    if type(sampler) is not comfy.samplers.KSAMPLER:
        return None
    function: Any = sampler.sampler_function
    options = sampler.extra_options
    if isinstance(function, functools.partial):  # a partial of a partial is folded into one by Python
        if function.args:
            return None
        function, options = function.func, {**function.keywords, **options}
    # Noise that the artist's SAMPLER brings along stays in use, and there is only one of it.
    if options.get("noise_sampler") is not None or any((options.get(name) or 0) > 0 for name in JOINING_OPTIONS):
        return None
    return _drawn_by(function)


def _drawn_by(function: Callable) -> Draws | None:
    """The same for a sampler function without options."""
    if function in (uni_pc.sample_unipc, uni_pc.sample_unipc_bh2):
        return Draws.NOTHING
    # ComfyUI makes this function anew for every SAMPLER, from the same code. Its noise is multiplied by zero.
    if getattr(function, "__code__", None) is comfy.samplers.ksampler("dpm_fast").sampler_function.__code__:
        return Draws.NOTHING
    for name, draws in KNOWN.items():
        if function is getattr(sampling, f"sample_{name}", None):
            # Another pack's function in place of ComfyUI's is not known, nor one that takes no noise of ours.
            replaced = inspect.unwrap(function).__module__ != sampling.__name__
            takes_noise = "noise_sampler" in inspect.signature(function).parameters
            return None if replaced or (draws is not Draws.NOTHING and not takes_noise) else draws
    return None
