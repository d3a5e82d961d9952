"""What a node shows on itself: a picture, and a sentence or two; for Choose People, what can be clicked."""

from collections.abc import Sequence
from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui
from PIL import Image
from server import PromptServer
from torch import Tensor

from ..mild_core.image.fill import area_resize, shrunk
from ..mild_core.people.from_masks import photo_size
from ..mild_core.people.outlines import Outline, outlines
from ..mild_core.people.picked_effects import as_person
from ..mild_core.scene import Person, rgb

PICKER_LONGEST = 1600
"""Longest side in pixels of a photo in the people picker: sharp enough to zoom in on a face."""

FULL_QUALITY = 92
"""JPEG quality of the whole photo, which the picker shows at 1:1 while the brush paints: a tenth of a PNG's bytes."""


def say(cls: type[io.ComfyNode], text: str) -> None:
    """Write the text on the node, now: it may run on for long. The node must list io.Hidden.unique_id."""
    if cls.hidden and cls.hidden.unique_id:
        PromptServer.instance.send_progress_text(text, cls.hidden.unique_id)


def shown(cls: type[io.ComfyNode], text: str, image: Tensor | None = None, warning: str = "") -> dict:
    """The `ui` of a NodeOutput: image [B, H, W, 3] as a preview, and text, which is also written on the node.

    warning: a sentence where the run did nothing that can be seen; it stands before the text, and the front end shows
    it (web/warnings.js), because a run without an error looks like a success. The node must list io.Hidden.unique_id,
    or the text reaches the history only.
    """
    if warning:
        text = "\n".join([f"Warning: {warning}", *([text] if text else [])])
    say(cls, text)
    picture = ui.PreviewImage(image, cls=cls).as_dict() if image is not None else {}
    # Always there: ComfyUI joins the `ui` of nodes that run more than once by the first one's keys.
    warnings = [f"{cls.define_schema().display_name}: {warning}"] if warning else []
    return picture | ui.PreviewText(text).as_dict() | {"mild_warning": warnings}


def shown_picker(
    text: str,
    people: Sequence[Person],
    photos: Sequence[Tensor],
    count: int,
    size: tuple[int, int],
    found: Sequence[Person],
) -> dict:
    """The `ui` for the people picker (web/people_picker.js): each photo without any drawing, and its people's outlines.

    photos: [H, W, C] each, where there are any; count: how many photos; size: height and width where nothing else
    gives it; found: the people before brush and clicks, so that the picker can undo strokes without a run. Positions
    are shares of the photo's width and height. The photos stand under a key of our own, or the front end would show
    them below the picker once more.
    """
    shown = []
    for index in range(count):
        here = [person for person in people if person.photo == index]
        before = [person for person in found if person.photo == index]
        own = photo_size(before, index) or size
        entry: dict = {"image": None, "full": None}
        if index < len(photos):
            own = (int(photos[index].shape[0]), int(photos[index].shape[1]))
            entry |= _saved(rgb(photos[index]))
        entry |= {"width": own[1], "height": own[0], "people": _drawn(here, own)}
        _add_undone(entry, here, before, own)
        shown.append(entry)
    return {"mild_people": shown} | ui.PreviewText(text).as_dict()


def _saved(photo: Tensor) -> dict:
    """Where the front end finds photo [H, W, 3]: "image", of PICKER_LONGEST at most; "full", all of its pixels, where
    those are more.
    """
    small = _small(photo)
    saved = dict(
        ui.ImageSaveHelper.save_images(
            [small], filename_prefix="MILD_people", folder_type=io.FolderType.temp, cls=None, compress_level=1
        )[0]
    )
    if small.shape[:2] == photo.shape[:2]:
        return {"image": saved}
    full = {**saved, "filename": Path(saved["filename"]).with_suffix(".jpg").name}
    pixels = (photo.clamp(0, 1) * 255).round().byte().cpu().numpy()
    folder = Path(folder_paths.get_temp_directory()) / full["subfolder"]
    # Without halved colours: masks are painted along edges.
    Image.fromarray(pixels).save(folder / full["filename"], quality=FULL_QUALITY, subsampling=0)
    return {"image": saved, "full": full}


def _small(photo: Tensor) -> Tensor:
    """photo [H, W, 3] with a longest side of PICKER_LONGEST at most."""
    size = shrunk((int(photo.shape[0]), int(photo.shape[1])), PICKER_LONGEST)
    return area_resize(photo.permute(2, 0, 1)[None].float(), size)[0].permute(1, 2, 0).clamp(0, 1)


def _drawn(people: Sequence[Person], size: tuple[int, int]) -> list[dict]:
    """One photo's people as the picker draws them: rings are flat lists x, y, x, y."""
    effects = [(person, effect) for person in people for effect in person.effects]
    lines = outlines([as_person(*one) for one in effects], size)
    of: dict[int, list[dict]] = {}
    for (person, effect), line in zip(effects, lines, strict=True):
        of.setdefault(person.number, []).append({"kind": effect.kind, "taken": effect.taken, **_line(line)})
    return [
        {
            "number": person.number,
            "name": person.name,
            "erased": person.erased,
            "effects": of.get(person.number, []),
            **_line(line),
        }
        for person, line in zip(people, outlines(people, size), strict=True)
    ]


def _line(line: Outline) -> dict:
    return {
        "box": [round(value, 4) for value in line.box],
        "point": [round(value, 4) for value in line.point],
        "rings": [[round(value, 4) for value in ring.ravel().tolist()] for ring in line.rings],
    }


def _add_undone(entry: dict, people: Sequence[Person], found: Sequence[Person], size: tuple[int, int]) -> None:
    """Add to a photo's entry what it was before brush and clicks: "before", the outline of whoever was corrected;
    "emptied", whoever the brush took away altogether; and "proposed", whether an effect was taken without any click.
    """
    source = {person.number: person for person in found}
    now = {person.number: person for person in people}
    changed = {number for number, person in source.items() if number not in now or now[number].mask is not person.mask}
    drawn = {one["number"]: one for one in (_drawn(found, size) if changed else [])}
    entry["emptied"] = [one for number, one in drawn.items() if number not in now]
    for one in entry["people"] + entry["emptied"]:
        number = one["number"]
        if number in changed and number in now:
            one["before"] = {key: drawn[number][key] for key in ("box", "point", "rings")}
        for shown, proposed in zip(one["effects"], source[number].effects, strict=True):
            shown["proposed"] = proposed.taken
