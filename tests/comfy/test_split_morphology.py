"""Read Bodies into Split into Layers, through ComfyUI's own executor."""

import pytest
import torch

from mild.tests.helpers.bodies import pose_frame
from mild.tests.helpers.layers import SPLIT
from mild.tests.unit.test_split_bodies import SIZE, figure, joints_at

FROM_MASKS = {"split": "one person per mask", "photo": 1}
READ = {"labels": "ATR", "parser": "only what is connected", "invert_depth": False, "min_confidence": 0.3}


def frame():
    """POSE_KEYPOINT of both people; what the nearer one hides was not seen."""
    near = figure(150, 40, 190)
    hidden = joints_at(100)
    hidden[near[hidden[:, 1].long(), hidden[:, 0].long()] > 0] = 0
    return pose_frame(hidden, joints_at(150, 40.0, 190.0), size=SIZE)


def photos(count=1, channels=3):
    return torch.rand(count, *SIZE, channels, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def people(run_node):
    """people(who, photo): Person 2, nearer, hides one side of Person 1."""

    def people(who="2", **inputs):
        near = figure(150, 40, 190)
        masks = torch.stack([figure(100) * (near == 0), near])
        found, *_ = run_node("MILD_PeopleFromMasks", masks=masks, **(FROM_MASKS | inputs))
        return run_node("MILD_ChoosePeople", people=found, who=who)[0]

    return people


@pytest.fixture
def bodies(run_node):
    def bodies(image, people):
        return run_node("MILD_Morphology", image=image, people=people, poses=[frame()] * len(image), **READ)[0]

    return bodies


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bodies_reach_the_scene(run_node, people, bodies, channels):
    image, who = photos(channels=channels), people()
    known = bodies(image, who)
    assert known[0].bodies[0].inferred.any()
    (plain, _), (layers, preview) = (
        run_node("MILD_Decompose", image=image, people=who, **SPLIT, **more) for more in ({}, {"morphology": known})
    )
    assert preview.shape == (1, *SIZE, 3)
    assert plain[0].morphology is None and layers[0].morphology is not None
    assert [layer.id for layer in plain[0].layers] == [layer.id for layer in layers[0].layers]


def test_recompose_with_nothing_sampled_away_keeps_the_photo(run_node, people, bodies):
    """What is known of bodies changes no pixel: a full plate with nobody going is the photo, bit for bit."""
    image, who = photos(), people("none")
    settings = SPLIT | {"background": "full plate"}
    layers, _ = run_node("MILD_Decompose", image=image, people=who, morphology=bodies(image, who), **settings)
    assert layers[0].morphology is not None
    assert torch.equal(run_node("MILD_Recompose", layers=layers)[0], image)


def test_another_choice_another_batch_and_another_size_are_refused(run_node, people, bodies):
    image = photos()
    known = bodies(image, people("2"))
    for picture, who, words in (
        (image, people("1"), "Choose People"),
        (photos(2), people("2"), "1 photos"),
        (torch.rand(1, 90, 80, 3), people("2"), "80 x 90"),
    ):
        with pytest.raises(ValueError, match=f"^morphology: .*{words}"):
            run_node("MILD_Decompose", image=picture, people=who, morphology=known, **SPLIT)


def test_saved_workflows_hold():
    """Widgets are saved by their place: the new socket has none, and stands after all others."""
    from mild.nodes.split import Decompose

    names = list(Decompose.INPUT_TYPES()["required"]) + list(Decompose.INPUT_TYPES()["optional"])
    assert names[-1] == "morphology"
    assert Decompose.INPUT_TYPES()["optional"]["morphology"][0] == "MILD_MORPHOLOGY"
