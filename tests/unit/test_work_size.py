"""The size crops are painted at: the design's rule, and what a latent needs."""

import pytest

from mild.mild_core.layers.work_size import BALANCED, DETAIL, SIZE_MODES, work_size

SDXL = 1024 * 1024


@pytest.mark.parametrize("box", [(1, 1), (37, 501), (4000, 6000)])
@pytest.mark.parametrize("mode", SIZE_MODES)
def test_pixel_space_keeps_every_pixel(box, mode):
    assert work_size(box, 3, None, mode=mode, photo_size=(4000, 6000)) == box


@pytest.mark.parametrize("multiple", [1, 8, 16, 64])
@pytest.mark.parametrize("mode", SIZE_MODES)
@pytest.mark.parametrize("box", [(1, 1), (333, 777), (2000, 700), (5000, 5001), (17, 4000)])
def test_multiples_limit_and_aspect(box, mode, multiple):
    height, width = work_size(box, 100, SDXL, multiple, mode, photo_size=(6000, 6000))
    assert height % multiple == width % multiple == 0 and height > 0 and width > 0
    assert height * width <= SDXL * 1.02
    if min(height, width) >= 8 * multiple:
        assert height / width == pytest.approx(box[0] / box[1], rel=0.07)


def test_balanced_is_the_photo_at_the_models_size():
    # A photo of 24 megapixels on a model of one: everything at about a fifth.
    height, width = work_size((2000, 1500), 1000, SDXL, 8, BALANCED, photo_size=(4000, 6000))
    assert height == pytest.approx(2000 * (SDXL / 24e6) ** 0.5, abs=8)
    assert width == pytest.approx(1500 * (SDXL / 24e6) ** 0.5, abs=8)
    whole = work_size((4000, 6000), 1000, SDXL, 8, BALANCED, photo_size=(4000, 6000))
    assert whole[0] * whole[1] == pytest.approx(SDXL, rel=0.03)


def test_a_small_hole_enlarges_its_crop_until_it_is_some_cells_wide():
    small = work_size((600, 600), 60, SDXL, 8, BALANCED, min_hole_cells=6, cell=8, photo_size=(4000, 6000))
    assert small[0] / 600 * 60 == pytest.approx(48, abs=2)
    large = work_size((600, 600), 400, SDXL, 8, BALANCED, min_hole_cells=6, cell=8, photo_size=(4000, 6000))
    assert large[0] < small[0]
    speck = work_size((130, 130), 1, SDXL, 8, BALANCED, photo_size=(4000, 6000))
    assert speck[0] * speck[1] <= SDXL


def test_without_a_photo_size_the_photo_keeps_its_scale():
    assert work_size((640, 512), 300, SDXL, 8) == (640, 512)
    height, width = work_size((4000, 3000), 300, SDXL, 8)
    assert height * width <= SDXL * 1.02


def test_detail_uses_the_models_size():
    for box in ((300, 200), (3000, 2000)):
        height, width = work_size(box, 50, SDXL, 8, DETAIL, photo_size=(4000, 6000))
        assert height * width == pytest.approx(SDXL, rel=0.03)


@pytest.mark.parametrize("box, mode", [((0, 5), BALANCED), ((5, 0), DETAIL), ((5, 5), "huge")])
def test_nonsense_is_refused(box, mode):
    with pytest.raises(ValueError):
        work_size(box, 1, SDXL, 8, mode)


def test_crops_of_about_one_size_share_it():
    sizes = [work_size((height, width), 200, SDXL, 16) for height, width in ((512, 384), (505, 390), (530, 380))]
    assert set(sizes) == {(512, 384)}
    assert work_size((700, 384), 200, SDXL, 16) != (512, 384)
    for height in range(300, 900, 13):
        tall, wide = work_size((height, 400), 200, SDXL, 16)
        assert tall % 16 == wide % 16 == 0 and abs(tall / wide / (height / 400) - 1) < 0.06


def test_a_photo_that_is_nearly_large_enough_keeps_its_scale():
    assert work_size((640, 768), 300, SDXL, 8, photo_size=(768, 1024)) == (640, 768)
    small = work_size((160, 192), 90, SDXL, 8, photo_size=(192, 256))
    assert small[0] * small[1] > 4 * 160 * 192
