"""What is said of a hole before it is filled: how little of the photo is like its surroundings."""

import pytest
import torch

from mild.mild_core.exemplar import TOO_UNLIKE, unlikeness

SIZE = (96, 144)


def hole(box=(60, 30, 90, 70)):
    empty = torch.zeros(SIZE)
    empty[box[1] : box[3], box[0] : box[2]] = 1
    return empty


def stripes():
    """The same everywhere: [h, w, 3]."""
    columns = (torch.arange(SIZE[1]) % 8 < 4).float()
    return columns[None, :, None].expand(*SIZE, 3).contiguous()


def blots(seed=0):
    """Large blots of chance colours: no place is like another."""
    cells = torch.rand(1, 3, SIZE[0] // 6, SIZE[1] // 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(cells, SIZE, mode="nearest")[0].movedim(0, -1)


def test_what_repeats_is_like_its_surroundings_and_chance_is_not():
    assert unlikeness(stripes(), hole(), 1 - hole()) < 0.01
    assert unlikeness(blots(), hole(), 1 - hole()) > TOO_UNLIKE


def test_the_hole_itself_and_what_may_not_be_looked_at_do_not_count():
    allowed = 1 - hole()
    allowed[:, :30] = 0
    plain = unlikeness(stripes(), hole(), allowed)
    for colour in (0.0, 1.0):
        painted = torch.where((allowed > 0)[..., None], stripes(), colour)
        assert unlikeness(painted, hole(), allowed) == pytest.approx(plain, abs=1e-6)


def test_the_size_of_the_photo_hardly_matters():
    double = [part.repeat_interleave(2, 0).repeat_interleave(2, 1) for part in (blots(), hole(), 1 - hole())]
    assert unlikeness(*double) == pytest.approx(unlikeness(blots(), hole(), 1 - hole()), rel=0.3)


@pytest.mark.parametrize("allowed", [torch.zeros(SIZE), hole((0, 0, 5, 5))], ids=["nothing", "next to nothing"])
def test_too_little_to_tell(allowed):
    assert unlikeness(stripes(), hole(), allowed) is None
    assert unlikeness(torch.rand(3, 4, 3), torch.ones(3, 4), torch.zeros(3, 4)) is None
