"""Pose Hint: every layer gets the picture of its own person's body, by stock ControlNet nodes."""

import pytest
import torch

from mild.mild_core.body.poses import R_ELBOW, R_WRIST
from mild.mild_core.comfy.sampling.controlnets import Hints
from mild.mild_core.scene import Scene
from mild.tests.helpers.bodies import morphology, skeleton
from mild.tests.helpers.layers import background, layers_of, person, picture
from mild.tests.helpers.tiny_controlnets import apply, make_controlnet
from mild.tests.helpers.tiny_models import make

HEIGHT, WIDTH = 320, 400
KEPT, GONE, OTHER = (40, 60, 140, 250), (130, 50, 230, 270), (300, 75, 390, 250)
BACKGROUND_CROP, PERSON_CROP = (60, 20, 350, 310), (20, 30, 230, 275)  # the layers' crops
HOLE = (120, 40, 240, 280)
WIDGETS = {"hands_and_face": False, "megapixels": 1.0}


@pytest.fixture(scope="module")
def tiny():
    return make("sd15")


@pytest.fixture
def hint(run_node):
    """hint(scenes, bodies, ...): the node's pictures."""

    def run(scenes, bodies, **changes):
        return run_node("MILD_PoseHint", layers=scenes, morphology=bodies, **(WIDGETS | changes))

    return run


def scene(index=0, seed=0, size_mode="detail"):
    """The second of three goes; the first one's arm is behind them."""
    photo = picture(HEIGHT, WIDTH, seed)
    layers = (
        background(photo, HOLE, BACKGROUND_CROP, index, size_mode=size_mode),
        person(photo, 1, KEPT, (140, 60, 200, 250), PERSON_CROP, index, size_mode=size_mode),
    )
    return Scene(photo, layers)


def bodies_of(photo=0):
    """The first one's right wrist was worked out."""
    arm = skeleton(KEPT)
    arm[:, 2] = 0.9
    arm[R_WRIST] = torch.tensor([185.0, 150.0, 0.3])
    arm[R_ELBOW] = torch.tensor([115.0, 150.0, 0.9])
    joints = [arm, skeleton(GONE, 5), skeleton(OTHER, 6)]
    made = morphology((HEIGHT, WIDTH), [KEPT, GONE, OTHER], erased=(2,), joints=joints, photo=photo)
    first = made.bodies[0]._replace(inferred=torch.arange(18) == R_WRIST)
    return made._replace(bodies=(first, *made.bodies[1:]))


def drawn(row):
    return row.amax(-1) > 0.1


def test_a_row_for_every_layer(hint):
    scenes, bodies = [scene()], [bodies_of()]
    pose, depth = hint(scenes, bodies)
    assert pose.shape == depth.shape == (2, HEIGHT, WIDTH, 3)  # never larger than the photo
    for result in (pose, depth):
        assert result.dtype == torch.float32 and 0 <= result.min() and result.max() <= 1
    # A person's own row shows them alone, with the wrist that nobody saw, as bright as any other joint.
    joints = bodies[0].bodies[0].joints
    wrist = pose[1, int(joints[R_WRIST, 1]), int(joints[R_WRIST, 0])]
    assert float(wrist.max()) > 0.9
    assert not drawn(pose[1])[:, OTHER[0] :].any()
    # On the background stand those who stay, but nobody in the hole, and no limb leads into it.
    hole = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    hole[HOLE[1] : HOLE[3], HOLE[0] : HOLE[2]] = True
    assert not pose[0][hole].any() and drawn(pose[0])[:, OTHER[0] : OTHER[2]].any()
    assert drawn(pose[0])[:, : HOLE[0]].any()
    assert torch.equal(hint(scenes, bodies)[0], pose)  # the preview beside it changes nothing
    assert not torch.equal(pose[0, 150, 116], pose[1, 150, 116])  # of the forearm nothing is left, up to the elbow


