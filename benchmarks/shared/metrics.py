"""How good a filled hole is. Pictures are float arrays [H, W, 3] in 0..1, areas bool arrays [H, W].

`perceptual` is ST-LPIPS (Ghildyal and Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022), not the classic
LPIPS of Zhang et al. 2018: the weights of the classic one are in no package, those of ST-LPIPS come with
`stlpips-pytorch` (AlexNet trunk and heads, trained on the same human judgements). Its spatial map is computed on the
crop around the hole (CONTEXT px of surroundings) and averaged over the hole's pixels. Figures may be compared with each
other, never with LPIPS figures printed elsewhere.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

CONTEXT = 32  # px of surroundings in the crop that the perceptual metric sees
SMALLEST_CROP = 96  # px: AlexNet's feature maps need some size
LARGEST_AREA = 4_000_000  # px of a crop: above, the metric would need gigabytes
RING = 3  # px just inside the seam
OUTSIDE = 16  # px: changes nearer to a given mask are the method's right (growth, fringe)
FLAT = 1.0  # grey levels of mean |Laplacian| in the truth: below, there is no texture to be sharp about
Picture = NDArray[np.float32]
Area = NDArray[np.bool_]


class Scores(NamedTuple):
    """One result on one scene. NaN: not measurable there."""

    perceptual: float  # ST-LPIPS in the hole, lower is better
    psnr: float  # dB in the hole
    sharpness: float  # mean |Laplacian| in the hole, result / truth; NaN where the truth is flat
    ring: float  # mean absolute error within RING px of the hole's border, inside; grey levels
    effect: float  # mean absolute error in the effect area, grey levels; NaN where there is none
    outside: float  # pixels of the saved PNG changed more than OUTSIDE px away from the given masks
    seconds: float


def score(
    result: Picture, photo: Picture, truth: Picture, hole: Area, given: Area, effect: Area, seconds: float
) -> Scores:
    """All figures of one result. `hole`: where they are taken; `given`: the union of the masks as handed over."""
    effect_error = float(np.abs(result - truth)[effect].mean() * 255) if effect.any() else math.nan
    return Scores(
        perceptual=perceptual(result, truth, hole),
        psnr=hole_psnr(result, truth, hole),
        sharpness=sharpness(result, truth, hole),
        ring=ring_error(result, truth, hole),
        effect=effect_error,
        outside=float(changed_outside(result, photo, given)),
        seconds=seconds,
    )


def hole_psnr(result: Picture, truth: Picture, hole: Area) -> float:
    """Peak signal to noise ratio over the hole's pixels, dB; equal pictures count as 60."""
    error = float(((result - truth)[hole] ** 2).mean())
    return min(60.0, -10 * math.log10(max(error, 1e-12)))


def sharpness(result: Picture, truth: Picture, hole: Area) -> float:
    """Mean |Laplacian| of the luma in the hole (one pixel from its border), result / truth; NaN: flat truth."""
    inside = cv2.erode(hole.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    inside = inside if inside.any() else hole
    means = []
    for picture in (result, truth):
        luma = cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_RGB2GRAY)
        means.append(float(np.abs(cv2.Laplacian(luma, cv2.CV_32F))[inside].mean() * 255))
    return means[0] / means[1] if means[1] >= FLAT else math.nan


def ring_error(result: Picture, truth: Picture, hole: Area) -> float:
    """Mean absolute error of the hole's pixels within RING px of a known pixel, grey levels."""
    distance = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
    ring = hole & (distance <= RING)
    return float(np.abs(result - truth)[ring].mean() * 255) if ring.any() else math.nan


