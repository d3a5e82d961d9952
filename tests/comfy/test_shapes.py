"""Masks and pictures of another shape: every node that stretches one says so, by how much, and whether it is turned."""

import pytest
import torch

from mild.mild_core.body.read_bodies import read_bodies
from mild.mild_core.layers.decompose import decompose
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.selection import choose
from mild.tests.helpers.layers import SPLIT
from mild.tests.helpers.tiny_models import make

SIZE = (100, 60)
"""An upright photo: height and width."""

READ = {"labels": "ATR", "parser": "only what is connected", "invert_depth": False, "min_confidence": 0.3}
STEER = {
    "strength": 1.0,
    "mode": "fixed",
    "which": "all",
    "blocks": "all",
    "start_percent": 0.0,
    "end_percent": 1.0,
    "target": 0.9,
    "words": False,
    "gains": "none",
}


def figure(*box, size=SIZE):
    mask = torch.zeros(size)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return mask


def people(photos=1):
    masks = (figure(5, 20, 25, 90), figure(25, 10, 45, 95))
    return choose(numbered([person_from_mask(mask, index) for index in range(photos) for mask in masks]), "2")


def photo(*size, channels=3, count=1):
    return torch.rand(count, *(size or SIZE), channels, generator=torch.Generator().manual_seed(0))


def marked(*size, count=1):
    """A mask whose middle is white."""
    mask = torch.zeros(count, *size)
    mask[:, size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] // 2] = 1
    return mask


