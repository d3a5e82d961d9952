"""Boxes, blobs, growth, fill and crops in a frame: what every step uses."""
