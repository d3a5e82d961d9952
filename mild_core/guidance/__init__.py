"""What a model is told of bodies: maps, skeleton and depth pictures, and relations between people as tokens."""
