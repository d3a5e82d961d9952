"""Connected blobs against a flood fill, and what counts as one thing in a scattered mask."""

import pytest
import torch

from mild.mild_core.image import boxes
from mild.mild_core.image.blobs import MOST_CLUSTERS, blobs, clusters, without_specks


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


def marked(size, *places):
    """A mask with these boxes filled."""
    mask = torch.zeros(size, dtype=torch.bool)
    for x0, y0, x1, y1 in places:
        mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize("speck", [(900, 20, 901, 21), (900, 20, 904, 24), (0, 999, 1, 1000)])
def test_a_speck_far_away_is_left_out(speck):
    found, specks = without_specks(marked((1000, 1000), (100, 100, 300, 700), speck))
    assert [box for box, _ in found] == [(100, 100, 300, 700)] and specks == 1


def test_a_speck_beside_a_blob_is_a_part_of_it():
    mask = marked((1000, 1000), (100, 100, 300, 700), (302, 110, 303, 111), (150, 95, 152, 96), (600, 600, 640, 690))
    found, specks = without_specks(mask)
    assert [box for box, _ in found] == [(100, 95, 303, 700), (600, 600, 640, 690)] and specks == 0
    drawn = torch.zeros_like(mask)
    for box, own in found:
        boxes.cut(drawn, box).logical_or_(own)
    assert torch.equal(drawn, mask)


def test_somebody_tiny_is_no_speck():
    """In a photo of 24 megapixels a blob below 480 pixels is a speck beside somebody large, and a person by itself."""
    size = (4000, 6000)
    assert [box for box, _ in without_specks(marked(size, (500, 500, 510, 520)))[0]] == [(500, 500, 510, 520)]
    two = (500, 500, 510, 520), (3000, 500, 3008, 515)
    assert [box for box, _ in without_specks(marked(size, *two))[0]] == list(two)
    found, specks = without_specks(marked(size, two[0], (900, 900, 901, 901)))
    assert [box for box, _ in found] == [two[0]] and specks == 1
    found, specks = without_specks(marked(size, (1000, 1000, 2000, 3000), *two))
    assert len(found) == 1 and specks == 2


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (1, 40), (31, 43)])
def test_specks_and_blobs_are_the_whole_mask(shape):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.4
    mask[0, 0] = True
    found, specks = without_specks(mask)
    pixels = sum(int(own.sum()) for _, own in found)
    assert found and pixels <= int(mask.sum()) and (specks > 0) == (pixels < int(mask.sum()))
    assert all(not (own & ~boxes.cut(mask, box)).any() for box, own in found)


def test_empty():
    assert without_specks(torch.zeros(5, 7, dtype=torch.bool)) == ([], 0)
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
