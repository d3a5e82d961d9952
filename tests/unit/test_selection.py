"""What artists type, in all its spellings."""

import pytest
import torch

from mild.mild_core.people.selection import choose, layers_named, numbers_by_place
from mild.mild_core.scene import BACKGROUND, PERSON, Layer, Person, Scene


def person(number, photo=0, name=None):
    return Person(name or f"Person {number}", number, photo, (4, 4), (0, 0, 4, 4), torch.ones(4, 4))


PEOPLE = [person(number) for number in range(1, 6)]


def gone(who, people=PEOPLE):
    return [p.number for p in choose(people, who) if p.erased]


@pytest.mark.parametrize(
    "who, expected",
    [
        ("all", [1, 2, 3, 4, 5]),
        (" All ", [1, 2, 3, 4, 5]),
        ("everyone", [1, 2, 3, 4, 5]),
        ("none", []),
        ("Nobody", []),
        ("1", [1]),
        ("1,3", [1, 3]),
        ("3 , 1", [1, 3]),
        ("1 3", [1, 3]),
        ("1;3\n5", [1, 3, 5]),
        ("1 and 3", [1, 3]),
        ("2-4", [2, 3, 4]),
        ("4 - 2", [2, 3, 4]),
        ("2\u20134, 1", [1, 2, 3, 4]),
        ("1\uff0c3\u30015", [1, 3, 5]),
        ("all but 2", [1, 3, 4, 5]),
        ("all except 2-4", [1, 5]),
        ("everyone without 1 and 5", [2, 3, 4]),
        ("person 2", [2]),
        ("Person 2, 4", [2, 4]),
        ("all but person 3", [1, 2, 4, 5]),
        ("全部", [1, 2, 3, 4, 5]),
        ("所有人", [1, 2, 3, 4, 5]),
        ("大家", [1, 2, 3, 4, 5]),
        ("没有", []),
        ("無人", []),
        ("全不选", []),
        ("除了2", [1, 3, 4, 5]),
        ("除了 2 以外", [1, 3, 4, 5]),
        ("除了2、4以外的所有人", [1, 3, 5]),
        ("除2号外，全部", [1, 3, 4, 5]),
        ("全部除了2到4", [1, 5]),
        ("大家，除了1和5之外", [2, 3, 4]),
        ("１，３", [1, 3]),
        ("１、３；５", [1, 3, 5]),
        ("２－４", [2, 3, 4]),
        ("2～4", [2, 3, 4]),
        ("2至4", [2, 3, 4]),
        ("1和3", [1, 3]),
        ("1号、第3号 以及 5號", [1, 3, 5]),
        ("人物2", [2]),
        ("人物 2、人物 4", [2, 4]),
        ("ａｌｌ　ｂｕｔ　２", [1, 3, 4, 5]),
        ("＊", [1, 2, 3, 4, 5]),
    ],
)
def test_spellings(who, expected):
    assert gone(who) == expected


def test_names():
    people = [person(1, name="Ada"), person(2, name="Grace Hopper")]
    assert gone("grace hopper", people) == [2]
    assert gone("all but Ada", people) == [2]


def test_names_in_chinese():
    """One that holds the sign for "and" or "but" is still a name."""
    people = [person(1, name="和平"), person(2, name="小明"), person(3, name="除夕"), person(4, name="Ｂｏｂ")]
    assert gone("和平", people) == [1]
    assert gone("和平、小明", people) == [1, 2]
    assert gone("小明和除夕", people) == [2, 3]
    assert gone("除夕", people) == [3]
    assert gone("除了除夕", people) == [1, 2, 4]
    assert gone("bob", people) == gone("ＢＯＢ", people) == [4]
    with pytest.raises(ValueError, match="who: '小红' is neither a number nor a name here"):
        choose(people, "小红")


def test_choosing_again_forgets_the_last_choice():
    assert gone("2", choose(PEOPLE, "1,3")) == [2]


def test_a_number_counts_in_every_photo():
    people = [person(1), person(2), person(1, photo=1)]
    assert [p.erased for p in choose(people, "1")] == [True, False, True]
    assert [p.erased for p in choose(people, "2")] == [False, True, False]


