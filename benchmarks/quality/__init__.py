"""How good the results are, against known truth."""
