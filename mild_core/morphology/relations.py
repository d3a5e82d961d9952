"""How people stand to one another, as numbers that a network can read: each by herself, and each towards each."""

    "y",
    "width",
    "height",
    "centroid x",
    "centroid y",
    "size",
    "depth rank",
    "hidden share",
    "erased",
    "sure",
)

PAIRS = ("overlap", "distance", "contact", "contact x", "contact y", "in front", "other erased")
