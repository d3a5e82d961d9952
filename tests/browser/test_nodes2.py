"""The template with Nodes 2.0, the newer way of drawing nodes. (A module of its own: one browser at a time.)"""

from mild.tests.helpers.browser import open_front_end, open_template, paint_quickly, press_run, red_nodes
from mild.tools.find_comfyui import PACK_FOLDER


def test_image_compare_shows_before_and_after(server):
    with open_front_end(server, nodes2=True) as page:
        open_template(page, PACK_FOLDER, "01 Erase people, no download")
        paint_quickly(page)
        entry = press_run(page, server, groups=("images", "a_images", "b_images"))
        assert entry["status"]["status_str"] == "success"
        assert any("a_images" in shown and "b_images" in shown for shown in entry["outputs"].values())
        assert red_nodes(page) == [] and page.problems == []
        # as an app: the picker, two numbers and the result, without the graph
        page.get_by_role("button", name="Enter app mode").click()
        page.get_by_text("3 of 6 go: 1; 2 with shadow; 3 with shadow").wait_for()
        names = page.get_by_test_id("builder-widget-label").all_inner_texts()
        assert names == ["picked", "grow", "seed"]
        assert page.get_by_test_id("app-mode-widget-item").first.get_by_text("Invert").is_visible()
        assert page.problems == []
