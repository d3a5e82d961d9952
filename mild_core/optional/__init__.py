"""Packages that are not ComfyUI's own: one sentence for what is missing, and files that they run."""
