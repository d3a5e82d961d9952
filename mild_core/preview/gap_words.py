"""Put a record of attention into words: names of regions and blocks, and a sentence about each layer."""

import math

import torch

from ..attention.layer_regions import OWN_PERSON, PEOPLE
from ..attention.record import Block, LayerRecord
from ..attention.regions import HOLE, REFERENCE, REST, SHOWN

ALIKE = 0.02
"""Difference of two gaps (each -1..1) below which they are the same to a reader."""

OWN, FOREIGN, NEITHER = "its own", "foreign", ""


def region_name(region: str, own: str) -> str:
    """What an artist calls a region of a pathway whose own one is `own`."""
    if region == REST:
        return "the background that stays" if own == REST else "everything around the person"
    names = {
        HOLE: "the hole itself",
        PEOPLE: "people who stay",
        OWN_PERSON: "the person",
        SHOWN: "the erased, in a reference",
        REFERENCE: "further pictures" if own == REST else "the background behind the person",
        "text": "the prompt",
        "padding": "empty words",
    }
    return names.get(region, region)


def side(region: str, record: LayerRecord) -> str:
    """OWN, FOREIGN or NEITHER."""
    if region == record.own:
        return OWN
    return FOREIGN if region in record.foreign() else NEITHER


def rows(record: LayerRecord) -> tuple[list[str], torch.Tensor]:
    """Names of the model's blocks, and their gaps [rows, steps]; transformers inside one block are averaged."""
    names = [block_name(block) for block in record.blocks]
    gaps = record.gaps()
    distinct = list(dict.fromkeys(names))
    parts = [gaps[[n for n, own in enumerate(names) if own == name]].nanmean(0) for name in distinct]
    return distinct, torch.stack(parts)


def block_name(block: Block) -> str:
    """("output", 3, 0): output 3."""
    return "middle" if block[0] == "middle" else " ".join(map(str, block[:2]))


def number(value: float) -> str:
    """A gap, or that there is none."""
    return "not measured" if math.isnan(value) else f"{value:+.2f}"


def worst(record: LayerRecord) -> tuple[str, int, float] | None:
    """Block, step (from 1) and gap where most leaks; None where it is about the same everywhere."""
    names, gaps = rows(record)
    measured = gaps[gaps.isfinite()]
    if not len(measured) or measured.max() - measured.min() < ALIKE:
        return None
    place = int(gaps.nan_to_num(math.inf).argmin())
    row, column = divmod(place, gaps.shape[1])
    return names[row], column + 1, float(gaps[row, column])


def sentence(name: str, record: LayerRecord) -> str:
    """One layer in a line."""
    shares = record.shares()
    parts = [f"{region_name(region, record.own)} {share:.0%}" for region, share in shares.items() if share >= 0.005]
    text = f"{name}: attention gap {number(record.gap())}. Of what the hole looks at: {', '.join(parts)}."
    least = worst(record)
    if least is not None:
        text += f" Least: {number(least[2])} in {least[0]}, step {least[1]} of {len(record.levels)}."
    return text
