"""The demo's way from an artist's files to a PNG: every kind of mask, and no pixel touched outside the holes."""

import io

import numpy as np
import pytest
from PIL import Image

from mild.tools import demo

LEFT, RIGHT = (slice(20, 50), slice(14, 24)), (slice(24, 58), slice(60, 72))


@pytest.fixture
def files(tmp_path):
    """A noisy photo of 96 x 72 px, and its two people as every kind of mask file."""
    photo = np.random.default_rng(0).integers(90, 130, (72, 96, 3)).astype(np.uint8)
    colours = np.zeros_like(photo)
    colours[LEFT], colours[RIGHT] = (250, 0, 0), (0, 0, 250)
    photo[LEFT], photo[RIGHT] = 20, 240
    white = (colours.any(-1) * 255).astype(np.uint8)
    single = [(colours[..., channel] > 0).astype(np.uint8) * 255 for channel in (0, 2)]
    pictures = {"photo.jpg": photo, "labels.png": colours, "blobs.png": white, "1.png": single[0], "2.png": single[1]}
    pictures["painted.png"] = np.dstack([photo, 255 - white])
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    "photo, masks", [("photo.jpg", ["labels.png"]), ("photo.jpg", ["blobs.png"]), ("photo.jpg", ["1.png", "2.png"]),
                     ("painted.png", [])],
)  # fmt: skip
def test_second_person_goes_and_nothing_else_changes(server, files, photo, masks):
    job = demo.own_job(files / photo, [files / name for name in masks])
    assert len(job.people) == 2
    hole = demo.holes(job, "2")
    png = demo.run(server, job, "2", seed=1)[0]["save"]
    result = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    before = np.round(job.pixels[0].numpy() * 255).astype(int)
    assert hole[RIGHT].all() and not hole[LEFT].any()
    assert (result[~hole] == before[~hole]).all()
    assert result[RIGHT].max() < 180  # the person was 240, the ground is 90 to 130


def test_files_that_do_not_serve_get_one_sentence(files):
    with pytest.raises(SystemExit, match="no transparent parts"):
        demo.own_job(files / "photo.jpg", [])
    with pytest.raises(SystemExit, match="There is no file"):
        demo.own_job(files / "missing.jpg", [])
    (files / "words.png").write_text("no picture")
    with pytest.raises(SystemExit, match="no picture"):
        demo.own_job(files / "photo.jpg", [files / "words.png"])
