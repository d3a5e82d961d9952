"""Detectors and parsers of other packages, and where ComfyUI keeps their files."""
