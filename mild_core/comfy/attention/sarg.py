"""Guidance by a rule: the model is asked once plainly and once under the rule, and the step goes further that way.

    x0 = x0_plain + s (x0_rule - x0_plain)

Self-attention redirection guidance (SARG) of Attentive Eraser (AAAI 2025, arXiv 2412.12974), which writes it with
noises; both are linear in each other. With cfg 1 x0_plain is the whole prediction. With more, or with other nodes'
guidance, the same difference is added to whatever came out of them: always as the last one, because some (a guidance
limiter, outside its range) give back the plain prediction in place of what came before them.
"""

from typing import Any

import comfy.model_patcher
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...attention.rule import ALWAYS, Schedule
from .. import layouts
from . import catch
from .catch import Handler, Inner, Site
from .run import SamplingRun, progress
from .second_call import uncached

BRANCH = "mild_branch"
"""Key in transformer_options: which guidances' second branch this call of the model is."""

LAST = "mild_guidance"
"""Key of the wrapper that puts the guidance behind those of all other nodes."""

NO_PLACE = (
    "model: the guider of this sampling gives no place for guidance, so {title} would have no effect. Use KSampler or "
    "CFG Guider, or the method attention alone"
)


class Redirection:
    """A handler whose inner one works in the second branch only, and the function that asks for this branch."""

    def __init__(self, handler: Handler, scale: float, when: Schedule = ALWAYS):
        """scale: s, any number; 1 is what the rule gives, beyond it is exaggerated. when: no second branch else."""
        self.handler, self.scale, self.when = handler, scale, when
        self._asked = False
        self._plain: set[float] = set()

    @property
    def title(self) -> str:
        return self.handler.title

    def acts_on(self, block: layouts.Block, kind: str) -> bool:
        return self.handler.acts_on(block, kind)

    def begin(self, run: SamplingRun) -> None:
        self._asked = False
        self._plain.clear()
        self.handler.begin(run)

    def attend(
        self, inner: Inner, site: Site, q: Tensor, k: Tensor, v: Tensor, heads: int,
        transformer_options: dict[str, Any], *args: Any, **kwargs: Any,
    ) -> Tensor:  # fmt: skip
        if self not in transformer_options.get(BRANCH, ()):
            self._plain.add(site.progress)
            if len(self._plain) > 1 and not self._asked:  # it goes on to another step without us
                raise ValueError(NO_PLACE.format(title=self.title))
            return inner(q, k, v, heads, *args, **kwargs)
        return self.handler.attend(inner, site, q, k, v, heads, transformer_options, *args, **kwargs)

    def end(self) -> None:
        self.handler.end()

    def around(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        """Around a whole sampling (OUTER_SAMPLE): its own copy of the MODEL's options gets the guidance, as the last
        of all. A node's place on the MODEL would be before those of nodes after it.
        """
        comfy.model_patcher.set_model_options_post_cfg_function(executor.class_obj.model_options, self.guided)
        return executor(*args, **kwargs)

    def guided(self, args: dict[str, Any]) -> Tensor:
        """A post_cfg function: what came out so far, and the difference that the rule makes, s times."""
        denoised = args["denoised"]
        options = dict(args["model_options"])
        within = dict(options.get("transformer_options", {}))
        if args["cond"] is None or catch.KEY not in within:  # nothing was asked, or nobody would answer
            return denoised
        self._asked = True
        sigma = float(torch.as_tensor(args["sigma"]).flatten()[0])
        if self.when.at(progress(within["sample_sigmas"], sigma)) == 0:
            return denoised
        within = uncached(within) | {BRANCH: (*within.get(BRANCH, ()), self)}
        options["transformer_options"] = within
        (ruled,) = comfy.samplers.calc_cond_batch(args["model"], [args["cond"]], args["input"], args["sigma"], options)
        return denoised + (ruled - args["cond_denoised"]) * self.scale


def redirect(
    model: comfy.model_patcher.ModelPatcher, handler: Handler, key: str, scale: float, when: Schedule = ALWAYS
) -> comfy.model_patcher.ModelPatcher:
    """A clone of the MODEL that is guided by what the handler changes. Costs one more call of the model for each step
    (cfg 1 need not be computed as if it were more).
    """
    redirection = Redirection(handler, scale, when)
    patched = catch.put(model, redirection, key)
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, LAST, redirection.around)
    return patched
