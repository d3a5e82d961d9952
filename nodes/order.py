"""Puts people into their order in depth: who stands in front of whom."""

from comfy_api.latest import io
from torch import Tensor

from ..mild_core.pairing import stretched
from ..mild_core.people.depth_order import Order, with_ranks
from ..mild_core.people.from_masks import photo_size, stretched_people
from ..mild_core.preview.overlay import preview_order
from ..mild_core.scene import Person
from .checks import checked_image, checked_nearness
from .show import shown
from .sockets import People


class OrderPeople(io.ComfyNode):
    """The order in depth: the artist's pairs, else outlines, else a depth image, else feet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_OrderPeople",
            display_name="Order People",
            category="MILD/people",
            description=(
                "Says who stands in front of whom. Whoever is hidden by somebody who goes is completed; whoever stands "
                "in front is not. Look at the arrows, which lead from who is in front to whom they hide, and write "
                "down only what is wrong. Split into Layers works this out too; this node is for correcting it."
            ),
            search_aliases=[
                "depth order",
                "z order",
                "layer order",
                "in front",
                "behind",
                "occlusion",
                "foreground",
                "depth map",
                "remove person",
            ],
            inputs=[
                People.Input("people", tooltip="From Choose People, or whoever finds people."),
                io.Image.Input("image", optional=True, tooltip="The photo: shows in the preview."),
                io.String.Input(
                    "order",
                    default="",
                    tooltip="What you see: 2<3 says that 3 stands in front of 2; also 3 in front of 2, and 1<2<3. "
                    "Several between commas. Or everyone from the farthest to the nearest: 3,1,2. Names work too. "
                    "Empty: worked out.",
                ),
                io.Image.Input(
                    "depth",
                    optional=True,
                    advanced=True,
                    tooltip="A depth image of any size, brighter is nearer, as Depth Anything and MiDaS give. Asked "
                    "where outlines leave it open. One picture, or one for each photo.",
                ),
                io.Boolean.Input(
                    "invert_depth",
                    default=False,
                    advanced=True,
                    tooltip="For depth images in which darker is nearer.",
                ),
            ],
            outputs=[
                People.Output(display_name="people", tooltip="The same people, each with a place in depth."),
                io.Image.Output(
                    display_name="preview",
                    tooltip="Numbers, depths (1 is far) and arrows: solid where you said so, dashed where it is a "
                    "guess, with a question mark where the guess is doubtful.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        people: list[Person],
        order: str,
        invert_depth: bool,
        image: Tensor | None = None,
        depth: Tensor | None = None,
    ) -> io.NodeOutput:
        photos = [] if image is None else list(checked_image(image))
        sizes = [(int(one.shape[0]), int(one.shape[1])) for one in photos]
        nearer = None if depth is None else checked_nearness(depth, invert_depth)
        count = max([person.photo + 1 for person in people] + [len(photos), 1])
        result, orders = with_ranks(people, order, nearer, count if photos else None)
        preview = preview_order(result, photos, count, orders)
        text = [_sentence(orders), *_stretched(nearer, people, orders), *stretched_people(people, sizes)]
        return io.NodeOutput(result, preview, ui=shown(cls, "\n".join(text), preview))


def _sentence(orders: dict[int, Order]) -> str:
    """The order of each photo in words."""
    if not orders:
        return "Nobody is here to be put in order."
    lines = []
    for photo, order in orders.items():
        names = ", ".join(str(person.number) for person in order.people)
        start = f"Photo {photo + 1}, f" if len(orders) > 1 else "F"
        lines.append(f"{start}ar to near: {names}")
    touching = [pair for order in orders.values() for pair in order.pairs if pair.touching]
    guessed = sum(not pair.told for pair in touching)
    if touching:
        lines.append(f"{len(touching)} pairs touch; {guessed} of them are guessed.")
    return "\n".join(lines)


def _stretched(depth: Tensor | None, people: list[Person], orders: dict[int, Order]) -> list[str]:
    """Sentences on a depth image of another shape than the photos in which the people were found."""
    if depth is None:
        return []
    size = (int(depth.shape[1]), int(depth.shape[2]))
    frames = dict.fromkeys(photo_size(people, photo) or size for photo in orders)
    return [line for frame in frames for line in stretched("depth", [size], [frame], rounded=True)]


NODES: list[type[io.ComfyNode]] = [OrderPeople]
"""Order People stands between Choose People and Split into Layers."""
