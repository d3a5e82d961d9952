"""What a layer's pathway sees in its crop."""

import pytest
import torch

from mild.mild_core.attention.layer_regions import OWN_PERSON, PEOPLE, Maps, of_layer, reduced
from mild.mild_core.attention.regions import HOLE, REST, on_grid
from mild.mild_core.image import boxes
from mild.mild_core.layers.decompose import SplitOptions, decompose
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.selection import choose
from mild.mild_core.scene import PERSON, Scene

SIZE = (90, 120)


def drawn(*box):
    mask = torch.zeros(SIZE)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return mask


KEPT, ERASED = drawn(40, 10, 60, 80), drawn(52, 20, 75, 85)
SEEN = KEPT * (1 - ERASED)


@pytest.fixture(params=[False, True], ids=["erased only", "full plate"])
def scenes(request):
    people = choose(numbered([person_from_mask(SEEN), person_from_mask(ERASED)]), "2")
    photo = torch.rand(1, *SIZE, 3, generator=torch.Generator().manual_seed(0))
    return decompose(photo, people, options=SplitOptions(full_plate=request.param))


def test_every_layer_has_a_hole_that_nobody_shares(scenes):
    maps = Maps.of(scenes)
    assert maps.names and maps.any and maps.foreign and not maps.avoids
    for layer in scenes[0].layers:
        if not layer.hole.any():
            assert maps.key(layer.id, 1) is None
            continue
        masks = maps.masks(layer.id)
        stack = torch.stack(list(masks.values()))
        assert stack.shape[1:] == layer.hole.shape and bool(((stack == 0) | (stack == 1)).all())
        assert float(stack.sum(0).max()) <= 1 and torch.equal(masks[HOLE] > 0, layer.hole > 0)
        assert on_grid(masks, (9, 7)).names == (REST, *masks)


def test_a_background_does_not_look_at_who_stays(scenes):
    layer = scenes[0].layers[0]
    regions = of_layer(layer)
    kept = boxes.cut(SEEN, layer.box) > 0
    stays = kept & ~(layer.hole > 0)
    assert regions.own == REST and (regions.masks[PEOPLE][stays] == 1).all()
    assert not (regions.masks[PEOPLE].bool() & layer.allowed).any()
    assert bool(stays.any()) != bool((layer.hole[kept] > 0).all())


def test_a_persons_hole_looks_at_the_person_alone(scenes):
    (layer,) = (layer for layer in scenes[0].layers if layer.domain == PERSON)
    regions = of_layer(layer)
    seen = boxes.cut(SEEN, layer.box) * (layer.hole <= 0)
    assert regions.own == OWN_PERSON and torch.equal(regions.masks[OWN_PERSON], seen)
    # what was completed of the person is still what has to be invented
    whole = layer._replace(alpha=torch.ones_like(layer.alpha), sampled=True)
    assert not (of_layer(whole).masks[OWN_PERSON] * (layer.hole > 0)).any()


def test_whose_row_it_is(scenes):
    names = [layer.id for layer in scenes[0].layers if layer.hole.any()]
    maps = Maps.of(scenes)
    assert [maps.key(name, 9) for name in names] == names
    assert [maps.key(n, len(names)) for n in range(len(names))] == names
    one = Maps.of(scenes, "background")
    assert [one.key(n, 3) for n in range(3)] == ["1/background"] * 3
    assert one.key("1/person-1", 1) is None
    for row, count in ((0, len(names) + 1), ("9/background", 1)):
        with pytest.raises(ValueError, match="layers:"):
            maps.key(row, count)


def test_masks_of_whole_photos():
    soft = torch.stack([drawn(5, 5, 50, 50) * 0.5, drawn(60, 5, 70, 50)])
    maps = Maps.of_mask(soft, torch.ones(1, 30, 40))
    assert maps.names == (0, 1) and maps.avoids and maps.foreign and maps.own(0) == REST
    for number in (0, 1):
        masks = maps.masks(maps.key(number, 2))
        assert torch.equal(masks[HOLE], soft[number]) and torch.allclose(masks[PEOPLE], 1 - soft[number])
    assert Maps.of_mask(soft[:1]).key(5, 7) == 0 and not Maps.of_mask(soft).foreign
    with pytest.raises(ValueError, match="mask: 2 of them meet a latent of 3"):
        maps.key(0, 3)
    with pytest.raises(ValueError, match="Connect the layers instead"):
        maps.key("1/background", 2)
    with pytest.raises(ValueError, match="avoid: got 2 masks for 1"):
        Maps.of_mask(soft[:1], soft)


def test_large_masks_are_looked_at_once():
    down, across = torch.arange(1500)[:, None], torch.arange(2101)[None]
    disc = ((down - 700) ** 2 + (across - 900) ** 2 < 401**2).float()
    masks = {HOLE: disc, PEOPLE: ((across > 1101) & (down > 333)).float() * (1 - disc)}
    small = reduced(masks)
    assert max(small[HOLE].shape) == 1024 and reduced(small) is small
    for grid in ((64, 96), (9, 13)):
        assert torch.allclose(on_grid(masks, grid).soft, on_grid(small, grid).soft, atol=1e-2)
    thin = {HOLE: torch.zeros(1500, 2101)}
    thin[HOLE][700:702, 3] = 1  # two pixels
    for grid in ((94, 131), (9, 13)):
        touched = on_grid(reduced(thin), grid).touched[:, 1]
        assert (on_grid(thin, grid).touched[:, 1] <= touched).all() and 1 <= int(touched.sum()) <= 2


def test_nothing_to_do():
    empty = Maps.of([Scene(torch.zeros(4, 4, 3), ())])
    assert not empty.any and not empty.names
    assert not Maps.of_mask(torch.zeros(1, 4, 4)).any and Maps.of_mask(torch.ones(1, 4, 4)).any
