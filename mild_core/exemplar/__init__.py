"""The exemplar prior: a diffusion model without weights, whose only data are the photo's own patches."""

from .denoiser import NORMAL, QUALITIES, Quality, denoise, planned_work
from .effort import Shape, shape_of
from .references import Reference, register
from .unlike import TOO_UNLIKE, unlikeness

__all__ = [
    "NORMAL",
    "QUALITIES",
    "Quality",
    "Reference",
    "Shape",
    "TOO_UNLIKE",
    "denoise",
    "planned_work",
    "register",
    "shape_of",
    "unlikeness",
]
