"""The people of a photo, made by hand: most fill their boxes, and have poses somewhere in them."""

import torch

from mild.mild_core.body.body_shape import body_shape
from mild.mild_core.body.relations import relations
from mild.mild_core.image import boxes
from mild.mild_core.scene import Body, Morphology, Person

# somebody upright, in shares of the height, from the middle between the feet
STANDING = torch.tensor(
    [
        *([0, -0.90], [0, -0.82], [-0.12, -0.82], [-0.15, -0.63], [-0.16, -0.48], [0.12, -0.82], [0.15, -0.63]),
        *([0.16, -0.48], [-0.08, -0.53], [-0.08, -0.28], [-0.08, -0.04], [0.08, -0.53], [0.08, -0.28]),
        *([0.08, -0.04], [-0.02, -0.92], [0.02, -0.92], [-0.04, -0.91], [0.04, -0.91]),
    ]
)


def standing(x, feet=230.0, height=180.0):
    """[18, 3]: a skeleton that stands there, in pixels."""
    points = STANDING * height + torch.tensor([x, feet])
    return torch.cat([points, torch.full((18, 1), 0.9)], 1)


def mask_of(joints, size):
    """The body of these joints as a mask [h, w] of the photo."""
    shape, place = body_shape(joints, size)
    return (boxes.placed(shape, place, boxes.whole(size)) > 0.5).float()


def pose_frame(*joints, size):
    """A photo's POSE_KEYPOINT, as nodes that find poses give it, of people with these joints [18, 3]."""
    listed = [{"pose_keypoints_2d": one.flatten().tolist()} for one in joints]
    return {"canvas_width": size[1], "canvas_height": size[0], "people": listed}


def skeleton(box, seed=0):
    """[18, 3] inside the box, x0, y0, x1, y1."""
    random = torch.rand(18, 3, generator=torch.Generator().manual_seed(seed))
    x0, y0, x1, y1 = box
    return random * torch.tensor([x1 - x0, y1 - y0, 0.5]) + torch.tensor([x0, y0, 0.5])


def people(size, boxes, erased=(), photo=0):
    """list[Person], numbered from 1; erased: numbers."""
    return [
        Person(f"P{n}", n, photo, size, box, torch.ones(box[3] - box[1], box[2] - box[0]), n in erased)
        for n, box in enumerate(boxes, 1)
    ]


def morphology(size, boxes, erased=(), sure=None, joints=None, photo=0):
    """Morphology of people(...). sure: confidence of each, default 1. joints: of each, default a skeleton(box)."""
    sure = sure or [1.0] * len(boxes)
    joints = [skeleton(box, seed) for seed, box in enumerate(boxes)] if joints is None else joints
    everyone = people(size, boxes, erased, photo)
    bodies = tuple(
        Body(person.number, person.name, person.erased, person.box, person.mask, sure[index], joints[index])
        for index, person in enumerate(everyone)
    )
    return Morphology(photo, size, bodies, *relations(everyone, joints, sure))
