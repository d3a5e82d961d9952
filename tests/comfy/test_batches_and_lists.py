"""Which mask belongs to which photo, through ComfyUI's own executor: lists, batches, and what the nodes say of it."""

import json

import pytest
import torch

from mild.mild_core.comfy.find.find_people import AS_FOUND, CONNECTED
from mild.tests.helpers.in_process import Many
from mild.tests.helpers.layers import SPLIT

SIZE = (60, 90)
FIND = {"labels": "", "max_people": 100, "min_size": 0.0, "overlap": 0.8, "detector": CONNECTED, "masks": AS_FOUND}


def mask(*places, size=SIZE):
    """Boxes of 12 x 40 at each x."""
    made = torch.zeros(size)
    for x in places:
        made[10:50, x : x + 12] = 1
    return made


def photos(count=1, size=SIZE):
    return torch.rand(count, *size, 3, generator=torch.Generator().manual_seed(0))


def shown(comfy, node, wanted=None, **inputs):
    """Run one node; its outputs, and the text on it."""
    graph = {"node": {"class_type": node, "inputs": {}}}
    for name, value in inputs.items():
        if isinstance(value, (str, int, float)):
            graph["node"]["inputs"][name] = value
        else:
            give = "TEST_GiveMany" if isinstance(value, Many) else "TEST_Give"
            graph[name] = {"class_type": give, "inputs": {"key": comfy.give(value)}}
            graph["node"]["inputs"][name] = [name, 0]
    ran = comfy.run_graph(graph, wanted=["node"])
    return ran.outputs["node"], ran.ui["node"]["text"]


def test_in_a_list_of_photos_each_loses_its_own_mask(comfy):
    """Core's Rebatch Images makes lists of photos and of masks; both masks were erased in both photos."""
    masks = torch.stack([mask(5), mask(60)])
    given = {"photos": photos(2), "masks": masks[..., None].expand(-1, -1, -1, 3)}
    graph = {key: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for key, value in given.items()}
    for key in given:
        graph[f"list of {key}"] = {"class_type": "RebatchImages", "inputs": {"images": [key, 0], "batch_size": 1}}
    image = {"image": ["list of photos", 0]}
    graph["people"] = {"class_type": "MILD_PeopleFromMasks", "inputs": {"masks": ["list of masks", 0], **image}}
    graph["choose"] = {"class_type": "MILD_ChoosePeople", "inputs": {"people": ["people", 0], "who": "all", **image}}
    graph["split"] = {"class_type": "MILD_Decompose", "inputs": {"people": ["choose", 0], **image, **SPLIT}}
    ran = comfy.run_graph(graph, wanted=["split"])
    assert [[p.box[0] for p in people] for people in ran.outputs["people"][0]] == [[5], [60]]
    erase = ran.outputs["choose"][1]
    assert len(erase) == 2 and torch.equal(torch.cat(erase), masks)
    for scenes, own, other in zip(ran.outputs["split"][0], masks, reversed(masks), strict=True):
        ((layer,),) = (scene.layers for scene in scenes)
        hole = torch.zeros(SIZE)
        hole[layer.box[1] : layer.box[3], layer.box[0] : layer.box[2]] = layer.hole
        assert bool((hole[own > 0] == 1).all()) and not hole[other > 0].any()


def test_a_click_counts_in_its_own_item_of_a_list(comfy):
    """Clicks in the first photo were taken for clicks in all of them, those in the others for nobody."""
    each = [shown(comfy, "MILD_PeopleFromMasks", masks=mask(5, 60)[None])[0][0] for _ in range(3)]
    inputs = {"people": Many(each), "image": Many([photos(), photos(), photos()]), "who": ""}
    graph = {
        "people": {"class_type": "TEST_GiveMany", "inputs": {"key": comfy.give(inputs["people"])}},
        "image": {"class_type": "TEST_GiveMany", "inputs": {"key": comfy.give(inputs["image"])}},
    }
    choose = {"people": ["people", 0], "image": ["image", 0], "who": ""}
    graph["choose"] = {"class_type": "MILD_ChoosePeople", "inputs": choose}
    pages = comfy.run_graph(graph).ui["choose"]["mild_people"]
    assert [(page["item"], page["place"]) for page in pages] == [(0, 0), (1, 0), (2, 0)]
    left = {"x": 10 / 90, "y": 0.5, "number": 1}
    clicks = [{"photo": 0, **left}, {"photo": 2, **left, "x": 65 / 90, "item": 2, "place": 0}]
    choose["picked"] = json.dumps({"people": clicks})
    ran = comfy.run_graph(graph)
    assert [[p.erased for p in people] for people in ran.outputs["choose"][0]] == [
        [True, False],
        [False, False],
        [False, True],
    ]
    assert [choice["lost"] for choice in ran.ui["choose"]["mild_choice"]] == [0, 0, 0]


