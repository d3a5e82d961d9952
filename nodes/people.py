"""Masks become people."""

import torch
from comfy_api.latest import io
from torch import Tensor

from ..mild_core.find.bounding_boxes import boxes_around, frames_of
from ..mild_core.people import (
    numbered,
    people_from_blobs,
    people_from_labels,
    person_from_mask,
    photo_size,
    resize_mask,
    without_repeats,
)
from ..mild_core.preview.overlay import preview_people
from ..mild_core.scene import Person
from .checks import checked_image, checked_mask
from .show import shown
from .sockets import People

PER_MASK = "one person per mask"
BLOBS = "separate blobs"
LABELS = "label image"


class PeopleFromMasks(io.ComfyNode):
    """Any masks, from any node or the mask editor, become numbered people."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_PeopleFromMasks",
            display_name="People from Masks",
            category="MILD",
            description=(
                "Turns masks into people, numbered from left to right. Masks may come from a detector such as SAM, "
                "from Load Image with a mask painted in the mask editor, or from a picture with a colour per person. "
                "Anything with a mask may play a person: a dog, a car, a bag."
            ),
            search_aliases=[
                "masks to people",
                "segment people",
                "instances",
                "split mask",
                "separate masks",
                "remove person",
                "object removal",
                "eraser",
                "inpaint",
                "clean plate",
                "SAM masks",
            ],
            is_input_list=True,
            inputs=[
                io.MultiType.Input(
                    "masks",
                    types=[io.Mask, io.Image],
                    tooltip="One or many masks (a batch or a list), white where a person is, or a label picture. "
                    "A picture is read like a mask, by its brightest channel.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The photo. It shows in the preview, and masks of another size are fitted to it.",
                ),
                People.Input(
                    "people",
                    optional=True,
                    tooltip="People found before: the new ones are added and numbered on from them.",
                ),
                io.BoundingBox.Input(
                    "boxes",
                    optional=True,
                    force_input=True,
                    tooltip="The boxes that came with the masks (SAM3 Detect with individual_masks switched on), for "
                    "batches of photos: they tell how many of the masks belong to which photo.",
                ),
                io.Combo.Input(
                    "split",
                    options=[PER_MASK, BLOBS, LABELS],
                    default=PER_MASK,
                    tooltip="one person per mask: every mask of the batch is somebody in the same photo. "
                    "separate blobs: one painted mask holds several people who do not touch; with several masks, "
                    "one for each photo of a batch. label image: every colour but black is somebody.",
                ),
                io.Int.Input(
                    "photo",
                    default=1,
                    min=1,
                    max=4096,
                    advanced=True,
                    tooltip="For batches of photos: which photo the masks belong to (the first is 1). With separate "
                    "blobs and label images, the following masks go to the following photos; with boxes connected, "
                    "the boxes tell.",
                ),
            ],
            outputs=[
                People.Output(display_name="people", tooltip="For Choose People."),
                io.Image.Output(display_name="preview", tooltip="The photo with everyone outlined and numbered."),
                io.BoundingBox.Output(
                    display_name="boxes",
                    tooltip="A box around each person, one list for each photo: for SDPose, which reads one pose in "
                    "each, or any other node that takes boxes.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        masks: list[Tensor],
        split: list[str],
        photo: list[int],
        image: list[Tensor] | None = None,
        people: list[list[Person]] | None = None,
        boxes: list | None = None,
    ) -> io.NodeOutput:
        photos = [one for batch in image or [] for one in checked_image(batch, "image")]
        existing = [person for group in people or [] for person in group]
        mode, first = split[0], photo[0] - 1
        pictures = [one for value in masks for one in _pictures(value, mode)]
        frames = _masks_by_photo(boxes, len(pictures), max(len(photos), 1)) if boxes and mode == PER_MASK else None
        found: list[Person] = []
        empty, specks = 0, 0
        sizes: dict[int, tuple[int, int]] = {}
        for index, picture in enumerate(pictures):
            where = first + (index if mode != PER_MASK else frames[index] if frames else 0)
            size = (int(picture.shape[0]), int(picture.shape[1]))
            if where < len(photos):
                sizes[where] = (int(photos[where].shape[0]), int(photos[where].shape[1]))
            size = sizes.setdefault(where, photo_size(existing, where) or size)
            new, ignored = _people_in(picture, mode, where, size)
            found += new
            empty += not new
            specks += ignored
        once = without_repeats(found, existing)
        result = numbered(once, existing)
        count = max([person.photo + 1 for person in result] + [len(photos), 1])
        preview = preview_people(result, photos, count)
        text = _sentence(result, existing, empty, specks, len(found) - len(once))
        if boxes and mode == PER_MASK and frames is None:
            text += "\nThere is one mask for several boxes: switch individual_masks on in the detector."
        around = [boxes_around([one for one in result if one.photo == number]) for number in range(count)]
        return io.NodeOutput(result, preview, around, ui=shown(cls, text, preview))


def _pictures(value: Tensor, mode: str) -> list[Tensor]:
    """The masks in one value of the socket, [H, W] each; [H, W, C] for label pictures in colour."""
    if isinstance(value, Tensor) and value.ndim in (3, 4) and value.shape[0] == 0:
        return []  # a detector that found nobody
    is_image = isinstance(value, Tensor) and value.ndim == 4 and value.shape[-1] in (1, 3, 4)
    if not is_image:
        return list(checked_mask(value, "masks"))
    picture = checked_image(value, "masks")[..., :3]
    return list(picture) if mode == LABELS else list(picture.amax(-1).float().clamp(0, 1))


def _masks_by_photo(boxes: list, masks: int, photos: int) -> list[int] | None:
    """Which photo (from 0) each of the masks belongs to: as many masks as there are boxes belong to each photo.

    boxes: the values of the socket. None if one photo has one mask for several boxes: everybody in one. Raises
    ValueError if masks and boxes do not fit together.
    """
    frames = [frame for value in boxes for frame in frames_of(value)[0]]
    photo_of = [index for index, frame in enumerate(frames) for _ in frame]
    if len(photo_of) == masks:
        return photo_of
    if photos == 1 and len(frames) <= 1:
        return None if masks == 1 and len(photo_of) > 1 else [0] * masks
    raise ValueError(
        f"boxes: there are {len(photo_of)} boxes in {len(frames)} photos, but {masks} masks. Connect the boxes that "
        "belong to the masks, and switch individual_masks on in the detector: one mask for each box."
    )


def _people_in(picture: Tensor, mode: str, photo: int, size: tuple[int, int]) -> tuple[list[Person], int]:
    """The people of one mask or label picture, and how many specks were ignored."""
    if mode == LABELS:
        if tuple(picture.shape[:2]) != size:
            # Colours must not be mixed on the way: two people would give a third between them.
            channels = picture[None, None] if picture.ndim == 2 else picture.permute(2, 0, 1)[None]
            channels = torch.nn.functional.interpolate(channels.float(), size=size, mode="nearest-exact")[0]
            picture = channels[0] if picture.ndim == 2 else channels.permute(1, 2, 0)
        return people_from_labels(picture, photo), 0
    mask = resize_mask(picture[None], size)[0]
    if mode == BLOBS:
        return people_from_blobs(mask, photo)
    person = person_from_mask(mask, photo)
    return ([] if person is None else [person]), 0


def _sentence(people: list[Person], existing: list[Person], empty: int, specks: int, repeats: int) -> str:
    """What was found, in words."""
    lines = [f"{len(people)} people" if len(people) != 1 else "1 person"]
    if existing:
        lines[0] += f", {len(people) - len(existing)} of them new"
    if not people:
        lines = [
            "Nobody: no mask shows anything. Paint a mask (right click on Load Image), connect a detector, or lower "
            "its threshold."
        ]
    elif empty:
        lines.append(f"{empty} empty mask{'s' if empty > 1 else ''} left out.")
    if repeats:
        lines.append(f"{repeats} mask{'s' if repeats > 1 else ''} of somebody who is there already left out.")
    if specks:
        lines.append(f"{specks} speck{'s' if specks > 1 else ''} too small for a person left out.")
    return "\n".join(lines)


NODES: list[type[io.ComfyNode]] = [PeopleFromMasks]
