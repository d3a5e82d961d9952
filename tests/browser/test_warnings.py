"""What an artist sees of a run without an error that did nothing."""

from mild.tests.helpers.browser import press_run

API = {
    "photo": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 8421504}},
    "mask": {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 64, "height": 64}},
    "split": {
        "class_type": "MILD_Decompose",
        "inputs": {
            "image": ["photo", 0],
            "also_erase": ["mask", 0],
            "grow": 0.008,
            "background": "erased only",
            "feather": 3.0,
            "context": 1.0,
            "size_mode": "balanced",
            "contact": 1,
            "snap": True,
        },
    },
    "joined": {"class_type": "MILD_Recompose", "inputs": {"layers": ["split", 0], "seam": "mean", "grain": True}},
    "shown": {"class_type": "PreviewImage", "inputs": {"images": ["joined", 0]}},
}


def test_an_empty_mask_warns_once_and_on_each_node(browser_page, server):
    page = browser_page
    page.evaluate("graph => window.app.loadApiJson(graph, 'nothing to erase')", API)
    entry = press_run(page, server, patience=60)
    assert entry["status"]["status_str"] == "success"
    toast = page.locator(".p-toast-message-warn").filter(has_text="the mask at also_erase is empty")
    toast.wait_for()
    assert page.locator(".p-toast-message-warn").filter(has_text="Recompose Photo").count() == 0
    texts = page.evaluate(
        """() => Object.fromEntries(window.app.rootGraph.nodes
            .filter(node => node.type.startsWith('MILD_'))
            .map(node => [node.type, (node.widgets ?? []).map(widget => String(widget.value)).join('|')]))"""
    )
    assert "Warning: nothing to paint" in texts["MILD_Decompose"]
    assert "Warning: nothing was erased" in texts["MILD_Recompose"]
    # Once more: the nodes come out of ComfyUI's cache, and the warning is shown all the same.
    toast.locator(".p-toast-close-button").click()
    toast.wait_for(state="detached")
    press_run(page, server, patience=60)
    toast.wait_for()
