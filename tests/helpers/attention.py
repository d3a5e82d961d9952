"""Handlers and overrides that note what they get, and plain ComfyUI sampling without a cache between."""

import mild.tests.helpers.in_process  # noqa: F401 (puts ComfyUI in place, so it stands first)

# isort: split
import comfy.patcher_extension
import comfy.sample
import torch

from mild.mild_core.attention import evaluate
from mild.mild_core.attention.factors import RowRule
from mild.mild_core.comfy.attention import catch

OVERRIDE = "optimized_attention_override"
CONTEXT_WINDOWS = {
    "context_overlap": 1, "context_schedule": "standard_static", "context_stride": 1, "closed_loop": False,
    "fuse_method": "pyramid", "freenoise": False, "cond_retain_index_list": "", "split_conds_to_windows": False,
    "latent_retain_index_list": "", "causal_window_fix": False,
}  # fmt: skip
"""Widgets of ContextWindowsManual, but for context_length and dim."""
UNETS = ("sd15", "sd2", "sdxl")
TRANSFORMERS = (
    "sd3", "flux", "flux_fill", "flux2", "chroma", "chroma_radiance", "qwen_image", "lumina2", "z_image",
)  # fmt: skip


def handlers(model, key):
    """Those that were put on the MODEL under this key, in order."""
    wrappers = model.get_wrappers(comfy.patcher_extension.WrappersMP.OUTER_SAMPLE, catch.KEY)
    return [sampling.handler for sampling in wrappers if sampling.key == key]


class Noting:
    """Leaves attention as it is, or as `change(inner, site, q, k, v, heads, *args, **kwargs)` has it."""

    def __init__(self, name="", log=None, change=None):
        self.name, self.change = name, change
        self.log = [] if log is None else log
        self.runs, self.ended, self.sites, self.sizes = [], 0, [], []

    title = "Noting"

    def acts_on(self, block, kind):
        return True

    def begin(self, run):
        self.runs.append(run)

    def end(self):
        self.ended += 1

    def attend(self, inner, site, q, k, v, heads, transformer_options, *args, **kwargs):
        self.sites.append(site)
        self.sizes.append((q.shape[0], q.shape[-2], k.shape[-2]))
        self.log.append(self.name)
        self.options = transformer_options
        if self.change is not None:
            return self.change(inner, site, q, k, v, heads, *args, **kwargs)
        return inner(q, k, v, heads, *args, **kwargs)


def sampled(
    tiny, model=None, height=8, width=8, batch=1, steps=2, cfg=2.0, positive=None, sampler="euler", latent=None, **more
):
    """What KSampler gives from noise: a latent's samples. latent: [B, ...] in place of zeros of this size."""
    latent = tiny.empty_latent(height, width, batch)["samples"] if latent is None else latent
    noise = comfy.sample.prepare_noise(latent, 1)
    positive = positive or tiny.positive
    with torch.inference_mode():
        return comfy.sample.sample(
            model or tiny.model, noise, steps, cfg, sampler, "simple", positive, tiny.negative, latent, seed=1,
            disable_pbar=True, **more,
        )  # fmt: skip


def close(first, second):
    """Whether two samples agree but for rounding."""
    return torch.allclose(first, second, rtol=1e-3, atol=1e-3 * float(second.abs().max()))


def noting_calls(model, what):
    """A clone of the MODEL (results of one MODEL are cached), and a list that gets what(x, t, c_concat, c_crossattn,
    control, transformer_options, ...) of each call of its network.
    """
    model, calls = model.clone(), []

    def note(executor, *args, **kwargs):
        calls.append(what(*args, **kwargs))
        return executor(*args, **kwargs)

    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "note", note)
    return model, calls


def counting_calls(model):
    """A clone of the MODEL, and a list that gets the batch of each call of its network."""
    return noting_calls(model, lambda x, *_, **__: len(x))


def hooked(model):
    """The network's modules that have hooks."""
    found = model.model.named_modules()
    return [name for name, module in found if module._forward_hooks or module._forward_pre_hooks]


def biased(inner, site, q, k, v, heads, *args, **kwargs):
    """The first half of the queries looks away from the last half of the keys, in self- and joint attention."""
    if site.kind == "cross":
        return inner(q, k, v, heads, *args, **kwargs)
    side = (torch.arange(q.shape[-2]) * 2 >= q.shape[-2]).float()[:, None]
    rule = RowRule(a=-3 * (1 - side), b=side)
    return evaluate.attend(inner, q, k, v, heads, *args, rows=[rule] * len(q), form="columns", whole=inner.whole,
                           **kwargs)  # fmt: skip


def overridden(model, override):
    """A clone on which another node has set its override, over whatever was there."""
    model = model.clone()
    model.model_options["transformer_options"][OVERRIDE] = override
    return model


class Foreign:
    """Another node's override, which hands on."""

    def __init__(self):
        self.widths = []

    def __call__(self, func, q, k, v, heads, *args, **kwargs):
        assert kwargs["_inside_attn_wrapper"] and kwargs["transformer_options"]
        self.widths.append(q.shape[-1] if q.ndim == 4 else q.shape[-1] // heads)
        return func(q, k, v, heads, *args, **kwargs)


def mask_of(height=64, width=64, box=(34, 38, 60, 56)):
    """White in a box, which is meant for 64 x 64; there it touches one of the 2 x 2 coarsest tokens."""
    mask = torch.zeros(1, height, width)
    down, across = height / 64, width / 64
    mask[:, round(box[1] * down) : round(box[3] * down), round(box[0] * across) : round(box[2] * across)] = 1
    return mask


def near(one, other, tolerance=1e-4):
    return torch.allclose(one, other, atol=tolerance * max(1.0, other.abs().max().item()), rtol=0)
