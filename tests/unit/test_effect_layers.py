"""What becomes of effects when a photo is split and put together again: drawn scenes whose truth is known."""

import pytest
import torch
import torch.nn.functional as F

from mild.mild_core.image import boxes
from mild.mild_core.layers.decompose import SplitOptions, decompose
from mild.mild_core.layers.recompose import recompose
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.preview.overlay import preview_layers, preview_people
from mild.mild_core.scene import BACKGROUND, CARRIED, REFLECTION, SHADOW, Effect
from mild.tests.unit.test_effects import FEET, SIZE, body, drawn, ground, soft_shadow

BAG = (84, 90, 98, 112)


def shadow_effect(x, taken=True):
    dark = soft_shadow(x)[..., 0]
    mask = (dark < 0.95).float()
    box = boxes.tight_box(mask > 0)
    return Effect(SHADOW, box, boxes.cut(mask, box), taken)


def thing(box, kind=CARRIED, taken=True):
    return Effect(kind, box, torch.ones(boxes.height(box), boxes.width(box)), taken)


def scene(effects, erased=(True, False), seed=0):
    """Photo, truth without anybody and their effects, and two people: the left one with these effects."""
    left, right = body(60), body(210)
    truth = ground(grain=0.06, seed=seed)
    photo = drawn(drawn(truth * soft_shadow(60), left), right, (0.5, 0.15, 0.2))
    people = numbered([person_from_mask(left), person_from_mask(right)])
    people = [person._replace(erased=goes) for person, goes in zip(people, erased, strict=True)]
    return photo[None], truth[None], [people[0]._replace(effects=effects), people[1]]


def painted_with(scenes, colour):
    layers = tuple(
        layer._replace(
            pixels=torch.where((layer.hole > 0)[..., None], torch.tensor(colour), layer.pixels.float()), sampled=True
        )
        for layer in scenes[0].layers
    )
    return recompose([scenes[0]._replace(layers=layers)], seam="none", grain=False)


def hole_of(scenes, field="hole"):
    result = torch.zeros(scenes[0].photo.shape[:2])
    for layer in scenes[0].layers:
        value = getattr(layer, field)
        if layer.domain == BACKGROUND and value is not None:
            torch.maximum(boxes.cut(result, layer.box), value.float(), out=boxes.cut(result, layer.box))
    return result


def test_a_shadow_is_lifted_and_the_ground_keeps_its_texture():
    photo, truth, people = scene((shadow_effect(60),))
    scenes = decompose(photo, people)
    done = painted_with(scenes, (0.5, 0.5, 0.5))
    where = (soft_shadow(60)[..., 0] < 0.85) & (hole_of(scenes) <= 0)
    before, after = ((picture - truth)[0][where].abs().mean() for picture in (photo, done.image))
    assert after < 0.3 * before and where.sum() > 200
    both = where[1:] & where[:-1]
    detail = [(picture[0, 1:] - picture[0, :-1])[both].flatten() for picture in (done.image, truth)]
    assert torch.corrcoef(torch.stack(detail))[0, 1] > 0.95  # the same floor, not another one
    assert done.outside == 0 and bool((done.changed[0][where] > 0).float().mean() > 0.9)
    far = torch.ones(SIZE, dtype=torch.bool)
    far[FEET - 100 : FEET + 40, 20:130] = False
    assert torch.equal(done.image[0][far], photo[0][far])


def test_the_shadow_does_not_show_through_the_soft_edge_of_the_hole():
    photo, truth, people = scene((shadow_effect(60),))
    scenes = decompose(photo, people, options=SplitOptions(feather=6))
    (layer,) = scenes[0].layers
    true = boxes.cut(truth[0], layer.box)
    layer = layer._replace(pixels=torch.where((layer.hole > 0)[..., None], true, layer.pixels), sampled=True)
    done = recompose([scenes[0]._replace(layers=(layer,))], seam="none", grain=False)
    edge = (hole_of(scenes) > 0) & (hole_of(scenes) < 1) & (soft_shadow(60)[..., 0] < 0.8)
    assert edge.sum() > 30 and (done.image - truth)[0][edge].abs().max() < 0.02 < (photo - truth)[0][edge].abs().mean()


def test_without_its_person_or_refused_it_stays():
    for effects, erased in (
        ((shadow_effect(60), thing(BAG)), (False, True)),
        ((shadow_effect(60, taken=False), thing(BAG, taken=False)), (True, False)),
    ):
        photo, _, people = scene(effects, erased)
        with_them = decompose(photo, people)
        bare = decompose(photo, [person._replace(effects=()) for person in people])
        for one, other in zip(with_them[0].layers, bare[0].layers, strict=True):
            assert one.box == other.box and torch.equal(one.hole, other.hole) and one.reveal is None
            assert torch.equal(one.pixels, other.pixels)


