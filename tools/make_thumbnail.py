"""Makes the templates' thumbnails, the first of which is also the README's picture: `uv run tools/make_thumbnail.py`

Each template is opened in the real front end (Chromium), queued as it is, and shown before and after. Where a template
wants a checkpoint that is not here, the example photo's masks take the place of what it would find. To be run again
when the Built-in Model paints differently.
"""

import json
import sys
from typing import NamedTuple

import demo
import pack
from PIL import Image

from mild.tests.helpers.browser import graph_to_prompt, open_front_end  # noqa: E402
from mild.tests.helpers.templates import nodes_of, without_detector  # noqa: E402

WORKFLOWS = pack.ROOT / "workflows"
HALF = (480, 360)  # pixels of each of the two pictures
QUALITY = 85


class Look(NamedTuple):
    """What a thumbnail shows."""

    part: tuple[int, int, int, int] | None = None  # of the photo: left, top, right, bottom. None: all of it
    numbers: bool = False  # before: the people outlined and numbered
    picked: tuple[int, ...] = ()  # who is clicked where the template leaves that to the artist


LOOKS = {
    "erase_people_no_download": Look(),
    "choose_who_disappears": Look(numbers=True, picked=(2, 3, 4)),
    "her_arm_stays": Look(part=(228, 372, 468, 552)),
}


def main() -> None:
    names = sys.argv[1:] or list(LOOKS)
    with demo.Server() as server:
        graphs = {}
        with open_front_end(server) as page:
            for name in names:
                workflow = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))
                graphs[name] = without_detector(graph_to_prompt(page, workflow))
        for name in names:
            before, after = (Image.open(path).convert("RGB") for path in pictures(server, graphs[name], LOOKS[name]))
            part = LOOKS[name].part
            halves = [(one.crop(part) if part else one).resize(HALF, Image.Resampling.LANCZOS)
                      for one in (before, after)]
            sheet = demo.triptych(halves)
            path = WORKFLOWS / f"{name}.jpg"
            sheet.save(path, quality=QUALITY, optimize=True)
            print(f"{path.name}: {sheet.width} x {sheet.height}, {path.stat().st_size // 1024} KB")


def pictures(server: demo.Server, graph: dict, look: Look) -> list:
    """Paths of the picture before and of the one after."""
    (recompose,), (choose,) = nodes_of(graph, "MILD_Recompose"), nodes_of(graph, "MILD_ChoosePeople")
    if look.picked:
        picks = [{"photo": 0, "number": number} for number in look.picked]
        graph[choose]["inputs"]["picked"] = json.dumps({"people": picks})
    before = graph[choose]["inputs"]["image"]
    if look.numbers:
        before = [graph[choose]["inputs"]["people"][0], 1]
    for name, image in (("before", before), ("after", [recompose, 0])):
        graph[name] = {"class_type": "SaveImage", "inputs": {"images": image, "filename_prefix": name}}
    result = server.run(graph)
    return [result.of(name)[0].path for name in ("before", "after")]


if __name__ == "__main__":
    main()
