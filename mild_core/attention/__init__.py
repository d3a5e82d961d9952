"""Attention under rules between regions: which token may look at which, and how much each looked at the others."""
