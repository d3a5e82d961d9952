"""Human morphology: pose, parsing, and who stands before whom, from what other nodes saw."""