def test_without_a_pose_a_sentence_says_so(comfy):
    nobody = bodies_of()
    nobody = nobody._replace(bodies=(nobody.bodies[0]._replace(joints=None, inferred=None), *nobody.bodies[1:]))
    inputs = {"layers": [scene()], "morphology": [nobody]}
    graph = {name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for name, value in inputs.items()}
    links = {name: [name, 0] for name in inputs}
    graph["hint"] = {"class_type": "MILD_PoseHint", "inputs": {**WIDGETS, **links}}
    ran = comfy.run_graph(graph, wanted=["hint"])
    pose, depth = ran.outputs["hint"]
    text = ran.ui["hint"]["text"][0]
    assert "2: Person 1 (1/person-1): no pose is known of this person" in text
    assert "1: Background (1/background): no body in its hole; outside it stands P3." in text
    assert not pose[1].any() and depth[1, KEPT[1] : KEPT[3], KEPT[0] : KEPT[2]].min() > 0.4
    assert len(ran.ui["hint"]["images"]) == 2  # the preview


def test_the_scenes_own_morphology_serves_where_none_is_connected(hint):
    given = scene()._replace(morphology=bodies_of())
    for first, second in zip(hint([given], None), hint([scene()], [bodies_of()]), strict=True):
        assert torch.equal(first, second)


def test_two_photos(hint):
    scenes = [scene(), scene(1, seed=4)]
    bodies = [bodies_of(), bodies_of(1)._replace(bodies=bodies_of().bodies[:2])]
    pose, depth = hint(scenes, bodies)
    assert len(pose) == len(depth) == 4
    for index in (0, 1):
        single = hint([scenes[index]], [bodies[index]])
        assert torch.equal(pose[2 * index : 2 * index + 2], single[0])
        assert torch.equal(depth[2 * index : 2 * index + 2], single[1])


def test_a_connected_depth(hint):
    ramp = torch.linspace(0, 1, WIDTH)[None, None, :, None].expand(1, HEIGHT, WIDTH, 1)
    for given in (ramp, ramp.expand(-1, -1, -1, 3), ramp[:, ::2, ::2]):
        depth = hint([scene()], [bodies_of()], depth=given.contiguous())[1]
        assert torch.allclose(depth[0, :, 300:], ramp[0, :, 300:].expand(-1, -1, 3), atol=0.02)
    two = torch.cat([ramp, 1 - ramp])
    depth = hint([scene(), scene(1)], [bodies_of(), bodies_of(1)], depth=two)[1]
    assert torch.allclose(depth[2, :, 300:], two[1, :, 300:].expand(-1, -1, 3), atol=0.02)


def test_hands_and_faces_where_they_are_asked_for(hint):
    body = bodies_of().bodies[0]
    hands = torch.zeros(2, 21, 3)
    hands[0] = torch.rand(21, 3) * torch.tensor([80.0, 150, 0.2]) + torch.tensor([45.0, 70, 0.7])
    face = torch.rand(70, 3) * torch.tensor([50.0, 40, 0.2]) + torch.tensor([60.0, 70, 0.7])
    known = bodies_of()._replace(bodies=(body._replace(hands=hands, face=face), *bodies_of().bodies[1:]))
    plain = hint([scene()], [bodies_of()])[0]
    assert torch.equal(hint([scene()], [known])[0], plain)
    more = hint([scene()], [known], hands_and_face=True)[0]
    assert (more[1] - plain[1]).abs().amax() > 0.5 and bool((more[1] == 1).all(-1).any())


def test_size_of_the_rows(hint):
    """The smallest crop gets the megapixels, the photo's own size is the limit, and memory is."""
    photo = torch.rand(1500, 2100, 3)
    box = (0, 0, 1000, 500)
    wide = Scene(photo, (background(photo, (100, 100, 300, 300), box),))
    known = morphology((1500, 2100), [(100, 100, 300, 300)], erased=(1,))
    for megapixels, scale in ((0.5, 1.0), (4.0, 1.0), (0.125, 0.5)):
        pose = hint([wide], [known], megapixels=megapixels)[0]
        assert pose.shape[1:3] == (round(1500 * scale), round(2100 * scale))
    many = Scene(photo, tuple(background(photo, (9, 9, 30, 30), box, tail=f"-{n}") for n in range(12)))
    pose = hint([many], [known])[0]
    assert pose.numel() * 4 <= 256 * 2**20 < pose.numel() * 4 * 1.01
    assert pose.shape[2] / pose.shape[1] == pytest.approx(2100 / 1500, rel=0.01)


