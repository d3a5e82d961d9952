"""A photo becomes layers, and layers become a photo again."""
