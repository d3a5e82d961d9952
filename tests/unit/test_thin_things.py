"""A thin thing in front of somebody survives their hole; gaps that show ground, and neighbours, are no things."""

import pytest
import torch

from mild.mild_core.image import boxes
from mild.mild_core.image.growth import grow
from mild.mild_core.layers.decompose import SplitOptions, decompose
from mild.mild_core.layers.thin_things import margin_of, thin_things
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.selection import choose
from mild.mild_core.scene import CARRIED, Effect

SIZE = (261, 243)
REACH = 7.0
PERSON, GROUND, THING = torch.tensor([[0.7, 0.25, 0.2], [0.3, 0.5, 0.6], [0.1, 0.1, 0.1]])


def figure(size=SIZE):
    """Head and body, away from the borders; no rectangle, which would be taken for a detector's box."""
    mask = torch.zeros(size, dtype=torch.bool)
    mask[30 : size[0] - 30, 100 : size[1] - 100] = True
    mask[80 : size[0] - 30, 70 : size[1] - 70] = True
    return mask


def painted(person, thing, seed=0, colours=(PERSON, GROUND, THING)):
    photo = torch.where(person[..., None], colours[0], colours[1])
    photo = torch.where(thing[..., None], colours[2], photo)
    return (photo + 0.02 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)


def line(width, kind, size=SIZE):
    rows, columns = torch.arange(size[0])[:, None].float(), torch.arange(size[1])[None].float()
    if kind == "pole":
        return ((columns - size[1] / 2 - 0.1 * (rows - size[0] / 2)).abs() < width / 2).expand(size)
    if kind == "wire":
        return ((rows - size[0] / 2 - 0.2 * (columns - size[1] / 2)).abs() < width / 2).expand(size)
    return ((rows + columns) % 26 < width) | ((rows - columns) % 26 < width)


def hole_of(photo, mask, **options):
    people = choose(numbered([person_from_mask(mask.float())]), "all")
    (scene,) = decompose(photo[None], people, options=SplitOptions(**options))
    hole = torch.zeros(mask.shape, dtype=torch.bool)
    for layer in scene.layers:
        boxes.cut(hole, layer.box).logical_or_(layer.hole > 0)
    return hole


@pytest.mark.parametrize(
    "kind, width", [("pole", 2), ("pole", 6), ("pole", 11), ("wire", 2), ("wire", 5), ("fence", 2)]
)
def test_a_thing_in_front_stays_and_the_person_goes(kind, width):
    person, thing = figure(), line(width, kind)
    photo, mask = painted(person, thing), person & ~thing
    hole = hole_of(photo, mask)
    assert hole[mask].all()
    kept = 1 - float(hole[thing & person].float().mean())
    assert kept >= 0.95
    before = 1 - float(hole_of(photo, mask, spare=False)[thing & person].float().mean())
    assert before < 0.85
    # Beside the thing no rim of the person is left because of it.
    away = grow(person, 1) & ~grow(thing, 8)
    assert hole[away].float().mean() > 0.999  # but for single pixels at the corners


def test_a_thing_of_the_clothes_colour_in_part_is_found_too():
    person, thing = figure(), line(4, "wire") | line(4, "pole")
    half = torch.arange(SIZE[1])[None, :, None] > SIZE[1] // 2
    photo = painted(person, thing)
    dark = torch.where(half & person[..., None] & ~thing[..., None], THING, photo)
    hole = hole_of(dark, person & ~thing)
    assert float(hole[thing & person].float().mean()) <= 0.15


def test_ground_between_an_arm_and_a_body_is_no_thing():
    person = figure()
    person[100:200, 90:94] = False
    photo = painted(person, torch.zeros_like(person))
    assert thin_things(photo, person, REACH) is None


def test_a_crack_in_the_mask_of_the_persons_own_colours_is_closed():
    person, crack = figure(), line(2, "wire")
    photo = painted(person, torch.zeros_like(person))
    assert thin_things(photo, person & ~crack, REACH) is None
    assert hole_of(photo, person & ~crack)[crack & person].all()


def test_a_person_in_front_is_no_thing():
    person, other = figure(), line(8, "pole")
    photo = painted(person, other)
    assert thin_things(photo, person & ~other, REACH, others=person | other) is None


def test_large_photos_are_looked_at_on_a_coarser_grid():
    size = (601, 643)
    person, thing = figure(size), line(13, "pole", size) | line(4, "wire", size)
    photo, mask = painted(person, thing), person & ~thing
    found = thin_things(photo, mask, 25.0)
    assert found is not None and not (found & mask).any()
    assert found[thing & person].float().mean() > 0.97
    assert not (found & ~grow(thing, 3)).any()
    assert margin_of(25.0) > 50


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (30, 31)])
@pytest.mark.parametrize("kind", ["empty", "full", "parted", "specks"])
def test_awkward_masks(size, kind):
    mask = torch.zeros(size, dtype=torch.bool)
    if kind == "full":
        mask[:] = True
    elif kind == "parted":
        mask[:] = True
        mask[:, size[1] // 2] = False
    elif kind == "specks":
        mask[::3, ::2] = True
    photo = torch.rand(*size, 3, generator=torch.Generator().manual_seed(0))
    found = thin_things(photo, mask, 4.0)
    assert found is None or (found.shape == mask.shape and not (found & mask).any())


def test_a_thing_is_spared_for_whoever_goes_and_growth_0_is_the_mask():
    person, thing = figure(), line(5, "pole")
    mask = person & ~thing
    hole = hole_of(painted(person, thing), mask, grow=0.0, snap=False)
    assert torch.equal(hole, mask)


def test_it_is_said_whose_thing_stays_and_what_the_artist_marks_goes():
    person, thing = figure(), line(5, "pole")
    photo, mask = painted(person, thing), person & ~thing
    people = choose(numbered([person_from_mask(mask.float())]), "all")
    (scene,) = decompose(photo[None], people)
    assert scene.spared == ("Person 1",)
    assert decompose(painted(person, thing & ~thing)[None], people)[0].spared == ()

    everything = boxes.cut(thing, whole := (0, 0, SIZE[1], SIZE[0])).float()
    carried = [people[0]._replace(effects=(Effect(CARRIED, whole, everything),))]
    for marked in (decompose(photo[None], people, also_erase=thing.float()[None]), decompose(photo[None], carried)):
        hole = torch.zeros(SIZE, dtype=torch.bool)
        for layer in marked[0].layers:
            boxes.cut(hole, layer.box).logical_or_(layer.hole > 0)
        assert hole[thing & person].all() and marked[0].spared == ()
