"""Erase by Attention's SRA and AdaEraser with the whole attention matrix, to compare ours with."""

import mild.tests.helpers.in_process  # noqa: F401 (puts ComfyUI in place, so it stands first)

# isort: split
import torch
import torch.nn.functional as F
from comfy.patcher_extension import WrappersMP

from mild.mild_core.attention import evaluate
from mild.mild_core.comfy.attention import catch
from mild.mild_core.comfy.attention.run import rows_of
from mild.tests.helpers.attention import Noting

SRA, ADA = "self-rectifying attention", "adaeraser"
BOX = (20, 14, 52, 50)
"""A hole that leaves some picture on the coarsest grids."""


def cells(mask, spans, kind):
    """[N]: which of these tokens a mask [H, W] touches, in pictures of this kind."""
    found = torch.zeros(sum(span.length for span in spans), dtype=torch.bool)
    for span in spans:
        if span.kind == kind:
            pooled = F.adaptive_max_pool2d(mask[None].float(), span.grid).flatten() > 0
            found[span.start : span.start + span.length] = pooled
    return found


class Dense(Noting):
    """A method with the whole attention matrix. A mask [H, W] for each row of the latent, or layer, by its name."""

    only = None  # blocks; None: all
    also = None  # [H, W]: another hole, which does not look at itself

    def __init__(self, masks):
        super().__init__()
        self.masks = masks

    def attend(self, inner, site, q, k, v, heads, transformer_options, *args, **kwargs):
        self.sites.append(site)
        asked = evaluate.logits_of(q, k, v, heads, *args, **kwargs)
        rows = rows_of(self.runs[-1], transformer_options, len(q))
        plain = inner(q, k, v, heads, *args, **kwargs)
        if site.kind == "cross" or (self.only is not None and site.block not in self.only):
            return plain
        values = v if kwargs.get("skip_reshape") else v.flatten(2).unflatten(-1, (heads, -1)).transpose(1, 2)
        out = torch.empty(*asked.q.shape[:3], values.shape[-1])
        for n, row in enumerate(rows):
            logits = asked.q[n] @ asked.k[n].transpose(-1, -2) * asked.scale
            seen = asked.mask_of(n)
            if seen is not None:
                logits = logits.masked_fill(~seen, float("-inf")) if seen.dtype == torch.bool else logits + seen
            mask = self.masks[row.layer if row.layer in self.masks else 0]
            hole, shown = (cells(mask, site.spans, kind) for kind in ("image", "reference"))
            picture = cells(torch.ones_like(mask), site.spans, "image")
            if 0 < hole.sum() < picture.sum():
                chunk = transformer_options["uuids"][n * len(transformer_options["uuids"]) // len(rows)]
                name = site.block, site.kind, chunk, row.layer
                logits = self.changed(logits, hole, shown, picture, name, transformer_options)
            if self.also is not None and "test_source" not in transformer_options:
                second = cells(self.also, site.spans, "image")
                if second.sum() < picture.sum():
                    logits = logits.masked_fill(second[:, None] & second, float("-inf"))
            out[n] = logits.softmax(-1) @ values[n]
        out = out if kwargs.get("skip_output_reshape") else out.transpose(1, 2).flatten(2)
        return plain if torch.allclose(out, plain, atol=1e-6) else out


class DenseSRA(Dense):
    """softmax(S + m) V, m minus infinity where query and key lie in the hole."""

    def changed(self, logits, hole, shown, picture, name, options):
        return logits.masked_fill(hole[:, None] & (hole | shown), float("-inf"))


class DenseAda(Dense):
    """log(1 - p) is added to the logits of the hole's keys. The source is asked for before each step's own call."""

    def __init__(self, masks, latent, noise):
        super().__init__(masks)
        self.latent, self.noise, self.rows, self.presences = latent, noise, {}, []

    def changed(self, logits, hole, shown, picture, name, options):
        rows = logits.softmax(-1).mean(0)[:, picture]
        if "test_source" in options:
            self.rows[name] = rows
            return logits
        present = F.cosine_similarity(rows, self.rows[name], dim=-1).clamp(0, 1 - 1e-7)
        self.presences.append(present[hole])
        eta = torch.where(hole, 1 - present, 1.0).masked_fill(shown, 0)
        return logits + eta.log()

    def before(self, executor, model, conds, x, timestep, model_options):
        source = model.model_sampling.noise_scaling(timestep, self.noise, model.process_latent_in(self.latent))
        options = model_options["transformer_options"] | {"test_source": True}
        executor(model, conds, source, timestep, {**model_options, "transformer_options": options})
        return executor(model, conds, x, timestep, model_options)

    def on(self, model):
        model = catch.put(model, self, "test")
        model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "test", self.before)
        return model


def latent_of(tiny, height=8, width=8, batch=1, seed=7):
    return torch.randn(tiny.shape(height, width, batch), generator=torch.Generator().manual_seed(seed))
