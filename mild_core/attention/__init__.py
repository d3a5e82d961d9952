"""Attention that respects regions: which token may look at which, exactly, and how much each looked at the others."""
