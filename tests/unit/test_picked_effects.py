"""Shadows and carried things taken or refused by clicks, and what of them goes."""

import json

import pytest
import torch

from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.picked_effects import EffectPick, effects_picked, going_mask, read_effects, taken_effects
from mild.mild_core.scene import CARRIED, SHADOW, Effect

SIZE = (60, 100)


def effect(kind, box, taken=True):
    return Effect(kind, box, torch.ones(box[3] - box[1], box[2] - box[0]), taken)


def people():
    masks = torch.zeros(2, *SIZE)
    masks[0, 10:40, 10:30] = 1
    masks[1, 10:40, 60:80] = 1
    first, second = numbered([person_from_mask(mask) for mask in masks])
    bag = effect(CARRIED, (30, 20, 38, 30))
    shadow = effect(SHADOW, (10, 40, 70, 50))
    return [first._replace(effects=(bag, shadow)), second._replace(effects=(effect(SHADOW, (50, 38, 80, 48)),))]


def pick(number, kind, x, y, taken=False, photo=0):
    return EffectPick(photo, number, kind, (x / 100, y / 60), taken)


def refused(people):
    return [(one.number, effect.kind) for one in people for effect in one.effects if not effect.taken]


def test_a_click_refuses_one_effect_and_another_takes_it_back():
    for number in (1, 9):
        after, lost = effects_picked(people(), [pick(number, SHADOW, 20, 45)])
        assert refused(after) == [(1, SHADOW)] and lost == []
    again, _ = effects_picked(after, [pick(1, SHADOW, 20, 45, taken=True)])
    assert refused(again) == []


def test_where_effects_overlap_the_number_decides_and_else_the_smallest():
    for number, meant in ((1, 1), (2, 2), (9, 2)):
        assert refused(effects_picked(people(), [pick(number, SHADOW, 60, 44)])[0]) == [(meant, SHADOW)]


def test_another_kind_or_place_or_photo_is_lost():
    clicks = [pick(1, CARRIED, 20, 45), pick(1, SHADOW, 90, 5), pick(1, SHADOW, 20, 45, photo=1)]
    after, lost = effects_picked(people(), clicks)
    assert refused(after) == [] and lost == clicks


def test_the_mask_holds_what_is_taken_of_whoever_goes_and_nothing_of_whoever_stays():
    first, second = effects_picked(people(), [pick(1, CARRIED, 34, 25)])[0]
    assert [one.kind for one in taken_effects(first)] == [SHADOW]
    covering = first._replace(effects=(*first.effects, effect(SHADOW, (5, 30, 100, 35))))
    mask = going_mask([covering], [second], SIZE)
    expected = torch.zeros(SIZE)
    expected[10:40, 10:30] = expected[40:50, 10:70] = expected[30:35, 5:60] = expected[30:35, 80:] = 1
    assert torch.equal(mask, expected)
    assert torch.equal(going_mask([second._replace(effects=())], [covering], SIZE)[10:40, 60:80], torch.ones(30, 20))


def test_effects_made_at_another_size_lie_at_the_same_place():
    mask = going_mask(people()[:1], [], (120, 200))
    assert mask[80:100, 20:140].min() == 1 and mask.sum() == 4 * (600 + 80 + 600)


def written(**values):
    entry = {"photo": 0, "number": 2, "kind": "shadow", "x": 0.25, "y": 0.75, "taken": False}
    return json.dumps({"people": [], "effects": [entry | values]})


def test_text_of_the_picker():
    assert read_effects("") == read_effects('{"people": []}') == []
    assert read_effects(written()) == [EffectPick(0, 2, SHADOW, (0.25, 0.75), False)]
    assert read_effects(written(item=2, place=1)) == [EffectPick(1, 2, SHADOW, (0.25, 0.75), False, 2)]


@pytest.mark.parametrize("wrong", [{"kind": "hat"}, {"taken": 1}, {"x": 3}, {"y": None}, {"number": "x"}])
def test_other_text_is_refused(wrong):
    with pytest.raises(ValueError, match="^picked: .*who"):
        read_effects(written(**wrong))
