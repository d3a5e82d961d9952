"""Chooses which of the people go."""

import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_execution.utils import get_executing_context
from torch import Tensor

from ..mild_core.pairing import number_ranges
from ..mild_core.people.from_masks import stretched_people, union_mask
from ..mild_core.people.picked import people_picked, read_picks
from ..mild_core.people.picked_effects import effects_picked, going_mask, read_effects, taken_effects
from ..mild_core.people.selection import choose, numbers_by_place
from ..mild_core.people.strokes import Corrected, people_corrected, read_strokes
from ..mild_core.scene import Person
from .checks import checked_image
from .show import shown_picker
from .sockets import People

CLICK = "Click who must go, then queue again."
BY_PLACE = (
    "The photos are numbered one by one, from left to right: {numbers} may be somebody else in each. Look at every "
    "photo, or click. (The numbers of label images stay the same in all photos.)"
)


class ChoosePeople(io.ComfyNode):
    """Who goes and who stays, by clicks in the picture or in words."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_ChoosePeople",
            display_name="Choose People",
            category="MILD/people",
            description=(
                "Click in the picture who disappears; everyone else stays exactly as they are. "
                "Run it once to see the people, click, run again: until somebody is chosen, the nodes behind wait. "
                "The masks of both groups come out too, for any inpaint node."
            ),
            search_aliases=[
                "remove person",
                "select people",
                "pick person",
                "click people",
                "people picker",
                "erase people",
                "object removal",
                "eraser",
                "keep people",
                "inpaint mask",
                "clean plate",
            ],
            is_output_node=True,
            inputs=[
                People.Input("people", tooltip="From Find People or People from Masks."),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The photo, or the batch of photos: shows under the people, and gives the masks its size.",
                ),
                io.String.Input(
                    "who",
                    default="",
                    tooltip="Leave it empty and click in the picture. Or write who goes: all, none, numbers such as "
                    "1,3 or 2-4, all but 2, or names; a click takes over from there and empties it. "
                    "In a batch, a number means that person in every photo.",
                ),
                io.String.Input(
                    "picked",
                    default="",
                    optional=True,
                    # A plain text; web/people_picker.js makes the picture of it. Where that does not load, clicks that
                    # were saved stay in the text and still count.
                    tooltip="The people clicked in the picture, who count while who is empty, and corrections by the "
                    "brush, which always count. If there is a line of text in place of the picture, the picker did not "
                    "load: reload the page.",
                ),
            ],
            outputs=[
                People.Output(display_name="people", tooltip="The same people, each marked as going or staying."),
                io.Mask.Output(
                    display_name="erase",
                    tooltip="Everyone who goes, with the shadows, reflections and carried things taken with them, one "
                    "mask for each photo, full size.",
                ),
                io.Mask.Output(display_name="keep", tooltip="Everyone who stays, one mask for each photo, full size."),
            ],
        )

    @classmethod
    def execute(cls, people: list[Person], who: str, image: Tensor | None = None, picked: str = "") -> io.NodeOutput:
        in_words = bool(who.strip())
        context = get_executing_context()
        item = context.list_index or 0 if context else 0
        clicks = [] if in_words else read_picks(picked)
        here = [click for click in clicks if click.item == item]
        # Before the choice: a click on what the brush added to somebody means that person. The brush counts for a
        # choice in words, too.
        corrected = people_corrected(people, [stroke for stroke in read_strokes(picked) if stroke.item == item])
        there = corrected.people
        chosen, lost = (choose(there, who), []) if in_words else people_picked(there, here)
        effects = [effect for effect in read_effects(picked) if effect.item == item]
        chosen, lost_effects = effects_picked(chosen, effects)
        photos = [] if image is None else list(checked_image(image))
        count = max([person.photo + 1 for person in chosen] + [1])
        if photos and count > len(photos):
            raise ValueError(
                f"image: there are people in {count} photos, but image holds {len(photos)}. "
                "Connect the batch of photos that the masks belong to."
            )
        count = max(count, len(photos))
        going = [person for person in chosen if person.erased]
        # Nothing behind this node runs on a choice that nobody made. "none" is a choice, and so is a click in another
        # item of a list: in a batch, too, nobody needs to go in every photo.
        waits = not going and not in_words and len(here) == len(clicks)
        size = _common_size(chosen, photos)
        lines = [_sentence(chosen, going, len(lost), waits), *_brush_words(corrected)]
        if lost_effects:
            lines.append(_effect_words(len(lost_effects)))
        if in_words and (doubtful := numbers_by_place(there, who)):
            lines.append(BY_PLACE.format(numbers=number_ranges(doubtful)))
        # Without photos the masks that come out are of one size for all, too.
        lines += stretched_people(chosen, [size] * count, "the photo" if photos else "the erase mask")
        ui = shown_picker("\n".join(lines), chosen, photos, count, size, people)
        # ComfyUI strings the pictures of a list's items together: the picker writes down which item was clicked in.
        for place, entry in enumerate(ui["mild_people"]):
            entry |= {"item": item, "place": place}
        not_used = {"lost": len(lost), "lost_strokes": len(corrected.lost), "lost_effects": len(lost_effects)}
        ui["mild_choice"] = [{"who": who, "picked": picked, **not_used}]
        ui["mild_waits"] = [waits]  # web/picker/waiting.js then takes older results off the nodes behind
        if waits:
            # Without a message: the run ends well, with no error in the front end.
            return io.NodeOutput(*[ExecutionBlocker(None)] * 3, ui=ui)
        erase, keep = [], []
        for index in range(count):
            present = [person for person in chosen if person.photo == index]
            staying = [person for person in present if not person.erased]
            erase.append(going_mask([person for person in present if person.erased], staying, size))
            keep.append(union_mask(staying, size))
        return io.NodeOutput(chosen, torch.stack(erase), torch.stack(keep), ui=ui)


def _sentence(people: list[Person], going: list[Person], lost: int, waits: bool) -> str:
    """What was chosen, in words."""
    if not people:
        lines = ["Nobody was found here."]
    elif going:
        names = [_with_effects(person) for person in going]
        between = "; " if any(person.effects for person in going) else ", "
        lines = [f"{len(going)} of {len(people)} disappear: " + between.join(names)]
    else:
        lines = ["Nobody is chosen yet." if waits else "Nobody disappears."]
    if lost:
        who = "1 clicked person is" if lost == 1 else f"{lost} clicked people are"
        lines.append(f"{who} no longer there.")
    if waits and people:
        lines.append(CLICK)
    return "\n".join(lines)


def _with_effects(person: Person) -> str:
    """Person 2 with shadow, carried: by name, and what goes with them."""
    kinds = dict.fromkeys(effect.kind for effect in taken_effects(person))
    return f"{person.name} with {', '.join(kinds)}" if kinds else person.name


def _brush_words(corrected: Corrected) -> list[str]:
    """Sentences on what the brush did."""
    lines = []
    if corrected.changed:
        lines.append("Corrected by the brush: " + ", ".join(person.name for person in corrected.changed) + ".")
    for person in corrected.emptied:
        lines.append(f"{person.name} is left out: the brush took away all of their mask.")
    if count := len(corrected.lost):
        what = "1 stroke of the brush was" if count == 1 else f"{count} strokes of the brush were"
        lines.append(f"{what} not used: nobody is there any more whose mask they corrected.")
    return lines


def _effect_words(lost: int) -> str:
    """The sentence on clicked effects that are gone."""
    what = "1 clicked shadow, reflection or thing is" if lost == 1 else f"{lost} clicked shadows or things are"
    return f"{what} no longer there."


def _common_size(people: list[Person], photos: list[Tensor]) -> tuple[int, int]:
    """Height and width of the masks: the photos', else what the people's masks were made for."""
    if photos:
        return int(photos[0].shape[0]), int(photos[0].shape[1])
    sizes = [person.size for person in people]
    # Without anybody and without a photo the size is anyone's guess: Load Image gives 64 x 64 when it has no mask.
    return max(sizes, key=lambda size: size[0] * size[1], default=(64, 64))


NODES: list[type[io.ComfyNode]] = [ChoosePeople]
