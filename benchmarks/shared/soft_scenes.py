"""Composed scenes with the rims that cameras make: soft, smeared by motion, saved as JPEG; or behind thin things.

The people and plates are those of `scenes.py`. What is drawn of each scene depends on SEED and its name alone.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mild.benchmarks.shared import scenes
from mild.benchmarks.shared.cutouts import Cutout

SOFTNESS = (0.4, 0.8, 1.3, 2.0)  # standard deviation of the rim's blur, px: ramps of 1 to 5 px
MOTION = (4, 7, 10)  # px that somebody moved while the shutter was open; a third of the scenes
QUALITY = (75, 85, 92, 97)  # of the JPEG
TOUCHED = 0.02  # opacity from which on a pixel holds something of a person

WIDTHS = (1.5, 2.5, 4.0, 6.0, 9.0, 12.0)  # px of a thin thing in front
KINDS = ("pole", "legs", "wires", "fence")
SHADES = ((0.08, 0.08, 0.09), (0.55, 0.55, 0.57), (0.92, 0.92, 0.9), (0.45, 0.27, 0.14), (0.15, 0.3, 0.2))


class SoftScene(NamedTuple):
    """One photo with people, and the same without. H x W pixels, N people."""

    name: str
    kind: str  # how its rims are, or which thing stands in front
    photo: NDArray[np.float32]  # [H, W, 3], 0..1, whole grey levels, decoded from a JPEG
    truth: NDArray[np.float32]  # [H, W, 3]: the plate (the thing in front included), through the same JPEG
    alpha: NDArray[np.float32]  # [H, W]: how much of a pixel is a person's
    masks: NDArray[np.bool_]  # [N, H, W]: where a person is the larger part of a pixel
    thing: NDArray[np.bool_]  # [H, W]: where what stands in front is the larger part of a pixel
    behind: NDArray[np.bool_]  # [H, W]: where somebody would be seen if nothing stood in front


def soft_scenes(
    limit: int | None, thin: bool = False, plates: Path | None = None, cutouts: Path | None = None
) -> Iterator[SoftScene]:
    """The committed scenes, or new ones for folders of the caller's own, with soft rims; every second one twice as
    large. thin: with something thin in front of the people.
    """
    for number, (name, plate, people) in enumerate(_placed(limit, plates, cutouts)):
        rng = random.Random(f"{scenes.SEED} rims {name}")
        if number % 2:
            plate = np.clip(cv2.resize(plate, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), 0, 1)
        scene = _composed(name, plate, people, rng, thin)
        if scene is not None:
            yield scene


def _placed(
    limit: int | None, plates: Path | None, cutouts: Path | None
) -> Iterator[tuple[str, NDArray[np.float32], list[tuple[Cutout, scenes.Placement]]]]:
    if plates is None and cutouts is None:
        for entry in json.loads(scenes.SCENE_LIST.read_text(encoding="utf-8"))["scenes"][:limit]:
            people = [scenes.Placement(**person) for person in entry["people"]]
            loaded = [(scenes.load_cutout(scenes.CORPUS / one.cutout), one) for one in people]
            yield entry["plate"], scenes.load_photo(scenes.CORPUS / entry["plate"]), loaded
        return
    folder = plates if plates is not None else scenes.CORPUS
    names = scenes.picture_names(plates) if plates is not None else scenes.distinct_plates(scenes.CORPUS)
    source = cutouts if cutouts is not None else scenes.CORPUS
    listed = scenes.picture_names(cutouts) if cutouts is not None else scenes.clean_cutout_names(scenes.CORPUS)
    for placements, scene in scenes.draw_scenes(folder, names, source, listed, limit):
        yield scene.name, scene.truth, [(scenes.load_cutout(source / one.cutout), one) for one in placements]


def _composed(
    name: str,
    plate: NDArray[np.float32],
    people: list[tuple[Cutout, scenes.Placement]],
    rng: random.Random,
    thin: bool,
) -> SoftScene | None:
    """None if a person is hidden, or if no thin thing fits in front of them."""
    size = plate.shape[:2]
    softness, quality = rng.choice(SOFTNESS), rng.choice(QUALITY)
    motion, angle = (rng.choice(MOTION) if rng.random() < 1 / 3 else 0), rng.uniform(0, np.pi)
    photo, own = plate.copy(), []
    for cutout, placement in people:
        layer = _softened(scenes.place(cutout, placement, size), softness, motion, angle)
        photo = photo * (1 - layer[..., 3:]) + layer[..., :3]
        own = [alpha * (1 - layer[..., 3]) for alpha in own] + [layer[..., 3]]
    behind = np.sum(own, 0) > 0.5
    truth, thing, kind = plate, np.zeros(size, np.float32), f"{softness} px, motion {motion} px, JPEG {quality}"
    if thin:
        box = cv2.boundingRect(behind.astype(np.uint8))
        colour, thing, kind = thin_thing(box, size, rng)
        photo = photo * (1 - thing[..., None]) + colour * thing[..., None]
        truth = truth * (1 - thing[..., None]) + colour * thing[..., None]
        own = [alpha * (1 - thing) for alpha in own]
    masks = np.stack([alpha > 0.5 for alpha in own])
    if min(mask.sum() for mask in masks) < 100:
        return None
    photo, truth = (_saved(picture, quality) for picture in (photo, truth))
    return SoftScene(name, kind, photo, truth, np.sum(own, 0), masks, thing > 0.5, behind)


def _softened(layer: NDArray[np.float32], softness: float, motion: int, angle: float) -> NDArray[np.float32]:
    """Premultiplied RGBA, blurred as a lens and a moving person do."""
    layer = cv2.GaussianBlur(layer, (0, 0), softness, borderType=cv2.BORDER_REPLICATE)
    if motion:
        reach = motion // 2 + 1
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        for t in np.linspace(-motion / 2, motion / 2, 8 * motion):
            x, y = reach + t * np.cos(angle), reach + t * np.sin(angle)
            kernel[round(y), round(x)] += 1
        layer = cv2.filter2D(layer, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    layer[layer[..., 3] < 0.004] = 0  # less than a grey level
    return layer


def _saved(picture: NDArray[np.float32], quality: int) -> NDArray[np.float32]:
    """Through a JPEG with halved colour, as cameras and the web save it."""
    levels = np.round(np.clip(picture, 0, 1)[..., ::-1] * 255).astype(np.uint8)
    how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    return cv2.imdecode(cv2.imencode(".jpg", levels, how)[1], cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255


def thin_thing(
    around: tuple[int, int, int, int], size: tuple[int, int], rng: random.Random
) -> tuple[NDArray[np.float32], NDArray[np.float32], str]:
    """Something thin that runs across the box `around` (x, y, width, height): its colour [H, W, 3], its opacity [H, W]
    (soft edges of a pixel), and what it is.
    """
    x, y, wide, tall = around
    kind, width = rng.choice(KINDS), rng.choice(WIDTHS)
    middle = x + wide * rng.uniform(0.3, 0.7)
    lines: list[tuple[float, float, float, float]] = []
    if kind == "pole":
        lean = rng.uniform(-0.1, 0.1) * size[0]
        lines = [(middle - lean, -5, middle + lean, size[0] + 5)]
    elif kind == "legs":
        top, foot = y + tall * rng.uniform(0.3, 0.6), min(y + tall * 1.02, size[0] + 5)
        lines = [(middle, top, middle + wide * share, foot) for share in (-0.35, 0.05, 0.4)]
    elif kind == "wires":
        width = min(width, 4.0)
        lines = [(-5, y + tall * share, size[1] + 5, y + tall * (share + 0.03)) for share in (0.25, 0.45, 0.65)]
    else:
        width = min(width, 2.5)
        gap = max(14.0, 0.12 * tall)
        for number in range(-int(size[0] / gap) - 1, int(size[1] / gap) + 2):
            start = number * gap
            lines += [(start, 0, start + size[0], size[0]), (start + size[0], 0, start, size[0])]
    yy, xx = np.mgrid[: size[0], : size[1]].astype(np.float32)
    opacity, shade = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for x0, y0, x1, y1 in lines:
        length = float(np.hypot(x1 - x0, y1 - y0))
        along = ((xx - x0) * (x1 - x0) + (yy - y0) * (y1 - y0)) / length**2
        across = ((xx - x0) * (y1 - y0) - (yy - y0) * (x1 - x0)) / length
        own = np.clip(width / 2 + 0.5 - np.abs(across), 0, 1) * ((along >= 0) & (along <= 1))
        shade = np.where(own > opacity, across / width, shade)
        opacity = np.maximum(opacity, own)
    base = np.array(rng.choice(SHADES), np.float32)
    light = 1 + 0.45 * np.clip(shade, -0.5, 0.5) + 0.05 * np.sin(yy / 9)
    colour = np.clip(base * light[..., None] + 0.02, 0, 1).astype(np.float32)
    return colour, opacity, f"{kind}, {width} px"
