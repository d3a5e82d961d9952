"""The denoiser: noisy picture in, clean picture out."""

from collections.abc import Callable

from torch import Tensor

from ..fill import push_pull


def denoise(
    x: Tensor,
    sigma: Tensor,
    clean: Tensor,
    hole: Tensor,
    allowed: Tensor | None = None,
    references: list[Tensor] | None = None,
    tick: Callable[[], None] | None = None,
) -> Tensor:
    """Predict the clean picture x0 [B, 3, H, W] from x [B, 3, H, W] = x0 + sigma * noise.

    sigma [B]; clean [B, 3, H, W] in -1..1 with the true pixels outside the hole; hole [B, 1, H, W] in 0..1, > 0 where
    pixels must be invented; allowed [B, 1, H, W]: the pixels that may be looked at (default: all outside the hole);
    references: further pictures [3, h, w] in -1..1 of the same place; tick is called often, so that a caller can
    raise to stop.
    """
    known = (hole <= 0).to(clean) if allowed is None else (hole <= 0).to(clean) * (allowed > 0.5).to(clean)
    return push_pull(clean, known)
