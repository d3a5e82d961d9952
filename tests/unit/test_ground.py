"""The neutral ground, and a completed person's alpha by difference from it."""

import torch

from mild.mild_core.layers.ground import GROUNDS, completed, on_ground, own_colours, pick_ground, start_of_person, trust


def test_grey_unless_the_person_is_grey():
    mask = torch.ones(10, 10)
    assert pick_ground(torch.rand(10, 10, 3) * 0.2, mask) == GROUNDS[0]
    grey = torch.full((10, 10, 3), 0.52)
    chosen = pick_ground(grey, mask)
    assert chosen != GROUNDS[0]
    assert (grey - torch.tensor(chosen)).abs().amax(-1).min() > 0.2
    assert pick_ground(grey, torch.zeros(10, 10)) == GROUNDS[0]


def test_outside_is_exactly_the_ground():
    mask = torch.zeros(8, 9)
    mask[2:5, 3:6] = 1
    mask[5, 3] = 0.5
    picture = torch.rand(8, 9, 3)
    ground = GROUNDS[1]
    result = on_ground(picture, mask, ground)
    assert (result[mask == 0] == torch.tensor(ground)).all()
    assert torch.equal(result[mask == 1], picture[mask == 1])
    assert torch.allclose(result[5, 3], (picture[5, 3] + torch.tensor(ground)) / 2)


def scene():
    """A red figure, the left half visible; the hole on the right continues it above, and shows ground below."""
    visible = torch.zeros(40, 40)
    visible[5:35, 5:20] = 1
    hole = torch.zeros(40, 40)
    hole[5:35, 20:35] = 1
    sampled = torch.full((40, 40, 3), 0.5)
    sampled[5:35, 5:20] = torch.tensor([0.9, 0.1, 0.1])
    sampled[5:20, 20:30] = torch.tensor([0.9, 0.1, 0.1])
    return sampled, hole, visible


def completed_alpha(sampled, hole, visible, ground):
    """Where nothing is known of the outline."""
    pixels, alpha = completed(sampled, hole, visible, ground, None)
    assert torch.equal(pixels, sampled)
    return alpha


def test_alpha_is_what_differs_and_is_connected_to_the_person():
    sampled, hole, visible = scene()
    sampled[25:30, 28:33] = torch.tensor([0.1, 0.9, 0.1])  # something that floats in the hole
    alpha = completed_alpha(sampled, hole, visible, GROUNDS[0])
    assert (alpha[5:20, 20:30] == 1).all()
    assert (alpha[5:20, 32:35] == 0).all()
    assert (alpha[22:35, 20:35] == 0).all()
    assert torch.equal(alpha[hole == 0], visible[hole == 0])


def test_a_gap_of_a_pixel_does_not_cut_a_part_off():
    sampled, hole, visible = scene()
    visible[:, 19] = 0
    alpha = completed_alpha(sampled, hole, visible, GROUNDS[0])
    assert (alpha[6:19, 20:29] == 1).all()


def test_nothing_painted_is_nothing_there():
    sampled, hole, visible = scene()
    sampled[hole > 0] = 0.5
    assert torch.equal(completed_alpha(sampled, hole, visible, GROUNDS[0]), visible)


def outlined():
    """The same figure, with an outline that continues it everywhere to the right but in the lower half."""
    sampled, hole, visible = scene()
    likely = visible.clone()
    likely[5:20, 20:35] = 0.9
    likely[20:35, 20:35] = 0.1
    return sampled, hole, visible, likely


def test_outline_and_painting_decide_together():
    sampled, hole, visible, likely = outlined()
    sampled[5:20, 20:35] = torch.tensor([0.9, 0.1, 0.1])
    sampled[22:26, 20:24] = torch.tensor([0.9, 0.1, 0.1])  # painted where the person hardly is
    alpha = completed(sampled, hole, visible, GROUNDS[0], likely).alpha
    assert (alpha[7:18, 22:33] > 0.95).all()
    assert (alpha[28:35, 26:35] < 0.05).all()
    unpainted = completed(scene()[0], hole, visible, GROUNDS[0], likely).alpha
    assert (alpha >= unpainted - 1e-6)[5:20, 20:35].all()
    for ground in (GROUNDS[0], torch.full((40, 40, 3), 0.5)):
        result = completed(sampled, hole, visible, ground, likely)
        assert torch.equal(result.alpha, alpha)
        assert torch.equal(result.pixels[hole == 0], sampled[hole == 0])
        assert torch.equal(result.alpha[hole == 0], visible[hole == 0])


