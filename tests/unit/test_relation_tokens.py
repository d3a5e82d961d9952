"""Tokens of who stands where: what changes a text, what does not, and that nothing happens where nothing is sure."""

import pytest
import torch

from mild.mild_core.body.relations import OWN, PAIRS, relations
from mild.mild_core.guidance.relation_tokens import RelationTokens
from mild.mild_core.guidance.token_features import OWN_WIDTH, People, people_of
from mild.mild_core.scene import Morphology
from mild.tests.helpers import bodies
from mild.tests.helpers.bodies import skeleton

SIZE = (90, 131)
CONTEXT = 48
BOXES = [(5, 10, 40, 80), (30, 15, 70, 85), (80, 20, 120, 88)]


def morphology(boxes=BOXES, erased=(1,), sure=None, joints=None):
    return bodies.morphology(SIZE, boxes, erased, sure, joints)


def padded(rows):
    """People [N, P, ...] of rows [P_i, ...], P the largest: what is filled up is people of confidence 0."""
    most = max(len(row.confidence) for row in rows)
    pad = torch.nn.functional.pad
    own = [pad(row.own, (0, 0, 0, most - len(row.own))) for row in rows]
    pairs = [pad(row.pairs, (0, 0, 0, most - len(row.pairs), 0, most - len(row.pairs))) for row in rows]
    confidence = [pad(row.confidence, (0, most - len(row.confidence))) for row in rows]
    return People(torch.stack(own), torch.stack(pairs), torch.stack(confidence))


@pytest.fixture(scope="module")
def network():
    """With weights in every part, W_o too."""
    torch.manual_seed(0)
    made = RelationTokens(CONTEXT, width=32, depth=2, heads=4)
    torch.nn.init.normal_(made.out.weight, std=0.2)
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def text():
    return torch.randn(1, 7, CONTEXT, generator=torch.Generator().manual_seed(1))


