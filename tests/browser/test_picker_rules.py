"""The picker's own rules, in the browser: text, clicks and strokes mean the same people there as in the node."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops, ImageDraw

from mild.mild_core.example_photo import load_example
from mild.mild_core.image.growth import distance
from mild.mild_core.people.from_masks import numbered, person_from_mask, union_mask
from mild.mild_core.people.outlines import outlines
from mild.mild_core.people.picked import Pick, people_picked
from mild.mild_core.people.selection import choose
from mild.mild_core.people.strokes import people_corrected, read_strokes
from mild.mild_core.scene import Person
from mild.tests.helpers.browser import open_page
from mild.tools.find_comfyui import PACK_FOLDER

RULES = f"/extensions/{PACK_FOLDER}/picker/"

SPELLINGS = (
    "all",
    " Everyone ",
    "*",
    "none",
    "no one",
    "1",
    "1,3",
    "3 , 1",
    "1 3",
    "1;3\n5",
    "1 and 3",
    "2-4",
    "4 - 2",
    "2\u20134, 1",
    "1\uff0c3\u30015",
    "all but 2",
    "all except 2-4",
    "everyone without 1 and 5",
    "person 2",
    "Ada, 4",
    "all but ada",
    "7",
    "all but 9",
    "the tall one",
    "-3",
    "0",
    "1-99999999999",
    "全部",
    "所有人",
    "没有",
    "全不选",
    "除了2",
    "除了2、4以外的所有人",
    "全部除了2到4",
    "大家，除了1和5之外",
    "１，３；５",
    "2～4",
    "1号、第3号 以及 5號",
    "人物 2、人物 4",
    "ａｌｌ　ｂｕｔ　２",
    "Ａｄａ",
    "小红",
    "除了9",
)


@pytest.fixture(scope="module")
def page(server):
    """The rules need no front end, which takes seconds to come up: only their own files, from the server."""
    with open_page() as page:
        page.goto(server.url + RULES + "choice.js")
        yield page


def as_drawn(people):
    """People of one photo as the picker gets them."""
    return [
        {
            "number": person.number,
            "name": person.name,
            "box": line.box,
            "point": line.point,
            "rings": [ring.ravel().tolist() for ring in line.rings],
        }
        for person, line in zip(people, outlines(people, people[0].size), strict=True)
    ]


def test_the_picker_reads_words_as_the_node_does(page):
    names = ["Person 1", "Person 2", "Person 3", "Ada", "Person 5"]
    people = [{"number": number, "name": name, "rings": []} for number, name in enumerate(names, 1)]
    read = page.evaluate(
        """async ([path, people, texts]) => {
            const { named } = await import(path)
            return texts.map(text => { const keys = named(text, [{ people }]); return keys && [...keys] })
        }""",
        [RULES + "choice.js", people, SPELLINGS],
    )
    mask = load_example().masks[0, :1, :1]
    here = [Person(one["name"], one["number"], 0, (4, 4), (0, 0, 1, 1), mask) for one in people]
    for text, keys in zip(SPELLINGS, read, strict=True):
        try:
            expected = {f"0/{person.number}" for person in choose(here, text) if person.erased}
        except ValueError:
            expected = None
        assert (None if keys is None else set(keys)) == expected, text


def test_the_picker_places_clicks_as_the_node_does(page):
    """Wherever a click does not lie within a few pixels of an edge, where outlines and masks may differ."""
    masks = load_example().masks
    height, width = masks.shape[1:]
    people = numbered([person_from_mask(mask) for mask in masks])
    drawn = as_drawn(people)
    random = np.random.default_rng(4)
    picks, expected = [], []
    for _ in range(400):
        someone = people[random.integers(len(people))]
        x, y = random.uniform(someone.box[:2], someone.box[2:])
        number = int(random.integers(1, 9))
        around = {
            tuple(one.number for one in people_picked(people, [Pick(0, number, point)])[0] if one.erased)
            for point in (
                (np.clip((x + dx) / width, 0, 1), np.clip((y + dy) / height, 0, 1))
                for dx in (-3, 0, 3)
                for dy in (-3, 0, 3)
            )
        }
        if len(around) == 1:
            picks.append({"photo": 0, "number": number, "x": x / width, "y": y / height})
            expected.append([f"0/{one}" for one in around.pop()])
    assert len(picks) > 100 and [] in expected
    found = page.evaluate(
        """async ([path, photo, picks]) => {
            const { placed } = await import(path)
            return picks.map(pick => [...placed([pick], [photo]).keys.keys()])
        }""",
        [RULES + "choice.js", {"width": width, "height": height, "people": drawn}, picks],
    )
    assert found == expected


def filled(person, size) -> np.ndarray:
    """The mask of somebody whom the picker drew, by the even-odd rule."""
    mask = Image.new("1", (size[1], size[0]))
    for ring in person["rings"]:
        one = Image.new("1", mask.size)
        ImageDraw.Draw(one).polygon([(x * size[1], y * size[0]) for x, y in zip(ring[::2], ring[1::2], strict=True)], 1)
        mask = ImageChops.logical_xor(mask, one)
    return np.asarray(mask)


def test_the_picker_draws_strokes_as_the_node_does(page):
    people = numbered([person_from_mask(mask) for mask in load_example().masks])
    size = people[0].size
    random = np.random.default_rng(7)
    strokes = []
    drawn = as_drawn(people)
    for person in drawn[:-1]:
        x0, y0, x1, y1 = person["box"]
        for mode in ("add", "take", "add"):
            line = random.uniform((x0 - 0.05, y0 - 0.05), (x1 + 0.05, y1 + 0.05), (4, 2)).clip(0, 1).round(4)
            where = {"number": int(random.integers(1, 99)), "x": person["point"][0], "y": person["point"][1]}
            stroke = {"photo": 0, "mode": mode, "size": round(random.uniform(0.01, 0.04), 4), **where}
            strokes.append(stroke | {"points": line.ravel().tolist()})
    x, y = drawn[-1]["point"]
    everything = {"photo": 0, "number": 6, "mode": "take", "size": 0.6, "points": [x, y], "x": x, "y": y}
    lost = {**everything, "x": 0.01, "y": 0.99}
    strokes += [everything, lost]
    (photo,) = page.evaluate(
        """async ([path, photo, strokes]) => (await import(path)).withStrokes([photo], strokes)""",
        [
            RULES + "strokes.js",
            {"width": size[1], "height": size[0], "people": drawn},
            strokes,
        ],
    )
    expected = people_corrected(people, read_strokes(json.dumps({"people": [], "strokes": strokes})))
    assert [one["number"] for one in photo["emptied"]] == [one.number for one in expected.emptied] == [6]
    assert len(expected.lost) == 1 and len(expected.changed) == 5
    for shown, person, before in zip(photo["people"], expected.people, drawn, strict=False):
        mine, theirs = filled(shown, size), union_mask([person], size).numpy() > 0.1
        far = [distance(torch.from_numpy(one), 3).numpy() > 2 for one in (theirs, ~theirs)]
        wrong = (far[0] & mine) | (far[1] & ~mine)  # outlines are simpler than masks, and leave specks out
        assert wrong.sum() <= 0.005 * theirs.sum(), person.name
        assert np.allclose(shown["before"]["box"], before["box"]) and shown["number"] == person.number
        row, column = int(shown["point"][1] * size[0]), int(shown["point"][0] * size[1])
        assert theirs[row, column], "the click that stands for the person is in the person"
