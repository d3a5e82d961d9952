"""What a node shows on itself: a picture, and a sentence or two; for Choose People, what can be clicked."""

from collections.abc import Sequence

from comfy_api.latest import io, ui
from server import PromptServer
from torch import Tensor

from ..mild_core.image.fill import area_resize, shrunk
from ..mild_core.people.from_masks import photo_size
from ..mild_core.people.outlines import outlines
from ..mild_core.scene import Person, rgb

PICKER_LONGEST = 1600
"""Longest side in pixels of a photo in the people picker: sharp enough to zoom in on a face."""


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
    text: str, people: Sequence[Person], photos: Sequence[Tensor], count: int, size: tuple[int, int]
) -> dict:
    """The `ui` for the people picker (web/people_picker.js): each photo without any drawing, and its people's outlines.

    photos: [H, W, C] each, where there are any; count: how many photos; size: height and width where nothing else
    gives it. Positions are shares of the photo's width and height. The photos stand under a key of our own, or the
    front end would show them below the picker once more.
    """
    shown = []
    for index in range(count):
        here = [person for person in people if person.photo == index]
        own = photo_size(here, index) or size
        image = None
        if index < len(photos):
            own = (int(photos[index].shape[0]), int(photos[index].shape[1]))
            small = _small(rgb(photos[index]))
            saved = ui.ImageSaveHelper.save_images(
                [small], filename_prefix="MILD_people", folder_type=io.FolderType.temp, cls=None, compress_level=1
            )
            image = dict(saved[0])
        shown.append({"image": image, "width": own[1], "height": own[0], "people": _drawn(here, own)})
    return {"mild_people": shown} | ui.PreviewText(text).as_dict()


def _small(photo: Tensor) -> Tensor:
    """photo [H, W, 3] with a longest side of PICKER_LONGEST at most."""
    size = shrunk((int(photo.shape[0]), int(photo.shape[1])), PICKER_LONGEST)
    return area_resize(photo.permute(2, 0, 1)[None].float(), size)[0].permute(1, 2, 0).clamp(0, 1)


def _drawn(people: Sequence[Person], size: tuple[int, int]) -> list[dict]:
    """One photo's people as the picker draws them: rings are flat lists x, y, x, y."""
    return [
        {
            "number": person.number,
            "name": person.name,
            "erased": person.erased,
            "box": [round(value, 4) for value in line.box],
            "point": [round(value, 4) for value in line.point],
            "rings": [[round(value, 4) for value in ring.ravel().tolist()] for ring in line.rings],
        }
        for person, line in zip(people, outlines(people, size), strict=True)
    ]
