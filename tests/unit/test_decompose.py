"""The invariants of layers, on drawn scenes of every awkward kind."""

import pytest
import torch

from mild.mild_core.image import boxes
from mild.mild_core.image.growth import VISIBLE, contact_band
from mild.mild_core.layers.decompose import SplitOptions, decompose
from mild.mild_core.layers.holes import Growth, piece_of
from mild.mild_core.people.from_masks import numbered, person_from_mask, union_mask
from mild.mild_core.people.hidden_part import with_hidden
from mild.mild_core.people.selection import choose
from mild.mild_core.scene import BACKGROUND, PERSON

SIZE = (301, 407)


def figure(box, size=SIZE, value=1.0):
    mask = torch.zeros(size)
    mask[box[1] : box[3], box[0] : box[2]] = value
    return mask


def people_of(*masks, who="all", photo=0):
    return choose(numbered([person_from_mask(mask, photo) for mask in masks]), who)


def photo_of(size=SIZE, channels=3, count=1, seed=0):
    return torch.rand(count, *size, channels, generator=torch.Generator().manual_seed(seed))


def whole(scene, field, only=None):
    """One field of all (or all background, person) layers in the photo's frame: the largest value of each pixel."""
    result = torch.zeros(scene.photo.shape[:2])
    for layer in scene.layers:
        if only in (None, layer.domain):
            under = boxes.cut(result, layer.box)
            torch.maximum(under, getattr(layer, field), out=under)
    return result


def check_layers(scene, people, protect=None, contact=1):
    """What holds for every scene, whatever was asked for."""
    height, width = scene.photo.shape[:2]
    kept = union_mask([person for person in people if not person.erased], (height, width)) > VISIBLE
    erased = union_mask([person for person in people if person.erased], (height, width)) > VISIBLE
    band = torch.nn.functional.max_pool2d((erased & ~kept)[None, None].float(), 2 * contact + 1, 1, contact)[0, 0] > 0
    count = torch.zeros(height, width)
    ids = [layer.id for layer in scene.layers]
    assert len(set(ids)) == len(ids)
    assert [layer.rank for layer in scene.layers] == sorted(layer.rank for layer in scene.layers)
    for layer in scene.layers:
        shape = (boxes.height(layer.box), boxes.width(layer.box))
        assert boxes.intersection(layer.box, (0, 0, width, height)) == layer.box
        assert layer.pixels.shape == (*shape, 3)
        assert layer.hole.shape == layer.allowed.shape == layer.alpha.shape == shape
        for values in (layer.hole, layer.allowed, layer.alpha, layer.pixels):
            assert 0 <= float(values.min()) and float(values.max()) <= 1
        shown = layer.hole if layer.reveal is None else layer.reveal
        assert ((shown > 0) <= (layer.hole > 0)).all()
        assert (layer.allowed[layer.hole > 0] == 0).all()
        here = shown > 0
        assert not (here & boxes.cut(kept & ~band, layer.box)).any()
        if protect is not None:
            assert not ((layer.hole > 0) & boxes.cut(protect > VISIBLE, layer.box)).any()
        if layer.domain == BACKGROUND:
            boxes.cut(count, layer.box).add_((layer.hole > 0).float())
            assert torch.equal(layer.pixels, boxes.cut(scene.photo[..., :3].expand(-1, -1, 3), layer.box))
            assert not ((layer.allowed > 0) & boxes.cut(erased, layer.box)).any()
    assert count.max() <= 1, "holes of two background layers meet"
    if protect is None:
        open_ = whole(scene, "hole", BACKGROUND)
        assert (open_[erased & ~kept] == 1).all(), "somebody who goes would shine through"


def test_nobody_goes_nothing_is_split():
    people = people_of(figure((20, 30, 60, 200)), who="none")
    (scene,) = decompose(photo_of(), people)
    assert scene.layers == ()
    assert decompose(photo_of(), [])[0].layers == ()


