"""People cut out of photos, to be pasted into composed scenes."""

import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHOES = {"boots", "clogs", "flats", "heels", "loafers", "pumps", "sandals", "shoes", "sneakers", "wedges"}
HEADS = {"hair", "hat"}


class Cutout(NamedTuple):
    """One person, cropped to the alpha."""

    rgb: NDArray[np.float32]  # [h, w, 3], 0..1
    alpha: NDArray[np.float32]  # [h, w], 0..1


@lru_cache(maxsize=64)
def load_cutout(path: Path) -> Cutout:
    """An RGBA picture, or a photo NAME.jpg with NAME_parsing.png beside it (one person: the largest piece)."""
    image = Image.open(path)
    parsing = path.with_name(path.stem + "_parsing.png")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"), np.float32) / 255
        rgb, alpha = rgba[..., :3], rgba[..., 3]
    elif parsing.is_file():
        rgb = np.asarray(image.convert("RGB"), np.float32) / 255
        alpha = without_fringe(np.asarray(Image.open(parsing)) > 0).astype(np.float32)
    else:
        raise ValueError(f"{path.name} has neither transparency nor a parsing beside it: it is no cut-out")
    ys, xs = np.nonzero(alpha > 0.02)
    if len(ys) == 0:
        raise ValueError(f"{path.name} is wholly transparent")
    part = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    return Cutout(rgb[part], alpha[part])


def without_fringe(person: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece of a hard mask [h, w], one pixel tighter: labels by hand reach into the background."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return largest_piece(cv2.erode(largest_piece(person).astype(np.uint8), cross, borderValue=0) > 0)


def largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    count, label, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return mask
    return label == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())


def clean_cutout_names(corpus: Path) -> list[str]:
    """Photos of `street_people` whose parsing shows one whole person, head to shoes, not cut by the frame."""
    names = json.loads((corpus / "street_people" / "labels.json").read_text(encoding="utf-8"))["labels"]
    shoes = [i for i, name in enumerate(names) if name in SHOES]
    heads = [i for i, name in enumerate(names) if name in HEADS]
    found = []
    for path in sorted((corpus / "street_people").glob("*_parsing.png")):
        label = np.asarray(Image.open(path))
        if is_clean(label, heads, shoes):
            found.append("street_people/" + path.name.replace("_parsing.png", ".jpg"))
    return found


def is_clean(label: NDArray[np.uint8], heads: list[int], shoes: list[int]) -> bool:
    """Whether parsing [h, w] is one connected, upright person with the head on top and shoes at the bottom."""
    everything = label > 0
    person = largest_piece(everything)
    if not everything.any() or person.sum() < 0.98 * everything.sum():
        return False
    ys, xs = np.nonzero(person)
    top, bottom, left, right = ys.min(), ys.max(), xs.min(), xs.max()
    tall, wide = bottom - top + 1, right - left + 1
    inside = top > 1 and left > 1 and bottom < label.shape[0] - 2 and right < label.shape[1] - 2
    upright = tall > 0.6 * label.shape[0] and 0.2 < wide / tall < 0.55
    head = np.isin(label[top : top + tall // 5], heads).any()
    feet = np.isin(label[bottom - tall // 6 : bottom + 1], shoes).any()
    return bool(inside and upright and head and feet)
