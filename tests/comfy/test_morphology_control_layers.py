"""Body guidance that knows people: each layer has its own, a whole photo everyone, ControlNets before it stay."""

import pytest
import torch

from mild.mild_core.comfy.guidance.apply import guided
from mild.mild_core.comfy.sampling.controlnets import DRAWN_NOTE, Hints
from mild.mild_core.guidance.maps import CHANNELS, maps
from mild.mild_core.scene import Scene
from mild.tests.helpers.attention import close
from mild.tests.helpers.bodies import morphology, skeleton
from mild.tests.helpers.layers import HEIGHT, WIDTH, background, check, layers_of, person, picture
from mild.tests.helpers.tiny_controlnets import SPAN, apply, make_controlnet
from mild.tests.helpers.tiny_guidance import ksampled, plain

BOXES = [(5, 8, 30, 58), (25, 12, 60, 57), (55, 5, 80, 60)]


@pytest.fixture
def people():
    return [morphology((HEIGHT, WIDTH), BOXES, erased=(2,))]


@pytest.mark.usefixtures("small_native_size")
@pytest.mark.parametrize(("family", "relations"), [("sd15", 0.0), ("sd15", 0.5), ("flux", 0.5)])
def test_each_layer_of_a_batch_has_its_own_people(sample, tiny, guidance, run_node, people, family, relations):
    """With the relations of each in their own text, and without."""
    model, control = tiny(family), guidance(tiny(family))
    photo = picture()
    layers = (
        background(photo, (30, 15, 50, 50)),
        person(photo, 1, (5, 8, 30, 58), (25, 12, 40, 50), (0, 0, WIDTH, HEIGHT)),
        person(photo, 3, (55, 5, 80, 60), (45, 12, 58, 50), (20, 1, 83, 60)),
    )
    positive, negative = run_node(
        "MILD_ApplyMorphology", positive=model.positive, negative=model.negative, guidance=control, morphology=people,
        **SPAN, relations=relations,
    )  # fmt: skip
    scenes = [Scene(photo, layers)]

    def painted(scenes, **conds):
        return layers_of(sample(scenes, model, positive=conds.get("positive", positive),
                                negative=conds.get("negative", negative), ground="neutral", cfg=2.0))  # fmt: skip

    together = painted(scenes)
    check(scenes, [scenes[0]._replace(layers=tuple(together.values()))])
    without = painted(scenes, positive=model.positive, negative=model.negative)
    for layer in layers:
        alone = painted([Scene(photo, (layer,))])
        assert torch.allclose(alone[layer.id].pixels, together[layer.id].pixels, atol=2e-4)
        assert not torch.allclose(without[layer.id].pixels, together[layer.id].pixels, atol=1e-2)
    again = painted(scenes)
    assert all(torch.equal(again[layer.id].pixels, together[layer.id].pixels) for layer in layers)


def test_layers_are_drawn_and_not_cropped(run_node, tiny, guidance, people):
    """From what Guide by Bodies got; else from the layers' own people, unless there is a picture for each layer."""
    model, control = tiny("sd15"), guidance(tiny("sd15"))
    photo, other = picture(), [morphology((HEIGHT, WIDTH), BOXES[::-1])]
    layers = (background(photo, (30, 15, 50, 50)), person(photo, 1, (5, 8, 30, 58), (25, 12, 40, 50), (3, 2, 67, 58)))
    scenes = [Scene(photo, layers, other[0])]
    size = (64, 96)

    def expected(of):
        return torch.stack([maps(of, layer.number, layer.box, (16, 24)) for layer in layers])

    def rows(control, scenes=scenes):
        hints = Hints(layers, [(HEIGHT, WIDTH)], size, scenes)
        return hints.copied(control).cond_hint_original, hints.notes

    bound = guided(model.positive, model.negative, control, people, relations=0)[0][0][1]["control"]
    drawn, notes = rows(bound)
    assert torch.equal(drawn, expected(people[0])) and notes == []
    assert torch.equal(rows(bound.copy())[0], drawn)
    given = apply(run_node, model, control, picture()[None])[0][0][1]["control"]
    drawn, notes = rows(given)
    assert torch.equal(drawn, expected(other[0])) and notes == [DRAWN_NOTE]
    unknown, notes = rows(given, [scenes[0]._replace(morphology=None)])
    assert unknown.shape == (2, 3, *size) and notes == []
    each = apply(run_node, model, control, torch.stack([picture(), picture(seed=3)]))[0][0][1]["control"]
    assert rows(each)[0].shape == (2, 3, *size)


