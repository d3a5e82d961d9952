"""Occlusion scenes made of two frames of one camera have their truth, and are scored by it."""

import numpy as np
import pytest
from PIL import Image

from mild.benchmarks.quality import joint, occlusion


def write_frame(folder, name, people, noise):
    """A frame of 120 x 160 with people (box and colour each) before a common ground."""
    ground = np.random.default_rng(0).integers(90, 160, (120, 160, 3))
    frame = ground + np.random.default_rng(noise).integers(-2, 3, ground.shape)
    label = np.zeros((120, 160), np.uint8)
    for number, ((x0, y0, x1, y1), colour) in enumerate(people, 1):
        frame[y0:y1, x0:x1] = colour
        label[y0:y1, x0:x1] = number
    Image.fromarray(frame.astype(np.uint8)).save(folder / f"{name}.png")
    Image.fromarray(label).save(folder / f"{name}_inst.png")


@pytest.fixture
def frames(tmp_path):
    write_frame(tmp_path, "cam_1", [((30, 20, 60, 80), 20), ((100, 10, 120, 60), 240)], 1)
    write_frame(tmp_path, "cam_2", [((48, 30, 78, 95), (200, 30, 30))], 2)
    write_frame(tmp_path, "other_1", [((50, 30, 80, 110), 250)], 3)
    return tmp_path


def test_the_nearer_person_hides_a_part_of_the_farther_one(frames):
    found = occlusion.occlusion_scenes(frames)
    assert [scene.name for scene in found] == ["cam_2/1 before cam_1/1"]
    (scene,) = found
    front, back = scene.masks[scene.front], scene.masks[scene.back]
    assert (scene.photo[~front] == scene.truth[~front]).all()
    assert np.abs(scene.photo - scene.truth)[front].mean() > 0.2
    assert not (front & back).any() and len(scene.masks) == 3
    assert (scene.completed & ~front).sum() == 0 and (scene.plate & scene.completed).sum() == 0
    whole = np.zeros_like(back)
    whole[20:80, 30:60] = True
    assert (back | scene.completed == whole).all()
    centres = [np.nonzero(mask)[1].min() + np.nonzero(mask)[1].max() for mask in scene.masks]
    assert centres == sorted(centres)
    assert (np.round(scene.photo * 255) / 255 == scene.photo).all()


def test_moved_sideways_everybody_may_be_hidden(frames):
    for scene in occlusion.occlusion_scenes(frames, shifted=True):
        share = scene.completed.sum() / (scene.completed.sum() + scene.masks[scene.back].sum())
        assert occlusion.SHARE[0] <= share <= occlusion.SHARE[1]
    assert occlusion.occlusion_scenes(frames, shifted=True)


def test_better_pictures_score_better(frames):
    pytest.importorskip("stlpips_pytorch")
    (scene,) = occlusion.occlusion_scenes(frames)
    alpha = scene.completed.astype(np.float32)
    perfect = occlusion.score(scene, occlusion.Painted(scene.truth, alpha))
    assert perfect.completed_psnr == 60 and perfect.completed_iou == 1 and perfect.kept_changed == 0
    assert perfect.completed_lpips < 1e-4
    grey = np.where(scene.masks[scene.front][..., None], 0.5, scene.photo).astype(np.float32)
    poor = occlusion.score(scene, occlusion.Painted(grey, np.ones_like(alpha)))
    assert poor.completed_psnr < 30 and poor.completed_lpips > 0.01 and 0.1 < poor.completed_iou < 1
    harmed = scene.truth.copy()
    harmed[25:30, 32:38] = 1
    assert occlusion.score(scene, occlusion.Painted(harmed, None)).kept_changed == 30


def test_outline_error_is_taken_where_person_and_place_meet(frames):
    (scene,) = occlusion.occlusion_scenes(frames)
    assert joint.outline_error(scene.truth, scene) == 0
    wrong = scene.truth.copy()
    wrong[~(scene.completed | scene.plate)] = 0  # nobody was hidden there
    assert joint.outline_error(wrong, scene) == 0
    wrong = np.where(scene.completed[..., None], scene.truth + np.float32(10 / 255), scene.truth)
    assert 2 < joint.outline_error(wrong, scene) < 8
    assert np.isnan(joint.outline_error(scene.truth, scene._replace(plate=np.zeros_like(scene.plate))))
