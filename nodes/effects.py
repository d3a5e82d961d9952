"""Proposes what goes with each person: shadows, reflections, things carried or ridden."""

from comfy_api.latest import io
from torch import Tensor

from ..mild_core.effects.propose import Answer, with_effects
from ..mild_core.effects.window import feet_of
from ..mild_core.people.from_masks import stretched_people
from ..mild_core.preview.overlay import preview_people
from ..mild_core.scene import CARRIED, EFFECTS, REFLECTION, SHADOW, Person
from .checks import checked_image, checked_mask, stretched_mask
from .show import shown
from .sockets import People

WORDS = {SHADOW: "shadow", REFLECTION: "reflection", CARRIED: "carried or ridden thing"}


class ProposeEffects(io.ComfyNode):
    """Effects for each person: proposed, corrected by masks, taken or refused in Choose People."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MILD_ProposeEffects",
            display_name="Propose Effects",
            category="MILD/people",
            description=(
                "Finds what has to go with a person: the shadow at the feet, the mirror image in the floor, a bag, "
                "skis. It goes when its person goes. In Choose People a click refuses what is wrong; the masks here "
                "add what was missed. When it is not sure, it proposes nothing."
            ),
            search_aliases=[
                "shadow",
                "shadow removal",
                "reflection",
                "carried objects",
                "bag",
                "effects",
                "associated effects",
                "remove person",
                "object removal",
            ],
            inputs=[
                People.Input("people", tooltip="From Find People or People from Masks; after Choose People works too."),
                io.Image.Input("image", tooltip="The photo, or the batch of photos, in which the people were found."),
                io.Boolean.Input(
                    "shadows",
                    default=True,
                    tooltip="Shadows that begin at the feet. They are lifted off the ground, which keeps its texture. "
                    "Needs feet in the picture, and ground around them that is calmer than the shadow.",
                ),
                io.Boolean.Input(
                    "reflections",
                    default=True,
                    tooltip="Mirror images below the feet, in a floor or in water. They are painted over.",
                ),
                io.Boolean.Input(
                    "carried",
                    default=True,
                    tooltip="Things that touch one person only and stand out from what surrounds them: bags, poles, "
                    "skis. They are painted over. In a varied place nothing is proposed: paint it into add.",
                ),
                io.Float.Input(
                    "sensitivity",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="Higher proposes fainter shadows and less obvious things, and is wrong more often.",
                ),
                io.Mask.Input(
                    "add",
                    optional=True,
                    advanced=True,
                    tooltip="White on what was missed. Each blob goes with whoever is nearest to it. One mask for all "
                    "photos, or one for each.",
                ),
                io.Combo.Input(
                    "added_are",
                    options=list(EFFECTS),
                    default=CARRIED,
                    advanced=True,
                    tooltip="What the mask in add shows: carried things and reflections are painted over, shadows are "
                    "lifted off the ground.",
                ),
                io.Mask.Input(
                    "not_effect",
                    optional=True,
                    advanced=True,
                    tooltip="White on what is nobody's effect: it is never proposed, and taken out of those that the "
                    "people have. One mask for all photos, or one for each.",
                ),
            ],
            outputs=[
                People.Output(display_name="people", tooltip="The same people, each with what goes with them."),
                io.Image.Output(
                    display_name="preview",
                    tooltip="Upright stripes on what goes with a person, in the person's colour: red goes, blue stays.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        people: list[Person],
        image: Tensor,
        shadows: bool,
        reflections: bool,
        carried: bool,
        sensitivity: float,
        added_are: str = CARRIED,
        add: Tensor | None = None,
        not_effect: Tensor | None = None,
    ) -> io.NodeOutput:
        photos = list(checked_image(image))
        kinds = [kind for kind, wanted in zip(EFFECTS, (shadows, reflections, carried), strict=True) if wanted]
        added = None if add is None else checked_mask(add, "add")
        never = None if not_effect is None else checked_mask(not_effect, "not_effect")
        result, answers = with_effects(photos, people, kinds, sensitivity, added, added_are, never)
        lines = []
        for index, answer in enumerate(answers):
            where = f"Photo {index + 1}: " if len(photos) > 1 else ""
            lines += [where + line for line in _sentences(result, index, answer, WORDS[added_are])]
        sizes = [(int(one.shape[0]), int(one.shape[1])) for one in photos]
        lines += stretched_people(people, sizes)
        lines += stretched_mask(added, "add", sizes[0]) + stretched_mask(never, "not_effect", sizes[0])
        preview = preview_people(result, photos, len(photos))
        return io.NodeOutput(result, preview, ui=shown(cls, "\n".join(lines), preview))


def _sentences(people: list[Person], photo: int, answer: Answer, drawn_word: str) -> list[str]:
    """What goes with whom in one photo, and how sure that is."""
    here = [person for person in people if person.photo == photo]
    lines = ["add: nobody is in this photo, so what is drawn there goes with nobody."] if answer.nobody else []
    if not here:
        return lines or ["Nobody is here, so nothing goes with anybody."]
    for person in here:
        own = [one for one in answer.proposals if one.number == person.number]
        drawn = answer.drawn.count(person.number)
        words = [f"{WORDS[one.effect.kind]} ({one.sure:.0%} sure)" for one in own]
        words += [f"{drawn} drawn by you ({drawn_word})"] if drawn else []
        before = len(person.effects) - len(own) - drawn
        words += [f"{before} more"] if before > 0 else []
        if words:
            lines.append(f"{person.name}: {', '.join(words)}.")
    if not lines:
        lines = ["Nothing found that goes with anybody. Paint what you see into add."]
        cut_off = sum(feet_of(person) is None for person in here)
        if cut_off:
            lines.append(f"{cut_off} of {len(here)} end at the lower border: no feet, so no shadow is looked for.")
    if answer.spoilt:
        lines.append(f"not_effect took {answer.spoilt} away, in whole or in part.")
    return lines


NODES: list[type[io.ComfyNode]] = [ProposeEffects]
