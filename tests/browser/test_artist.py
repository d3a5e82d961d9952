"""An artist opens the template from the template browser, runs it, clicks, and then erases from a photo of their own.

All with the mouse, as artists do it.
"""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mild.tests.helpers.browser import draw_mask, open_template, paint_quickly, press_run, red_nodes
from mild.tools.find_comfyui import PACK_FOLDER

TEMPLATE = "01 Erase people, no download"
PHOTO = "Your photo"  # the title of the template's Load Image
MOST_ACTIONS = 6

# The middle of a widget of a node in the classic canvas, in pixels of the window.
WIDGET = """([title, label]) => {
    const node = window.app.graph.nodes.find(node => node.title === title)
    const widget = node.widgets.find(widget => [widget.name, widget.label].includes(label))
    const { scale, offset } = window.app.canvas.ds
    const at = [node.pos[0] + node.size[0] / 2, node.pos[1] + widget.y + 10]
    return at.map((value, i) => (value + offset[i]) * scale)
}"""

TITLE = """title => {
    const node = window.app.graph.nodes.find(node => node.title === title)
    const { scale, offset } = window.app.canvas.ds
    return [node.pos[0] + 60, node.pos[1] - 15].map((value, i) => (value + offset[i]) * scale)
}"""


class Artist:
    """Acts in the page, and counts: a click, a file chosen, a stroke."""

    def __init__(self, page, server):
        self.page, self.server, self.actions = page, server, 0

    def choose_photo(self, path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.mouse.click(*self.page.evaluate(WIDGET, [PHOTO, "upload"]))
        chooser.value.set_files(path)
        self.page.wait_for_function(
            "([title, name]) => window.app.graph.nodes.find(node => node.title === title).widgets[0].value === name",
            arg=[PHOTO, path.name],
        )
        self.page.wait_for_timeout(500)  # its picture comes over the network
        self.actions += 1

    def open_mask_editor(self) -> None:
        self.page.mouse.click(*self.page.evaluate(TITLE, PHOTO))
        self.page.get_by_role("button", name="Mask Editor").click()
        self.actions += 2

    def paint(self, start, end) -> None:
        draw_mask(self.page, start, end)
        self.actions += 2  # the stroke, and Save

    def run(self) -> dict:
        self.actions += 1
        return press_run(self.page, self.server)


@pytest.fixture
def photo(tmp_path):
    """A made-up scene, 200 x 150 px: a wall, a floor, and a dark figure in the middle."""
    grain = np.random.default_rng(1).integers(-12, 12, (150, 200, 1))
    scene = np.concatenate([np.full((90, 200, 3), (170, 160, 150)), np.full((60, 200, 3), (110, 80, 60))]) + grain
    image = Image.fromarray(scene.astype(np.uint8))
    ImageDraw.Draw(image).rectangle((85, 50, 115, 120), fill=(20, 30, 90))
    image.save(tmp_path / "my photo ü.png")
    return tmp_path / "my photo ü.png"


def saved_pictures(server, entry) -> list[np.ndarray]:
    return [np.asarray(Image.open(file.path).convert("RGB")) for file in server.files_of(entry["outputs"])]


def chosen(page) -> list[int]:
    """The numbers of those who go, as the picker of Choose People has them."""
    return page.evaluate("""() => {
        const node = window.app.graph.nodes.find(node => node.type === 'MILD_ChoosePeople')
        return JSON.parse(node.widgets.find(widget => widget.name === 'picked').value).people.map(one => one.number)
    }""")


def test_the_template_gives_a_result_and_then_one_s_own_photo_does(browser_page, server, photo):
    page = browser_page
    open_template(page, PACK_FOLDER, TEMPLATE)
    assert red_nodes(page) == [] and chosen(page) == [1, 2, 3]
    paint_quickly(page)
    entry = press_run(page, server)
    assert entry["status"]["status_str"] == "success" and server.files_of(entry["outputs"])
    shown = [one for output in entry["outputs"].values() for one in output.get("mild_people", [])]
    assert [person["number"] for person in shown[0]["people"] if person["erased"]] == [1, 2, 3]

    artist = Artist(page, server)
    artist.choose_photo(photo)
    artist.open_mask_editor()
    artist.paint((0.5, 0.3), (0.5, 0.85))
    entry = artist.run()
    assert artist.actions <= MOST_ACTIONS
    assert entry["status"]["status_str"] == "success"
    assert red_nodes(page) == [] and page.problems == []

    before = np.asarray(Image.open(photo))
    same_size = [picture for picture in saved_pictures(server, entry) if picture.shape == before.shape]
    changed = [(picture != before).any(-1) for picture in same_size]
    results = [where for where in changed if 0 < where.mean() < 0.5 and where[60:110, 98:102].mean() > 0.9]
    assert results, "no picture of the run differs from the photo where the mask was painted, and only about there"
    assert not any(where[:, :40].any() or where[:, 160:].any() for where in results)
