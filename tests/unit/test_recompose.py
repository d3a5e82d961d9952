"""Outside the holes the photo is untouched, bit for bit; inside, the layers lie over each other back to front."""

import pytest
import torch

from mild.mild_core import boxes
from mild.mild_core.choose.selection import choose
from mild.mild_core.growth import contact_band
from mild.mild_core.people import numbered, person_from_mask
from mild.mild_core.recompose.recompose import LUMA, recompose, report
from mild.mild_core.scene import BACKGROUND, PERSON
from mild.mild_core.split.decompose import SplitOptions, decompose

SIZE = (151, 203)


def figure(box, value=1.0, size=SIZE):
    mask = torch.zeros(size)
    mask[box[1] : box[3], box[0] : box[2]] = value
    return mask


def scenes_of(who="2", channels=3, count=1, **options):
    """The second person stands in front of the first and hides half of her; the third stands alone."""
    front = figure((70, 30, 100, 130))
    behind = figure((40, 20, 80, 110))
    behind[front > 0] = 0
    masks = (behind, front, figure((150, 40, 170, 90)))
    people = numbered([person_from_mask(mask, index) for index in range(count) for mask in masks])
    photos = torch.rand(count, *SIZE, channels, generator=torch.Generator().manual_seed(1))
    return photos, decompose(photos, choose(people, who), options=SplitOptions(**options))


def painted(scene, colours):
    """Every layer as if sampled: its whole crop in the colour of its domain; a person fills her hole."""
    layers = []
    for layer in scene.layers:
        pixels = torch.zeros_like(layer.pixels) + torch.tensor(colours[layer.domain])
        alpha = torch.maximum(layer.alpha, (layer.hole > 0).float()) if layer.domain == PERSON else layer.alpha
        layers.append(layer._replace(pixels=pixels, alpha=alpha, sampled=True))
    return scene._replace(layers=tuple(layers))


def holes(scene):
    result = torch.zeros(scene.photo.shape[:2], dtype=torch.bool)
    for layer in scene.layers:
        shown = layer.hole if layer.reveal is None else layer.reveal
        boxes.cut(result, layer.box).logical_or_(shown > 0)
    return result


COLOURS = {BACKGROUND: [1.5, 0.25, -0.5], PERSON: [0.0, 1.0, 0.0]}  # out of 0..1 on purpose


