"""Seeds that belong to names: the same names give the same chance, whatever else happens in a run."""

import hashlib


def seed_of(*names: object) -> int:
    """A seed of 63 bits for these names. (Not 64: ComfyUI's samplers add to a seed.)"""
    digest = hashlib.sha256(":".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
