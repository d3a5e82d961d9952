"""The exemplar prior: a diffusion model without weights, whose only data are the photo's own patches."""

from .denoiser import denoise
from .references import Reference, register

__all__ = ["Reference", "denoise", "register"]