def test_the_photo_is_not_copied():
    photo = photo_of()
    (scene,) = decompose(photo, people_of(figure((20, 30, 60, 200))))
    assert scene.photo.data_ptr() == photo.data_ptr()
    pixels = scene.layers[0].pixels
    assert pixels.untyped_storage().data_ptr() == photo.untyped_storage().data_ptr()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(301, 407), (64, 64), (17, 901)])
def test_channels_and_odd_sizes(channels, size):
    people = people_of(figure((3, 5, 11, 14), size))
    (scene,) = decompose(photo_of(size, channels), people)
    check_layers(scene, people)
    assert [layer.id for layer in scene.layers] == ["1/background"]


@pytest.mark.parametrize("value", [0.3, 0.5, 1.0])
def test_soft_masks_are_erased_whole(value):
    people = people_of(figure((100, 50, 150, 250), value=value))
    (scene,) = decompose(photo_of(), people)
    check_layers(scene, people)


@pytest.mark.parametrize(
    "grow, feather, contact", [(0.0, 0, 0), (0.04, 3, 1), (0.2, 0.5, 2), (0.0, 10, 2), (0.5, 64, 0)]
)
def test_growth_and_feather(grow, feather, contact):
    masks = (figure(box) for box in ((100, 50, 150, 250), (145, 60, 200, 200), (300, 100, 330, 200)))
    people = people_of(*masks, who="1,3")
    options = SplitOptions(grow=grow, feather=feather, contact=contact)
    (scene,) = decompose(photo_of(), people, options=options)
    check_layers(scene, people, contact=contact)
    hole = whole(scene, "hole", BACKGROUND)
    seen = union_mask([person for person in people if person.erased], SIZE) > 0
    kept = union_mask([person for person in people if not person.erased], SIZE) > 0
    if grow == 0 and contact == 0:
        assert torch.equal(hole > 0, seen & ~kept)
    if grow:
        assert int((hole > 0).sum()) > int(seen.sum())


def test_protect_wins_over_everything():
    people = people_of(figure((100, 50, 150, 250)))
    protect = figure((120, 100, 200, 160))[None]
    (scene,) = decompose(photo_of(), people, protect=protect)
    check_layers(scene, people, protect=protect[0])
    everything = decompose(photo_of(), people, protect=torch.ones(1, *SIZE))
    assert everything[0].layers == ()


def test_also_erase_is_erased_but_never_somebody_who_stays():
    people = people_of(figure((100, 50, 150, 250)), figure((300, 50, 340, 250)), who="1")
    extra = figure((145, 200, 180, 260))[None] + figure((320, 200, 360, 260))[None]
    (scene,) = decompose(photo_of(), people, also_erase=extra, options=SplitOptions(contact=0))
    check_layers(scene, people, contact=0)
    hole = whole(scene, "hole", BACKGROUND)
    assert (hole[200:260, 150:180] == 1).all() and (hole[200:260, 341:360] == 1).all()
    assert (whole(scene, "allowed", BACKGROUND)[210:250, 345:355] == 0).all()
    only_extra = decompose(photo_of(), [], also_erase=extra)
    assert only_extra[0].layers


def test_masks_of_other_sizes_and_counts():
    people = people_of(figure((50, 25, 75, 125), (150, 203)))
    extra = torch.zeros(1, 75, 101)
    extra[:, 60:, 80:] = 1
    scenes = decompose(photo_of(count=2), people, also_erase=extra, protect=torch.zeros(2, 10, 10))
    assert (whole(scenes[0], "hole")[60:240, 105:145] == 1).all()
    assert [layer.photo for scene in scenes for layer in scene.layers] == [0] * len(scenes[0].layers) + [1]
    assert scenes[1].layers[0].id == "2/background"
    with pytest.raises(ValueError, match="protect: got 3 masks for 2 photos"):
        decompose(photo_of(count=2), people, protect=torch.zeros(3, 10, 10))


