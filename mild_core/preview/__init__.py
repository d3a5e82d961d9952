"""Drawings that show an artist what was found and what is going to happen."""
