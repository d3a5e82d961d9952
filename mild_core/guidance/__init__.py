"""What a model is conditioned with: maps of bodies, skeleton and depth pictures, and relations of people as tokens."""
