"""BOUNDING_BOX in the shapes in which ComfyUI's nodes give it."""

import pytest

from mild.mild_core.find.bounding_boxes import boxes_of, found_in_frames

SIZE = (100, 200)


def box(x=1, y=2, width=30, height=40, **more):
    return {"x": x, "y": y, "width": width, "height": height, **more}


def test_one_list_for_each_photo():
    frames, other, shares = found_in_frames([[box(), box(5)], [], [box(7, score=0.25)]], [SIZE] * 3, "person")
    assert [[one.box[0] for one in frame] for frame in frames] == [[1, 5], [], [7]] and other == 0 and not shares
    assert frames[2][0].score == 0.25 and frames[0][0] == ((1, 2, 31, 42), 1.0, None, None, None)


@pytest.mark.parametrize("flat", [box(), [box()]])
def test_a_flat_list_is_meant_for_every_photo(flat):
    frames = found_in_frames(flat, [SIZE, SIZE], "").found
    assert [len(frame) for frame in frames] == [1, 1]


@pytest.mark.parametrize("empty", [[], [[]]])
def test_nobody(empty):
    assert found_in_frames(empty, [SIZE], "person") == ([[]], 0, False)


def test_labels():
    listed = [[box(label="person"), box(label="Person"), box(label="dog"), box(label=None), box()]]
    assert [
        (len(found_in_frames(listed, [SIZE], words).found[0]), found_in_frames(listed, [SIZE], words).other)
        for words in ("person", "person, dog", "dog", "", " , ")
    ] == [(4, 1), (5, 0), (3, 2), (5, 0), (5, 0)]


def test_a_box_drawn_backwards_is_the_same_box():
    assert found_in_frames([[box(31, 42, -30, -40)]], [SIZE], "").found[0][0].box == (1, 2, 31, 42)


def test_there_and_back():
    frames = found_in_frames([[box(1.5, 2.25, 3, 4, score=0.5)]], [SIZE], "").found
    assert boxes_of(frames[0]) == [box(1.5, 2.25, 3, 4, label="person", score=0.5)]
    assert found_in_frames([boxes_of(frames[0])], [SIZE], "person") == (frames, 0, False)


@pytest.mark.parametrize(
    "bad", ["text", 3, [1], [[3]], [[{"x": 1}]], [[box(width="wide")]], [[box(float("nan"))]], [[box()], []]]
)
def test_what_is_no_box_is_refused(bad):
    with pytest.raises(ValueError, match="^boxes: "):
        found_in_frames(bad, [SIZE], "")


def test_shares_of_the_photo_become_pixels():
    """Some detectors give 0..1 in place of pixels: each such box was a person of one pixel in the corner."""
    frames, _, shares = found_in_frames([[box(0.25, 0.1, 0.5, 0.8)], [box(0, 0, 1, 1)]], [SIZE, (50, 40)], "")
    assert shares
    assert [one.box for frame in frames for one in frame] == [pytest.approx((50, 10, 150, 90)), (0, 0, 40, 50)]


@pytest.mark.parametrize(
    "pixels", [[box(0.25, 0.1, 0.5, 0.8), box(3, 4, 5, 6)], [box(0, 0, 0, 0)], [box(-30, 0, 31, 1)]]
)
def test_pixels_stay_pixels(pixels):
    frames, _, shares = found_in_frames([pixels], [SIZE], "")
    assert not shares and [one.box[2] - one.box[0] for one in frames[0]] == [one["width"] for one in pixels]