@pytest.fixture
def said(comfy):
    """said(node_id, **inputs): what the node writes on itself."""

    def said(node_id, **inputs):
        graph = {"node": {"class_type": node_id, "inputs": {}}}
        for name, value in inputs.items():
            if not isinstance(value, (str, int, float, bool)):
                graph[name] = {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
                value = [name, 0]
            graph["node"]["inputs"][name] = value
        return comfy.run_graph(graph, wanted=["node"]).ui["node"]["text"][0]

    return said


TURNED, SAME, CROPPED = (60, 100), (200, 120), (80, 60)


def noted(text, socket, size):
    """The sentence on this socket is there for a size of another shape, and for no other."""
    lines = [line for line in text.splitlines() if "another shape" in line]
    if size == SAME:
        return lines == []
    turned = "when turned by 90 degrees" in lines[0]
    return (
        len(lines) == 1
        and lines[0].startswith(f"{socket}: {size[1]} x {size[0]} px, ")
        and turned is (size == TURNED)
        and f"stretched by {'178' if size == TURNED else '25'}%" in lines[0]
    )


@pytest.mark.parametrize("size", [TURNED, SAME, CROPPED])
class TestAnotherShapeIsNoted:
    @pytest.mark.parametrize("socket", ["also_erase", "protect"])
    def test_split_into_layers(self, said, socket, size):
        text = said("MILD_Decompose", image=photo(), people=people(), **SPLIT, **{socket: marked(*size)})
        assert noted(text, socket, size)

    def test_paint_hidden_part(self, said, size):
        assert noted(said("MILD_HiddenPart", people=people(), hidden=marked(*size), who="1", photo=1), "hidden", size)

    @pytest.mark.parametrize("node, inputs", [
        ("MILD_HiddenPart", {"hidden": torch.zeros(1, 64, 64), "who": "1", "photo": 1}),
        ("MILD_OrderPeople", {"order": "", "invert_depth": False}),
        ("MILD_Morphology", READ),
    ])  # fmt: skip
    def test_people_of_another_photo(self, said, node, inputs, size):
        text = said(node, people=people(), image=photo(*size), **inputs)
        assert ("another shape" in text) is (size != SAME) and text.count("another shape") < 2
        assert ("when turned by 90" in text) is (size == TURNED)

    def test_depth_of_order_people(self, said, size):
        text = said("MILD_OrderPeople", people=people(), order="", invert_depth=True, depth=photo(*size))
        assert noted(text, "depth", size)

    def test_depth_and_parsing_of_read_bodies(self, said, size):
        text = said("MILD_Morphology", image=photo(), people=people(), **READ, depth=photo(*size))
        assert noted(text, "depth", size)
        labels = marked(*size) * 4 / 255
        text = said("MILD_Morphology", image=photo(), people=people(), **READ, parsing=labels)
        assert noted(text, "parsing", size)

    def test_poses_of_read_bodies(self, said, size):
        flat = [value for joint in range(18) for value in (10.0 + joint, 5.0 + 2 * joint, 0.9)]
        frame = {"people": [{"pose_keypoints_2d": flat}], "canvas_height": size[0], "canvas_width": size[1]}
        assert noted(said("MILD_Morphology", image=photo(), people=people(), **READ, poses=[frame]), "poses", size)

    def test_stop_attention_bleed(self, said, size):
        model = make("sd15").model
        text = said("MILD_SpatialAttention", model=model, **STEER, mask=marked(*SIZE), avoid=marked(*size))
        assert noted(text, "avoid", size)


@pytest.mark.parametrize("node, sockets, inputs", [
    ("MILD_Decompose", ("also_erase", "protect"), {"image": photo(), **SPLIT}),
    ("MILD_HiddenPart", ("hidden",), {"who": "1", "photo": 1}),
])  # fmt: skip
def test_empty_masks_are_not_spoken_of(said, node, sockets, inputs):
    """Load Image gives such a mask for every photo without transparency."""
    masks = {socket: torch.zeros(1, 64, 64) for socket in sockets}
    assert "another shape" not in said(node, people=people(), **inputs, **masks)


def test_of_several_hidden_masks_those_that_show_something_are_named(said):
    masks = marked(*TURNED, count=3)
    masks[1] = 0
    text = said("MILD_HiddenPart", people=people(photos=3), hidden=masks, who="1", photo=1)
    assert "hidden 1, 3: 100 x 60 px" in text


def raw_depth():
    """A MASK as some depth nodes give it, in a unit of their own: the left half at 5, the right one at 9."""
    depth = torch.full((1, *SIZE), 5.0)
    depth[:, :, SIZE[1] // 2 :] = 9
    return depth


@pytest.mark.parametrize("invert, order", [(False, "1, 2"), (True, "2, 1")])
def test_raw_depth_keeps_its_differences(said, invert, order):
    """Beyond 1, where masks end."""
    apart = numbered([person_from_mask(figure(*box)) for box in ((5, 10, 20, 90), (40, 10, 55, 90))])
    text = said("MILD_OrderPeople", people=apart, order="", invert_depth=invert, depth=raw_depth())
    assert f"ar to near: {order}" in text


def test_raw_depth_is_scaled_for_pictures(said):
    scenes = decompose(photo(), people(), morphology=read_bodies(people(), [SIZE]))
    hint = {"layers": scenes, "hands_and_face": False, "megapixels": 0.1}
    assert "depth: its values go from 5 to 9, so they were scaled to 0..1" in said(
        "MILD_PoseHint", **hint, depth=raw_depth()
    )
    assert "scaled" not in said("MILD_PoseHint", **hint, depth=photo())


def test_pose_hint_names_what_is_turned(said):
    scenes = decompose(photo(), people(), morphology=read_bodies(people(), [SIZE]))
    with pytest.raises(ValueError, match="depth: it has 100 x 60 px, the photo 60 x 100: .* fits when turned by 90"):
        said("MILD_PoseHint", layers=scenes, hands_and_face=False, megapixels=0.1, depth=photo(*TURNED))
    with pytest.raises(ValueError, match="depth: it has 60 x 80 px, the photo 60 x 100: another shape. Connect"):
        said("MILD_PoseHint", layers=scenes, hands_and_face=False, megapixels=0.1, depth=photo(*CROPPED))


@pytest.mark.parametrize("size, words", [
    ((64, 64), "image: 64 x 64 px, the layer "),
    (TURNED, "stretched"),
    (None, None),
])  # fmt: skip
def test_put_layer_back(said, size, words):
    scenes = decompose(
        photo(80, 120), choose(numbered([person_from_mask(figure(50, 20, 70, 60, size=(80, 120)))]), "1")
    )
    (layer,) = scenes[0].layers
    assert layer.hole.shape[1] > 1.3 * layer.hole.shape[0]
    text = said("MILD_PutLayer", layers=scenes, image=photo(*(size or layer.hole.shape)), which="background")
    assert "painted" in text
    assert ("another shape" in text) is (size is not None)
    assert words is None or words in text


@pytest.mark.parametrize("count, photos, refused", [(1, 3, False), (3, 3, False), (2, 3, True), (3, 1, True)])
def test_counts_of_depths(said, count, photos, refused):
    inputs = {"people": people(photos), "image": photo(count=photos), "depth": photo(count=count)}
    for node, widgets in (("MILD_OrderPeople", {"order": "", "invert_depth": False}), ("MILD_Morphology", READ)):
        if refused:
            with pytest.raises(
                ValueError, match=rf"depth: got {count} pictures for {photos} photos?\. Connect one pic"
            ):
                said(node, **inputs, **widgets)
        else:
            assert said(node, **inputs, **widgets)


BYTES = (photo() * 255).to(torch.uint8)


@pytest.mark.parametrize("node, inputs", [
    ("MILD_Decompose", SPLIT),
    ("MILD_ChoosePeople", {"who": "1"}),
    ("MILD_Morphology", READ),
    ("MILD_OrderPeople", {"order": "", "invert_depth": False}),
])  # fmt: skip
def test_photos_of_whole_numbers_are_refused(said, node, inputs):
    with pytest.raises(ValueError, match="image: expected a photo of floating point numbers from 0 to 1, got uint8"):
        said(node, image=BYTES, people=people(), **inputs)


def test_masks_of_whole_numbers_are_refused_and_those_of_yes_and_no_taken(said):
    inputs = {"image": photo(), "people": people(), **SPLIT}
    for kind in (torch.uint8, torch.int64):
        with pytest.raises(
            ValueError, match=f"protect: expected a mask of floating point .*, got {kind}".replace("torch.", "")
        ):
            said("MILD_Decompose", **inputs, protect=(marked(*SIZE) * 255).to(kind))
    assert said("MILD_Decompose", **inputs, protect=marked(*SIZE) > 0) == said(
        "MILD_Decompose", **inputs, protect=marked(*SIZE)
    )
