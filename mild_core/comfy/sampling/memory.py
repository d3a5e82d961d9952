"""How many layers fit into one batch."""

import torch
from comfy import model_management, sampler_helpers
from comfy.model_patcher import ModelPatcher

AUTOMATIC, SAVE = "automatic", "save memory"
MEMORY = (AUTOMATIC, SAVE)

ESTIMATE_MARGIN = 1.5
"""ComfyUI puts chunks into one batch if this many times of what it expects them to need is free."""

MEASURED_MARGIN = 1.15
"""The same factor for what was measured in this very sampling."""


class Memory:
    """Counts rows before a batch starts: by ComfyUI's estimate, then by what the first batch has really needed."""

    def __init__(self, patcher: ModelPatcher, mode: str = AUTOMATIC):
        if mode not in MEMORY:
            raise ValueError(f"memory: got '{mode}', expected one of {', '.join(MEMORY)}.")
        self.patcher = patcher
        self.mode = mode
        self.bytes_per_cell: float | None = None  # of a row's latent, both halves of cfg included

    def rows(self, latent_shape: tuple[int, ...], conds: dict[str, list[dict]]) -> int:
        """Rows [1, c, ..., h, w] with conds like these that fit at a time; 1 at least."""
        if self.mode == SAVE:
            return 1
        if self.bytes_per_cell is not None:
            each = self.bytes_per_cell * _cells(latent_shape) * MEASURED_MARGIN
        else:
            # What one chunk of cond or uncond needs: ComfyUI runs them one after another where both do not fit.
            each = sampler_helpers.estimate_memory(self.patcher, [1, *latent_shape[1:]], conds)[1] * ESTIMATE_MARGIN
        return max(1, int(self._free() // max(each, 1)))

    def predicted(self, latent_shape: tuple[int, ...], rows: int) -> float:
        """Bytes that a batch of `rows` will need beside the weights, going by what was measured."""
        if self.bytes_per_cell is None:
            raise ValueError("nothing was measured yet")
        return self.bytes_per_cell * _cells(latent_shape) * rows

    def _free(self) -> float:
        """Bytes beside the MODEL's own weights once everything else has made room for it."""
        device = self.patcher.load_device
        free = self.patcher.get_free_memory(device)
        if self.patcher.is_dynamic():  # its weights make room by themselves
            return free
        loaded = [other for other in model_management.current_loaded_models if other.device == device]
        return free + sum(other.model_loaded_memory() for other in loaded) - self.patcher.model_size()

    def watch(self) -> None:
        """Before a batch starts. Only CUDA (and ROCm, which torch calls so) counts how much was in use at most."""
        if self.patcher.load_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.patcher.load_device)

    def learn(self, latent_shape: tuple[int, ...], rows: int) -> None:
        """After a batch has run: what it needed beside what is still there, which are the weights."""
        device = self.patcher.load_device
        if device.type == "cuda":
            needed = torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device)
            self.bytes_per_cell = max(self.bytes_per_cell or 0.0, needed / (rows * _cells(latent_shape)))


def _cells(latent_shape: tuple[int, ...]) -> int:
    cells = 1
    for side in latent_shape[2:]:
        cells *= side
    return cells
