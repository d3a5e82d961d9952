"""The people picker where ComfyUI lies below a URL prefix, as notebooks and hosted servers have it."""

from mild.tests.helpers.browser import open_front_end
from mild.tests.helpers.picker import checked, gone, opened, place, run, upload_masks, workflow
from mild.tests.helpers.prefix import below_prefix


def test_below_a_prefix(server):
    with below_prefix(server, "/user/ann/comfy") as proxy, open_front_end(server, url=proxy.url) as page:
        opened(page, workflow(upload_masks(server)))
        run(page, server)
        # the photo too, not only the outlines
        page.wait_for_function("""async () => {
            const picture = new Image()
            picture.src = document.querySelector('.mild-stage image').getAttribute('href')
            await picture.decode()
            return picture.naturalWidth > 0
        }""")
        style = "() => getComputedStyle(document.querySelector('.mild-stage')).overflow"
        assert page.evaluate(style) == "hidden", "the picker's style sheet is missing"
        page.mouse.click(*place(page, 3))
        assert gone(run(page, server)) == [3] == checked(page)
        # the browser and the front end ask for their icons there
        assert [path for path in proxy.outside if not path.endswith((".ico", ".png"))] == [] and page.problems == []
