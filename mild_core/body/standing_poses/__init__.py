"""Statistics of people's poses in photos: mean and covariance of the joints, trained by tools/train_poses.py."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file
from torch import Tensor

MODEL_FILE = Path(__file__).parent / "poses.safetensors"


class Poses(NamedTuple):
    """Mean and covariance of the 18 joints' places, first across, then down, in heights of the body.

    People are seen from all sides, so places across and down are not correlated: one table for each is enough.
    """

    mean: Tensor  # [2, 18]
    covariance: Tensor  # [2, 18, 18]


@lru_cache(maxsize=1)
def poses() -> Poses:
    """The trained statistics, in float32 on the CPU."""
    return Poses(**{name: value.float() for name, value in load_file(MODEL_FILE).items()})