def test_a_photo_that_nobody_was_read_from_gets_nothing(tiny, guidance, people):
    control = guidance(tiny("sd15")).set_people(people)
    photo = picture()
    layer = background(photo, (30, 15, 50, 50), index=1)
    size, photo_size = (64, 96), (HEIGHT, WIDTH)
    assert torch.equal(control.layer_hint(layer, None, size, photo_size), torch.zeros(1, len(CHANNELS), 16, 24))
    assert guidance(tiny("sd15")).layer_hint(layer, None, size, photo_size) is None
    hints = Hints([layer], [photo_size] * 2, size)
    hints.copied(control)
    assert hints.notes == ["Guide by Bodies got no bodies for photo 2, so it adds nothing there."]


@pytest.mark.parametrize("shrunk", [1.0, 0.5, 0.75, 2.0])
def test_bodies_read_in_a_copy_of_another_size_lie_where_they_are(tiny, guidance, shrunk):
    """Who they are and where their limbs are, in the crop of the photo in its own size."""
    photo_size, size = (64, 96), (64, 96)

    def people(by):
        places = [tuple(round(side * by) for side in box) for box in [(8, 8, 32, 56), (56, 4, 80, 60)]]
        joints = [skeleton(box, seed) for seed, box in enumerate(places)]
        return morphology((round(64 * by), round(96 * by)), places, (2,), joints=joints)

    photo = picture(*photo_size)
    box = (3, 5, 45, 61)
    layer = person(photo, 1, (8, 8, 32, 56), (32, 12, 40, 50), box)
    control = guidance(tiny("sd15")).set_people([people(shrunk)])
    drawn = Hints([layer], [photo_size], size).copied(control).cond_hint_original[0]
    expected = maps(people(1.0), 1, box, (16, 24))
    assert torch.allclose(drawn, expected, atol=0.02)
    this = CHANNELS.index("this")
    assert 0.9 < float(drawn[this].sum() / (16 * 24)) / (24 * 48 / (42 * 56)) < 1.1  # the person's share of the crop


def test_bodies_of_a_photo_of_another_shape_are_refused(tiny, guidance):
    control = guidance(tiny("sd15")).set_people([morphology((64, 64), [(8, 8, 32, 56)])])
    layer = background(picture(64, 96), (30, 15, 50, 50))
    with pytest.raises(ValueError, match="morphology: the bodies were read in a photo of 64 x 64 px, but photo 1 of "):
        Hints([layer], [(64, 96)], (64, 96)).copied(control)


def test_guide_by_bodies_on_a_whole_photo(run_node, tiny, guidance, people):
    model, control = tiny("sd15"), guidance(tiny("sd15"))
    given = {"positive": model.positive, "negative": model.negative, "guidance": control}

    def run(of=people, **changes):
        return run_node("MILD_ApplyMorphology", morphology=of, **given, **{**SPAN, "relations": 0.0, **changes})

    conds = run()
    assert conds[0][0][1]["control"] is conds[1][0][1]["control"]
    assert conds[0][0][1]["control_apply_to_uncond"] is False and conds[0][0][0] is model.positive[0][0]
    size = {"height": 8, "width": 11}
    result = ksampled(model, conds, **size)
    assert not close(result, plain(model, **size))
    moved = [morphology((HEIGHT, WIDTH), [(30, 8, 55, 58), BOXES[1], BOXES[2]], erased=(2,))]
    assert not close(result, ksampled(model, run(moved), **size))
    unsure = [morphology((HEIGHT, WIDTH), BOXES, erased=(2,), sure=[0.0] * 3)]
    assert torch.equal(ksampled(model, run(unsure), **size), plain(model, **size))
    same = run(strength=0.0)
    assert same[0] is model.positive and same[1] is model.negative
    related = run(strength=0.0, relations=1.0)
    assert "control" not in related[0][0][1] and related[0][0][0].shape == model.positive[0][0].shape
    assert not torch.equal(related[0][0][0], model.positive[0][0])
    with pytest.raises(ValueError, match="morphology: there is no photo"):
        run([])
    given["guidance"] = make_controlnet("controlnet", model)
    with pytest.raises(ValueError, match="guidance: expected what Load Body Guidance gives, got ControlNet"):
        run()


def test_chains_as_stock_apply_makes_them(run_node, tiny, guidance, people):
    """One copy for each ControlNet that was there, the same for both prompts; the loaded object stays as it was."""
    model, control = tiny("sd15"), guidance(tiny("sd15"))
    stock = apply(run_node, model, make_controlnet("t2i", model), picture(64, 64)[None])
    positive = [*stock[0], *model.positive]
    out = guided(positive, stock[1], control, people, 0.7, (0.1, 0.8), 0)
    with_stock, without = (entry[1]["control"] for entry in out[0])
    assert with_stock is out[1][0][1]["control"] and with_stock is not without
    assert with_stock.previous_controlnet is stock[0][0][1]["control"] and without.previous_controlnet is None
    for one in (with_stock, without):
        assert (one.strength, one.timestep_percent_range, one.morphology) == (0.7, (0.1, 0.8), tuple(people))
        assert one.network is control.network
    assert control.cond_hint_original is None and control.morphology == () and control.strength == 1.0
