"""Who stands in front of whom."""