def mixed(network, text, people, **changes):
    if isinstance(people, Morphology):
        people = people_of(people)
    return network.mix(text, network(people), people.confidence, **changes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_new_network_changes_nothing(text, dtype):
    """W_o is zero at first."""
    network, text = RelationTokens(CONTEXT), text.to(dtype)
    result = mixed(network, text, morphology())
    assert result.dtype == dtype and torch.equal(result, text)


def test_every_parameter_learns(text):
    torch.manual_seed(0)
    network = RelationTokens(CONTEXT, width=32)
    torch.nn.init.normal_(network.out.weight, std=0.2)
    mixed(network, text, people_of(morphology(), 2)).square().sum().backward()
    for name, parameter in network.named_parameters():
        # Against rounding: a parameter that a softmax cannot see has a gradient of 1e-9, not of 0.
        assert parameter.grad is not None and float(parameter.grad.abs().max()) > 1e-6, name


def test_w_o_learns_from_zero(text):
    network = RelationTokens(CONTEXT, width=32)
    mixed(network, text, morphology()).square().sum().backward()
    assert float(network.out.weight.grad.abs().max()) > 1e-6


def test_the_number_of_tokens_stays_and_every_one_of_them_is_told(network, text):
    for boxes in (BOXES[:1], BOXES, BOXES * 3):
        result = mixed(network, text, morphology(boxes))
        assert result.shape == text.shape and bool(((result - text).abs().amax(-1) > 1e-4).all())


def with_own(people, name, value):
    own = people.own.clone()
    own[:, OWN.index(name)] = value
    return people._replace(own=own)


def with_pair(people, name, value):
    pairs = people.pairs.clone()
    pairs[..., PAIRS.index(name)] = value
    return people._replace(pairs=pairs)


@pytest.mark.parametrize("name", OWN)
def test_each_number_of_each_person_is_read(network, text, name):
    people = people_of(morphology())
    assert not torch.allclose(mixed(network, text, people), mixed(network, text, with_own(people, name, 0.37)))


@pytest.mark.parametrize("name", PAIRS)
def test_each_number_of_each_pair_is_read(network, text, name):
    people = people_of(morphology())
    assert not torch.allclose(mixed(network, text, people), mixed(network, text, with_pair(people, name, 0.37)))


def test_pose_erased_and_order_are_read(network, text):
    plain = mixed(network, text, morphology())
    poses = [skeleton(box, seed) for seed, box in enumerate(BOXES)]
    wrist = [pose.clone() for pose in poses]
    wrist[1][4, :2] += torch.tensor([9.0, -7.0])
    others = {
        "a wrist elsewhere": morphology(joints=wrist),
        "poses swapped": morphology(joints=[poses[1], poses[0], poses[2]]),
        "no pose": morphology(joints=[None, None, None]),
        "someone else erased": morphology(erased=(2,)),
        "nobody erased": morphology(erased=()),
        "others in front": with_pair(people_of(morphology()), "in front", 1.0),
    }
    for name, other in others.items():
        assert not torch.allclose(plain, mixed(network, text, other)), name
    seen = morphology()
    guessed = torch.ones(18, dtype=torch.bool)
    inferred = seen._replace(bodies=tuple(body._replace(inferred=guessed) for body in seen.bodies))
    assert not torch.allclose(plain, mixed(network, text, inferred))


def test_each_persons_layer_has_a_text_of_its_own(network, text):
    known = morphology()
    texts = [mixed(network, text, people_of(known, number)) for number in (None, 1, 2, 3)]
    for index, one in enumerate(texts):
        assert all(not torch.allclose(one, other) for other in texts[:index])
    assert torch.equal(texts[0], mixed(network, text, people_of(known, 9)))  # nobody of this photo


def test_the_order_of_people_does_not_matter(network, text):
    people = people_of(morphology(sure=[1.0, 0.6, 0.8]), 2)
    turned = torch.tensor([2, 0, 1])
    other = People(people.own[turned], people.pairs[turned][:, turned], people.confidence[turned])
    assert torch.allclose(network(people)[turned], network(other), atol=1e-5)
    assert torch.allclose(mixed(network, text, people), mixed(network, text, other), atol=1e-5)


def test_padding_changes_nothing(network, text):
    photos = [people_of(morphology(BOXES[:count], sure=[0.9, 0.7, 1.0][:count])) for count in (1, 3, 2)]
    batch = padded(photos)
    assert batch.own.shape == (3, 3, OWN_WIDTH) and batch.confidence.shape == (3, 3)
    texts = torch.cat([text, text + 1, text - 1])
    together = network.mix(texts, network(batch), batch.confidence)
    for index, people in enumerate(photos):
        alone = mixed(network, texts[index : index + 1], people)
        assert torch.allclose(together[index], alone[0], atol=1e-5)


def test_who_has_no_confidence_counts_as_absent(network, text):
    everyone = people_of(morphology())
    without = People(everyone.own[:2], everyone.pairs[:2, :2], everyone.confidence[:2])
    unsure = everyone._replace(confidence=torch.tensor([1.0, 1.0, 0.0]))
    assert torch.allclose(mixed(network, text, unsure), mixed(network, text, without), atol=1e-6)
    assert not torch.allclose(mixed(network, text, everyone), mixed(network, text, without))


@pytest.mark.parametrize("sure", [[0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
def test_no_confidence_gives_the_text_itself(network, text, sure):
    assert mixed(network, text, morphology(sure=sure)) is text
    assert mixed(network, text, morphology(), strength=0.0) is text


def test_nobody(network, text):
    assert mixed(network, text, Morphology(0, SIZE, (), *relations([]))) is text
    batch = padded([people_of(morphology(BOXES[:2])), people_of(Morphology(0, SIZE, (), *relations([])))])
    texts = torch.cat([text, text])
    result = network.mix(texts, network(batch), batch.confidence)
    assert torch.equal(result[1], text[0]) and not torch.allclose(result[0], text[0])


def test_confidence_fades_out_steadily(network, text):
    """From all of it to nothing, and without a jump at the end."""
    far = []
    for share in (1.0, 0.5, 0.1, 0.01, 0.001):
        change = mixed(network, text, morphology(sure=[share] * 3)) - text
        far.append(float(change.abs().max()))
    assert far == sorted(far, reverse=True) and far[-1] < 1e-4 < far[0]
    one = [mixed(network, text, morphology(sure=[1.0, 1.0, share])) for share in (0.0, 1e-4)]
    assert torch.allclose(*one, atol=1e-3)


def test_strength_scales_the_change(network, text):
    whole, half = (mixed(network, text, morphology(), strength=strength) - text for strength in (1.0, 0.5))
    assert torch.allclose(whole, 2 * half, atol=1e-5)


def posed(joints):
    """Everyone has these joints, and the relations know of none."""
    without = morphology(joints=[None] * 3)
    return without._replace(bodies=tuple(body._replace(joints=joints) for body in without.bodies))


def test_joints_that_nobody_can_have_fade_out(network, text):
    nothing = mixed(network, text, morphology(joints=[None] * 3))
    wild = torch.tensor([[1e30, -1e30, 1.0], [float("nan"), 3.0, 1.0], [-400.0, 20.0, 1.0]]).repeat(6, 1)
    assert torch.equal(mixed(network, text, posed(wild)), nothing)
    unsure = [skeleton(box) * torch.tensor([1.0, 1.0, 0.0]) for box in BOXES]
    assert torch.allclose(mixed(network, text, morphology(joints=unsure)), nothing, atol=1e-3)

    def at(x):
        joints = torch.zeros(18, 3)
        joints[4] = torch.tensor([x, 40.0, 1.0])
        return people_of(posed(joints)).own

    steps = [at(x) for x in torch.linspace(120, 180, 61).tolist()]
    jumps = [float((one - other).abs().max()) for one, other in zip(steps, steps[1:], strict=False)]
    assert max(jumps) < 0.05 and torch.equal(steps[-1], at(9999.0))


def test_numbers_stay_near_1(network):
    for boxes in ([(0, 0, 1, 1)], [(0, 0, 131, 90)], BOXES):
        people = people_of(morphology(boxes))
        assert all(bool(torch.isfinite(part).all()) and float(part.abs().max()) <= 2 for part in people)


def test_widths_that_do_not_go_together():
    with pytest.raises(ValueError, match="30 is no multiple of 4 heads"):
        RelationTokens(CONTEXT, width=30)
