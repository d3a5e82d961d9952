"""Special models: one file for each, and what the sampler asks of all of them (`eraser`)."""
