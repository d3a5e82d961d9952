"""The labels of parsing: what every label set is mapped onto.

Label sets: ATR (Liang et al. 2015), LIP (Gong et al. 2017) and CIHP (Gong et al. 2018) name garments and bare limbs,
BodyPix names limbs whatever they wear, MediaPipe's multiclass segmenter skin, hair and clothes. PARTS holds them all,
so that nothing is lost on the way. Left and right are the person's own.
"""

import torch
from torch import Tensor

PARTS = (
    "background",
    "hat",
    "hair",
    "glove",
    "glasses",
    "upper clothes",
    "dress",
    "coat",
    "socks",
    "trousers",
    "jumpsuit",
    "scarf",
    "skirt",
    "face",
    "left arm",
    "right arm",
    "left leg",
    "right leg",
    "left shoe",
    "right shoe",
    "torso skin",
    "belt",
    "bag",
    "skin",
    "clothes",
    "accessory",
    "torso",
    "left upper arm",
    "right upper arm",
    "left lower arm",
    "right lower arm",
    "left hand",
    "right hand",
    "left upper leg",
    "right upper leg",
    "left lower leg",
    "right lower leg",
)
"""A label is the place of its name here. The first 20 are LIP's own. "skin" and "clothes" say no limb."""

SEGMENTS = ("unknown", "head", "torso", "upper arm", "lower arm", "hand", "upper leg", "lower leg", "foot", "thing")
"""Body segments, without sides."""

_MAY_BE: dict[str, tuple[str, ...]] = {
    "background": ("unknown",),
    "hat": ("head",),
    "hair": ("head", "torso"),
    "glove": ("hand", "lower arm"),
    "glasses": ("head",),
    "upper clothes": ("torso", "upper arm", "lower arm"),
    "dress": ("torso", "upper arm", "lower arm", "upper leg", "lower leg"),
    "coat": ("torso", "upper arm", "lower arm", "upper leg", "lower leg"),
    "socks": ("foot", "lower leg"),
    "trousers": ("upper leg", "lower leg", "torso"),
    "jumpsuit": ("torso", "upper arm", "lower arm", "upper leg", "lower leg"),
    "scarf": ("torso", "head"),
    "skirt": ("upper leg", "lower leg", "torso"),
    "face": ("head",),
    "left arm": ("lower arm", "upper arm", "hand"),
    "right arm": ("lower arm", "upper arm", "hand"),
    "left leg": ("lower leg", "upper leg", "foot"),
    "right leg": ("lower leg", "upper leg", "foot"),
    "left shoe": ("foot", "lower leg"),
    "right shoe": ("foot", "lower leg"),
    "torso skin": ("torso",),
    "belt": ("torso", "upper leg"),
    "bag": ("thing",),
    "skin": ("unknown", "torso", "upper arm", "lower arm", "hand", "upper leg", "lower leg", "foot"),
    "clothes": ("unknown", "torso", "upper arm", "lower arm", "upper leg", "lower leg", "foot"),
    "accessory": ("thing",),
    "torso": ("torso",),
    "left upper arm": ("upper arm",),
    "right upper arm": ("upper arm",),
    "left lower arm": ("lower arm",),
    "right lower arm": ("lower arm",),
    "left hand": ("hand",),
    "right hand": ("hand",),
    "left upper leg": ("upper leg",),
    "right upper leg": ("upper leg",),
    "left lower leg": ("lower leg",),
    "right lower leg": ("lower leg",),
}
# every segment a part may lie on

may_be = torch.tensor([[segment in _MAY_BE[part] for segment in SEGMENTS] for part in PARTS])
"""[len(PARTS), len(SEGMENTS)] bool: which segments a part may lie on."""


def _places(*names: str) -> tuple[int, ...]:
    return tuple(PARTS.index(name) for name in names)


SETS: dict[str, tuple[int, ...]] = {
    "ATR": _places(
        *("background", "hat", "hair", "glasses", "upper clothes", "skirt", "trousers", "dress", "belt"),
        *("left shoe", "right shoe", "face", "left leg", "right leg", "left arm", "right arm", "bag", "scarf"),
    ),
    "LIP": tuple(range(20)),
    # LIP with bare chests and necks in place of jumpsuits
    "CIHP": (*range(10), PARTS.index("torso skin"), *range(11, 20)),
    # the 24 channels of the model, from 1: 0 is what its person mask leaves out. It distinguishes front from back and
    # the two halves of the face; PARTS does not. Its feet become shoes, which most feet wear.
    "BodyPix": _places(
        *("background", "face", "face"),
        *("left upper arm", "left upper arm", "right upper arm", "right upper arm"),
        *("left lower arm", "left lower arm", "right lower arm", "right lower arm"),
        *("left hand", "right hand", "torso", "torso"),
        *("left upper leg", "left upper leg", "right upper leg", "right upper leg"),
        *("left lower leg", "left lower leg", "right lower leg", "right lower leg"),
        *("left shoe", "right shoe"),
    ),
    "MediaPipe multiclass": _places("background", "hair", "skin", "face", "clothes", "accessory"),
    "ours": tuple(range(len(PARTS))),
}
"""Label sets: for each of a set's labels, from 0, its place in PARTS.

Orders as published: ATR and LIP as in SCHP (Li et al. 2020; segformer_b2_clothes has ATR's), CIHP as in its own
instance-level human parsing data, BodyPix 2 (its part channels), MediaPipe's selfie_multiclass_256x256.
"""


def to_parts(labels: Tensor, name: str) -> Tensor:
    """labels of the set called `name` (whole numbers, any shape) as PARTS, uint8. What is no label of the set (255,
    "void", above all) becomes background.
    """
    table = torch.zeros(256, dtype=torch.uint8)
    table[: len(SETS[name])] = torch.tensor(SETS[name], dtype=torch.uint8)
    return table.to(labels.device)[labels.long().clamp(-1, 255)]


PART_COLOURS = (
    *((0, 0, 0), (150, 75, 0), (95, 55, 30), (120, 120, 0), (20, 20, 20), (230, 70, 70), (235, 90, 160), (190, 40, 40)),
    *((180, 180, 180), (60, 90, 200), (130, 60, 190), (255, 140, 0), (160, 80, 200), (255, 205, 160)),
    *((255, 225, 80), (80, 220, 190), (200, 240, 110), (60, 170, 230), (110, 80, 60), (60, 70, 90)),
    *((245, 180, 140), (110, 60, 20), (140, 110, 50), (250, 195, 150), (200, 90, 90), (150, 130, 80), (225, 80, 80)),
    *((255, 215, 60), (70, 210, 180), (255, 175, 50), (50, 180, 170), (255, 240, 140), (150, 240, 220)),
    *((190, 230, 90), (50, 150, 225), (150, 200, 70), (40, 120, 190)),
)
"""A colour 0..255 for each of PARTS, for previews: left limbs warm, right ones cold, as skeletons are drawn."""
