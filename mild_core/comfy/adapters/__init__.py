"""Adapters (LoRA and its like) that only some layers of a batch get: read from files, routed by row, or merged."""
