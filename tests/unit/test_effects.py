"""What goes with a person, proposed on drawn photos whose truth is known."""

import pytest
import torch
import torch.nn.functional as F

from mild.mild_core.effects.propose import propose, with_effects
from mild.mild_core.effects.window import feet_of
from mild.mild_core.image import boxes
from mild.mild_core.image.growth import VISIBLE
from mild.mild_core.people.from_masks import fitted, numbered, person_from_mask
from mild.mild_core.scene import CARRIED, EFFECTS, REFLECTION, SHADOW, Effect

SIZE = (201, 303)
FEET = 150  # the row below the feet


def ground(size=SIZE, grain=0.03, seed=0, colour=(0.55, 0.5, 0.42)):
    """A floor with texture, a little brighter towards the right."""
    noise = torch.randn(*size, 1, generator=torch.Generator().manual_seed(seed)) * grain
    rise = torch.linspace(0.95, 1.05, size[1])[None, :, None]
    return (torch.tensor(colour) * rise * (1 + noise)).clamp(0, 1)


def body(x, size=SIZE, feet=FEET, tall=90, wide=24):
    """A standing figure: trunk and two legs, [H, W] of 0 and 1."""
    mask = torch.zeros(size)
    mask[feet - tall : feet - tall // 3, x : x + wide] = 1
    mask[feet - tall // 3 : feet, x : x + wide // 3] = 1
    mask[feet - tall // 3 : feet, x + wide - wide // 3 : x + wide] = 1
    return mask


def soft_shadow(x, size=SIZE, feet=FEET, reach=(30, 9), depth=0.45, wide=24):
    """The factor of a shadow around the feet, [H, W, 1], 1 - depth where it is darkest."""
    rows = (torch.arange(size[0])[:, None] - feet) / reach[1]
    columns = (torch.arange(size[1])[None] - (x + wide / 2)) / reach[0]
    return (1 - depth * torch.exp(-(rows**2 + columns**2)))[..., None]


def drawn(photo, mask, colour=(0.15, 0.2, 0.5)):
    return torch.where(mask[..., None] > 0, torch.tensor(colour), photo)


def people_of(*masks):
    return numbered([person_from_mask(mask) for mask in masks])


def kinds(proposals):
    return [one.effect.kind for one in proposals]


def whole(effect, size=SIZE):
    return boxes.placed(effect.mask, effect.box, boxes.whole(size)) > VISIBLE


def overlap(effect, truth, people):
    """Intersection over union of an effect with the truth, where nobody is seen."""
    free = torch.ones(truth.shape, dtype=torch.bool)
    for person in people:
        boxes.cut(free, person.box).logical_and_(person.mask <= 0)
    found, truth = whole(effect, truth.shape) & free, truth & free
    return int((found & truth).sum()) / int((found | truth).sum())


@pytest.fixture(scope="module")
def two():
    """Two people, of whom the right one has a shadow and the left one a bag."""
    left, right = body(60), body(210)
    photo = drawn(drawn(ground() * soft_shadow(210), left), right, (0.5, 0.15, 0.2))
    photo[90:112, 84:98] = torch.tensor([0.85, 0.8, 0.1])
    return photo, people_of(left, right)


def test_a_soft_shadow_and_a_bag_go_to_whom_they_belong(two):
    photo, people = two
    left, right = propose(photo, people, EFFECTS)
    assert kinds(left) == [CARRIED] and kinds(right) == [SHADOW]
    assert left[0].number == 1 and right[0].number == 2
    assert 0.5 <= left[0].sure <= 1 and 0.5 <= right[0].sure <= 1
    shadow = (soft_shadow(210)[..., 0] < 0.9) & (torch.arange(SIZE[0])[:, None] > FEET - 20)
    assert overlap(right[0].effect, shadow, people) > 0.55
    bag = torch.zeros(SIZE, dtype=torch.bool)
    bag[90:112, 84:98] = True
    assert overlap(left[0].effect, bag, people) > 0.55
    for own in (left, right):  # an effect is nobody
        assert not any(
            (whole(own[0].effect) & (boxes.placed(p.mask, p.box, boxes.whole(SIZE)) > 0)).any() for p in people
        )


def test_only_the_kinds_that_are_asked_for(two):
    photo, people = two
    assert [kinds(own) for own in propose(photo, people, [SHADOW])] == [[], [SHADOW]]
    assert [kinds(own) for own in propose(photo, people, [CARRIED])] == [[CARRIED], []]
    assert propose(photo, people, []) == [[], []]


def test_nothing_where_there_is_nothing():
    photo = drawn(ground(), body(100))
    assert propose(photo, people_of(body(100)), EFFECTS) == [[]]
    assert propose(photo, [], EFFECTS) == []


def test_a_dark_patch_away_from_the_feet_is_no_shadow():
    person = body(100)
    photo = ground()
    photo[160:185, 190:230] *= 0.6
    assert propose(drawn(photo, person), people_of(person), [SHADOW]) == [[]]


def test_another_floor_beneath_the_feet_is_no_shadow():
    person = body(100)
    photo = ground()
    photo[135:180, 60:170] = ground(colour=(0.2, 0.3, 0.12))[135:180, 60:170]  # a lawn
    assert propose(drawn(photo, person), people_of(person), [SHADOW]) == [[]]


def test_varied_ground_tells_nothing():
    person = body(100)
    rough = F.interpolate(torch.rand(1, 3, 25, 38, generator=torch.Generator().manual_seed(1)), size=SIZE)[0].movedim(
        0, -1
    )
    photo = drawn(rough * soft_shadow(100), person)
    photo[90:112, 124:138] = torch.tensor([0.85, 0.8, 0.1])
    assert propose(photo, people_of(person), EFFECTS) == [[]]


def test_a_thing_between_two_people_is_nobodys():
    left, right = body(100), body(140)
    photo = drawn(drawn(ground(), left), right)
    photo[90:112, 124:140] = torch.tensor([0.85, 0.8, 0.1])
    assert propose(photo, people_of(left, right), EFFECTS) == [[], []]


def test_a_thing_that_goes_on_is_no_carried_thing():
    person = body(100)
    photo = ground()
    photo[95:103, 124:] = torch.tensor([0.85, 0.1, 0.1])  # a rail
    assert propose(drawn(photo, person), people_of(person), EFFECTS) == [[]]


def test_a_rim_that_the_mask_missed_is_no_carried_thing():
    person = body(100)
    tight = torch.zeros(SIZE)
    tight[2:, 2:] = person[:-2, :-2]
    photo = drawn(ground(), person)
    assert propose(photo, people_of(torch.minimum(tight, person)), [CARRIED]) == [[]]


def test_a_mirror_image_is_found_and_is_no_shadow():
    person = body(100, feet=110, tall=80)
    colours = torch.where(
        torch.arange(SIZE[0])[:, None, None] < 70, torch.tensor([0.9, 0.15, 0.1]), torch.tensor([0.1, 0.1, 0.5])
    )
    photo = torch.where(person[..., None] > 0, colours, ground())
    mirror = torch.zeros_like(photo)
    mirror[110:190] = photo[30:110].flip(0)
    seen = torch.zeros(SIZE)
    seen[110:190] = person[30:110].flip(0)
    photo = torch.lerp(photo, mirror, 0.35 * seen[..., None])
    (found,) = propose(photo, people_of(person), EFFECTS)
    assert found[0].effect.kind == REFLECTION and kinds(found) == [REFLECTION]
    assert overlap(found[0].effect, seen > 0, people_of(person)) > 0.5


def test_a_person_cut_off_below_has_no_feet():
    person = body(100, feet=SIZE[0])
    (one,) = people_of(person)
    assert feet_of(one) is None
    assert propose(drawn(ground() * soft_shadow(100, feet=SIZE[0]), person), [one], [SHADOW, REFLECTION]) == [[]]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels(two, channels):
    photo, people = two
    shown = photo.mean(-1, keepdim=True) if channels == 1 else F.pad(photo, (0, channels - 3), value=1.0)
    assert SHADOW in kinds(propose(shown, people, EFFECTS)[1])


def test_a_large_photo_and_people_found_in_a_small_one(two):
    photo, people = two
    large = F.interpolate(photo.movedim(-1, 0)[None], scale_factor=4, mode="bilinear")[0].movedim(0, -1)
    small = propose(photo, people, EFFECTS)
    found = propose(large, people, EFFECTS)
    assert [kinds(own) for own in found] == [kinds(own) for own in small]
    for one, other in zip(found, small, strict=True):
        assert overlap(one[0].effect, whole(other[0].effect), people) > 0.5  # in the pixels of the people's masks
    grown = [fitted(person, (SIZE[0] * 4, SIZE[1] * 4)) for person in people]
    (_, (shadow,)) = propose(large, grown, EFFECTS)
    assert overlap(fitted_to(shadow.effect, (SIZE[0] * 4, SIZE[1] * 4)), whole(small[1][0].effect), people) > 0.5


def fitted_to(effect, size):
    (person,) = people_of(torch.ones(size))
    return fitted(person._replace(effects=(effect,)), SIZE).effects[0]


def test_the_same_again_and_what_was_refused_is_not_proposed_again(two):
    photo, people = two
    once, answers = with_effects([photo], people, EFFECTS)
    assert [len(person.effects) for person in once] == [1, 1] and len(answers[0].proposals) == 2
    refused = [person._replace(effects=tuple(e._replace(taken=False) for e in person.effects)) for person in once]
    twice, answers = with_effects([photo], refused, EFFECTS)
    assert twice == refused and answers[0].proposals == []


def test_masks_of_the_artist(two):
    photo, people = two
    drawn_mask = torch.zeros(1, *SIZE)
    drawn_mask[0, 60:70, 240:250] = 1
    never = torch.zeros(1, *SIZE)
    never[0, 84:118] = 1  # the bag
    result, (answer,) = with_effects([photo], people, EFFECTS, add=drawn_mask, added_are=CARRIED, never=never)
    assert answer.drawn == [2] and answer.spoilt == 1 and [one.effect.kind for one in answer.proposals] == [SHADOW]
    assert result[0].effects == ()
    assert [effect.kind for effect in result[1].effects] == [SHADOW, CARRIED]
    assert result[1].effects[1].box == (240, 60, 250, 70)
    # a mask of another size lies over the whole photo; without people, what is drawn is nobody's
    half = F.interpolate(drawn_mask[None], scale_factor=0.5)[0]
    result, (answer,) = with_effects([photo], people, [], add=half)
    assert answer.drawn == [2] and boxes.iou(result[1].effects[0].box, (240, 60, 250, 70)) > 0.6
    assert with_effects([photo], [], [], add=drawn_mask)[1][0].nobody


def test_a_batch(two):
    photo, people = two
    both = [*people, *(person._replace(photo=1) for person in people)]
    plain = drawn(drawn(ground(), body(60)), body(210))
    result, answers = with_effects([photo, plain], both, EFFECTS)
    assert [len(person.effects) for person in result] == [1, 1, 0, 0]
    assert [len(answer.proposals) for answer in answers] == [2, 0]
    with pytest.raises(ValueError, match="image: there are people in 2 photos, but image holds 1"):
        with_effects([photo], both, EFFECTS)
    with pytest.raises(ValueError, match="add: got 3 masks for 2 photos"):
        with_effects([photo, plain], both, EFFECTS, add=torch.zeros(3, *SIZE))


def test_effects_are_scaled_with_their_person():
    (person,) = people_of(body(100))
    effect = Effect(SHADOW, (80, 140, 150, 170), torch.ones(30, 70), taken=False)
    fit = fitted(person._replace(effects=(effect,)), (SIZE[0] * 2, SIZE[1] * 2))
    assert fit.effects[0].box == (160, 280, 300, 340) and fit.effects[0].taken is False
    assert fit.effects[0].mask.shape == (60, 140) and bool((fit.effects[0].mask == 1).all())


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 5), (33, 65)])
def test_awkward_sizes_and_masks(size):
    photo = torch.rand(*size, 3, generator=torch.Generator().manual_seed(2))
    dot = torch.zeros(size)
    dot[size[0] // 2, size[1] // 2] = 1
    soft = torch.full(size, 0.5)
    for mask in (dot, torch.ones(size), soft):
        people = people_of(mask)
        assert propose(photo, people, EFFECTS) == [[]]
        result, (answer,) = with_effects([photo], people, EFFECTS, add=torch.ones(1, 3, 3), never=torch.zeros(1, 2, 2))
        assert answer.drawn == [1] and len(result[0].effects) == 1


def test_a_shadow_with_a_hard_edge_is_a_shadow():
    person = body(100)
    photo = ground(grain=0.02)
    cast = torch.zeros(SIZE, dtype=torch.bool)
    cast[FEET - 8 : FEET + 2, 118:154] = True
    photo = drawn(torch.where(cast[..., None], photo * 0.55, photo), person)
    (found,) = propose(photo, people_of(person), EFFECTS)
    assert kinds(found) == [SHADOW] and overlap(found[0].effect, cast, people_of(person)) > 0.5
