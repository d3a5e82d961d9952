"""Finding people: boxes, poses and detectors become people with masks."""
