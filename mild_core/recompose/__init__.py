"""Layers become a photo again."""
