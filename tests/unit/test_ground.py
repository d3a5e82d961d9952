"""The neutral ground, and a completed person's alpha by difference from it."""

import torch

from mild.mild_core.ground import GROUNDS, completed_alpha, on_ground, pick_ground


def test_grey_unless_she_is_grey():
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
    """A red figure, her left half visible; the hole on the right continues her above, and shows ground below."""
    visible = torch.zeros(40, 40)
    visible[5:35, 5:20] = 1
    hole = torch.zeros(40, 40)
    hole[5:35, 20:35] = 1
    sampled = torch.full((40, 40, 3), 0.5)
    sampled[5:35, 5:20] = torch.tensor([0.9, 0.1, 0.1])
    sampled[5:20, 20:30] = torch.tensor([0.9, 0.1, 0.1])
    return sampled, hole, visible


def test_alpha_is_what_differs_and_hangs_on_to_her():
    sampled, hole, visible = scene()
    sampled[25:30, 28:33] = torch.tensor([0.1, 0.9, 0.1])  # something that floats in the hole
    alpha = completed_alpha(sampled, hole, visible, GROUNDS[0])
    assert (alpha[5:20, 20:30] == 1).all()
    assert (alpha[5:20, 32:35] == 0).all()
    assert (alpha[22:35, 20:35] == 0).all()
    assert torch.equal(alpha[hole == 0], visible[hole == 0])


def test_a_gap_of_a_pixel_does_not_cut_her_off():
    sampled, hole, visible = scene()
    visible[:, 19] = 0
    alpha = completed_alpha(sampled, hole, visible, GROUNDS[0])
    assert (alpha[6:19, 20:29] == 1).all()


def test_nothing_painted_is_nothing_there():
    sampled, hole, visible = scene()
    sampled[hole > 0] = 0.5
    assert torch.equal(completed_alpha(sampled, hole, visible, GROUNDS[0]), visible)
