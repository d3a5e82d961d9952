"""Makes people of masks."""

from comfy_api.latest import io
from comfy_execution.utils import get_executing_context
from torch import Tensor

from ..mild_core.find.bounding_boxes import boxes_around, frames_of
from ..mild_core.people.label_images import looks_labelled
from ..mild_core.people.masks_to_people import AUTOMATIC, BLOBS, LABELS, PER_MASK, people_from_masks, planned
from ..mild_core.preview.overlay import preview_people
from ..mild_core.scene import Person
from .checks import checked_image, checked_mask
from .show import shown
from .sockets import People


class PeopleFromMasks(io.ComfyNode):
    """Any masks, from any node or the mask editor, become numbered people."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_PeopleFromMasks",
            display_name="People from Masks",
            category="MILD/people",
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
            inputs=[
                io.MultiType.Input(
                    "masks",
                    types=[io.Mask, io.Image],
                    optional=True,
                    tooltip="One or many masks (a batch), white where a person is, or a label picture. "
                    "A picture is read like a mask, by its brightest channel. Each item of a list is a run of its "
                    "own: several masks of one photo belong into one batch. Not needed where people come in.",
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
                    "batches of photos: they say how many of the masks belong to which photo.",
                ),
                io.Combo.Input(
                    "split",
                    options=[AUTOMATIC, PER_MASK, BLOBS, LABELS],
                    default=AUTOMATIC,
                    optional=True,  # API workflows may leave it away
                    tooltip="automatic: as many masks as photos are one for each, and a mask that is alone in its "
                    "photo shows a person in each separate part; several masks for one photo, or masks with boxes, are "
                    "one person each. The node says what it decided. one person per mask: every mask of the batch is "
                    "somebody in the same photo. separate blobs: one painted mask holds several people who do not "
                    "touch; with several masks, one for each photo of a batch. label image: every colour but black is "
                    "somebody, under the same number in every photo.",
                ),
                io.Int.Input(
                    "photo",
                    default=1,
                    min=1,
                    max=4096,
                    optional=True,
                    advanced=True,
                    tooltip="For batches of photos: which photo the masks belong to (the first is 1). With separate "
                    "blobs and label images, the following masks go to the following photos; with boxes connected, "
                    "the boxes say it.",
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
        split: str = AUTOMATIC,
        photo: int = 1,
        masks: Tensor | None = None,
        image: Tensor | None = None,
        people: list[Person] | None = None,
        boxes: list | dict | None = None,
    ) -> io.NodeOutput:
        photos = [] if image is None else list(checked_image(image))
        sizes = [(int(one.shape[0]), int(one.shape[1])) for one in photos]
        frames, for_all = frames_of(boxes) if boxes else ([], False)
        if masks is None and people is None:
            raise ValueError("masks: nothing is connected. Connect masks here, or people found before to people.")
        pictures, labels = ([], False) if masks is None else _pictures(masks, split)
        plan = planned(split, len(pictures), len(photos), photo - 1, frames, for_all)
        result, text = people_from_masks(pictures, plan, sizes, people or [], split == AUTOMATIC)
        if labels:
            text += "\nThe picture has few, plain colours: if each of them is somebody, choose 'label image'."
        text = "\n".join([text, *_list_words()])
        count = max([person.photo + 1 for person in result] + [len(photos), 1])
        preview = preview_people(result, photos, count)
        around = [boxes_around([one for one in result if one.photo == number]) for number in range(count)]
        return io.NodeOutput(result, preview, around, ui=shown(cls, text, preview))


def _pictures(value: Tensor, split: str) -> tuple[list[Tensor], bool]:
    """The masks, [H, W] each ([H, W, C] for label images in colour), and whether they look as if they were label
    images where they are not read as such.
    """
    if isinstance(value, Tensor) and value.ndim in (3, 4) and value.shape[0] == 0:
        return [], False  # a detector that found nobody
    is_image = isinstance(value, Tensor) and value.ndim == 4 and value.shape[-1] in (1, 3, 4)
    if not is_image:
        return list(checked_mask(value, "masks")), False
    picture = checked_image(value, "masks")[..., :3]
    if split == LABELS:
        return list(picture), False
    return list(picture.amax(-1).float().clamp(0, 1)), any(looks_labelled(one) for one in picture)


def _list_words() -> list[str]:
    """What is said from the second item of a list on: ComfyUI then runs the node, and all behind it, once for each."""
    context = get_executing_context()
    if context is None or not context.list_index:
        return []
    return [
        f"Item {context.list_index + 1} of a list: each item is a run of its own. Masks of one photo belong into one "
        "batch (see the help)."
    ]


NODES: list[type[io.ComfyNode]] = [PeopleFromMasks]
