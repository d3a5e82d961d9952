"""Takes the artist's mask of where somebody goes on behind a person who is erased."""

from comfy_api.latest import io
from torch import Tensor

from ..mild_core.pairing import stretched
from ..mild_core.people.from_masks import photo_size, stretched_people
from ..mild_core.people.hidden_part import is_empty, with_hidden
from ..mild_core.preview.overlay import preview_people
from ..mild_core.scene import Person
from .checks import checked_image, checked_mask
from .show import shown
from .sockets import People


class HiddenPart(io.ComfyNode):
    """A mask of where one person goes on unseen (amodal mask), given to that person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_HiddenPart",
            display_name="Paint Hidden Part",
            category="MILD/people",
            description=(
                "Says where somebody who stays goes on behind somebody who goes: an arm, a skirt. Paint it in the "
                "mask editor; it takes the place of the guess. For several people, use one of these nodes for each."
            ),
            search_aliases=[
                "hidden arm",
                "occluded",
                "behind",
                "complete person",
                "amodal mask",
                "body completion",
                "remove person",
                "object removal",
                "inpaint",
            ],
            inputs=[
                People.Input("people", tooltip="From Choose People, or from another Paint Hidden Part."),
                io.Mask.Input(
                    "hidden",
                    tooltip="White where this person goes on unseen. Only what an erased person leaves open is "
                    "painted, so paint generously. An empty mask: nothing of this person is hidden.",
                ),
                io.Image.Input("image", optional=True, tooltip="The photo: shows in the preview."),
                io.String.Input("who", default="1", tooltip="Who goes on there: one person's number or name."),
                io.Int.Input(
                    "photo",
                    default=1,
                    min=1,
                    max=4096,
                    advanced=True,
                    tooltip="For batches of photos: which photo the mask belongs to (the first is 1). Further masks "
                    "of a batch go to the photos after it.",
                ),
            ],
            outputs=[
                People.Output(display_name="people", tooltip="For Split into Layers, or another Paint Hidden Part."),
                io.Image.Output(
                    display_name="preview", tooltip="The photo; level green stripes where somebody goes on unseen."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, people: list[Person], hidden: Tensor, who: str, photo: int, image: Tensor | None = None
    ) -> io.NodeOutput:
        photos = [] if image is None else list(checked_image(image))
        sizes = [(int(one.shape[0]), int(one.shape[1])) for one in photos]
        masks = checked_mask(hidden, "hidden")
        result = with_hidden(people, who, masks, photo - 1)
        count = max([person.photo + 1 for person in result] + [len(photos), 1])
        preview = preview_people(result, photos, count)
        text = [_sentence(result), *_stretched(masks, people, photo - 1), *stretched_people(people, sizes)]
        return io.NodeOutput(result, preview, ui=shown(cls, "\n".join(text), preview))


def _stretched(masks: Tensor, people: list[Person], first: int) -> list[str]:
    """Sentences on masks of another shape than the photo in which the person was found; first: its number, from 0."""
    size = (int(masks.shape[1]), int(masks.shape[2]))
    frames = [photo_size(people, first + index) if mask.any() else None for index, mask in enumerate(masks)]
    return stretched("hidden", [size] * len(masks), [frame or size for frame in frames])


def _sentence(people: list[Person]) -> str:
    """Who goes on somewhere, in words."""
    lines = []
    for person in people:
        if person.hidden is not None:
            empty = "nothing is hidden, since the mask is empty"
            lines.append(f"{person.name}: {empty if is_empty(person) else 'goes on where it is green'}.")
    return "\n".join([*lines, "Painted only where somebody who goes leaves a hole."])


NODES: list[type[io.ComfyNode]] = [HiddenPart]