def test_people_of_a_photo_that_is_not_there():
    with pytest.raises(ValueError, match="photo 3, but image holds 2"):
        decompose(photo_of(count=2), people_of(figure((1, 1, 9, 9)), photo=2))


def test_far_holes_are_layers_of_their_own_near_ones_are_not():
    size = (600, 2400)
    far = people_of(figure((50, 100, 90, 200), size), figure((2200, 100, 2240, 200), size))
    (scene,) = decompose(photo_of(size), far)
    check_layers(scene, far)
    assert [layer.id for layer in scene.layers] == ["1/background", "1/background-2"]
    near = people_of(figure((50, 100, 90, 200), size), figure((110, 100, 150, 200), size))
    (scene,) = decompose(photo_of(size), near)
    check_layers(scene, near)
    assert len(scene.layers) == 1


def test_the_same_hole_costs_the_same_in_a_large_photo():
    areas = []
    for size in ((1200, 1200), (4000, 6000)):
        people = people_of(figure((500, 500, 600, 750), size))
        (scene,) = decompose(torch.zeros(1, *size, 1), people)
        areas.append(sum(boxes.area(layer.box) for layer in scene.layers))
    assert areas[1] <= 1.5 * areas[0]


def test_a_crop_without_anything_to_learn_from_reaches_further():
    size = (900, 1200)
    kept = figure((300, 200, 900, 700), size)
    gone = figure((550, 400, 600, 480), size)
    kept[gone > 0] = 0
    people = people_of(gone, kept, who="1")
    people = [person._replace(erased=person.box == (550, 400, 600, 480)) for person in people]
    (scene,) = decompose(photo_of(size), people, options=SplitOptions(context=0.0))
    check_layers(scene, people)
    background = scene.layers[0]
    assert float(background.allowed.sum()) > 0.5 * float((background.hole > 0).sum())


def test_with_people_everywhere_their_pixels_are_better_than_nothing():
    gone = figure((100, 100, 150, 200))
    people = people_of(gone, 1 - gone)
    people = [person._replace(erased=person.box == (100, 100, 150, 200)) for person in people]
    (scene,) = decompose(photo_of(), people)
    check_layers(scene, people)
    assert scene.layers[0].allowed.any()


@pytest.mark.parametrize("size", [(1, 1), (40, 60)])
def test_a_hole_that_covers_the_photo_is_refused(size):
    with pytest.raises(ValueError, match="nothing is left to learn from in photo 1"):
        decompose(photo_of(size), people_of(torch.ones(size)))


def test_one_pixel_photo_with_nobody():
    assert decompose(torch.rand(1, 1, 1, 3), [])[0].layers == ()


def occlusion(front_feet=260):
    """A kept person, and an erased one whose box covers the right half of the first."""
    return figure((100, 60, 150, 240)), figure((140, 80, 200, front_feet))


