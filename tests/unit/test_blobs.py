"""Connected blobs against a flood fill, and what counts as one thing in a scattered mask."""

import pytest
import torch

from mild.mild_core import boxes
from mild.mild_core.blobs import MOST_CLUSTERS, blobs, clusters


def flood(mask):
    """The connected parts as a set of frozensets of pixels, the slow way."""
    left = {(int(y), int(x)) for y, x in mask.nonzero()}
    parts = set()
    while left:
        waiting, part = [left.pop()], set()
        while waiting:
            y, x = waiting.pop()
            part.add((y, x))
            for near in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if near in left:
                    left.remove(near)
                    waiting.append(near)
        parts.add(frozenset(part))
    return parts


def as_pixels(found):
    return {frozenset((int(y) + box[1], int(x) + box[0]) for y, x in own.nonzero()) for box, own in found}


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (37, 1), (31, 43)])
def test_equal_to_a_flood_fill(share, shape):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(int(share * 10))) < share
    found, left_out = blobs(mask)
    assert as_pixels(found) == flood(mask)
    assert left_out == 0
    assert all(boxes.tight_box(own) == (0, 0, own.shape[1], own.shape[0]) for _, own in found)


def test_a_spiral_is_one_blob():
    mask = torch.zeros(41, 41, dtype=torch.bool)
    y, x, dy, dx = 20, 20, 0, 1
    for length in [step for step in range(2, 38, 2) for _ in (0, 1)]:
        for _ in range(length):
            mask[y, x] = True
            y, x = y + dy, x + dx
        dy, dx = dx, -dy
    assert len(blobs(mask)[0]) == 1


def test_largest_first_and_small_ones_counted():
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[0, 0] = mask[0, 5] = True
    mask[5:8, 5:8] = True
    mask[10:18, 10:20] = True
    found, left_out = blobs(mask, smallest=5)
    assert [int(own.sum()) for _, own in found] == [80, 9]
    assert left_out == 2


def test_if_all_are_too_small_the_largest_counts():
    mask = torch.zeros(9, 9, dtype=torch.bool)
    mask[0, 0] = mask[4, 4] = mask[4, 5] = True
    found, left_out = blobs(mask, smallest=100)
    assert [box for box, _ in found] == [(4, 4, 6, 5)]
    assert left_out == 1


def test_empty():
    assert blobs(torch.zeros(5, 7, dtype=torch.bool)) == ([], 0)
    assert clusters(torch.zeros(5, 7, dtype=torch.bool)) == []


def test_clusters_cover_the_mask_once_and_stay_few():
    mask = torch.zeros(701, 997, dtype=torch.bool)
    mask[::40, ::40] = True
    found = clusters(mask)
    drawn = torch.zeros(mask.shape, dtype=torch.int32)
    for box, own in found:
        boxes.cut(drawn, box).add_(own)
    assert torch.equal(drawn, mask.int())
    assert len(found) <= MOST_CLUSTERS


def test_clusters_keep_far_things_apart_and_near_dots_together():
    mask = torch.zeros(200, 400, dtype=torch.bool)
    mask[10:30:4, 10:40:4] = True
    mask[150:160, 300:320] = True
    assert len(clusters(mask)) == 2
