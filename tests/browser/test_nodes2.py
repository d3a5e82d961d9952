"""The template with Nodes 2.0, the newer way of drawing nodes. (A module of its own: one browser at a time.)"""

from mild.tests.helpers.browser import open_front_end, open_template, press_run, red_nodes
from mild.tools.find_comfyui import PACK_FOLDER


def test_image_compare_shows_before_and_after(server):
    with open_front_end(server, nodes2=True) as page:
        open_template(page, PACK_FOLDER, "01 Erase people, no download")
        entry = press_run(page, server, groups=("images", "a_images", "b_images"))
        assert entry["status"]["status_str"] == "success"
        assert any("a_images" in shown and "b_images" in shown for shown in entry["outputs"].values())
        assert red_nodes(page) == [] and page.problems == []
