"""Label images: a label means the same person in every photo of a batch."""

import pytest
import torch

from mild.mild_core.people.from_masks import numbered
from mild.mild_core.people.label_images import (
    COLOURS,
    GREY,
    MOST_LABELS,
    PALETTE,
    looks_labelled,
    people_from_labels,
    resize_labels,
)

SIZE = (60, 90)
RED, GREEN, SAND = (255, 0, 0), (0, 128, 51), (230, 200, 120)


def image(*labels, size=SIZE):
    """[H, W, 3]: a square of each colour (or grey level), at each x."""
    picture = torch.zeros(*size, 3)
    for level, x in labels:
        picture[10:40, x : x + 12] = torch.tensor(level) / 255
    return picture


def numbers(frames):
    """For each photo: number and x of everyone."""
    found = people_from_labels(frames, list(range(len(frames))))
    people = numbered(found.people)
    return [[(p.number, p.box[0]) for p in people if p.photo == index] for index in range(len(frames))], found.by


@pytest.mark.parametrize("channels", [0, 1, 3])
def test_a_grey_level_is_the_number(channels):
    """A leaves, B and C cross: everyone stays who they are."""
    a, b, c = (1, 1, 1), (2, 2, 2), (7, 7, 7)
    frames = [image((a, 1), (b, 20), (c, 50)), image((c, 5), (b, 60)), image((b, 30))]
    frames = [one[..., 0] if channels == 0 else one[..., :channels] for one in frames]
    assert numbers(frames) == ([[(1, 1), (2, 20), (7, 50)], [(2, 60), (7, 5)], [(2, 30)]], GREY)


def test_a_palette_png_keeps_its_numbers():
    """ComfyUI loads a DAVIS or PASCAL VOC annotation as RGB: 1 is dark red, 2 dark green, 3 dark yellow."""
    one, two, three, eight = (128, 0, 0), (0, 128, 0), (128, 128, 0), (64, 0, 0)
    frames = [image((two, 1), (one, 20)), image((three, 1), (one, 50), (eight, 70))]
    assert numbers(frames) == ([[(1, 20), (2, 1)], [(1, 50), (3, 1), (8, 70)]], PALETTE)


def test_other_colours_keep_the_number_of_their_first_appearance():
    frames = [image((SAND, 1), (RED, 30)), image((RED, 1), (GREEN, 30), (SAND, 60)), image((GREEN, 50))]
    assert numbers(frames) == ([[(1, 1), (2, 30)], [(1, 60), (2, 1), (3, 30)], [(3, 50)]], COLOURS)
    # more photos at the end change nobody's number
    assert numbers([*frames, image((RED, 1))])[0][:3] == numbers(frames)[0]


def test_labels_count_on_from_the_highest_number_of_all_photos():
    first = numbered(people_from_labels([image(((1,) * 3, 1)), image(((5,) * 3, 1))], [0, 1]).people)
    more = people_from_labels([image(((2,) * 3, 30)), image(((2,) * 3, 60))], [0, 1]).people
    assert [(p.photo, p.number, p.name) for p in numbered(more, first)[2:]] == [(0, 7, "Person 7"), (1, 7, "Person 7")]


def test_a_stray_pixel_of_a_label_is_a_speck():
    picture = image(((3, 3, 3), 5), size=(200, 300))
    picture[190, 290] = 3 / 255
    found = people_from_labels([picture], [0])
    assert [p.box for p in found.people] == [(5, 10, 17, 40)] and found.specks == 1


def test_too_many_colours_say_what_to_do():
    with pytest.raises(ValueError, match=f"masks: .*{MOST_LABELS}.*PNG"):
        people_from_labels([torch.rand(64, 64, 3)], [0])


def test_nobody():
    assert people_from_labels([torch.zeros(4, 5)], [0]).people == [] == people_from_labels([], []).people


def test_resizing_makes_no_new_colour():
    large = resize_labels(image((RED, 1), (GREEN, 13)), (133, 211))
    assert large.shape == (133, 211, 3) and len(large.flatten(0, 1).unique(dim=0)) == 3
    grey = image(((9, 9, 9), 4))[..., 0]
    assert resize_labels(grey, SIZE) is grey and resize_labels(grey, (7, 9)).shape == (7, 9)


def test_what_looks_like_a_label_image():
    assert looks_labelled(image((RED, 1), (GREEN, 30)))
    assert not looks_labelled(image(((255, 255, 255), 10)))
    assert not looks_labelled(torch.rand(64, 64, 3))
    soft = torch.nn.functional.avg_pool2d(image(((255,) * 3, 10)).permute(2, 0, 1), 5, 1, 2).permute(1, 2, 0)
    assert not looks_labelled(soft)