def changed_outside(result: Picture, photo: Picture, given: Area, reach: int = OUTSIDE) -> int:
    """Pixels more than `reach` px from the given masks that differ in the 8-bit PNG (written, then read back)."""
    saved = read_png(save_png(result))
    original = np.round(photo * 255).astype(np.uint8)
    far = np.ones(given.shape, bool)
    if given.any():
        far = cv2.distanceTransform(1 - given.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > reach
    return int(((saved != original).any(-1) & far).sum())


def save_png(picture: Picture) -> bytes:
    """PNG of a picture as ComfyUI's SaveImage writes it (times 255, clipped, cut to 8 bits)."""
    buffer = io.BytesIO()
    Image.fromarray(np.clip(255.0 * picture, 0, 255).astype(np.uint8)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def read_png(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@cache
def metric() -> torch.nn.Module:
    """ST-LPIPS, AlexNet, spatial; on the CPU, weights from the package."""
    from stlpips_pytorch import stlpips

    return stlpips.LPIPS(net="alex", variant="shift_tolerant", spatial=True, verbose=False).eval()


def perceptual(result: Picture, truth: Picture, hole: Area) -> float:
    """Mean of the ST-LPIPS map over the hole's pixels (see the module's docstring)."""
    part = crop_around(hole)
    step = max(1, math.ceil(math.sqrt(hole[part].size / LARGEST_AREA)))
    with torch.no_grad():
        distances = metric()(to_tensor(result[part], step), to_tensor(truth[part], step))
    area = torch.from_numpy(hole[part].astype(np.float32))[None, None]
    area = torch.nn.functional.interpolate(area, size=distances.shape[-2:], mode="area")
    return float((distances * area).sum() / area.sum())


def crop_around(hole: Area) -> tuple[slice, slice]:
    """The hole's box with CONTEXT px around it and at least SMALLEST_CROP px long where the picture is."""
    slices = []
    for axis, length in enumerate(hole.shape):
        used = np.nonzero(hole.any(axis=1 - axis))[0]
        start, stop = int(used.min()) - CONTEXT, int(used.max()) + 1 + CONTEXT
        missing = max(0, SMALLEST_CROP - (stop - start))
        start, stop = start - missing // 2, stop + (missing + 1) // 2
        slices.append(slice(max(0, start), min(length, stop)))
    return slices[0], slices[1]


def to_tensor(picture: Picture, step: int) -> Tensor:
    """[1, 3, h, w] in -1..1, area-averaged by `step`, edges repeated up to SMALLEST_CROP."""
    tensor = torch.from_numpy(np.ascontiguousarray(picture, np.float32)).permute(2, 0, 1)[None] * 2 - 1
    tensor = torch.nn.functional.avg_pool2d(tensor, step, ceil_mode=True) if step > 1 else tensor
    return tensor


class Mean(NamedTuple):
    """A mean over photos and half the width of its 95 % interval."""

    value: float
    half: float
    n: int

    def text(self, digits: int) -> str:
        return "-" if self.n == 0 else f"{self.value:.{digits}f} ±{self.half:.{digits}f}"


def mean_with_interval(values: list[float], draws: int = 2000) -> Mean:
    """Mean and 95 % percentile-bootstrap interval over photos (half its width); NaN values do not count."""
    known = np.array([v for v in values if not math.isnan(v)])
    if len(known) == 0:
        return Mean(math.nan, math.nan, 0)
    picks = np.random.default_rng(0).integers(0, len(known), (draws, len(known)))
    low, high = np.percentile(known[picks].mean(1), [2.5, 97.5])
    return Mean(float(known.mean()), float(high - low) / 2, len(known))


def paired_table(title: str, rows: Mapping[str, Sequence[Any]], old: str, new: str, digits: int) -> str:
    """A table of means with intervals: rows of NamedTuples of numbers, all of one class and for the same scenes in the
    same order; at its end the mean difference, new less old, scene by scene.
    """
    fields = rows[new][0]._fields
    lines = [
        f"\n## {title}, n = {len(rows[new])}\n",
        f"| holes | {' | '.join(fields)} |",
        "|---" * (len(fields) + 1) + "|",
    ]

    def line(name: str, values: Callable[[str], list[float]]) -> str:
        return f"| {name} | " + " | ".join(mean_with_interval(values(field)).text(digits) for field in fields) + " |"

    for name, own in rows.items():
        lines.append(line(name, lambda field, own=own: [getattr(one, field) for one in own]))
    pairs = list(zip(rows[old], rows[new], strict=True))
    lines.append(line("difference", lambda field: [getattr(b, field) - getattr(a, field) for a, b in pairs]))
    return "\n".join(lines)
