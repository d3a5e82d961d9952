// The picker of Choose People: the widget of its input `picked`, in the classic canvas and in Nodes 2.0.

// Relative, because ComfyUI may lie below a prefix; extensions are served at extensions/FOLDER/.
import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'
import { Picker } from './picker/picker.js'
import { textsFor } from './picker/texts.js'
import { watchForWaiting } from './picker/waiting.js'

const NODE = 'MILD_ChoosePeople'
const WIDGET = 'MILD_PEOPLE_PICKER'
const pickers = new Map() // node -> picker, while the node is in a graph
const left = new Map() // locator -> element of a picker whose node was removed

document.head.append(
  Object.assign(document.createElement('link'), {
    rel: 'stylesheet',
    href: new URL('./picker/picker.css', import.meta.url).href
  })
)

const texts = () => textsFor(app.extensionManager?.setting?.get('Comfy.Locale'))

function pickerWidget(node, name) {
  let picked = ''
  const whoWidget = () => node.widgets?.find((widget) => widget.name === 'who')
  const host = {
    read: () => ({
      who: String(whoWidget()?.value ?? ''),
      picked,
      linked: node.inputs?.some((input) => input.widget?.name === 'who' && input.link != null) ?? false
    }),
    write(value) {
      app.canvas.emitBeforeChange()
      picked = value.picked
      const who = whoWidget()
      if (who && (value.who ?? who.value) !== who.value) who.value = value.who
      app.canvas.emitAfterChange()
      node.setDirtyCanvas?.(true, true)
    },
    url: ({ filename, subfolder, type }) =>
      api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}${app.getRandParam()}`),
    // With "run on change", ComfyUI undoes whatever has the focus.
    graphUndoes: () => Boolean(app.ui?.autoQueueEnabled && app.ui.autoQueueMode !== 'instant')
  }
  const picker = new Picker(host, texts())
  const widget = node.addDOMWidget(name, WIDGET, picker.element, {
    // Without a socket: a link or a subgraph could only bring a text here, and that is what `who` is for.
    socketless: true,
    hideOnZoom: false,
    getMinHeight: () => 260,
    getValue: () => picked,
    setValue(value) {
      picked = typeof value === 'string' ? value : ''
      picker.forget()
    }
  })
  widget.tooltip = ' ' // none: it would cover the picture, and the people have tips of their own
  picker.element.title = ''
  pickers.set(node, picker)
  return { widget, minWidth: 360, minHeight: 460 }
}

/** The key under which ComfyUI keeps what a node showed. */
function locator(node) {
  return !node.graph || node.graph.isRootGraph ? String(node.id) : `${node.graph.id}:${node.id}`
}

function chain(object, name, more) {
  const before = object[name]
  object[name] = function (...given) {
    const result = before?.apply(this, given)
    more.apply(this, given)
    return result
  }
}

/** A workflow that was saved while the picker was missing has a socket at its place; one that is linked stays. */
function dropSocket(node) {
  const slot = node.inputs.findIndex((input) => input.name === 'picked' && input.link == null)
  if (slot >= 0) node.removeInput(slot)
}

function restore() {
  for (const [node, picker] of pickers) picker.setOutput(app.nodeOutputs?.[locator(node)])
}

/** The graph's undo creates all nodes anew; Nodes 2.0 then still shows the widget's old element. */
function takePlaces() {
  for (const [node, picker] of pickers) {
    const old = left.get(locator(node))
    if (old?.isConnected && !picker.element.isConnected) old.replaceWith(picker.element)
  }
  left.clear()
}

app.registerExtension({
  name: 'MILD.PeoplePicker',
  // Here and not in the node's schema: where this file does not load, the clicks are then in a plain text widget, which
  // keeps them and passes them to the node.
  beforeRegisterNodeDef(_, { name, input }) {
    if (name === NODE) input.optional.picked[1].widgetType = WIDGET
  },
  setup: () => watchForWaiting(app, api, () => texts().waits),
  getCustomWidgets: () => ({ [WIDGET]: pickerWidget }),
  nodeCreated(node) {
    const picker = pickers.get(node)
    if (!picker) return
    const who = node.widgets.find((widget) => widget.name === 'who')
    chain(who, 'callback', () => picker.refresh())
    chain(node, 'onExecuted', (output) => picker.setOutput(output))
    chain(node, 'onConfigure', () => {
      dropSocket(node)
      picker.forget()
    })
    chain(node, 'onConnectionsChange', () => picker.refresh())
    chain(node, 'onAdded', () => pickers.set(node, picker))
    chain(node, 'onRemoved', () => {
      pickers.delete(node)
      left.set(locator(node), picker.element)
    })
  },
  onNodeOutputsUpdated: restore,
  afterConfigureGraph() {
    restore()
    requestAnimationFrame(takePlaces)
  }
})