def test_no_difference_is_little_evidence_where_the_person_has_the_grounds_colour():
    sampled, hole, visible, likely = outlined()
    sampled[visible > 0] = 0.5
    alpha = completed(sampled, hole, visible, GROUNDS[0], likely).alpha
    assert (alpha[7:18, 22:33] > 0.95).all()


def test_the_ground_does_not_show_through_the_person():
    """Half transparent rims show the person's colour, not the grey that was painted on."""
    sampled, hole, visible, likely = outlined()
    sampled[5:20, 20:30] = torch.tensor([0.9, 0.1, 0.1])
    sampled[5:20, 30:32] = torch.tensor([0.6, 0.4, 0.4])
    result = completed(sampled, hole, visible, GROUNDS[0], likely)
    seen = (hole > 0) & (result.alpha > 0.02)
    assert (result.pixels[seen] - torch.tensor([0.9, 0.1, 0.1])).abs().max() < 0.25


def test_colours_go_on_from_side_to_side():
    """Red above, blue below, white specks among them: the hidden side is red and blue, and neither purple nor pink."""
    visible = torch.zeros(60, 40)
    visible[5:55, 5:20] = 1
    hole = torch.zeros(60, 40)
    hole[5:55, 20:35] = 1
    pixels = torch.full((60, 40, 3), 0.5)
    pixels[5:30, 5:20] = torch.tensor([0.8, 0.1, 0.1])
    pixels[30:55, 5:20] = torch.tensor([0.1, 0.1, 0.8])
    pixels[5:55:7, 12] = 1.0
    colours = own_colours(pixels, trust(pixels, visible, hole))
    assert (colours[10:25, 22:33] - torch.tensor([0.8, 0.1, 0.1])).abs().max() < 0.12
    assert (colours[36:52, 22:33] - torch.tensor([0.1, 0.1, 0.8])).abs().max() < 0.12


def test_a_masks_rim_does_not_count_for_the_colours():
    visible = torch.zeros(60, 40)
    visible[5:55, 5:20] = 1
    hole = torch.zeros(60, 40)
    hole[5:55, 20:35] = 1
    pixels = torch.full((60, 40, 3), 0.1)
    pixels[5:55, 5:7], pixels[5:7, 5:20] = 1.0, 1.0  # a mask that reaches two pixels too far
    assert own_colours(pixels, trust(pixels, visible, hole))[5:55, 20:35].max() < 0.2
    thin = torch.zeros(60, 40)
    thin[5:55, 10] = 1
    assert trust(pixels, thin, hole).shape == thin.shape
    assert torch.isfinite(own_colours(pixels, trust(pixels, thin, hole))).all()


def test_what_looks_like_the_wall_may_be_a_gap():
    """A gap between arm and side that the mask includes gives no colour, unless nothing else is seen."""
    visible = torch.zeros(60, 40)
    visible[5:55, 3:20] = 1
    hole = torch.zeros(60, 40)
    hole[5:55, 20:35] = 1
    wall = torch.full((60, 40, 3), 0.8)
    pixels = wall.clone()
    pixels[5:55, 3:10] = 0.1
    without = own_colours(pixels, trust(pixels, visible, hole))[10:50, 22:33]
    assert own_colours(pixels, trust(pixels, visible, hole, wall))[10:50, 22:33].max() < 0.2 < without.max()
    alike = own_colours(wall, trust(wall, visible, hole, wall))
    assert (alike[5:55, 5:35] - 0.8).abs().max() < 1e-3


def test_the_start_shows_the_person_where_they_probably_are():
    sampled, hole, visible, likely = outlined()
    sampled = torch.where(visible[..., None] > 0, sampled, torch.tensor(GROUNDS[0]))
    ground = torch.tensor(GROUNDS[0])
    for erased in ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)):
        pixels = torch.where(hole[..., None] > 0, torch.tensor(erased), sampled)
        start = start_of_person(pixels, pixels, hole, visible, likely, ground)
        assert torch.equal(start[hole == 0], pixels[hole == 0])
        assert (start[6:19, 21:34] - torch.tensor([0.9, 0.1, 0.1])).abs().max() < 0.05
        assert (start[22:34, 21:34] == ground).all()
    nobody = start_of_person(sampled, sampled, hole, torch.zeros_like(visible), likely, ground)
    assert (nobody[hole > 0] == ground).all()
