"""A photo and its people become layers."""
