"""Outside the holes the photo is untouched, bit for bit; inside, the layers lie over each other back to front."""

import pytest
import torch

from mild.mild_core.image import boxes
from mild.mild_core.image.growth import contact_band
from mild.mild_core.layers.decompose import SplitOptions, decompose
from mild.mild_core.layers.recompose import LUMA, recompose, report
from mild.mild_core.people.from_masks import numbered, person_from_mask
from mild.mild_core.people.selection import choose
from mild.mild_core.scene import BACKGROUND, PERSON

SIZE = (151, 203)


def figure(box, value=1.0, size=SIZE):
    mask = torch.zeros(size)
    mask[box[1] : box[3], box[0] : box[2]] = value
    return mask


def scenes_of(who="2", channels=3, count=1, **options):
    """The second person stands in front of the first and hides half of the first; the third stands alone."""
    front = figure((70, 30, 100, 130))
    behind = figure((40, 20, 80, 110))
    behind[front > 0] = 0
    masks = (behind, front, figure((150, 40, 170, 90)))
    people = numbered([person_from_mask(mask, index) for index in range(count) for mask in masks])
    photos = torch.rand(count, *SIZE, channels, generator=torch.Generator().manual_seed(1))
    return photos, decompose(photos, choose(people, who), options=SplitOptions(**options))


def painted(scene, colours):
    """Every layer as if sampled: its whole crop in the colour of its domain; a person fills the hole."""
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


def test_a_person_covers_only_as_far_as_the_alpha():
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


def cut_out(ground, shadow=None):
    """scenes_of's people, opaque, each with a soft rim of 1 px, on a ground of this opacity: [1, H, W, 4]."""
    photos, _ = scenes_of("none", channels=4)
    people = torch.zeros(SIZE)
    for box in ((40, 20, 80, 110), (70, 30, 100, 130), (150, 40, 170, 90)):
        people = people.maximum(figure(box)).maximum(0.5 * figure((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1)))
    ground = torch.full(SIZE, ground) if shadow is None else shadow
    photos[0, ..., 3] = people.maximum(ground)
    return photos


def erased(photos, who, **options):
    """The scenes after `who` is erased, and the photo after every hole is painted."""
    front, behind = figure((70, 30, 100, 130)), figure((40, 20, 80, 110))
    behind[front > 0] = 0
    people = numbered([person_from_mask(mask) for mask in (behind, front, figure((150, 40, 170, 90)))])
    scenes = decompose(photos, choose(people, who), options=SplitOptions(snap=False, **options))
    return scenes, recompose([painted(scene, COLOURS) for scene in scenes])


def erased_from(photos, who, **options):
    """The photo [H, W, 4] after `who` is erased, its holes, and what changed."""
    scenes, result = erased(photos, who, **options)
    open_ = holes(scenes[0])
    assert result.outside == 0
    assert torch.equal(result.image[0][~open_], photos[0][~open_])
    assert torch.equal(result.changed[0] > 0, (result.image != photos)[0].any(-1))
    return result.image[0], open_, result.changed[0] > 0


def test_who_is_cut_out_leaves_no_patch_on_a_transparent_ground():
    photos = cut_out(0.0)
    image, open_, changed = erased_from(photos, "3", grow=0.05)
    assert (photos[0, ..., 3][open_] > 0).sum() >= 20 * 50
    assert (image[..., 3][open_ & (photos[0, ..., 3] == 1)] == 0).all(), "no opaque patch in the person's shape"
    assert (image[..., 3][open_] <= photos[0, ..., 3][open_]).all()
    assert changed[(photos[0, ..., 3] == 1) & open_].all()
    # All go: nothing is left but what the feather at the holes' rims blends.
    image, _, _ = erased_from(photos, "all", grow=0.05)
    assert (image[..., 3] == 0).float().mean() > 0.99


def test_a_change_of_opacity_alone_counts_as_changed():
    photos = cut_out(0.0)
    photos[..., :3] = torch.tensor(COLOURS[BACKGROUND]).clamp(0, 1)
    image, open_, changed = erased_from(photos, "3", grow=0.05)
    assert torch.allclose(image[..., :3], photos[0, ..., :3], atol=1e-6)
    assert changed[40:90, 150:170].all()


def test_somebody_opaque_who_stays_does_not_colour_the_ground_opaque():
    """What was painted of a person is as opaque as they are; beside it the ground is as transparent as it was."""
    photos = cut_out(0.0)
    scenes, result = erased(photos, "2", grow=0.05)
    background, person = scenes[0].layers
    of_person = boxes.placed(person.hole, person.box, boxes.whole(SIZE))
    of_ground = boxes.placed(background.hole, background.box, boxes.whole(SIZE)) * (of_person == 0)
    opacity = result.image[0, ..., 3]
    assert (of_person == 1).sum() > 500 and (opacity[of_person == 1] == 1).all()
    assert (of_ground == 1).sum() > 500 and (opacity[of_ground == 1] == 0).all()


def test_a_soft_shadow_goes_on_where_somebody_stood():
    rows = torch.linspace(0, 1, SIZE[0])[:, None].expand(SIZE)
    photos = cut_out(0.0, shadow=0.2 + 0.4 * rows)
    image, open_, _ = erased_from(photos, "3", grow=0.05)
    inside = open_ & (photos[0, ..., 3] > 0.7)
    assert (image[..., 3] - (0.2 + 0.4 * rows))[inside].abs().max() < 0.06
    assert image[..., 3].max() <= 1 and image[..., 3].min() >= 0


def test_a_photo_without_transparency_stays_opaque():
    image, _, _ = erased_from(cut_out(1.0), "1,3")
    assert (image[..., 3] == 1).all()
    plain = erased_from(cut_out(1.0)[..., :3], "1,3")[0]
    assert torch.equal(image[..., :3], plain), "opacity has no say in the colours of an opaque photo"


def test_transparent_colours_have_no_say_where_somebody_goes_on():
    """On a person's soft new rim the ground's colour, which nobody sees, must not shine through."""
    photos, scenes = scenes_of("2", channels=4)
    photos[..., :3], photos[..., 3] = 0.0, 0.0
    photos[0, 20:110, 40:80, 3] = 1
    scene = scenes[0]._replace(photo=photos[0])
    background, person = painted(scene, COLOURS).layers
    soft = person._replace(alpha=torch.where(person.hole > 0, 0.5, person.alpha))
    result = recompose([scene._replace(layers=(background._replace(pixels=background.pixels * 0), soft))])
    unseen = (person.hole == 1) & (boxes.cut(photos[0], person.box)[..., 3] == 0)
    inner = boxes.cut(result.image[0], person.box)[unseen]
    assert len(inner) > 500
    assert torch.allclose(inner, torch.tensor((0.0, 1.0, 0.0, 0.5)), atol=1e-5)


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
