"""Which mask belongs to which photo, and what is said where shapes differ."""

import pytest

from mild.mild_core.pairing import Shape, check_count, dealt, number_ranges, row_of, shape_of, stretched


def test_one_for_all_or_one_for_each_or_in_turn():
    assert [row_of(1, photo) for photo in range(3)] == [0, 0, 0]
    assert [row_of(3, photo) for photo in range(3)] == [0, 1, 2]
    assert [row_of(2, photo) for photo in range(3)] == [0, 1, 0]


def test_a_count_that_fits_nothing_names_the_socket():
    check_count(1, 4, "protect")
    check_count(4, 4, "protect")
    with pytest.raises(ValueError, match="protect: got 3 masks for 2 photos. Connect one mask, or one for each photo"):
        check_count(3, 2, "protect")


def test_rows_that_are_dealt_out_are_told():
    assert dealt("positive", 1, 5) is None
    assert dealt("positive", 5, 5) is None
    assert "photo 3 gets the first again" in dealt("positive", 2, 5)
    assert "the first counts" in dealt("positive", 2, 1)


@pytest.mark.parametrize(
    "size, frame, shape",
    [
        ((60, 100), (600, 1000), Shape.SAME),
        ((61, 100), (600, 1000), Shape.SAME),  # 1.7 %
        ((63, 100), (600, 1000), Shape.OTHER),
        ((100, 60), (60, 100), Shape.TURNED),
        ((600, 1000), (1000, 602), Shape.TURNED),
        ((64, 64), (60, 100), Shape.OTHER),
        ((1, 1), (1, 1), Shape.SAME),
        ((8, 11), (768, 1024), Shape.SAME),  # a mask in latent cells of 96 px: whole cells only
    ],
)
def test_shapes(size, frame, shape):
    assert shape_of(size, frame) is shape


def test_sentences_say_what_by_how_much_and_that_it_fits_turned():
    assert stretched("masks", [(60, 100)], [(600, 1000)]) == []
    (turned,) = stretched("masks", [(100, 60)], [(60, 100)])
    assert turned == (
        "masks: 60 x 100 px, the photo 100 x 60: another shape, so they were stretched by 178%. They fit when turned "
        "by 90 degrees: were they, or the photo, turned on their way (EXIF)?"
    )
    (other,) = stretched("masks", [(60, 100), (50, 100), (50, 100)], [(60, 100)] * 3)
    assert other.startswith("masks 2-3: 100 x 50 px") and "by 20%" in other and "turned" not in other


@pytest.mark.parametrize(
    "what, sizes, item, start, verb",
    [
        ("depth", [(50, 100)], None, "depth: ", "it was"),
        ("avoid", [(100, 60)], None, "avoid: ", "it was"),
        ("masks", [(60, 100), (50, 100)], None, "mask 2: ", "it was"),
        ("masks", [(50, 100)] * 100, None, "masks 1-100: ", "they were"),
        ("masks", [(50, 100), (60, 100), (50, 100), (50, 100)], None, "masks 1, 3-4: ", "they were"),
        ("hidden", [(50, 100)] * 2, None, "hidden 1-2: ", "they were"),
        ("poses", [(60, 100), (50, 100)], "poses of photo", "poses of photo 2: ", "they were"),
        ("mask of person 1", [(50, 100)], None, "mask of person 1: ", "it was"),
        ("masks of people 1-3", [(50, 100)], None, "masks of people 1-3: ", "they were"),
    ],
)
def test_sentences_count_in_ranges_and_agree_with_their_subject(what, sizes, item, start, verb):
    (line,) = stretched(what, sizes, [(60, 100)] * len(sizes), item=item)
    assert line.startswith(start)
    assert f"another shape, so {verb} stretched by" in line
    if "turned" in line:
        assert "It fits when turned by 90 degrees: was it, or the photo, turned on its way" in line


def test_numbers_that_follow_one_another_are_a_range():
    assert number_ranges([]) == ""
    assert number_ranges([5, 3, 1, 2, 2]) == "1-3, 5"
    assert number_ranges(range(1, 101)) == "1-100"


@pytest.mark.parametrize(
    "size, frame, shape",
    [
        ((512, 704), (768, 1024), Shape.SAME),  # the short side 512, the long one to a multiple of 64
        ((512, 512), (768, 1024), Shape.OTHER),
        ((704, 512), (768, 1024), Shape.TURNED),
        ((64, 64), (80, 120), Shape.OTHER),
        ((765, 960), (768, 1024), Shape.OTHER),  # rounded to nothing
    ],
)
def test_pictures_of_models_may_be_rounded_to_multiples(size, frame, shape):
    assert shape_of(size, frame, rounded=True) is shape
    assert bool(stretched("depth", [size], [frame], rounded=True)) is (shape is not Shape.SAME)


def test_masks_may_not():
    assert shape_of((512, 704), (768, 1024)) is Shape.OTHER