@pytest.mark.parametrize("full_plate", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("who", ["none", "1", "2", "1,3", "all"])
def test_outside_the_holes_nothing_changes(who, channels, full_plate):
    photos, scenes = scenes_of(who, channels, count=2, full_plate=full_plate)
    source = photos.clone()
    result = recompose([painted(scene, COLOURS) for scene in scenes])
    assert torch.equal(photos, source), "the artist's own photo was written to"
    assert result.image.shape == photos.shape and result.changed.shape == photos.shape[:3]
    assert result.outside == 0 and result.unsampled == ()
    for index, scene in enumerate(scenes):
        open_ = holes(scene)
        assert torch.equal(result.image[index][~open_], photos[index][~open_])
        assert not result.changed[index][~open_].any()
        assert torch.equal(result.changed[index] > 0, (result.image[index] != photos[index]).any(-1))
        if who != "none":
            assert result.changed[index].any()
    assert 0 <= float(result.image.min()) and float(result.image.max()) <= 1
    if channels == 4:
        assert torch.equal(result.image[..., 3], photos[..., 3])


def test_nobody_erased_is_the_photo_itself():
    for full_plate in (False, True):
        photos, scenes = scenes_of("none", full_plate=full_plate)
        result = recompose([painted(scene, COLOURS) for scene in scenes])
        assert torch.equal(result.image, photos)
        assert "bit for bit" in report(result)


def test_back_to_front_with_opacity():
    photos, scenes = scenes_of("2")
    result = recompose([painted(scenes[0], COLOURS)])
    expected = photos[0].clone()
    for layer in scenes[0].layers:
        colour = torch.tensor(COLOURS[layer.domain]).clamp(0, 1)
        under = boxes.cut(expected, layer.box)
        share = layer.hole[..., None]
        under.copy_(share * colour + (1 - share) * under)
    assert torch.allclose(result.image[0], expected, atol=1e-6)
    person = scenes[0].layers[-1]
    assert person.domain == PERSON
    inner = boxes.cut(result.image[0], person.box)[person.hole == 1]
    assert (inner == torch.tensor([0.0, 1.0, 0.0])).all()


@pytest.mark.parametrize("contact", [0, 1, 2])
def test_the_contact_band_is_blended(contact):
    """Where an erased person touches a kept one, the wall fades into the kept one's own pixels; 0: nowhere."""
    photos, scenes = scenes_of("2", contact=contact, snap=False)
    kept, erased = figure((40, 20, 70, 110)) > 0, figure((70, 30, 100, 130)) > 0
    result = recompose([painted(scenes[0], COLOURS)], "none", False)
    touched = contact_band(erased, kept, contact)
    assert torch.equal(result.changed[0].bool() & kept, touched)
    assert int(touched.sum()) >= 80 * contact
    background = scenes[0].layers[0]
    opacity = boxes.placed(background.hole, background.box, (0, 0, SIZE[1], SIZE[0]))[touched]
    assert ((opacity > 0) & (opacity < 1)).all()


def test_the_order_of_the_list_does_not_matter():
    _, scenes = scenes_of("2")
    scene = painted(scenes[0], COLOURS)
    turned = scene._replace(layers=scene.layers[::-1])
    assert torch.equal(recompose([scene]).image, recompose([turned]).image)


def test_a_person_covers_only_as_far_as_her_alpha():
    _, scenes = scenes_of("2")
    scene = painted(scenes[0], COLOURS)
    background, person = scene.layers
    nobody = person._replace(alpha=torch.zeros_like(person.alpha))
    alone = recompose([scene._replace(layers=(background,))]).image
    assert torch.equal(recompose([scene._replace(layers=(background, nobody))]).image, alone)


def test_layers_nobody_sampled_leave_the_photo_and_say_so():
    photos, scenes = scenes_of("2")
    result = recompose(scenes)
    assert torch.equal(result.image, photos)
    assert result.unsampled == ("Background", "Person 1")
    assert "Background, Person 1" in report(result)
    half = scenes[0]._replace(layers=(painted(scenes[0], COLOURS).layers[0], scenes[0].layers[1]))
    result = recompose([half])
    assert result.changed.any() and result.unsampled == ("Person 1",)


def test_grey_photos_get_luma():
    _, scenes = scenes_of("2", channels=1)
    result = recompose([painted(scenes[0], {BACKGROUND: [0.2, 0.4, 0.6], PERSON: [0.2, 0.4, 0.6]})])
    layer = scenes[0].layers[0]
    inside = boxes.cut(result.image[0], layer.box)[layer.hole == 1]
    assert torch.allclose(inside, torch.tensor(0.2 * LUMA[0] + 0.4 * LUMA[1] + 0.6 * LUMA[2]), atol=1e-6)


def test_half_precision_photos_stay_exact():
    photos, _ = scenes_of("2")
    photos = photos.half()
    scenes = decompose(photos, choose(numbered([person_from_mask(figure((70, 30, 100, 130)))]), "all"))
    result = recompose([painted(scene, COLOURS) for scene in scenes])
    open_ = holes(scenes[0])
    assert result.image.dtype == torch.float16
    assert torch.equal(result.image[0][~open_], photos[0][~open_])


def test_nan_is_named_but_only_where_it_would_show():
    _, scenes = scenes_of("2")
    scene = painted(scenes[0], COLOURS)
    background = scene.layers[0]
    outside = background.pixels.clone()
    outside[background.hole == 0] = torch.nan
    fine = recompose([scene._replace(layers=(background._replace(pixels=outside),))])
    assert not torch.isnan(fine.image).any()
    broken = background.pixels.clone()
    broken[background.hole > 0] = torch.nan
    with pytest.raises(ValueError, match="Background .* NaN"):
        recompose([scene._replace(layers=(background._replace(pixels=broken),))])


def test_no_layers_and_mixed_sizes_are_refused():
    with pytest.raises(ValueError, match="layers: "):
        recompose([])
    _, scenes = scenes_of("2")
    other = scenes[0]._replace(photo=torch.rand(5, 5, 3))
    with pytest.raises(ValueError, match="different sizes"):
        recompose([scenes[0], other])
