"""Some of the people are chosen to go."""

import torch
from comfy_api.latest import io
from torch import Tensor

from ..mild_core.overlay import preview_people
from ..mild_core.people import union_mask
from ..mild_core.scene import Person
from ..mild_core.selection import choose
from .checks import checked_image
from .show import shown
from .sockets import People


class ChoosePeople(io.ComfyNode):
    """Who goes and who stays, in words."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_ChoosePeople",
            display_name="Choose People",
            category="MILD",
            description=(
                "Chooses who disappears; everyone else stays exactly as they are. "
                "The masks of both groups come out too, for any inpaint node."
            ),
            search_aliases=[
                "remove person",
                "select people",
                "pick person",
                "erase people",
                "object removal",
                "eraser",
                "keep people",
                "inpaint mask",
                "clean plate",
            ],
            inputs=[
                People.Input("people", tooltip="From People from Masks. Their numbers stand in its preview."),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The photo, or the batch of photos: shows in the preview, and gives the masks its size.",
                ),
                io.String.Input(
                    "who",
                    default="all",
                    tooltip="Who goes: all, none, numbers such as 1,3 or 2-4, all but 2, or names. "
                    "In a batch, a number means that person in every photo.",
                ),
            ],
            outputs=[
                People.Output(display_name="people", tooltip="The same people, each marked as going or staying."),
                io.Mask.Output(display_name="erase", tooltip="Everyone who goes, one mask for each photo, full size."),
                io.Mask.Output(display_name="keep", tooltip="Everyone who stays, one mask for each photo, full size."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, people: list[Person], who: str, image: Tensor | None = None) -> io.NodeOutput:
        chosen = choose(people, who)
        photos = [] if image is None else list(checked_image(image))
        count = max([person.photo + 1 for person in chosen] + [1])
        if photos and count > len(photos):
            raise ValueError(
                f"image: there are people in {count} photos, but image holds {len(photos)}. "
                "Connect the batch of photos that the masks belong to."
            )
        count = max(count, len(photos))
        size = _common_size(chosen, photos)
        masks = []
        for erased in (True, False):
            group = [person for person in chosen if person.erased == erased]
            one_each = ([person for person in group if person.photo == index] for index in range(count))
            masks.append(torch.stack([union_mask(here, size) for here in one_each]))
        preview = preview_people(chosen, photos, count)
        going = [person for person in chosen if person.erased]
        text = f"{len(going)} of {len(chosen)} disappear" + (": " + ", ".join(p.name for p in going) if going else "")
        return io.NodeOutput(chosen, *masks, ui=shown(cls, text, preview))


def _common_size(people: list[Person], photos: list[Tensor]) -> tuple[int, int]:
    """Height and width of the masks: the photos', else what the people's masks were made for."""
    if photos:
        return int(photos[0].shape[0]), int(photos[0].shape[1])
    sizes = [person.size for person in people]
    # Without anybody and without a photo the size is anyone's guess: Load Image gives 64 x 64 when it has no mask.
    return max(sizes, key=lambda size: size[0] * size[1], default=(64, 64))


NODES: list[type[io.ComfyNode]] = [ChoosePeople]
