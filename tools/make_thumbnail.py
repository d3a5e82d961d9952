"""Makes the templates' thumbnails, the first of which is also the README's picture: `uv run tools/make_thumbnail.py`

Each template is opened in the real front end (Chromium), queued as it is, and shown before and after. Where a template
wants a checkpoint that is not here, the example photo's masks take the place of what it would find; where that
checkpoint would paint, what is going to be painted is drawn in place of a result, and a line below says so; where it
is about attention, that of small random models is plotted, and the line says that. To be run again when the Built-in
Model paints differently.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import demo
import pack
from PIL import Image, ImageDraw, ImageFont, ImageOps

from mild.tests.helpers import tiny_loaders  # noqa: E402
from mild.tests.helpers.browser import graph_to_prompt, open_front_end  # noqa: E402
from mild.tests.helpers.templates import PHOTO_FILE, nodes_of, photo_with_spot, with_tiny_models, without_detector
from mild.tools.find_comfyui import PACK_FOLDER  # noqa: E402

WORKFLOWS = pack.ROOT / "workflows"
PHOTO_WIDTH = 768
HALF = (480, 360)  # pixels of each of the two pictures
QUALITY = 85
LINE = 64  # pixels that a line below the pictures takes; in the template browser a quarter of that is seen
INK, PAPER = "#1a1a1a", "white"
HEAT_MAP = (20, 92, 810, 604)  # of what Show Attention Gap draws: left, top, right, bottom
GAP = "MILD_AttentionGap"

RESULT = ("MILD_Recompose", 0)
STRIPES = ("MILD_Decompose", 1)
BODIES = ("MILD_Morphology", 1)


class Look(NamedTuple):
    """What a thumbnail shows."""

    part: tuple[int, int, int, int] | None = None  # of the photo: left, top, right, bottom. None: all of it
    numbers: bool = False  # before: the people outlined and numbered
    picked: tuple[int, ...] = ()  # who is clicked where the template leaves that to the artist
    drawing: tuple[str, int] | None = None  # after: in place of a result, this class's output of this number
    before: tuple[str, int] | None = None  # before: this output in place of the photo
    plotted: int | None = None  # both: without and with a rule, this picture of the gaps, of small random models
    line: str = ""  # what stands below both: of a drawing, that it is one


LOOKS = {
    "01 Erase people, no download": Look(),
    "04 Choose among people that SAM finds": Look(numbers=True, picked=(2, 3, 4)),
    "02 Whoever stays is completed, no download": Look(part=(228, 372, 468, 552)),
    "08 Complete a person by the pose, SD15": Look(
        part=(212, 352, 488, 559), drawing=BODIES, line="SD1.5 completes a person by the pose: a drawing"
    ),
    "09 Complete a person by the pose, SDXL": Look(
        part=(212, 352, 488, 559), drawing=BODIES, line="SDXL completes a person by the pose: a drawing"
    ),
    "05 Erase people with SD15 inpaint": Look(
        part=(236, 372, 476, 552), drawing=STRIPES, line="SD1.5 inpaint paints the stripes: a drawing"
    ),
    "06 Erase people with any SDXL checkpoint": Look(
        part=(528, 230, 768, 410), drawing=STRIPES, line="SDXL paints the stripes: a drawing"
    ),
    "07 Erase people with Flux Fill": Look(
        part=(196, 345, 496, 570), drawing=STRIPES, line="Flux Fill paints the stripes: a drawing"
    ),
    "12 One layer with KSampler": Look(
        before=("MILD_GetLayer", 0), drawing=("MILD_GetLayer", 1), line="Picture and mask for KSampler: no result"
    ),
    "10 Attentive Eraser with SDXL": Look(
        part=(488, 162, 768, 372), drawing=STRIPES, line="Attentive Eraser fills the red: a drawing"
    ),
    "11 Stop attention bleed, before and after": Look(
        part=HEAT_MAP, plotted=1, line="Attention before and after: a random model"
    ),
    "13 Variants side by side, SD15 inpaint": Look(
        part=(206, 342, 506, 567), drawing=STRIPES, line="SD1.5 paints the stripes four times: a drawing"
    ),
    "14 Erase with EraDiff's attention, SD2 inpaint": Look(
        part=(488, 162, 768, 372), drawing=STRIPES, line="SD2 inpaint fills the red: a drawing"
    ),
    "15 Two adapters, one pass, SDXL": Look(
        part=(212, 352, 488, 559), drawing=STRIPES, line="A LoRA for each kind of stripes: a drawing"
    ),
    "03 Touch up a spot, no download": Look(part=(0, 351, 300, 576), before=STRIPES),
}


def main() -> None:
    names = sys.argv[1:] or list(LOOKS)
    with tempfile.TemporaryDirectory() as base, started(Path(base)) as server:
        server.upload_image(photo_with_spot(), PHOTO_FILE)
        graphs = {}
        with open_front_end(server) as page:
            for name in names:
                workflow = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))
                graphs[name] = without_detector(graph_to_prompt(page, workflow))
        for name in names:
            look = LOOKS[name]
            pair = (Image.open(path).convert("RGB") for path in pictures(server, graphs[name], look))
            halves = [half(one, look) for one in pair]
            sheet = with_line(demo.side_by_side(halves), look.line)
            path = WORKFLOWS / f"{name}.jpg"
            sheet.save(path, quality=QUALITY, optimize=True)
            print(f"{path.name}: {sheet.width} x {sheet.height}, {path.stat().st_size // 1024} KB")


def started(base: Path) -> demo.Server:
    """A server that has small random models beside the pack."""
    extra = tiny_loaders.install(base / "custom_nodes")
    return demo.Server(base=base, arguments=("--whitelist-custom-nodes", PACK_FOLDER, extra))


def half(picture: Image.Image, look: Look) -> Image.Image:
    """One of the two pictures in its size: photos fill it, plots are shown whole."""
    # Drawings may be larger than the photo: a part is meant in the photo's pixels, that of a plot in its own.
    scale = 1.0 if look.plotted is not None else picture.width / PHOTO_WIDTH
    part = picture.crop(tuple(round(side * scale) for side in look.part)) if look.part else picture
    if look.plotted is None:
        return ImageOps.fit(part, HALF, Image.Resampling.LANCZOS)
    return ImageOps.pad(part, HALF, Image.Resampling.LANCZOS, color=picture.getpixel((0, 0)))


def pictures(server: demo.Server, graph: dict, look: Look) -> list:
    """Paths of the picture before and of the one after."""
    if look.plotted is not None:
        graph = with_tiny_models(graph)
        titles = {graph[key]["_meta"]["title"]: key for key in nodes_of(graph, GAP)}
        before, after = ([titles[f"Show Attention Gap: {name}"], 0] for name in ("without", "with"))
        return saved(server, graph, before, after, look.plotted)
    choosing = nodes_of(graph, "MILD_ChoosePeople")
    if look.picked:
        picks = [{"photo": 0, "number": number} for number in look.picked]
        graph[choosing[0]]["inputs"]["picked"] = json.dumps({"people": picks})
    (split,) = nodes_of(graph, "MILD_Decompose")
    before = output_of(graph, look.before) if look.before else graph[split]["inputs"]["image"]
    if look.numbers:
        before = [graph[choosing[0]]["inputs"]["people"][0], 1]
    after = output_of(graph, look.drawing or RESULT)
    if look.drawing == ("MILD_GetLayer", 1):
        graph["mask"] = {"class_type": "MaskToImage", "inputs": {"mask": after}}
        after = ["mask", 0]
    return saved(server, graph, before, after)


def saved(server: demo.Server, graph: dict, before: list, after: list, number: int = 0) -> list:
    """Paths of the pictures of this number of both batches."""
    for name, image in (("before", before), ("after", after)):
        graph[name] = {"class_type": "SaveImage", "inputs": {"images": image, "filename_prefix": name}}
    result = server.run(needed(graph, ("before", "after")))
    return [result.of(name)[number].path for name in ("before", "after")]


def output_of(graph: dict, wanted: tuple[str, int]) -> list:
    """A link to that output of the only node of a class."""
    (key,) = nodes_of(graph, wanted[0])
    return [key, wanted[1]]


def needed(graph: dict, wanted: tuple[str, ...]) -> dict:
    """The part of the graph that these nodes need: without the checkpoint, where nothing of it is shown."""
    result: dict = {}
    waiting = list(wanted)
    while waiting:
        key = waiting.pop()
        if key not in result:
            result[key] = graph[key]
            waiting += [value[0] for value in graph[key]["inputs"].values() if isinstance(value, list)]
    return result


def with_line(sheet: Image.Image, text: str) -> Image.Image:
    """The sheet with a line of text below; as it is for an empty text."""
    if not text:
        return sheet
    result = Image.new("RGB", (sheet.width, sheet.height + LINE), PAPER)
    result.paste(sheet, (0, 0))
    place = (sheet.width / 2, sheet.height + LINE / 2)
    ImageDraw.Draw(result).text(place, text, fill=INK, font=ImageFont.load_default(size=LINE * 0.66), anchor="mm")
    return result


if __name__ == "__main__":
    main()
