"""Load the statistics of silhouettes of standing and walking people, trained by tools/train_silhouettes.py."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

MODEL_FILE = Path(__file__).parent / "standing.safetensors"

ROWS, COLUMNS, TALL = 64, 40, 56
"""The model's grid, and how many of its rows a whole person takes, in the middle."""

COARSE = 2
COARSE_COMPONENTS = 16
"""Places are first compared on a grid of half the size with the leading components."""


class Silhouettes(NamedTuple):
    """Statistics of aligned silhouettes, 0..1, on a grid of D = rows x columns cells."""

    mean: Tensor  # [D]
    components: Tensor  # [K, D], each times its standard deviation
    noise: Tensor  # [D], variance that they leave
    rows: int
    columns: int

    def coarser(self) -> "Silhouettes":
        """The same on a grid of half the size, with fewer components; the others become noise."""

        def pooled(value: Tensor) -> Tensor:
            return F.avg_pool2d(value.view(-1, 1, self.rows, self.columns), COARSE).flatten(1)

        components = pooled(self.components)
        left = pooled(self.noise[None])[0] / COARSE + components[COARSE_COMPONENTS:].square().sum(0)
        return Silhouettes(
            pooled(self.mean[None])[0],
            components[:COARSE_COMPONENTS],
            left,
            self.rows // COARSE,
            self.columns // COARSE,
        )


@lru_cache(maxsize=4)
def silhouettes(device: torch.device) -> Silhouettes:
    """The trained statistics, in float32."""
    loaded = {name: value.float().to(device) for name, value in load_file(MODEL_FILE).items()}
    return Silhouettes(loaded["mean"], loaded["components"], loaded["noise"], ROWS, COLUMNS)
