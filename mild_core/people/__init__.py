"""Masks become people: who they are, who goes, who stands in front, where somebody goes on unseen."""
