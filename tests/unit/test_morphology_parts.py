"""Label sets are mapped onto PARTS; label maps of other nodes are read whatever they look like."""

import pytest
import torch

from mild.mild_core.body.body_parts import PART_COLOURS, PARTS, SEGMENTS, SETS, may_be, to_parts
from mild.mild_core.body.label_maps import labels_of, voc_colours

SIZE = (23, 31)


def every_label(name, seed=0):
    """[1, h, w]: a map in which every label of the set occurs."""
    count = len(SETS[name])
    random = torch.randint(0, count, (1, *SIZE), generator=torch.Generator().manual_seed(seed))
    random.view(-1)[:count] = torch.arange(count)
    return random


@pytest.mark.parametrize("name", [name for name in SETS if name != "BodyPix"])
def test_no_two_labels_become_one_part(name):
    parts = to_parts(torch.arange(len(SETS[name])), name)
    assert parts.dtype == torch.uint8 and int(parts[0]) == 0
    assert len(set(parts.tolist())) == len(SETS[name])


def test_bodypix_loses_front_and_back_only():
    """What becomes one part is a pair of neighbours: two halves of a face, or one limb from both of its sides."""
    parts = to_parts(torch.arange(len(SETS["BodyPix"])), "BodyPix").tolist()
    pairs = [(one, one + 1) for one in range(len(parts) - 1) if parts[one] == parts[one + 1]]
    assert len(set(parts)) == len(parts) - len(pairs)
    # hands, feet and what is not paired at all
    assert not {0, 11, 12, 23, 24} & {label for pair in pairs for label in pair}


def test_what_is_no_label_is_background():
    odd = torch.tensor([-1, 18, 200, 255, 1000])
    assert not to_parts(odd, "ATR").any()


def test_every_part_has_a_segment_and_a_colour():
    assert may_be.shape == (len(PARTS), len(SEGMENTS))
    assert may_be.any(1).all()
    assert len(PART_COLOURS) == len(PARTS) and len(set(PART_COLOURS)) == len(PARTS)
    assert may_be[PARTS.index("left hand")].tolist() == [segment == "hand" for segment in SEGMENTS]
    assert may_be[PARTS.index("upper clothes"), SEGMENTS.index("lower arm")]  # a sleeve


@pytest.mark.parametrize("name", SETS)
def test_maps_as_masks_and_grey_pictures(name):
    labels = every_label(name)
    shares = labels / 255
    for picture in (
        shares,
        shares[0],
        labels.float(),
        labels,
        labels[0].to(torch.uint8),
        shares[..., None].expand(-1, -1, -1, 3),
        shares[..., None],
        torch.cat([shares[..., None].expand(-1, -1, -1, 3), torch.ones(1, *SIZE, 1)], -1),
        shares.half(),
    ):
        read = labels_of(picture, name)
        assert read.dtype == torch.uint8 and torch.equal(read, labels.to(torch.uint8))


@pytest.mark.parametrize("name", ["ATR", "LIP", "CIHP", "BodyPix"])
def test_maps_in_the_colours_of_pascal_voc(name):
    labels = every_label(name)
    picture = voc_colours(256)[labels] / 255
    assert torch.equal(labels_of(picture, name), labels.to(torch.uint8))


def test_the_colours_of_pascal_voc_as_published():
    colours = voc_colours(21).tolist()
    assert colours[1] == [128, 0, 0] and colours[7] == [128, 128, 128]
    assert colours[8] == [64, 0, 0] and colours[15] == [192, 128, 128] and colours[20] == [0, 64, 128]


def test_a_garment_that_is_grey_among_the_colours():
    labels = torch.zeros(1, *SIZE, dtype=torch.long)
    labels[:, 5:9] = 7
    assert torch.equal(labels_of(voc_colours(20)[labels] / 255, "LIP"), labels.to(torch.uint8))


def test_maps_in_the_colours_of_lip():
    colours = torch.tensor([[0, 0, 0], [255, 0, 0], [0, 0, 255], [255, 170, 0]])
    labels = torch.randint(0, 4, (1, *SIZE), generator=torch.Generator().manual_seed(1))
    expected = torch.tensor([0, 2, 13, 19])[labels]
    for name in ("LIP", "CIHP"):
        assert torch.equal(labels_of(colours[labels] / 255, name).long(), expected)


def test_void_and_a_few_strays_are_background():
    labels = every_label("ATR")
    given = labels.clone()
    given[0, -3:] = 255
    given[0, 5, 5] = 99
    labels[0, -3:], labels[0, 5, 5] = 0, 0
    assert torch.equal(labels_of(given / 255, "ATR"), labels.to(torch.uint8))


def test_maps_of_another_set_or_no_maps_at_all_are_refused():
    photo = torch.rand(1, *SIZE, 3, generator=torch.Generator().manual_seed(2))
    soft = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(3))
    hard = (soft > 0.5).float()
    nan = torch.full((1, *SIZE), float("nan"))
    for picture in (photo, photo[..., :1], soft, hard, nan, every_label("ours") / 255, every_label("ours")):
        with pytest.raises(ValueError, match="^parsing: "):
            labels_of(picture, "MediaPipe multiclass")


def test_nothing_labelled_is_fine():
    for picture in (torch.zeros(2, *SIZE), torch.zeros(2, *SIZE, 3)):
        read = labels_of(picture, "LIP")
        assert read.shape == (2, *SIZE) and not read.any()
