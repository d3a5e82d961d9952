"""What ComfyUI's canvas shows of a workflow: the boxes of its nodes, its wires, and what stands in the window."""

from collections.abc import Mapping

Box = tuple[float, float, float, float]
"""Left, top, width, height in the graph's own units, a node's title included."""

PORTRAIT = "mild_portrait.png"
"""A picture in ComfyUI's input folder that is taller than wide: nodes that show it become as tall as they can."""

TEXT = (
    "6 people: 1, 2, 3, 4, 5, 6.\nA second sentence on what was decided, as long as such sentences are.\nA third one."
)
"""As much as nodes say of themselves after most runs."""

SETTLED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 150))))"

BOXES = """() => {
    const { scale, offset } = window.app.canvas.ds
    return window.app.graph.nodes.map(node => {
        const [x, y, w, h] = node.boundingRect
        const sides = [x, y, x + w, y + h]
        const element = document.querySelector(`[data-node-id="${node.id}"]`)
        if (element) {
            // its place as it is drawn, its size as it is laid out: that one is not rounded at a small zoom
            const drawn = element.getBoundingClientRect()
            const [left, top] = [drawn.left / scale - offset[0], drawn.top / scale - offset[1]]
            const more = [left, top, left + element.offsetWidth, top + element.offsetHeight]
            for (const i of [0, 1]) sides[i] = Math.min(sides[i], more[i])
            for (const i of [2, 3]) sides[i] = Math.max(sides[i], more[i])
        }
        return [String(node.id), [sides[0], sides[1], sides[2] - sides[0], sides[3] - sides[1]]]
    })
}"""

# A wire that dips under a node crosses the node's border: so the border is walked along. The front end keeps the path
# that it drew of each piece of a wire, and the canvas can say whether a point lies on it.
WIRES = """boxes => {
    const graph = window.app.graph
    const context = document.createElement('canvas').getContext('2d')
    context.lineWidth = 4
    const hidden = [], backwards = []
    let drawn = 0
    for (const link of graph.links.values()) {
        const [from, to] = [graph.getNodeById(link.origin_id), graph.getNodeById(link.target_id)]
        const [output, input] = [from.outputs[link.origin_slot].name, to.inputs[link.target_slot].name]
        const name = `${from.title}.${output} to ${to.title}.${input}`
        const [first, last] = [from.getOutputPos(link.origin_slot), to.getInputPos(link.target_slot)]
        if (first[0] >= last[0]) backwards.push(name)
        const turns = []
        for (let at = link.parentId; graph.reroutes.get(at); at = graph.reroutes.get(at).parentId)
            turns.unshift(graph.reroutes.get(at))
        let start = first
        for (const piece of [...turns, link]) {
            const end = piece === link ? last : [...piece.pos]
            // a curve leaves the box around its ends by less than half their distance
            const bulge = Math.hypot(end[0] - start[0], end[1] - start[1]) / 2 + 4
            const [low, high] = [-1, 1].map(sign => [0, 1].map(
                i => sign * Math.max(sign * start[i], sign * end[i]) + sign * bulge))
            start = end
            if (!piece.path) continue
            drawn++
            for (const [id, [x, y, w, h]] of boxes) {
                if (x > high[0] || x + w < low[0] || y > high[1] || y + h < low[1]) continue
                const node = graph.getNodeById(id) ?? graph.nodes.find(node => String(node.id) === id)
                const own = node === from || node === to
                // the slots of a wire's own nodes lie on their left and right sides; inside of them it has no business
                const inset = own ? 14 : 1
                const [l, t, r, b] = [x + inset, y + inset, x + w - inset, y + h - inset]
                const on = (px, py) => context.isPointInStroke(piece.path, px, py)
                let found = false
                for (let px = l; px <= r && !found; px += 3) found = on(px, t) || on(px, b)
                for (let py = t; py <= b && !found; py += 3) found = on(l, py) || on(r, py)
                if (found) hidden.push(`${name} under ${node.title}`)
            }
        }
    }
    return { hidden: [...new Set(hidden)], backwards, drawn, wires: [...graph.links.values()].length }
}"""

