// While Choose People waits for a choice, the nodes behind it do not run: what an earlier run left on them is taken off,
// and they say what they wait for.
//
// Pictures and texts go the way on which results come, as a message "executed" of the front end's own, because it keeps
// them in several places: one for each way to draw nodes, and one for each open workflow.

const INTO_SUBGRAPH = -20 // target of a link to an output of the subgraph that it lies in
const [MUTED, BYPASSED] = [2, 4]
const TEXT = '$$node-text-preview' // the widget in which the front end shows the texts of a node

/** words(): what the nodes say. */
export function watchForWaiting(app, api, words) {
  const waiting = new Map() // execution id -> {node, said, added}; added: whether the text's widget is ours
  api.addEventListener('executed', ({ detail }) => {
    const id = String(detail.display_node ?? detail.node)
    if (detail.output?.mild_awaits) return // one of those below
    if (waiting.has(id)) endWaiting(waiting.get(id), detail.output)
    waiting.delete(id)
    const waits = detail.output?.mild_waits
    if (!waits?.length || !waits.every(Boolean)) return
    for (const [execution, node] of behind(app, id)) {
      if (!shows(app, node)) continue
      const said = words()
      const output = { text: [said], images: [], mild_awaits: [true] }
      api.dispatchCustomEvent('executed', { ...detail, merge: false, node: execution, display_node: execution, output })
      node.imgs = node.videoContainer = undefined
      waiting.set(execution, { node, said, added: say(app, api, execution, node, said) })
    }
  })
}

/** Whether a node shows anything, or will. */
function shows(app, node) {
  const root = !node.graph || node.graph.isRootGraph
  const key = root ? String(node.id) : `${node.graph.id}:${node.id}`
  return Boolean(
    app.nodeOutputs?.[key] || node.imgs?.length || textOf(node) || node.constructor?.nodeData?.output_node
  )
}

const textOf = (node) => node.widgets?.find((widget) => widget.name === TEXT)

/** Write on the node what it waits for; whether a widget was added for that. */
function say(app, api, execution, node, said) {
  if (node.widgets?.some((widget) => widget.value === said)) return false // it shows texts, and so this one
  const known = textOf(node)
  if (known) known.value = said
  // The front end finds a node only in the graph that is open.
  else if (node.graph === app.canvas.graph) api.dispatchCustomEvent('progress_text', { nodeId: execution, text: said })
  node.setDirtyCanvas?.(true, true)
  return !known && Boolean(textOf(node))
}

/** The node has a result again. */
function endWaiting({ node, said, added }, output) {
  const widget = textOf(node)
  if (widget?.value !== said) return // it has said something else since
  // A result out of ComfyUI's cache comes without its text, which stands in the output, too.
  if (output?.text?.length && !added) widget.value = output.text.join('\n')
  else node.removeWidget(widget)
  node.setDirtyCanvas?.(true, true)
}

/** All nodes behind the one of an execution id ("5", or "12:5" in a subgraph), as [execution id, node]. */
function behind(app, id) {
  const found = new Map()
  const start = located(app.rootGraph ?? app.graph, id.split(':'))
  if (start) follow(start, undefined, found)
  return found
}

/** {graph, path, node}: path, the subgraph nodes in which the graph lies, from the outside. */
function located(root, ids) {
  let graph = root
  const path = []
  for (const id of ids.slice(0, -1)) {
    const outer = nodeOf(graph, id)
    if (!outer?.subgraph) return undefined
    path.push(outer)
    graph = outer.subgraph
  }
  const node = nodeOf(graph, ids.at(-1))
  return node && { graph, path, node }
}

const nodeOf = (graph, id) => graph.getNodeById(id) ?? graph.getNodeById(Number(id))

/** Go on along the links of a node's outputs (of one of them, where `slot` says which). */
function follow({ graph, path, node }, slot, found) {
  for (const output of slot === undefined ? (node.outputs ?? []) : [node.outputs?.[slot]])
    for (const id of output?.links ?? []) along(graph, path, id, found)
}

function along(graph, path, linkId, found) {
  const link = graph.getLink(linkId)
  if (!link) return
  if (Number(link.target_id) === INTO_SUBGRAPH) {
    const outer = path.at(-1)
    if (outer) follow({ graph: outer.graph, path: path.slice(0, -1), node: outer }, link.target_slot, found)
    return
  }
  const node = nodeOf(graph, link.target_id)
  const key = [...path, node].map((one) => one?.id).join(':')
  if (!node || node.mode === MUTED) return
  if (node.subgraph && node.mode !== BYPASSED) {
    const inner = { graph: node.subgraph, path: [...path, node] }
    for (const id of node.subgraph.inputs?.[link.target_slot]?.linkIds ?? []) along(inner.graph, inner.path, id, found)
    return
  }
  if (found.has(key)) return
  found.set(key, node)
  follow({ graph, path, node }, undefined, found)
}
