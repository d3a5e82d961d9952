"""Takes a photo apart into layers."""

from comfy_api.latest import io
from torch import Tensor

from ..mild_core.image.growth import VISIBLE
from ..mild_core.layers.decompose import SplitOptions, decompose
from ..mild_core.layers.work_size import BALANCED, SIZE_MODES
from ..mild_core.people.from_masks import resize_mask, stretched_people
from ..mild_core.people.hidden_part import is_empty
from ..mild_core.preview.overlay import preview_layers
from ..mild_core.scene import BACKGROUND, Morphology, Person, Scene
from .checks import checked_image, checked_mask, stretched_mask
from .show import shown
from .sockets import Bodies, Layers, People

ERASED_ONLY = "erased only"
FULL_PLATE = "full plate"


class Decompose(io.ComfyNode):
    """Photo and people in, layers out, with a drawing of what is going to be painted."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        defaults = SplitOptions()
        return io.Schema(
            node_id="MILD_Decompose",
            display_name="Split into Layers",
            category="MILD/layers",
            description=(
                "Takes the photo apart: the background with a hole where people go, and each person who stays and was "
                "partly hidden by them. The preview shows, before anything is painted, what will be: red stripes are "
                "background, yellow ones where somebody probably goes on behind, green ones where you said so; blue "
                "outlines stay untouched. Arrows lead from who is in front to who is hidden."
            ),
            search_aliases=[
                "remove person",
                "object removal",
                "eraser",
                "clean plate",
                "inpaint",
                "decompose",
                "layers",
                "background plate",
                "erase people",
                "grow mask",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of photos of one size."),
                People.Input(
                    "people",
                    optional=True,
                    tooltip="From Choose People, which says who goes. Not needed where also_erase says all that goes.",
                ),
                io.Mask.Input(
                    "also_erase",
                    optional=True,
                    tooltip="What should go as well: a bag, a shadow, a spot seen afterwards. "
                    "Without people, all that goes. One mask, or one for each photo.",
                ),
                io.Mask.Input(
                    "protect",
                    optional=True,
                    tooltip="What must never change, whatever is erased beside it. One mask, or one for each photo.",
                ),
                io.Float.Input(
                    "grow",
                    default=defaults.grow,
                    min=0.0,
                    max=0.5,
                    step=0.002,
                    round=0.001,
                    tooltip="How far holes may reach beyond the masks, once those are snapped to the photo's edges, as "
                    "a share of the person's size (and some pixels for small people). Each rim is followed: a sharp "
                    "one takes a third of it, a blurred one up to 2.5 times; thin things in front, such as a pole "
                    "between two parts of a mask, stay. Above the default, what is more is added all around. More if "
                    "an outline of somebody is left, less if too much around them changes; 0: exactly the mask.",
                ),
                io.Combo.Input(
                    "background",
                    options=[ERASED_ONLY, FULL_PLATE],
                    default=ERASED_ONLY,
                    tooltip="erased only: paint just what is uncovered. full plate: also paint behind the people who "
                    "stay, for layers that are moved or exported; the finished photo keeps them as they are.",
                ),
                io.Float.Input(
                    "feather",
                    default=defaults.feather,
                    min=0.0,
                    max=64.0,
                    step=0.5,
                    advanced=True,
                    tooltip="Pixels over which a hole's edge is blended with the photo, inwards: nothing outside the "
                    "hole changes.",
                ),
                io.Float.Input(
                    "context",
                    default=defaults.context,
                    min=0.0,
                    max=8.0,
                    step=0.1,
                    advanced=True,
                    tooltip="How much of the photo around a hole is shown to the model, in multiples of the hole's "
                    "longer side, on every side. Less is faster; more lets it find more that fits.",
                ),
                io.Combo.Input(
                    "size_mode",
                    options=list(SIZE_MODES),
                    default=BALANCED,
                    advanced=True,
                    tooltip="The size at which crops are painted. balanced: as if the whole photo had the size the "
                    "model was made for. detail: every crop at that size; slower, sharper. The photo's size never "
                    "changes, and the Built-in Model always paints at the photo's own size.",
                ),
                io.Int.Input(
                    "contact",
                    default=defaults.contact,
                    min=0,
                    max=2,
                    advanced=True,
                    tooltip="Where somebody who goes touches somebody who stays: pixels of the latter's rim that may "
                    "be repainted, because both colours mix there. 0: none.",
                ),
                io.Boolean.Input(
                    "snap",
                    default=defaults.snap,
                    optional=True,  # API workflows saved before it was there still run
                    advanced=True,
                    tooltip="Before they grow, masks of people who go are moved outward to where the photo shows their "
                    "edge, and a mask that is just a box is narrowed to the person in it, as far as that is certain. "
                    "Off: masks are taken exactly as they are.",
                ),
                Bodies.Input(
                    "morphology",
                    optional=True,
                    tooltip="From Read Bodies, of the same photos and people: joints show how far somebody may go on "
                    "behind who goes, and each layer knows which part of the body is where. Pose Hint and Guide by "
                    "Bodies use it too.",
                ),
            ],
            outputs=[
                Layers.Output(display_name="layers", tooltip="For Sample Layers."),
                io.Image.Output(
                    display_name="preview",
                    tooltip="What will be painted, drawn on the photo; depth 1 is far.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        grow: float,
        background: str,
        feather: float,
        context: float,
        size_mode: str,
        contact: int,
        snap: bool = True,
        people: list[Person] | None = None,
        also_erase: Tensor | None = None,
        protect: Tensor | None = None,
        morphology: list[Morphology] | None = None,
    ) -> io.NodeOutput:
        image = checked_image(image)
        if people is None and also_erase is None:
            raise ValueError(
                "people: nothing says what goes. Connect Choose People here, or a mask of what should go to also_erase."
            )
        size = (int(image.shape[1]), int(image.shape[2]))
        also_erase = None if also_erase is None else checked_mask(also_erase, "also_erase")
        protect = None if protect is None else checked_mask(protect, "protect")
        options = SplitOptions(grow, feather, contact, context, size_mode, background == FULL_PLATE, snap)
        everybody = people or []
        scenes = decompose(image, everybody, also_erase, protect, options, morphology)
        shield = None if protect is None else resize_mask(protect, size)
        preview = preview_layers(scenes, everybody, shield)
        text = _lines(scenes, everybody)
        text += stretched_mask(also_erase, "also_erase", size) + stretched_mask(protect, "protect", size)
        return io.NodeOutput(
            scenes, preview, ui=shown(cls, "\n".join(text), preview, _nothing(scenes, people, also_erase))
        )


def _nothing(scenes: list[Scene], people: list[Person] | None, also_erase: Tensor | None) -> str:
    """Why nothing will be painted; empty where something will."""
    if any(layer.hole.any() for scene in scenes for layer in scene.layers):
        return ""
    why = []
    if people is not None and not people:
        why.append("there is nobody in people")
    elif people is not None and not any(person.erased for person in people):
        why.append("nobody is chosen to go")
    elif people is not None:
        why.append("everybody chosen is protected or hidden by people who stay")
    if also_erase is not None:
        marked = bool((also_erase > VISIBLE).any())
        why.append("all that also_erase marks is protected" if marked else "the mask at also_erase is empty")
    return f"nothing to paint: {', and '.join(why)}."


def _lines(scenes: list[Scene], people: list[Person]) -> list[str]:
    """What will be painted, in words."""
    sizes = [(int(scene.photo.shape[0]), int(scene.photo.shape[1])) for scene in scenes]
    misfits = stretched_people(people, sizes)
    layers = [layer for scene in scenes for layer in scene.layers]
    if not layers:
        return misfits
    backgrounds = sum(layer.domain == BACKGROUND for layer in layers)
    lines = [f"{backgrounds} background layer{'s' if backgrounds != 1 else ''}"]
    lines += [f"{layer.name} (stays)" for layer in layers if layer.domain != BACKGROUND]
    idle = [str(number) for number, scene in enumerate(scenes, 1) if not scene.layers]
    if idle:
        lines.append(f"Nothing to paint in photo{'s' if len(idle) > 1 else ''} {', '.join(idle)}.")
    spared = [name for scene in scenes for name in scene.spared]
    if spared:
        lines.append(
            f"Something thin stands in front of {', '.join(spared)} and stays. If it should go, mark it in also_erase."
        )
    painted = {(layer.photo, layer.number) for layer in layers if layer.hole.any()}
    for person in people:
        if person.hidden is not None and not is_empty(person) and (person.photo, person.number) not in painted:
            lines.append(f"{person.name}: the painted hidden part lies where nobody goes, so it stays as it is.")
    return [*lines, *misfits]


NODES: list[type[io.ComfyNode]] = [Decompose]
