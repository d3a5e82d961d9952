"""The exemplar prior: a diffusion model without weights, the photo's own patches being all it knows."""

from .denoiser import denoise
from .references import Reference, register

__all__ = ["Reference", "denoise", "register"]
