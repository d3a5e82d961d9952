"""Attention of a MODEL: which block runs, what its tokens are, and who may change it."""
