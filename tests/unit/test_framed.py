"""Pictures that lie over the photo in another size: what they show under a crop."""

import pytest
import torch

from mild.mild_core.image.fill import area_resize
from mild.mild_core.image.framed import crop_of, same_frame

PHOTO = (97, 131)
BOXES = [(0, 0, 131, 97), (3, 5, 67, 53), (100, 60, 131, 97), (40, 40, 41, 41)]


def ramps(size):
    """[1, 2, h, w]: how far across and how far down the photo each pixel's middle lies, 0..1."""
    across = ((torch.arange(size[1]) + 0.5) / size[1]).expand(size)
    down = ((torch.arange(size[0]) + 0.5) / size[0])[:, None].expand(size)
    return torch.stack([across, down])[None]


@pytest.mark.parametrize("box", BOXES)
def test_the_photos_own_pixels_are_cut_out_bit_for_bit(box):
    photo = torch.rand(2, 3, *PHOTO)
    cut = photo[..., box[1] : box[3], box[0] : box[2]]
    assert torch.equal(crop_of(photo, box, PHOTO, cut.shape[-2:]), cut)
    assert torch.equal(crop_of(photo, box, PHOTO, cut.shape[-2:], nearest=True), cut)


def test_shrinking_by_whole_numbers_averages_as_the_photos_crops_are_averaged():
    photo = torch.rand(1, 3, *PHOTO)
    cut = photo[..., 10:58, 20:116]
    for size in ((16, 32), (24, 48), (48, 24), (12, 12)):
        assert torch.allclose(crop_of(photo, (20, 10, 116, 58), PHOTO, size), area_resize(cut, size), atol=1e-6)


@pytest.mark.parametrize("picture_size", [PHOTO, (194, 262), (48, 66), (704, 512), (33, 257)])
@pytest.mark.parametrize("box", BOXES[:3])
@pytest.mark.parametrize("size", [(64, 64), (48, 128), (200, 300), (7, 5)])
def test_a_ramp_keeps_its_place_to_a_fraction_of_a_pixel(picture_size, box, size):
    """Whatever the two sizes are: no half pixel gets lost, and a stretched picture is stretched back."""
    result = crop_of(ramps(picture_size), box, PHOTO, size)
    nearest = crop_of(ramps(picture_size), box, PHOTO, size, nearest=True)
    across = (box[0] + (torch.arange(size[1]) + 0.5) / size[1] * (box[2] - box[0])) / PHOTO[1]
    down = (box[1] + (torch.arange(size[0]) + 0.5) / size[0] * (box[3] - box[1])) / PHOTO[0]
    for number, (expected, axis) in enumerate(((across, 1), (down[:, None], 0))):
        expected, pixels = expected.expand(size), picture_size[axis]
        # Where it shrinks, a pixel that lies half in a cell counts with its one value: an eighth of a pixel at most.
        shrinks = (box[3 - axis] - box[1 - axis]) / PHOTO[axis] * pixels > size[axis]
        inside = (expected > 0.51 / pixels) & (expected < 1 - 0.51 / pixels)  # a ramp does not go on beyond the edge
        assert (result[0, number] - expected)[inside].abs().max() <= (0.126 / pixels if shrinks else 1e-5)
        assert (nearest[0, number] - expected).abs().max() <= 0.5 / pixels + 1e-5


@pytest.mark.parametrize("size", [(64, 64), (300, 10)])
def test_a_flat_picture_stays_flat_and_nothing_overshoots(size):
    flat = torch.full((1, 1, 40, 30), 0.3)
    assert torch.allclose(crop_of(flat, BOXES[1], PHOTO, size), torch.tensor(0.3), atol=1e-6)
    noise = (torch.rand(1, 1, 40, 30) > 0.5).float()
    for nearest in (False, True):
        result = crop_of(noise, BOXES[1], PHOTO, size, nearest)
        assert result.shape[-2:] == size and 0 <= result.min() and result.max() <= 1 + 1e-6
    assert set(crop_of(noise, BOXES[1], PHOTO, size, nearest=True).unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_as_it_went_in(dtype):
    photo = torch.rand(1, 3, *PHOTO)
    result = crop_of(photo.to(dtype), BOXES[1], PHOTO, (24, 40))
    assert result.dtype == dtype
    assert torch.allclose(result.float(), crop_of(photo, BOXES[1], PHOTO, (24, 40)), atol=0.01)


@pytest.mark.parametrize("nearest", [False, True])
def test_the_whole_photo_as_torch_resizes_it(nearest):
    photo = torch.rand(1, 3, *PHOTO)
    for size in ((50, 60), (96, 128), (200, 300)):
        if nearest:
            expected = torch.nn.functional.interpolate(photo, size, mode="nearest-exact")
        elif size[0] > PHOTO[0]:
            expected = torch.nn.functional.interpolate(photo, size, mode="bilinear", align_corners=False)
        else:
            continue  # torch's area mode rounds its cells to whole pixels
        assert torch.allclose(crop_of(photo, (0, 0, 131, 97), PHOTO, size, nearest), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "photo", "same"),
    [
        ((768, 1024), (768, 1024), True),
        ((1536, 2048), (768, 1024), True),
        ((512, 704), (768, 1024), True),  # preprocessors: the short side 512, the long one to a multiple of 64
        ((512, 640), (768, 1024), True),  # rounded down
        ((680, 1024), (2731, 4096), True),  # to multiples of 8
        ((1024, 1536), (2731, 4096), True),
        ((683, 1024), (2731, 4096), True),
        ((512, 512), (768, 1024), False),
        ((1024, 1024), (768, 1024), False),
        ((1024, 768), (768, 1024), False),
        ((1080, 1920), (768, 1024), False),
        ((64, 64), (768, 1024), False),  # LoadImage's empty mask
        ((768, 960), (768, 1024), True),
        ((765, 960), (768, 1024), False),  # the same without being rounded to anything
        ((1, 1), (768, 1024), False),
    ],
)
def test_what_shows_the_same_frame(size, photo, same):
    assert same_frame(size, photo) is same
    assert same_frame(size[::-1], photo[::-1]) is same
