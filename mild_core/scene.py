"""The data types that travel between the nodes: people, layers and the scene they belong to.

A *scene* is one photograph with its people; a *layer* is the background or one person, with the *hole* that its
*pathway* has to invent. All are NamedTuples of tensors, because ComfyUI's cache counts the memory of tensors that it
finds in lists and tuples, and in nothing else.
"""

from typing import NamedTuple

from torch import Tensor

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the photo, x1 and y1 exclusive."""

BACKGROUND = "background"
PERSON = "person"

SHADOW, REFLECTION, CARRIED = EFFECTS = ("shadow", "reflection", "carried")


class Effect(NamedTuple):
    """A shadow, a reflection, or a thing that is carried or ridden: it goes when its person goes."""

    kind: str  # one of EFFECTS
    box: Box  # tight around the mask
    mask: Tensor  # [y1 - y0, x1 - x0], 0..1, float32
    taken: bool = True  # False: refused by the artist, so it stays whoever goes


class Person(NamedTuple):
    """One instance with a visible mask. Any object may take a person's place."""

    name: str
    number: int  # how the artist names the person, from 1, left to right within the photo
    photo: int  # which photo of the batch the person is in, from 0
    size: tuple[int, int]  # height and width of that photo's mask
    box: Box  # tight around the mask
    mask: Tensor  # [y1 - y0, x1 - x0], 0..1, float32: held cropped to the box, so that 100 people cost little
    erased: bool = False
    rank: float | None = None  # depth order given by the artist: larger is nearer. None: worked out from contact
    joints: Tensor | None = None  # [18, 3]: x, y in pixels of the photo, confidence 0..1; OpenPose's order (COCO-18)
    hidden: Tensor | None = None  # [y1 - y0, x1 - x0] of hidden_box, 0..1: the part behind somebody erased
    hidden_box: Box | None = None  # both given by the artist, and in place of any guess
    labelled: bool = False  # the number is the label of a label image: the same person in every photo of a batch
    effects: tuple[Effect, ...] = ()  # what goes with the person


class Layer(NamedTuple):
    """The background, a part of it, or one kept person, on its own crop of the photo."""

    id: str  # unique among the layers of all photos, e.g. "1/background", "1/background-2", "1/person-3"
    name: str  # what the artist reads
    photo: int  # index of its scene
    domain: str  # BACKGROUND or PERSON
    number: int | None  # the person's number; None for the background
    box: Box  # the crop, context included
    pixels: Tensor  # [h, w, 3], 0..1: the photo, or a person on neutral ground; once sampled, the result
    hole: Tensor  # [h, w], 0..1: > 0 is to be invented; soft only inwards (feather), exactly 0 where pixels must stay
    allowed: Tensor  # [h, w], bool: what this pathway may look at (never the hole, never an erased person)
    alpha: Tensor  # [h, w], 0..1: opacity: 1 for the background; a person's visible mask, completed once sampled
    rank: float  # back to front: the background is -1, people count up from the farthest
    size_mode: str  # "balanced" or "detail": how work_size picks the size to sample at
    sampled: bool = False
    ground: tuple[float, float, float] | None = None  # the neutral colour around a person; None for the background
    reveal: Tensor | None = None  # [h, w], 0..1: opacity in the finished photo where that is not `hole`: in the full
    # plate less is seen than was painted; a shadow that was lifted off the ground is seen though nothing was painted
    likely: Tensor | None = None  # [h, w], 0..1: how likely a pixel is this person's; None for the background
    positive: list | None = None  # CONDITIONING of this layer alone, in place of what the sampler gives all layers
    negative: list | None = None


class Body(NamedTuple):
    """What is known of one person's body: pose, parsing and place."""

    number: int  # the person's, within the photo
    name: str
    erased: bool
    box: Box  # of the visible mask
    mask: Tensor  # [y1 - y0, x1 - x0], 0..1: the person's own tensor, not a copy
    sure: float = 1.0  # confidence 0..1 of the mask and of the person's place among the others
    joints: Tensor | None = None  # [18, 3]: x, y in pixels of the photo, confidence 0..1; COCO-18, on the CPU
    inferred: Tensor | None = None  # [18], bool: joints that nobody saw and that were worked out
    hands: Tensor | None = None  # [2, 21, 3]: left, right; as joints; confidence 0 where not seen
    face: Tensor | None = None  # [70, 3]: as joints
    parts: Tensor | None = None  # [h, w] of parts_box, uint8: body.body_parts.PARTS
    parts_box: Box | None = None
    parts_sure: Tensor | None = None  # [h, w] of parts_box, 0..1: confidence of `parts`


class Morphology(NamedTuple):
    """The people of one photo, and how they stand to one another."""

    photo: int  # which of the batch, from 0
    size: tuple[int, int]  # height and width of the photo
    bodies: tuple[Body, ...]  # in the order of their numbers
    own: Tensor  # [P, len(body.relations.OWN)]: each person alone
    pairs: Tensor  # [P, P, len(body.relations.PAIRS)]: row = who, column = towards whom
    nobody: tuple[Tensor, ...] = ()  # poses [18, 3] that fit nobody


class Scene(NamedTuple):
    """One photo of the batch and its layers."""

    photo: Tensor  # [H, W, C], C in 1, 3, 4: the artist's own tensor, not a copy
    layers: tuple[Layer, ...]  # back to front
    morphology: Morphology | None = None
    spared: tuple[str, ...] = ()  # names of people who go, in front of whom something thin stands that stays


def rgb(photo: Tensor) -> Tensor:
    """Three channels of a photo [..., C], C in 1, 3, 4, as a view: a large photo is not copied."""
    return photo[..., :3] if photo.shape[-1] >= 3 else photo[..., :1].expand(*photo.shape[:-1], 3)