def test_bodies_read_in_a_smaller_copy_of_the_photo(hint):
    whole = bodies_of()
    smaller = []
    for body in whole.bodies:
        box = tuple(side // 5 for side in body.box)
        joints = body.joints / torch.tensor([WIDTH / 80, HEIGHT / 64, 1.0])
        smaller.append(body._replace(box=box, mask=body.mask[::5, ::5], joints=joints))
    pose, depth = hint([scene()], [whole])
    others = hint([scene()], [whole._replace(size=(64, 80), bodies=tuple(smaller))])
    assert torch.allclose(others[0], pose, atol=1e-2)
    assert float((others[1] - depth).abs().mean()) < 0.02


def test_what_does_not_belong_together(hint):
    with pytest.raises(ValueError, match="morphology: it knows 2 photos, but layers holds 1"):
        hint([scene()], [bodies_of(), bodies_of(1)])
    with pytest.raises(ValueError, match="morphology: nothing is known of the bodies"):
        hint([scene()], None)
    with pytest.raises(ValueError, match="morphology: its photo has 90 x 20 px"):
        hint([scene()], [bodies_of()._replace(size=(20, 90))])
    with pytest.raises(ValueError, match="layers: there is none in it"):
        hint([scene()._replace(layers=())], [bodies_of()])
    with pytest.raises(ValueError, match="depth: it has 30 x 320 px, the photo .*: another shape"):
        hint([scene()], [bodies_of()], depth=torch.rand(1, HEIGHT, 30, 3))
    with pytest.raises(ValueError, match="depth: got 3 pictures for 1 photo"):
        hint([scene()], [bodies_of()], depth=torch.rand(3, HEIGHT, WIDTH, 3))


@pytest.mark.usefixtures("small_native_size")
@pytest.mark.parametrize("which", ["pose", "depth"])
def test_every_layer_is_sampled_with_its_own_picture(hint, run_node, sample, tiny, which):
    """Bit for bit as the layer alone, as a photo of its own, with the crop of its row. (Crops of 96 x 96 px are painted
    at that very size, and one at a time.)
    """
    control = make_controlnet("controlnet", tiny)
    photo = picture(HEIGHT, WIDTH)
    behind = background(photo, (120, 100, 160, 180), (90, 90, 186, 186), size_mode="detail")
    in_front = person(photo, 1, KEPT, (140, 110, 170, 190), (84, 100, 180, 196), size_mode="detail")
    whole = Scene(photo, (behind, in_front))
    rows = hint([whole], [bodies_of()])[which == "depth"]
    assert rows.shape[1:3] == (HEIGHT, WIDTH)

    def painted(scenes, image):
        positive, negative = apply(run_node, tiny, control, image)
        return layers_of(
            sample(scenes, tiny, positive=positive, negative=negative, ground="neutral", memory="save memory")
        )

    together = painted([whole], rows)
    swapped = painted([whole], rows.flip(0))
    for layer, row in zip(whole.layers, rows, strict=True):
        x0, y0, x1, y1 = layer.box
        alone = Scene(photo[y0:y1, x0:x1], (layer._replace(box=(0, 0, x1 - x0, y1 - y0)),))
        by_hand = painted([alone], row[None, y0:y1, x0:x1])[layer.id]
        assert torch.equal(together[layer.id].pixels, by_hand.pixels)
        assert not torch.allclose(together[layer.id].pixels, swapped[layer.id].pixels, atol=1e-3)


def test_rows_are_dealt_by_layer_only_where_there_is_one_for_each(run_node, tiny):
    scenes = [scene(), scene(1, seed=2), scene(2, seed=3)]
    layers = [layer for one in scenes for layer in one.layers]
    photos = [(HEIGHT, WIDTH)] * 3
    for count, expected in ((6, [0, 1, 2, 3, 4, 5]), (3, [0, 0, 1, 1, 2, 2]), (2, [0, 0, 1, 1, 0, 0]), (1, [0] * 6)):
        images = torch.rand(count, HEIGHT, WIDTH, 3)
        control = apply(run_node, tiny, make_controlnet("controlnet", tiny), images)[0][0][1]["control"]
        for layer, number in zip(layers, expected, strict=True):
            x0, y0, x1, y1 = layer.box
            hints = Hints([layer], photos, (y1 - y0, x1 - x0), scenes)
            row = hints.copied(control).cond_hint_original[0].movedim(0, -1)
            assert torch.equal(row, images[number, y0:y1, x0:x1])