def test_numbers_by_place_are_named_over_a_batch():
    people = [person(1), person(2), person(1, photo=1), person(2, photo=1)._replace(labelled=True), person(3, photo=1)]
    people += [person(4)._replace(labelled=True), person(4, photo=1)._replace(labelled=True)]
    assert numbers_by_place(people, "1") == numbers_by_place(people, "all but 1") == [1]
    assert numbers_by_place(people, "3, 4") == numbers_by_place(people, "all") == numbers_by_place(people, "none") == []
    assert numbers_by_place(people[:2], "1-2") == []
    assert numbers_by_place(people, "除了1以外") == numbers_by_place(people, "１号") == [1]
    assert numbers_by_place(people, "全部") == numbers_by_place(people, "没有") == []


@pytest.mark.parametrize(
    "who, words",
    [
        ("7", ["no person 7", "1-5"]),
        ("1, 7-9", ["no person 7-9", "1-5"]),
        ("all but 7", ["no person 7"]),
        ("0", ["no person 0"]),
        ("", ["all but 2"]),
        ("  ", ["all but 2"]),
        ("the tall one", ["the tall one", "1-5"]),
        ("-3", ["-3"]),
        ("1-99999999999", ["1-99999999999"]),
    ],
)
def test_what_names_nobody_is_said(who, words):
    with pytest.raises(ValueError) as error:
        choose(PEOPLE, who)
    assert str(error.value).startswith("who: ")
    assert all(word in str(error.value) for word in words)


def test_nobody_there():
    assert choose([], "all") == choose([], "none") == []
    with pytest.raises(ValueError, match="nobody was found"):
        choose([], "1")


def layer(layer_id, name, domain, number=None):
    none, pixels = torch.zeros(2, 2), torch.zeros(2, 2, 3)
    return Layer(layer_id, name, 0, domain, number, (0, 0, 2, 2), pixels, none, none, none, 0.0, "balanced")


SCENES = [
    Scene(
        torch.zeros(2, 2, 3),
        (
            layer("1/background", "Background 1", BACKGROUND),
            layer("1/background-2", "Background 2", BACKGROUND),
            layer("1/person-2", "Person 2", PERSON, 2),
            layer("1/person-3", "Ada", PERSON, 3),
        ),
    ),
    Scene(
        torch.zeros(2, 2, 3),
        (layer("2/background", "Background", BACKGROUND), layer("2/person-2", "Person 2", PERSON, 2)),
    ),
]


@pytest.mark.parametrize(
    "which, expected",
    [
        ("all", {"1/background", "1/background-2", "1/person-2", "1/person-3", "2/background", "2/person-2"}),
        ("background", {"1/background", "1/background-2", "2/background"}),
        ("people", {"1/person-2", "1/person-3", "2/person-2"}),
        ("2", {"1/person-2", "2/person-2"}),
        ("background, 3", {"1/background", "1/background-2", "2/background", "1/person-3"}),
        ("2-3", {"1/person-2", "1/person-3", "2/person-2"}),
        ("ada", {"1/person-3"}),
        ("1/background-2", {"1/background-2"}),
        ("全部", {"1/background", "1/background-2", "1/person-2", "1/person-3", "2/background", "2/person-2"}),
        ("背景", {"1/background", "1/background-2", "2/background"}),
        ("人物", {"1/person-2", "1/person-3", "2/person-2"}),
        ("背景、３", {"1/background", "1/background-2", "2/background", "1/person-3"}),
        ("背景和人物", {"1/background", "1/background-2", "1/person-2", "1/person-3", "2/background", "2/person-2"}),
        ("２－３", {"1/person-2", "1/person-3", "2/person-2"}),
        ("1/background-2，人物3", {"1/background-2", "1/person-3"}),
    ],
)
def test_layers_by_name(which, expected):
    assert layers_named(SCENES, which) == expected


@pytest.mark.parametrize("which", ["7", "nobody", "", "background, 9"])
def test_layers_that_are_not_there(which):
    with pytest.raises(ValueError, match="which: "):
        layers_named(SCENES, which)


def test_no_layers_at_all():
    assert layers_named([Scene(torch.zeros(2, 2, 3), ())], "all") == set()