def test_somebody_hidden_gets_an_own_layer():
    hidden, front = occlusion()
    hidden[front > 0] = 0
    people = people_of(hidden, front, who="2")
    photo = photo_of()
    (scene,) = decompose(photo, people)
    check_layers(scene, people)
    background, person = scene.layers
    assert (person.id, person.domain, person.number, person.name) == ("1/person-1", PERSON, 1, "Person 1")
    mine = boxes.placed(people[0].mask, people[0].box, person.box)
    assert torch.equal(person.alpha, mine)
    outside = (mine == 0) & (person.hole == 0)
    assert (person.pixels[outside] == torch.tensor(person.ground)).all()
    assert torch.equal(person.pixels[mine == 1], boxes.cut(photo[0], person.box)[mine == 1])
    assert torch.equal(person.allowed, person.hole <= 0)
    open_ = whole(scene, "hole", BACKGROUND) > 0
    assert ((whole(scene, "hole", PERSON) > 0) <= open_).all()
    assert float(person.hole[:, : boxes.width(person.box) // 4].sum()) == 0


def test_who_stands_in_front_needs_no_layer():
    hidden, behind = occlusion(front_feet=200)
    behind[hidden > 0] = 0
    (scene,) = decompose(photo_of(), people_of(hidden, behind, who="2"))
    assert [layer.domain for layer in scene.layers] == [BACKGROUND]


def test_who_is_not_touched_needs_no_layer():
    (scene,) = decompose(photo_of(), people_of(figure((20, 60, 60, 200)), figure((110, 80, 160, 260)), who="2"))
    assert [layer.domain for layer in scene.layers] == [BACKGROUND]


def test_the_artists_rank_decides_who_is_hidden():
    hidden, front = occlusion(front_feet=200)
    hidden[front > 0] = 0
    people = [person._replace(rank=float(person.number)) for person in people_of(hidden, front, who="2")]
    (scene,) = decompose(photo_of(), people)
    assert [layer.id for layer in scene.layers] == ["1/background", "1/person-1"]


def with_stated_part(person, box, size=SIZE):
    """The person, with a hidden part of the shape of a box."""
    return with_hidden([person], str(person.number), figure(box, size)[None])[0]


def test_what_the_artist_says_is_hidden_is_the_hole_and_nothing_else():
    hidden, front = occlusion()
    hidden[front > 0] = 0
    first, second = people_of(hidden, front, who="2")
    said = (130, 100, 180, 140)  # a part of it outside of any hole
    options = SplitOptions(feather=0)
    (scene,) = decompose(photo_of(), [with_stated_part(first, said), second], options=options)
    check_layers(scene, [first, second])
    open_ = whole(scene, "hole", BACKGROUND) > 0
    hole = whole(scene, "hole", PERSON) > 0
    mine = union_mask([first], SIZE) > 0
    assert torch.equal(hole & ~mine, open_ & (figure(said) > 0) & ~mine)
    near = torch.nn.functional.max_pool2d(figure(said)[None], 5, 1, 2)[0] > 0
    assert not (hole & ~near).any(), "of what is seen of the person, the contact band beside it and no more"
    assert hole[100:140, 139].all(), "no line of wall between what is seen and what is hidden"
    # Whoever the guess thinks is in front: the artist's word stands.
    farther = [with_stated_part(first, said)._replace(rank=1.0), second._replace(rank=0.0)]
    (other,) = decompose(photo_of(), farther, options=options)
    assert torch.equal(whole(other, "hole", PERSON), whole(scene, "hole", PERSON))


@pytest.mark.parametrize("said", [None, (5, 5, 40, 40)])
def test_nothing_hidden_and_hidden_nowhere_give_no_layer(said):
    """An empty mask is a statement too; a mask where nobody goes has no hole to fill."""
    hidden, front = occlusion()
    hidden[front > 0] = 0
    first, second = people_of(hidden, front, who="2")
    first = with_stated_part(first, said) if said else with_hidden([first], "1", torch.zeros(1, 8, 8))[0]
    (scene,) = decompose(photo_of(), [first, second])
    check_layers(scene, [first, second])
    assert [layer.domain for layer in scene.layers] == [BACKGROUND]


def test_a_hidden_part_of_another_size_is_fitted():
    hidden, front = occlusion()
    hidden[front > 0] = 0
    first, second = people_of(hidden, front, who="2")
    small = torch.nn.functional.interpolate(figure((140, 100, 180, 140))[None, None], scale_factor=0.5)[0]
    (first,) = with_hidden([first], "Person 1", small)
    assert first.hidden_box == pytest.approx((140, 100, 180, 140), abs=2)
    double = torch.nn.functional.interpolate(photo_of().movedim(-1, 1), scale_factor=2.0).movedim(1, -1)
    (scene,) = decompose(double, [first, second], options=SplitOptions(feather=0))
    part = whole(scene, "hole", PERSON) > 0
    assert boxes.tight_box(part) == pytest.approx((280, 200, 360, 280), abs=4)


def test_somebody_who_goes_cannot_have_a_hidden_part():
    first, second = people_of(*occlusion(), who="2")
    with pytest.raises(ValueError, match="people: Person 1 goes, but Paint Hidden Part says"):
        decompose(photo_of(), [with_stated_part(first, (1, 1, 9, 9))._replace(erased=True), second])
    with pytest.raises(ValueError, match="people: Person 2 goes"):
        with_hidden([first, second], "2", torch.ones(1, 4, 4))


@pytest.mark.parametrize(
    "who, words",
    [
        ("7", "who: there is no '7'; this photo has 1-2"),
        ("", "who: nothing is written there"),
        ("bob", "who: there is no 'bob'"),
        ("1,2", "who: there is no '1,2'"),
    ],
)
def test_a_hidden_part_of_nobody_is_refused(who, words):
    with pytest.raises(ValueError) as caught:
        with_hidden(people_of(*occlusion(), who="none"), who, torch.ones(1, 4, 4))
    assert words in str(caught.value)


def test_hidden_parts_of_several_photos_and_namesakes():
    people = people_of(figure((10, 10, 50, 90)), who="none") + people_of(figure((10, 10, 50, 90)), who="none", photo=1)
    masks = torch.stack([figure((1, 1, 5, 5)), figure((6, 6, 9, 9))])
    both = with_hidden(people, "1", masks)
    assert [person.hidden_box for person in both] == [(1, 1, 5, 5), (6, 6, 9, 9)]
    later = with_hidden(people, "1", masks[:1], photo=1)
    assert [person.hidden_box for person in later] == [None, (1, 1, 5, 5)]
    with pytest.raises(ValueError, match="no '1' in photo 3"):
        with_hidden(people, "1", masks, photo=1)
    twins = [person._replace(name="dog", number=1 + index, photo=0) for index, person in enumerate(people)]
    with pytest.raises(ValueError, match="1-2 are all called 'dog'"):
        with_hidden(twins, "dog", masks[:1])


def test_careless_masks():
    """One mask twice, somebody at the border, somebody of two pixels, somebody cut in half."""
    twice = figure((60, 60, 110, 240))
    border = figure((380, 150, 407, 301))
    dot = figure((300, 20, 302, 21))
    bar = figure((180, 20, 200, 290))
    halves = figure((150, 80, 240, 280)) * (1 - bar)
    people = people_of(twice, twice, border, dot, bar, halves, who="none")
    boxes_of_gone = {(60, 60, 110, 240), (380, 150, 407, 301), (300, 20, 302, 21), (180, 20, 200, 290)}
    seen = set()
    going = []
    for person in people:
        going.append(person._replace(erased=person.box in boxes_of_gone - seen))
        seen.add(person.box)
    (scene,) = decompose(photo_of(), going)
    check_layers(scene, going)
    (torn,) = (layer for layer in scene.layers if layer.domain == PERSON)
    assert going[torn.number - 1].box == (150, 80, 240, 280)
    between = boxes.placed(torn.hole, torn.box, (182, 100, 198, 260))
    assert (between > 0).float().mean() > 0.9, "both halves are one person again"


@pytest.mark.parametrize("full", [False, True])
def test_a_hundred_people(full):
    masks = [figure((x, y, x + 22, y + 60)) for y in range(0, 250, 50) for x in range(0, 400, 20)][:100]
    people = people_of(*masks, who="none")
    people = [person._replace(erased=person.number % 7 == 0) for person in people]
    (scene,) = decompose(photo_of(), people, options=SplitOptions(full_plate=full))
    check_layers(scene, people)


def test_somebody_wholly_inside_a_kept_mask_cannot_be_erased():
    people = people_of(figure((100, 60, 160, 240)), figure((120, 100, 140, 200)), who="2")
    assert decompose(photo_of(), people)[0].layers == ()


@pytest.mark.parametrize("who", ["none", "2", "1,3", "all"])
def test_full_plate_invents_behind_everyone_and_shows_only_what_goes(who):
    people = people_of(figure((100, 50, 150, 250)), figure((145, 60, 200, 280)), figure((300, 100, 330, 200)), who=who)
    (scene,) = decompose(photo_of(), people, options=SplitOptions(full_plate=True))
    check_layers(scene, people)
    everyone = union_mask(people, SIZE) > 0
    assert (whole(scene, "hole", BACKGROUND)[everyone] == 1).all()
    (usual,) = decompose(photo_of(), people)
    shown = torch.zeros(SIZE)
    for layer in scene.layers:
        if layer.domain == BACKGROUND:
            boxes.cut(shown, layer.box).add_(layer.reveal)
    assert torch.allclose(shown, whole(usual, "hole", BACKGROUND), atol=1e-6)
    kept = {person.number for person in people if not person.erased}
    assert {layer.number for layer in scene.layers if layer.domain == PERSON} == kept


@pytest.mark.parametrize("seed", range(8))
def test_random_crowds(seed):
    generator = torch.Generator().manual_seed(seed)
    masks = []
    for _ in range(int(torch.randint(1, 12, (1,), generator=generator))):
        y, x = (int(torch.randint(0, limit - 10, (1,), generator=generator)) for limit in SIZE)
        tall, wide = (int(torch.randint(3, 90, (1,), generator=generator)) for _ in range(2))
        soft = torch.rand(1, generator=generator).item()
        masks.append(figure((x, y, min(x + wide, SIZE[1]), min(y + tall, SIZE[0])), value=0.2 + 0.8 * soft))
    people = people_of(*masks)
    people = [person._replace(erased=(person.number + seed) % 2 == 0) for person in people]
    for full in (False, True):
        (scene,) = decompose(photo_of(seed=seed), people, options=SplitOptions(full_plate=full))
        check_layers(scene, people)


@pytest.mark.parametrize("gap, band", [(0, 2), (1, 1), (4, 0)])
def test_a_moved_rim_takes_nothing_from_whom_it_reaches(gap, band):
    """A mask ends `gap` pixels short of a friend's, and was moved up to it: contact counts from where it ended."""
    size = (60, 90)
    kept = figure((50, 5, 80, 55), size) > 0
    given = (20, 10, 50 - gap, 50)
    moved = (20, 10, 50, 50)
    whole = [(box, torch.ones(box[3] - box[1], box[2] - box[0], dtype=torch.bool)) for box in (given, moved)]
    piece = piece_of(*whole[1], kept, None, Growth(0.02, 2), size, given=whole[0])
    hole = boxes.placed(piece.hole, piece.box, (0, 0, 90, 60))
    assert hole[10:50, 20:50].all()
    assert (hole & kept)[15:45].sum(1).eq(band).all() and (hole & kept).sum() >= 30 * band
    assert torch.equal(hole & kept, contact_band(figure(given, size) > 0, kept, 2))


@pytest.mark.parametrize(
    ("side", "spared", "closed"), [(7, None, True), (40, None, False), (7, "protect", False), (7, "kept", False)]
)
def test_slits_between_limbs_close_but_windows_and_what_is_spared_stay_open(side, spared, closed):
    mask = figure((100, 80, 220, 260))
    mask[150 : 150 + side, 150 : 150 + side] = 0
    spot = figure((152, 152, 154, 154))
    people = people_of(mask, spot, who="2") if spared == "kept" else people_of(mask)
    protect = spot[None] if spared == "protect" else None
    options = SplitOptions(grow=0.004, feather=0, contact=0, snap=False)
    scene = decompose(photo_of(), people, protect=protect, options=options)[0]
    middle = whole(scene, "hole", BACKGROUND)[150 + side // 2, 150 + side // 2]
    assert (middle > 0) == closed
    assert not whole(scene, "hole")[152:154, 152:154].any() or spared is None