def test_a_carried_thing_is_a_hole_as_near_as_its_owner():
    photo, _, people = scene((thing(BAG),))
    scenes = decompose(photo, people, options=SplitOptions(snap=False))
    assert bool((boxes.cut(hole_of(scenes), BAG) > 0).all())
    assert not bool((boxes.cut(hole_of(decompose(photo, [people[0]._replace(effects=()), people[1]])), BAG) > 0).all())
    for layer in scenes[0].layers:
        assert not bool((layer.allowed & (layer.hole > 0)).any())


def test_a_mirror_image_is_a_hole_and_hides_nobody():
    below = (58, 152, 86, 190)
    photo, _, people = scene((thing(below, REFLECTION),))
    scenes = decompose(photo, people)
    assert bool((boxes.cut(hole_of(scenes), below) > 0).all())
    assert [layer.domain for layer in scenes[0].layers] == [BACKGROUND]


def test_kept_people_their_things_and_protect_win():
    over = (180, 100, 240, 160)  # over the person who stays and their bag
    photo, _, people = scene((thing(over),))
    bag = (200, 110, 210, 130)
    people[1] = people[1]._replace(effects=(thing(bag),))
    protect = torch.zeros(1, *SIZE)
    protect[0, 100:110] = 1
    done = painted_with(decompose(photo, people, protect=protect, options=SplitOptions(contact=0)), (0.0, 1.0, 0.0))
    same = done.image[0] == photo[0]
    right = boxes.placed(people[1].mask, people[1].box, boxes.whole(SIZE)) > 0
    assert bool(same[right].all()) and bool(boxes.cut(same, bag).all()) and bool(same[100:110].all())
    assert not bool(boxes.cut(same, (182, 140, 196, 155)).any())


def test_a_shadow_on_ground_that_tells_nothing_is_painted():
    photo, _, people = scene((shadow_effect(60),))
    rough = torch.rand(13, 19, 3, generator=torch.Generator().manual_seed(3))
    rough = rough.repeat_interleave(16, 0).repeat_interleave(16, 1)
    photo = drawn(rough[: SIZE[0], : SIZE[1]] * soft_shadow(60), body(60))[None]
    scenes = decompose(photo, people)
    core = (soft_shadow(60)[..., 0] < 0.9) & (body(60) <= 0)
    assert bool((hole_of(scenes)[core] > 0).all()) and all(layer.reveal is None for layer in scenes[0].layers)


def test_full_plate_shows_the_lifted_ground():
    photo, truth, people = scene((shadow_effect(60),))
    scenes = decompose(photo, people, options=SplitOptions(full_plate=True))
    where = (soft_shadow(60)[..., 0] < 0.85) & (hole_of(scenes) <= 0)
    done = painted_with(scenes, (0.5, 0.5, 0.5))
    assert (done.image - truth)[0][where].abs().mean() < 0.3 * (photo - truth)[0][where].abs().mean()
    right = boxes.placed(people[1].mask, people[1].box, boxes.whole(SIZE)) > 0
    assert torch.equal(done.image[0][right], photo[0][right]) and done.outside == 0


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(channels):
    photo, truth, people = scene((shadow_effect(60), thing(BAG)))

    def change(picture):
        return picture.mean(-1, keepdim=True) if channels == 1 else F.pad(picture, (0, 1), value=1.0)

    scenes = decompose(change(photo), people)
    done = painted_with(scenes, (0.5, 0.5, 0.5))
    where = (soft_shadow(60)[..., 0] < 0.85) & (hole_of(scenes) <= 0)
    before, after = ((one - change(truth))[0][where].abs().mean() for one in (change(photo), done.image))
    assert after < 0.3 * before and done.outside == 0


def test_previews_show_effects_with_their_person():
    photo, _, people = scene((thing(BAG),))
    bare = [people[0]._replace(effects=()), people[1]]
    refused = [people[0]._replace(effects=(thing(BAG, taken=False),)), people[1]]
    seen = preview_people(people, list(photo), 1)
    different = (seen != preview_people(bare, list(photo), 1)).any(-1)[0]
    assert bool(boxes.cut(different, BAG).any()) and boxes.tight_box(different) == BAG
    assert torch.equal(preview_people(refused, list(photo), 1), preview_people(bare, list(photo), 1))
    kept = [person._replace(erased=False) for person in people]
    x0, y0 = BAG[:2]
    assert not torch.equal(preview_people(kept, list(photo), 1)[0, y0, x0], seen[0, y0, x0])  # in the person's colour
    layers = preview_layers(decompose(photo, people), people)
    assert bool((boxes.cut(layers[0], BAG) != boxes.cut(photo[0], BAG)).any())