RUN = """({ text, picture, pictures, texts }) => {
    const api = window.app.api ?? window.comfyAPI.api.api
    const image = { filename: picture, subfolder: '', type: 'input' }
    for (const node of window.app.graph.nodes) {
        if (node.mode) continue
        const output = {}
        if (pictures.includes(node.type)) output.images = [image]
        if (node.type === 'ImageCompare') Object.assign(output, { a_images: [image], b_images: [image] })
        if (Object.keys(output).length)
            api.dispatchCustomEvent('executed', { node: String(node.id), display_node: String(node.id), output })
        if (texts.includes(node.type)) api.dispatchCustomEvent('progress_text', { nodeId: String(node.id), text })
    }
}"""

ALL = """() => {
    const boxes = window.app.graph.nodes.map(node => node.boundingRect)
    const [l, t] = [0, 1].map(i => Math.min(...boxes.map(box => box[i])))
    const [r, b] = [0, 1].map(i => Math.max(...boxes.map(box => box[i] + box[i + 2])))
    window.app.canvas.ds.fitToBounds([l, t, r - l, b - t])
    window.app.canvas.setDirty(true, true)
}"""

MORE_PICTURES = ("SaveImage", "PreviewImage", "MILD_SampleLayers", "MILD_SampleLayersAdvanced", "KSampler")
"""Further nodes that show a picture: a result, or a preview while they paint."""


def open_as_template(page, workflow: dict, name: str = "workflow") -> None:
    """Open a workflow as the template browser does, which has the front end fit it to the window."""
    page.evaluate(
        "([workflow, name]) => window.app.loadGraphData(workflow, true, true, name, { openSource: 'template' })",
        [workflow, name],
    )
    settle(page)


def settle(page) -> None:
    """Until what was loaded or changed is drawn."""
    page.evaluate(SETTLED)


def boxes(page) -> dict[str, Box]:
    """The box of each node of the open workflow, by its id: the larger of what the graph knows and what is drawn."""
    return {key: tuple(box) for key, box in page.evaluate(BOXES)}


def wires(page, around: Mapping[str, Box]) -> dict:
    """{"hidden": wires under nodes, "backwards": wires that do not run to the right, "drawn", "wires": how many}."""
    return page.evaluate(WIRES, [[key, list(box)] for key, box in around.items()])


def show_as_after_a_run(page, info: Mapping[str, dict]) -> None:
    """Give every node that shows a picture or a text after a run one, as ComfyUI's messages would.

    info: /object_info. The picture is PORTRAIT. Afterwards the view is another one: nodes grow where they are drawn.
    """
    ours = {name: one for name, one in info.items() if name.startswith("MILD_")}
    texts = [name for name, one in ours.items() if "unique_id" in one["input"].get("hidden", {})]
    texts.remove("MILD_ExamplePhoto")  # it speaks of one's own photo alone
    # of nodes that say something, those with a picture among their outputs show it; Recompose Photo's is the result
    pictures = [name for name in texts if "IMAGE" in ours[name]["output"] and name != "MILD_Recompose"]
    given = {"text": TEXT, "picture": PORTRAIT, "pictures": [*pictures, *MORE_PICTURES], "texts": texts}
    page.evaluate(RUN, given)
    page.evaluate(ALL)
    page.wait_for_timeout(400)  # the pictures come over the network
    page.evaluate(ALL)
    settle(page)


def overlaps(around: Mapping[str, Box], apart: float = 0) -> list[tuple[str, str]]:
    """Pairs of nodes whose boxes share a pixel, or come nearer than `apart`."""
    items = list(around.items())
    return [
        (one, other)
        for index, (one, (x, y, w, h)) in enumerate(items)
        for other, (x2, y2, w2, h2) in items[index + 1 :]
        if x < x2 + w2 + apart and x2 < x + w + apart and y < y2 + h2 + apart and y2 < y + h + apart
    ]


def in_window(page, box: Box) -> Box:
    """A box of the graph in pixels of the window: left, top, right, bottom."""
    scale, (dx, dy) = page.evaluate("() => [window.app.canvas.ds.scale, [...window.app.canvas.ds.offset]]")
    x, y, w, h = box
    return (x + dx) * scale, (y + dy) * scale, (x + w + dx) * scale, (y + h + dy) * scale
