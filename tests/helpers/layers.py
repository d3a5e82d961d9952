"""Layers to be sampled, made by hand, and what must hold for every one that was.

The fixtures `scenes`, `sample` and `small_native_size` that go with them stand in tests/comfy/conftest.py.
"""

import torch

from mild.mild_core.scene import BACKGROUND, PERSON, Layer

GREY = (0.5, 0.5, 0.5)
HEIGHT, WIDTH = 61, 83

WIDGETS = {  # of Sample Layers; SPLIT: of Split into Layers
    "seed": 3,
    "steps": 2,
    "denoise": 1.0,
    "cfg": 1.0,
    "sampler_name": "euler",
    "scheduler": "normal",
    "which": "all",
    "ground": "plate",
    "start": "noise",  # what an exemplar fill adds: test_start.py
    "memory": "automatic",
}

SPLIT = {
    "grow": 0.02,
    "background": "erased only",
    "feather": 3.0,
    "context": 1.0,
    "size_mode": "balanced",
    "contact": 1,
    "snap": False,
}


def picture(height=HEIGHT, width=WIDTH, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 8, 10, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return smooth[0].movedim(0, -1).contiguous()


def background(photo, hole_box, box=None, index=0, tail="", **changes):
    """A background layer on the crop `box` of the photo, with a rectangular hole; boxes in the photo's frame."""
    box = box or (0, 0, photo.shape[1], photo.shape[0])
    hole = torch.zeros(photo.shape[:2])
    hole[hole_box[1] : hole_box[3], hole_box[0] : hole_box[2]] = 1
    hole = hole[box[1] : box[3], box[0] : box[2]]
    return Layer(
        id=f"{index + 1}/background{tail}",
        name="Background",
        photo=index,
        domain=BACKGROUND,
        number=None,
        box=box,
        pixels=photo[box[1] : box[3], box[0] : box[2], :3],
        hole=hole,
        allowed=1 - hole,
        alpha=torch.ones_like(hole),
        rank=-1.0,
        size_mode="balanced",
    )._replace(**changes)


def person(photo, number, body_box, hole_box, box, index=0, **changes):
    """A person in the rectangle `body_box` on grey ground; the hole begins beside it."""
    body, hole = torch.zeros(photo.shape[:2]), torch.zeros(photo.shape[:2])
    body[body_box[1] : body_box[3], body_box[0] : body_box[2]] = 1
    hole[hole_box[1] : hole_box[3], hole_box[0] : hole_box[2]] = 1
    body, hole, pixels = (part[box[1] : box[3], box[0] : box[2]] for part in (body, hole, photo[..., :3]))
    return Layer(
        id=f"{index + 1}/person-{number}",
        name=f"Person {number}",
        photo=index,
        domain=PERSON,
        number=number,
        box=box,
        pixels=torch.where(body[..., None] > 0, pixels, torch.tensor(GREY)),
        hole=hole,
        allowed=1 - hole,
        alpha=body,
        rank=0.0,
        size_mode="balanced",
        ground=GREY,
    )._replace(**changes)


def layers_of(scenes):
    return {layer.id: layer for scene in scenes for layer in scene.layers}


def check(before, after):
    """What must hold for every sampled layer."""
    for old, new in zip(layers_of(before).values(), layers_of(after).values(), strict=True):
        assert new.sampled
        outside = old.hole == 0
        assert torch.equal(new.pixels[outside], old.pixels[outside])
        assert torch.isfinite(new.pixels).all() and 0 <= new.pixels.min() and new.pixels.max() <= 1
        assert new._replace(pixels=old.pixels, alpha=old.alpha, sampled=old.sampled) == old
        assert torch.equal(new.alpha[outside], old.alpha[outside])
