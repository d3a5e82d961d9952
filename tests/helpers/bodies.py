"""The people of a photo, made by hand: everyone fills her box, and has a pose somewhere in it."""

import torch

from mild.mild_core.morphology.relations import relations
from mild.mild_core.scene import Body, Morphology, Person


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