def test_several_masks_of_one_photo_come_as_a_batch(comfy):
    """A list of masks is a list of runs, which the node says; core joins it: as pictures, by Rebatch Images."""
    given = Many([mask(5)[None], mask(60)[None], mask(30)[None]])
    (people, *_), texts = shown(comfy, "MILD_PeopleFromMasks", masks=given, image=photos())
    assert [len(one) for one in people] == [1, 1, 1]
    assert "list" not in texts[0] and "Item 3 of a list: each item is a run of its own" in texts[2]
    graph = {
        "photo": {"class_type": "TEST_Give", "inputs": {"key": comfy.give(photos())}},
        "list": {"class_type": "TEST_GiveMany", "inputs": {"key": comfy.give(given)}},
        "pictures": {"class_type": "MaskToImage", "inputs": {"mask": ["list", 0]}},
        "batch": {"class_type": "RebatchImages", "inputs": {"images": ["pictures", 0], "batch_size": 4096}},
        "people": {"class_type": "MILD_PeopleFromMasks", "inputs": {"masks": ["batch", 0], "image": ["photo", 0]}},
    }
    ran = comfy.run_graph(graph, wanted=["people"])
    assert [(p.number, p.box[0]) for p in ran.outputs["people"][0]] == [(1, 5), (2, 30), (3, 60)]
    assert "list" not in ran.ui["people"]["text"][0]


def test_a_batch_of_photos_and_a_batch_of_masks(comfy):
    """The default mode put all masks into photo 1, left the others as they were and said '2 people'."""
    masks = torch.stack([mask(5), mask(60)])
    (people, preview, around), (text,) = shown(comfy, "MILD_PeopleFromMasks", masks=masks, image=photos(2))
    assert [(p.photo, p.number, p.box[0]) for p in people] == [(0, 1, 5), (1, 1, 60)]
    assert [len(one) for one in around] == [1, 1] and preview.shape == (2, *SIZE, 3)
    assert "mask 1 for photo 1, mask 2 for photo 2" in text
    old = {"split": "one person per mask", "photo": 1}
    (people, *_), (text,) = shown(comfy, "MILD_PeopleFromMasks", masks=masks, image=photos(2), **old)
    assert [p.photo for p in people] == [0, 0] and "all of them are people of photo 1" in text


def test_a_label_picture_in_another_mode_is_noticed(comfy):
    picture = torch.zeros(1, *SIZE, 3)
    picture[0, 10:40, 5:25, 0] = picture[0, 10:40, 50:70, 1] = 1
    assert "'label image'" in shown(comfy, "MILD_PeopleFromMasks", masks=picture)[1][0]
    (people, *_), (text,) = shown(comfy, "MILD_PeopleFromMasks", masks=picture, split="label image")
    assert [p.labelled for p in people] == [True, True] and "choose 'label image'" not in text


def test_numbers_over_a_batch_are_doubted_unless_they_are_labels(comfy):
    """A, B and C in three frames, of which A leaves and B and C cross: 1 was A, B and C."""
    frames = [((1, 1), (2, 30), (3, 60)), ((2, 30), (3, 60)), ((3, 1), (2, 60))]
    labels = torch.stack([sum(mask(x) * number / 255 for number, x in frame) for frame in frames])
    (people, *_), _ = shown(comfy, "MILD_PeopleFromMasks", masks=labels, image=photos(3), split="label image")
    (_, erase, _), (text,) = shown(comfy, "MILD_ChoosePeople", people=people, image=photos(3), who="2")
    assert torch.equal(erase, torch.stack([mask(30), mask(30), mask(60)])) and "somebody else" not in text
    painted = (labels > 0).float()
    (people, *_), _ = shown(comfy, "MILD_PeopleFromMasks", masks=painted, image=photos(3))
    chosen = {"people": people, "image": photos(3)}
    assert "from left to right: 2 may be somebody else" in shown(comfy, "MILD_ChoosePeople", **chosen, who="2")[1][0]
    assert "somebody else" not in shown(comfy, "MILD_ChoosePeople", **chosen, who="all")[1][0]


