"""Sampling layers: each by a pathway of its own, equal ones as one batch, by ComfyUI's own samplers."""