def test_a_mask_turned_by_exif_is_named_on_every_node(comfy):
    turned, photo = mask(5, size=(90, 60))[None], photos()
    _, (text,) = shown(comfy, "MILD_PeopleFromMasks", masks=turned, image=photo)
    assert "masks: 60 x 90 px, the photo 90 x 60" in text and "turned by 90 degrees" in text
    (people, *_), (text,) = shown(comfy, "MILD_PeopleFromMasks", masks=turned)
    assert "stretched" not in text
    (chosen, *_), (text,) = shown(comfy, "MILD_ChoosePeople", people=people, image=photo, who="all")
    assert "mask of person 1: 60 x 90 px, the photo 90 x 60" in text
    _, (text,) = shown(comfy, "MILD_Decompose", people=chosen, image=photo, **SPLIT)
    assert "mask of person 1: 60 x 90 px" in text and "turned by 90 degrees" in text
    _, (text,) = shown(comfy, "MILD_FindPeople", people=people, image=photo, boxes=[[]], **FIND)
    assert "mask of person 1: 60 x 90 px" in text


def test_poses_of_another_shape_are_named(comfy):
    person = {"pose_keypoints_2d": [value for x in range(18) for value in (20 + x, 10 + 2 * x, 1.0)]}
    frame = {"people": [person], "canvas_width": 60, "canvas_height": 90}
    _, (text,) = shown(comfy, "MILD_FindPeople", poses=[frame], image=photos(), **FIND)
    assert "poses: 60 x 90 px, the photo 90 x 60" in text
    for good in ({"canvas_width": 180, "canvas_height": 120}, {"people": []}):
        assert "stretched" not in shown(comfy, "MILD_FindPeople", poses=[frame | good], image=photos(), **FIND)[1][0]


def test_boxes_that_are_no_pixels(comfy):
    """Boxes as shares of the photo, and boxes without a size, were people of one pixel."""
    box = {"x": 0.1, "y": 0.1, "width": 0.5, "height": 0.5}
    (people, *_), (text,) = shown(comfy, "MILD_FindPeople", boxes=[[box]], image=photos(), **FIND)
    assert [p.box for p in people] == [(9, 6, 54, 36)] and "shares of the photo" in text
    empty = [{"x": 20, "y": 20, "width": width, "height": height} for width, height in ((0, 0), (0, 30), (30, 0.2))]
    whole = {"x": 20, "y": 20, "width": 10, "height": 30}
    (people, *_), (text,) = shown(comfy, "MILD_FindPeople", boxes=[[*empty, whole]], image=photos(), **FIND)
    assert [p.box for p in people] == [(20, 20, 30, 50)] and "3 too small" in text and "shares" not in text
    joint = {"pose_keypoints_2d": [30, 30, 1.0] + [0] * 51}
    frame = {"people": [joint], "canvas_width": 90, "canvas_height": 60}
    (people, *_), (text,) = shown(comfy, "MILD_FindPeople", poses=[frame], image=photos(), **FIND)
    assert people == [] and "1 too small" in text


def test_people_alone_pass_through_people_from_masks(comfy):
    (people, *_), _ = shown(comfy, "MILD_PeopleFromMasks", masks=torch.stack([mask(5), mask(60)]))
    (again, *_), (text,) = shown(comfy, "MILD_PeopleFromMasks", people=people)
    assert [one.name for one in again] == [one.name for one in people] and "2 people" in text
    with pytest.raises(Exception, match="masks: nothing is connected"):
        shown(comfy, "MILD_PeopleFromMasks")


def test_a_pole_in_front_stays_and_the_node_says_so(comfy):
    size = (200, 180)
    person, pole = torch.zeros(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool)
    person[40:180, 50:130] = person[15:50, 75:105] = True
    pole[:, 88:93] = True
    photo = torch.where(person[..., None], torch.tensor([0.7, 0.2, 0.2]), torch.tensor([0.3, 0.5, 0.6]))
    photo = torch.where(pole[..., None], 0.05, photo)[None]
    masks = (person & ~pole).float()[None]
    (people, *_), _ = shown(comfy, "MILD_PeopleFromMasks", masks=masks, split="one person per mask")
    (chosen, *_), _ = shown(comfy, "MILD_ChoosePeople", people=people, who="all")
    _, (text,) = shown(comfy, "MILD_Decompose", image=photo, people=chosen, **SPLIT)
    assert "Something thin stands in front of Person 1 and stays." in text
